"""Dynamic time warping of many short sequences at once.

Steps (1,0), (0,1), (1,1) of equal weight; the cost is divided by the length of the best path,
where a diagonal step wins ties (as in ABXpy and libri-light: Schatz et al., Interspeech 2013).
Pairs of equal lengths are warped together along anti-diagonals, so the cost in Python is one step
a diagonal, not one a cell.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.properties.tasks.same_different import unit_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Literal["angular", "cosine", "euclidean"]

_FRAMES, _FEW_FRAMES = 4096, 512
"""Frames of a block of items: products of blocks are computed whole, so where few pairs are asked
for, blocks are small and most are passed over."""
_CELLS = 4_000_000


def warp(distances: Floats) -> Floats:
    """Normalised warping cost of P pairs of sequences.

    Args:
        distances: frame distances [P, I, J].

    Returns:
        cost of the best path divided by its number of cells, [P].

    Raises:
        ShapeError: an axis is missing or empty.
    """
    if distances.ndim != 3 or 0 in distances.shape[1:]:
        raise ShapeError("warping needs distances [P, I, J]", got=distances.shape)
    many, rows, columns = distances.shape
    cell = np.ascontiguousarray(distances.transpose(1, 2, 0))
    # One diagonal holds the entries (i, k - i), stored by i; index 0 is the border.
    before = np.full((rows + 1, many), np.inf)
    last = np.full((rows + 1, many), np.inf)
    steps_before = np.zeros((rows + 1, many))
    steps_last = np.zeros((rows + 1, many))
    last[1], steps_last[1] = cell[0, 0], 1.0
    for k in range(1, rows + columns - 1):
        i = np.arange(max(0, k - columns + 1), min(rows, k + 1))
        diagonal, up, left = before[i], last[i], last[i + 1]
        # Diagonal first, then left, then up.
        side = np.where(left <= up, left, up)
        side_steps = np.where(left <= up, steps_last[i + 1], steps_last[i])
        straight = diagonal <= side
        cost = np.full((rows + 1, many), np.inf)
        steps = np.zeros((rows + 1, many))
        cost[i + 1] = np.where(straight, diagonal, side) + cell[i, k - i]
        steps[i + 1] = np.where(straight, steps_before[i], side_steps) + 1.0
        before, last, steps_before, steps_last = last, cost, steps_last, steps
    out: Floats = last[rows] / steps_last[rows]
    return out


def prepared(frames: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Frames as :func:`frame_distances` wants them, float64: of length 1 but for "euclidean".

    Raises:
        UsageError: unknown metric.
        NumericsError: a frame has no direction (zero or not finite).
    """
    if metric not in ("angular", "cosine", "euclidean"):
        raise UsageError("unknown distance", got=metric, expected="angular, cosine or euclidean")
    return frames.to(torch.float64) if metric == "euclidean" else unit_rows(frames)


def _raw(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Floats:
    """What a distance is made of: cosines, or the Euclidean distance itself."""
    return (torch.cdist(x, y) if metric == "euclidean" else x @ y.T).numpy()


def _finished(raw: Floats, metric: Metric) -> Floats:
    if metric == "euclidean":
        return raw
    if metric == "cosine":
        return 1.0 - raw
    return np.asarray(np.arccos(np.clip(raw, -1.0, 1.0)) / np.pi)


def frame_distances(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Floats:
    """Distances of two sets of :func:`prepared` frames, float64 [N, M].

    ``angular`` is arccos(cosine) / pi, in [0, 1], which the ABX literature calls cosine
    distance; ``cosine`` is 1 - cosine.
    """
    return _finished(_raw(x, y, metric), metric)


def dtw_distances(
    frames: torch.Tensor,
    starts: Ints,
    lengths: Ints,
    pairs: Ints,
    *,
    metric: Metric = "angular",
) -> Floats:
    """Warping distances of pairs of items.

    Args:
        frames: frames of all recordings, [F, D].
        starts: first frame of each item, [n].
        lengths: frames of each item, at least 1, [n].
        pairs: items to compare, [P, 2].
        metric: distance of two frames (:func:`frame_distances`).

    Returns:
        float64 [P].

    Raises:
        UsageError: an item without frames, or an unknown metric.
        NumericsError: a frame has no direction (zero or not finite).
    """
    if len(lengths) and lengths.min() < 1:
        raise UsageError("an item needs at least one frame", got=int(lengths.min()))
    out = np.empty(len(pairs))
    if not len(pairs):
        return out
    # Items in the order in which pairs name them: pairs of one context meet in one block.
    named, seen, index = np.unique(pairs, return_index=True, return_inverse=True)
    rank = np.empty(len(named), dtype=np.int64)
    rank[np.argsort(seen, kind="stable")] = np.arange(len(named))
    items = named[np.argsort(seen, kind="stable")]
    pairs = np.sort(rank[index.reshape(pairs.shape)], axis=1)
    starts, lengths = starts[items], lengths[items]
    total = int(lengths.sum())
    where = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(total)
    packed = prepared(frames[torch.from_numpy(where)], metric)
    offset = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    dense = 10 * len(pairs) > len(items) ** 2
    block = offset // (_FRAMES if dense else _FEW_FRAMES)
    first, second = pairs.T
    blocks = int(block.max()) + 1
    key = block[first] * blocks + block[second]
    for here in np.unique(key):
        chosen = np.flatnonzero(key == here)
        a, b = np.flatnonzero(block == here // blocks), np.flatnonzero(block == here % blocks)
        from_a, from_b = int(offset[a[0]]), int(offset[b[0]])
        x = packed[from_a : int(offset[a[-1]] + lengths[a[-1]])]
        y = packed[from_b : int(offset[b[-1]] + lengths[b[-1]])]
        out[chosen] = _by_lengths(
            _raw(x, y, metric),
            offset[first[chosen]] - from_a,
            offset[second[chosen]] - from_b,
            lengths[first[chosen]],
            lengths[second[chosen]],
            metric,
        )
    return out


def _by_lengths(
    table: Floats, top: Ints, side: Ints, rows: Ints, columns: Ints, metric: Metric
) -> Floats:
    """Warping costs of windows of a table of frames against frames, by equal lengths."""
    out = np.empty(len(top))
    shape = rows * (int(columns.max()) + 1) + columns
    order = np.argsort(shape, kind="stable")
    cuts = np.flatnonzero(np.diff(shape[order])) + 1
    for group in np.split(order, cuts):
        i, j = int(rows[group[0]]), int(columns[group[0]])
        size = max(1, _CELLS // (i * j))
        for begin in range(0, len(group), size):
            part = group[begin : begin + size]
            r = top[part][:, None, None] + np.arange(i)[:, None]
            c = side[part][:, None, None] + np.arange(j)
            out[part] = warp(_finished(table[r, c], metric))
    return out
