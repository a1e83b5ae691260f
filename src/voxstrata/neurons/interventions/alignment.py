"""Which frame of one recording stands for which frame of another: by index, DTW or phones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import LabelError, ShapeError, UsageError
from voxstrata.types import FrameGrid, Segment

Ints = NDArray[np.int64]

NONE = -1
"""In place of a frame: it has no partner, and keeps its own activations."""


def by_index(frames: int, source: int) -> Ints:
    """Frame t for frame t [frames]; none beyond the end of the source.

    Args:
        frames: of the recording that receives.
        source: frames of the one that gives.
    """
    index = np.arange(frames, dtype=np.int64)
    return np.where(index < source, index, NONE)


def by_warping(features: Any, source: Any) -> Ints:
    """Dynamic time warping with steps (1,0), (0,1), (1,1) of equal weight on cosine distances.

    Args:
        features: [T, D] of the recording that receives.
        source: [T', D] of the one that gives.

    Returns:
        [T], for each frame the middle one of its partners on the cheapest path (the earlier of
        two); every frame has one, and none goes back in time.

    Raises:
        ShapeError: they are not two matrices of one width.
        UsageError: a frame has no direction.
    """
    from scipy.spatial.distance import cdist

    x, y = (np.asarray(value, dtype=np.float64) for value in (features, source))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ShapeError(
            "warping needs features [T, D] of both recordings", got=f"{x.shape} and {y.shape}"
        )
    for value in (x, y):
        if not np.all(np.isfinite(value)) or not np.all(np.linalg.norm(value, axis=1) > 0):
            raise UsageError("a frame has no direction (zero or not finite)")
    path = _path(cdist(x, y, metric="cosine"))
    partners: list[list[int]] = [[] for _ in range(len(x))]
    for i, j in path:
        partners[i].append(j)
    return np.array([own[(len(own) - 1) // 2] for own in partners], dtype=np.int64)


def by_phones(
    segments: Sequence[Segment],
    source_segments: Sequence[Segment],
    grid: FrameGrid,
    frames: int,
    source: int,
) -> Ints:
    """Equal phones stand for each other, stretched linearly.

    Phones are paired by the longest matching blocks of the two label sequences (``difflib``), so a
    phone that one speaker left out costs no more than itself.

    Args:
        segments, source_segments: phones of the recording that receives, and of the one that gives.
        grid: of the layer.
        frames, source: frames of each.

    Returns:
        [frames]; none for frames outside paired phones.

    Raises:
        LabelError: a recording has no phones, or the two share none.
    """
    if not segments or not source_segments:
        raise LabelError(
            "alignment by phones needs the phones of both recordings",
            got=f"{len(segments)} and {len(source_segments)} segments",
            fix="give the corpus phones, or align by DTW",
        )
    labels, others = ([s.label for s in found] for found in (segments, source_segments))
    blocks = difflib.SequenceMatcher(None, labels, others, autojunk=False).get_matching_blocks()
    found = np.full(frames, NONE, dtype=np.int64)
    centres = np.array([grid.centre_s(t) for t in range(frames)])
    first, step = grid.centre_s(0), grid.centre_s(1) - grid.centre_s(0)
    for block in blocks:
        for k in range(block.size):
            own, other = segments[block.a + k], source_segments[block.b + k]
            inside = np.flatnonzero((centres >= own.start_s) & (centres < own.end_s))
            if not len(inside) or own.end_s <= own.start_s:
                continue
            share = (centres[inside] - own.start_s) / (own.end_s - own.start_s)
            moment = other.start_s + share * (other.end_s - other.start_s)
            found[inside] = np.clip(np.rint((moment - first) / step), 0, source - 1)
    if not np.any(found != NONE):
        raise LabelError(
            "the two recordings share no phones",
            got=f"{' '.join(labels[:8])} and {' '.join(others[:8])}",
            expected="the same words, said twice",
        )
    return found


def _path(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Cells (i, j) of the cheapest path through ``cost`` [I, J], from end to start."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for k in range(rows + columns - 1):  # cells of an anti-diagonal do not depend on each other
        i = np.arange(max(0, k - columns + 1), min(rows, k + 1))
        j = k - i
        best = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = best + cost[i, j]
    i, j = rows, columns
    path = []
    while i and j:
        path.append((i - 1, j - 1))
        options = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
        move = int(np.argmin(options))  # a diagonal step wins ties
        i, j = (i - (move != 2), j - (move != 1))
    return path
