"""Frames made when they are asked for: for disks that are too small for all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import torch

from voxstrata.errors import NumericsError
from voxstrata.models.base import SpeechModel
from voxstrata.probing.norms import standardised
from voxstrata.types import SAMPLE_RATE, Utterance

HELD_BYTES = 1 << 30
"""Frames that are kept in memory for the next batch that needs them."""


class LiveFrames:
    """Frames of single recordings, one run of the model each; those last used stay in memory.

    Args:
        model: the model.
        names: its layers, in the order of positions.
        utterances: recordings by id.
        normalise: see :class:`voxstrata.probing.norms.Standardised`.
        held_bytes: memory for frames.
    """

    def __init__(
        self,
        model: SpeechModel,
        names: Sequence[str],
        utterances: dict[str, Utterance],
        *,
        normalise: bool = False,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self._model, self._names, self._utterances = model, tuple(names), utterances
        self._normalise, self._room = normalise, held_bytes
        self._held: OrderedDict[str, list[torch.Tensor]] = OrderedDict()
        self._bytes, self._lock = 0, Lock()
        self._counts: dict[str, int] = {}

    def count(self, recording: str) -> int:
        """Frames of a recording."""
        if recording not in self._counts:
            samples = round(self._utterances[recording].duration_s * SAMPLE_RATE)
            self._counts[recording] = min(self._model.frames(n, samples) for n in self._names)
        return self._counts[recording]

    def rows(self, position: int, recording: str) -> torch.Tensor:
        """Frames [T, D] of one layer.

        Raises:
            AudioError: the recording cannot be read any more.
            NumericsError: it has other frames than its length says.
        """
        with self._lock:
            if recording not in self._held:
                self._make(recording)
            self._held.move_to_end(recording)
            return self._held[recording][position]

    def _make(self, recording: str) -> None:
        samples = torch.from_numpy(self._utterances[recording].read())
        with torch.inference_mode():
            outputs = self._model.encode([samples], self._names)[0]
        made = [outputs[name].detach().float().cpu().clone() for name in self._names]
        frames = min(len(rows) for rows in made)
        if frames != self.count(recording):
            raise NumericsError(
                f"{recording} has another number of frames than its length says",
                got=frames,
                expected=self.count(recording),
                fix="use --frames disk, which takes the frames there are",
            )
        made = [rows[:frames] for rows in made]
        if self._normalise:
            made = [standardised(rows) for rows in made]
        self._held[recording] = made
        self._bytes += _size(made)
        while self._bytes > self._room and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            self._bytes -= _size(gone)


def _size(rows: Sequence[torch.Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in rows)
