"""Word segments as log-mel frames, cut from the recordings of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import ShapeError
from voxstrata.frontend import front_end
from voxstrata.streaming.spans import frames_of_span
from voxstrata.types import Utterance

MELS = 40
"""Mel filters: half of what layers are held against; enough for words, and half the work."""

SHORTEST_S, LONGEST_S = 0.1, 2.0
"""Words outside this range are left out: below 10 frames little more than one sound is left (and
forced alignments are 15 ms off in the median); beyond 2 s a "word" is mostly an alignment error."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Segments:
    """Frames of N segments one after another.

    Attributes:
        frames: log-mel less the mean of its recording, float32 [sum of T, M].
        starts: first frame of each segment, int64 [N].
        lengths: frames T of each segment, int64 [N], at least 1.
    """

    frames: Floats
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def one(self, index: int) -> Floats:
        """Frames of one segment, [T, M]."""
        start = self.starts[index]
        return self.frames[start : start + self.lengths[index]]

    def take(self, which: NDArray[np.int64]) -> Segments:
        """Some of the segments; frames are shared."""
        return Segments(self.frames, self.starts[which], self.lengths[which])

    def resampled(
        self,
        steps: int,
        begin: NDArray[np.float64] | None = None,
        end: NDArray[np.float64] | None = None,
    ) -> Floats:
        """Every segment at ``steps`` points, evenly spaced from its first to its last frame, by
        linear interpolation.

        Args:
            steps: points P.
            begin, end: parts of each segment left out at its ends (of its length; negative
                reaches beyond it, where the end frames are repeated), [N]; 0 if not given.

        Returns:
            float32 [N, P, M].
        """
        n = len(self)
        first = np.zeros(n) if begin is None else begin
        last = np.ones(n) if end is None else 1.0 - end
        share = np.linspace(0.0, 1.0, steps)
        at = (first[:, None] + (last - first)[:, None] * share) * (self.lengths[:, None] - 1)
        at = np.clip(at, 0, self.lengths[:, None] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, self.lengths[:, None] - 1)
        weight = (at - low).astype(np.float32)[:, :, None]
        base = self.starts[:, None]
        out: Floats = self.frames[base + low] * (1 - weight) + self.frames[base + high] * weight
        return out


def cut_segments(
    utterances: Mapping[str, Utterance],
    utterance: Sequence[Any] | NDArray[Any],
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    mels: int = MELS,
) -> Segments:
    """Log-mel frames of spans; each recording is read once.

    Features are computed over the whole recording (Kaldi log-mel, 10 ms), the recording's mean
    is removed, and a span takes the frames whose centre lies in it.

    Args:
        utterances: recordings by id.
        utterance: recording of each span, [N].
        start_s, end_s: spans, seconds, [N].
        mels: mel filters M.

    Raises:
        ShapeError: spans do not fit each other, or a span has no frame.
        AudioError: a recording cannot be read.
    """
    names = [str(u) for u in utterance]
    n = len(names)
    if not n == len(start_s) == len(end_s):
        raise ShapeError("spans do not fit", got=f"{n} ids, {len(start_s)} starts, {len(end_s)}")
    features = front_end("log-mel", mels=mels, normalise="mean")
    of: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        of.setdefault(name, []).append(i)
    pieces: list[Floats] = [np.empty((0, mels), np.float32)] * n
    for name, members in of.items():
        wave = torch.as_tensor(utterances[name].read())
        found = features(wave[None])[0].numpy()
        for i in members:
            span = frames_of_span(float(start_s[i]), float(end_s[i]), features.grid, len(found))
            if span is None:
                raise ShapeError(
                    f"a span of {name!r} has no frame",
                    got=f"{start_s[i]:.3f} to {end_s[i]:.3f} s, {len(found)} frames of 10 ms",
                )
            pieces[i] = found[span[0] : span[1]].copy()  # not a view: the rest is let go
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)[:n]
    frames = np.concatenate(pieces) if pieces else np.empty((0, mels), np.float32)
    return Segments(frames, starts, lengths)


def long_enough(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each span lasts from :data:`SHORTEST_S` to :data:`LONGEST_S`, [N]."""
    seconds = end_s - start_s
    # a hair of tolerance: label times are decimal
    fits: NDArray[np.bool_] = (seconds >= SHORTEST_S - 1e-6) & (seconds <= LONGEST_S + 1e-6)
    return fits
