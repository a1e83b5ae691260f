"""Crops of recordings as features: the data side of every speaker objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.augmentation.augmenter import Augmenter
from voxstrata.augmentation.config import SpecAugmentConfig
from voxstrata.augmentation.spec import spec_augment
from voxstrata.errors import AudioError, NumericsError
from voxstrata.frontend import FrontEnd
from voxstrata.training.data.items import Item, samples
from voxstrata.training.objective import Batch, Made
from voxstrata.types import SAMPLE_RATE

Place = Literal["anywhere", "apart", "adjacent"]
"""Where the crops of a recording lie: independently at random; in different places as far as its
length allows; one directly after the other."""


@dataclass(frozen=True)
class Crop:
    """One crop that an objective wants of every recording.

    Attributes:
        key: entry of the batch; crops of equal key are stacked crop by crop
            (all recordings' first crop, then all second ones).
        seconds: length.
        position: crops with the same number are the same stretch of speech.
        profile: crops with the same number get the same augmentation; ``None`` for none.
    """

    key: str
    seconds: float
    position: int
    profile: int | None = None


def crops(
    key: str, seconds: float, count: int, *, first: int = 0, augment: bool = True
) -> tuple[Crop, ...]:
    """``count`` crops in places and with augmentations of their own, numbered from ``first``."""
    return tuple(Crop(key, seconds, i, i if augment else None) for i in range(first, first + count))


@dataclass(frozen=True)
class CropExamples:
    """Cuts crops, augments them, computes features.

    Attributes:
        wanted: the crops.
        front: front end; every crop is normalised by itself, as a recording would be.
        augmenter: what is done to waveforms, or ``None``.
        masks: what is done to features, or ``None``.
        place: see :data:`Place`.
        dither: standard deviation of Gaussian noise added to the waveform, in steps of 16 bits
            (Kaldi's training default is 1; it keeps digital silence off the logarithm's floor).
        starts: whether ``made`` also tells where crops begin.
    """

    wanted: tuple[Crop, ...]
    front: FrontEnd
    augmenter: Augmenter | None = None
    masks: SpecAugmentConfig | None = None
    place: Place = "anywhere"
    dither: float = 1.0
    starts: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of audio of all crops of a recording."""
        return sum(crop.seconds for crop in self.wanted)

    def make(self, item: Item, rng: np.random.Generator) -> Made:
        """``{key: [crops, T, F] float32, "label": [] int64, "item": [] int64}``.

        With ``starts`` also ``"KEY.start": [crops] int64``, samples of the recording at its speed.

        Raises:
            AudioError: the recording is empty, silent throughout, or shorter than one frame.
        """
        wave = item.read()
        if len(wave) == 0 or not np.any(wave):
            raise AudioError(
                f"{item.id} cannot be trained on",
                got="no samples" if len(wave) == 0 else "digital silence throughout",
                expected="speech",
            )
        if len(wave) < self.front.minimum:
            raise AudioError(
                f"{item.id} cannot be trained on",
                got=f"{len(wave) / SAMPLE_RATE:.3f} s, shorter than one frame",
                expected=f"at least {self.front.minimum / SAMPLE_RATE:.3f} s",
            )
        starts = self._starts(len(wave), rng)
        profiles = {}
        rows: dict[str, list[NDArray[np.float32]]] = {}
        for crop in self.wanted:
            length = samples(crop.seconds)
            piece = cut(wave, starts[crop.position], length)
            if self.augmenter is not None and crop.profile is not None:
                if crop.profile not in profiles:
                    profiles[crop.profile] = self.augmenter.draw(length, rng)
                piece = self.augmenter.apply(piece, profiles[crop.profile])
            if self.dither:
                noise = rng.standard_normal(len(piece), dtype=np.float32)
                piece = piece + noise * np.float32(self.dither / 32768)
            features = self.front(torch.from_numpy(piece)[None])[0].numpy()
            if self.masks is not None:
                features = spec_augment(features, self.masks, rng)
            rows.setdefault(crop.key, []).append(features)
        made: Made = {key: np.stack(found) for key, found in rows.items()}
        if not all(np.isfinite(found).all() for found in made.values()):
            raise NumericsError(f"features of {item.id} are not finite")
        for key in rows if self.starts else ():
            own = [starts[crop.position] for crop in self.wanted if crop.key == key]
            made[f"{key}.start"] = np.array(own, dtype=np.int64)
        made["label"] = np.array(item.label, dtype=np.int64)
        made["item"] = np.array(item.index, dtype=np.int64)
        return made

    def _starts(self, length: int, rng: np.random.Generator) -> dict[int, int]:
        """First sample of each position."""
        lengths: dict[int, int] = {}
        for crop in self.wanted:
            lengths[crop.position] = max(lengths.get(crop.position, 0), samples(crop.seconds))
        total = sum(lengths.values())
        order = [int(p) for p in rng.permutation(sorted(lengths))]
        if self.place == "anywhere" or len(order) == 1:
            return {p: int(rng.integers(max(1, length - lengths[p] + 1))) for p in order}
        if self.place == "adjacent":
            at = int(rng.integers(max(1, length - total + 1)))
            starts = {}
            for p in order:
                starts[p] = at if length >= total else at % max(1, length)
                at += lengths[p]
            return starts
        # Apart: spare samples are shared out between the crops; where there are too few samples
        # neighbours overlap by equal shares.
        spare = length - total
        if spare >= 0:
            gaps = np.sort(rng.integers(0, spare + 1, len(order)))
            at, starts = 0, {}
            for p, gap in zip(order, gaps, strict=True):
                starts[p] = at + int(gap)
                at += lengths[p]
            return starts
        ends = [max(0, length - lengths[p]) for p in order]
        return {p: round(i / (len(order) - 1) * ends[i]) for i, p in enumerate(order)}

    def collate(self, made: Sequence[Made]) -> Batch:
        """Crop-major stacks [crops x B, T, F], labels and items [B]."""
        batch: Batch = {}
        for key in made[0]:
            stacked = np.stack([one[key] for one in made])
            if stacked.ndim > 1:
                stacked = np.ascontiguousarray(stacked.swapaxes(0, 1))
                stacked = stacked.reshape(-1, *stacked.shape[2:])
            batch[key] = torch.from_numpy(stacked)
        return batch


def cut(wave: NDArray[np.float32], start: int, length: int) -> NDArray[np.float32]:
    """``length`` samples from ``start``; a wave that is too short is repeated.

    Example:
        >>> cut(np.arange(3, dtype=np.float32), 1, 4).tolist()
        [1.0, 2.0, 0.0, 1.0]
    """
    if start + length <= len(wave):
        return wave[start : start + length]
    return np.take(wave, np.arange(start, start + length), mode="wrap")
