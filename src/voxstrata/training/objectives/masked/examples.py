"""Crops of recordings with hidden frames and the codes to be found there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.augmentation.augmenter import Augmenter
from voxstrata.errors import AudioError, NumericsError
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import KaldiConfig
from voxstrata.training.data.items import Item
from voxstrata.training.objective import Batch, Made
from voxstrata.training.objectives.masked.masks import draw_mask
from voxstrata.training.objectives.masked.mixing import Mixer
from voxstrata.training.objectives.masked.recordings import finish, read, samples_of, span
from voxstrata.training.objectives.masked.settings import MaskConfig
from voxstrata.training.objectives.masked.targets import Targets
from voxstrata.types import SAMPLE_RATE

IGNORED = -100
"""Code of padding."""


@dataclass(frozen=True)
class MaskedExamples:
    """A random crop of each recording.

    Features of a clean crop come from those kept on disk, where there are any, and are the same
    numbers as those of the cut waveform. A crop that is mixed or augmented is cut from the
    waveform; its codes stay those of the clean recording.

    Attributes:
        targets: codes and front end.
        mask: which frames are hidden.
        max_frames: longest crop.
        mixer: mixes in other speech and noise, or ``None``.
        augmenter: what else is done to waveforms, or ``None``.
        seconds: 0, for the batch says it itself.
    """

    targets: Targets
    mask: MaskConfig
    max_frames: int
    mixer: Mixer | None = None
    augmenter: Augmenter | None = None
    seconds: float = 0.0

    @property
    def front(self) -> FrontEnd:
        """Front end of the network."""
        return self.targets.front

    def make(self, item: Item, rng: np.random.Generator) -> Made:
        """``features`` [T, D] float32, ``codes`` [T] int64, ``mask`` [T] bool, ``seconds``,
        ``item``.

        Raises:
            AudioError: the recording cannot be used, or is shorter than one hidden span.
        """
        recording = int(self.targets.recordings.of_item[item.index])
        codes = self.targets.codes(recording)
        if len(codes) < self.mask.length:
            why = self.targets.features.bad.get(recording)
            raise AudioError(
                f"{item.id} cannot be trained on",
                got=why or f"{len(codes)} frames with a code",
                expected=f"at least {self.mask.length} frames",
            )
        count = min(len(codes), self.max_frames)
        start = int(rng.integers(len(codes) - count + 1))
        mask = draw_mask(
            count,
            rng,
            probability=self.mask.probability,
            length=self.mask.length,
            min_spans=self.mask.min_spans,
        )
        mixed = self.mixer is not None and self.mixer.chosen(rng)
        features = self._features(item, recording, start, count, mixed, rng)
        if not np.isfinite(features).all():
            raise NumericsError(f"features of {item.id} are not finite")
        return {
            "features": features,
            "codes": codes[start : start + count].astype(np.int64),
            "mask": mask,
            "seconds": np.array(count * self.front.grid.stride / SAMPLE_RATE, dtype=np.float32),
            "item": np.array(item.index, dtype=np.int64),
        }

    def _features(
        self,
        item: Item,
        recording: int,
        start: int,
        count: int,
        mixed: bool,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        config = cast(KaldiConfig, self.front.config)
        kept = self.targets.features
        first, last = span(start, count, int(kept.counts[recording]), config.stack)
        if kept.kept and not mixed and self.augmenter is None:
            return finish(kept.rows(recording, first, last), config).numpy()
        begin, end = samples_of(first, last)
        wave = read(item, self.front.minimum)[begin:end]
        if mixed and self.mixer is not None:
            wave = self.mixer.mix(wave, item, rng)
        if self.augmenter is not None:
            wave = self.augmenter.apply(wave, self.augmenter.draw(len(wave), rng))
        return self.front(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy()

    def collate(self, made: Sequence[Made]) -> Batch:
        """Padded to the longest: ``features`` [B, T, D], ``codes``, ``mask`` [B, T], ``lengths``,
        ``seconds``, ``item`` [B]."""
        return collate(made)


def collate(made: Sequence[Made]) -> Batch:
    """See :meth:`MaskedExamples.collate`."""
    lengths = [len(one["codes"]) for one in made]
    shape = (len(made), max(lengths))
    features = np.zeros((*shape, made[0]["features"].shape[1]), dtype=np.float32)
    codes = np.full(shape, IGNORED, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.bool_)
    for row, (one, length) in enumerate(zip(made, lengths, strict=True)):
        features[row, :length] = one["features"]
        codes[row, :length], mask[row, :length] = one["codes"], one["mask"]
    return {
        "features": torch.from_numpy(features),
        "codes": torch.from_numpy(codes),
        "mask": torch.from_numpy(mask),
        "lengths": torch.tensor(lengths),
        "seconds": torch.from_numpy(np.stack([one["seconds"] for one in made])),
        "item": torch.from_numpy(np.stack([one["item"] for one in made])),
    }
