"""The k largest values of every row, by size: what the published rule counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError

Ints = NDArray[np.int64]

_BLOCK = 100_000
"""Values worked on at a time: their sizes stay in a core's cache (0.4 MB in float32)."""

_GROUPS = 8
"""Groups of columns for each of the k values: more make the bound tighter, and dearer."""


def largest(values: NDArray[Any], count: int) -> Ints:
    """Columns of the values with the largest |x| of each row; of equal ones which is left open.

    A row is dealt into groups of columns. The k-th largest of the groups' maxima is a bound that
    at least k values reach, and few others do; only those are sorted out one by one. It takes
    about half as long as a selection of whole rows (docs/benchmarks.md).

    Args:
        values: [T, D], floating point.
        count: k, from 1 to D.

    Returns:
        [T, k], in no particular order.

    Raises:
        NumericsError: a value is not finite.
    """
    T, D = values.shape
    if not T:
        return np.zeros((0, count), np.int64)
    at, sizes = _candidates(values, count)
    bounds = np.searchsorted(at, np.arange(T + 1) * D)
    many = np.diff(bounds)
    widest = int(many.max())
    found = np.full((T, widest), -1, sizes.dtype)
    found[np.arange(widest) < many[:, None]] = sizes
    chosen = np.argpartition(found, widest - count, axis=1)[:, widest - count :]
    return np.asarray(at[chosen + bounds[:-1, None]] - np.arange(T)[:, None] * D, np.int64)


def _candidates(values: NDArray[Any], count: int) -> tuple[Ints, NDArray[Any]]:
    """Flat places (ascending) and sizes of at least ``count`` values of each row."""
    T, D = values.shape
    depth = max(1, D // (_GROUPS * count))
    groups = D // depth
    whole = depth * groups
    block = min(T, max(1, _BLOCK // D))
    scratch = np.empty((block, D), values.dtype)
    reached = np.empty((block, D), bool)
    places, sizes = [], []
    for begin in range(0, T, block):
        part = values[begin : begin + block]
        n = len(part)
        size = np.abs(part, out=scratch[:n])
        most = size[:, :whole].reshape(n, depth, groups).max(axis=1)
        if whole < D:
            rest = size[:, whole:]
            np.maximum(most[:, : D - whole], rest, out=most[:, : D - whole])
        if not np.isfinite(most.max()):
            raise NumericsError("activations are not finite")
        most.partition(groups - count, axis=1)
        bound = most[:, groups - count, None]
        at = np.flatnonzero(np.greater_equal(size, bound, out=reached[:n]))
        if len(at) > 2 * count * n:
            # Many values equal the bound, as the zeros of neurons that are off.
            exact = np.argpartition(size, D - count, axis=1)[:, D - count :]
            exact.sort(axis=1)
            at = (exact + np.arange(n)[:, None] * D).reshape(-1)
        sizes.append(size.reshape(-1)[at])
        places.append(at + begin * D)
    return np.concatenate(places), np.concatenate(sizes)
