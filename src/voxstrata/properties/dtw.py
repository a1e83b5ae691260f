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
from voxstrata.properties.same_different import unit_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Literal["angular", "cosine", "euclidean"]

_FRAMES = 4096
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


def frame_distances(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Floats:
    """Distances of two sets of frames, float64 [N, M]; for the first two, rows of length 1.

    ``angular`` is arccos(cosine) / pi, in [0, 1], which the ABX literature calls cosine
    distance; ``cosine`` is 1 - cosine.
    """
    if metric == "euclidean":
        return torch.cdist(x, y).numpy()
    cosine = (x @ y.T).numpy()
    if metric == "cosine":
        return 1.0 - cosine
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi)


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
    if metric not in ("angular", "cosine", "euclidean"):
        raise UsageError("unknown distance", got=metric, expected="angular, cosine or euclidean")
    if len(lengths) and lengths.min() < 1:
        raise UsageError("an item needs at least one frame", got=int(lengths.min()))
    total = int(lengths.sum())
    where = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(total)
    wide = frames[torch.from_numpy(where)].to(torch.float64)
    packed = wide if metric == "euclidean" else unit_rows(wide)
    offset = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    block = offset // _FRAMES  # items by blocks of frames, so that products stay small
    first = np.where(block[pairs[:, 0]] <= block[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    second = pairs.sum(axis=1) - first
    out = np.empty(len(pairs))
    blocks = int(block.max(initial=0)) + 1
    key = block[first] * blocks + block[second]
    for here in np.unique(key):
        chosen = np.flatnonzero(key == here)
        a, b = np.flatnonzero(block == here // blocks), np.flatnonzero(block == here % blocks)
        from_a, from_b = int(offset[a[0]]), int(offset[b[0]])
        x = packed[from_a : int(offset[a[-1]] + lengths[a[-1]])]
        y = packed[from_b : int(offset[b[-1]] + lengths[b[-1]])]
        table = frame_distances(x, y, metric)
        out[chosen] = _by_lengths(
            table,
            offset[first[chosen]] - from_a,
            offset[second[chosen]] - from_b,
            lengths[first[chosen]],
            lengths[second[chosen]],
        )
    return out


def _by_lengths(table: Floats, top: Ints, side: Ints, rows: Ints, columns: Ints) -> Floats:
    """Warping costs of windows of a table of frame distances, by equal lengths."""
    out = np.empty(len(top))
    widest = int(columns.max()) + 1
    shape = rows * widest + columns
    order = np.argsort(shape, kind="stable")
    cuts = np.flatnonzero(np.diff(shape[order])) + 1
    for group in np.split(order, cuts):
        i, j = int(rows[group[0]]), int(columns[group[0]])
        for part in np.split(group, range(size := max(1, _CELLS // (i * j)), len(group), size)):
            r = top[part][:, None, None] + np.arange(i)[:, None]
            c = side[part][:, None, None] + np.arange(j)
            out[part] = warp(table[r, c])
    return out
