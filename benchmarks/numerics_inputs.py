"""Pairs of views that are hard on arithmetic, for ``numerics.py``.

All are float32, as models give them, and count as they are once rounded to that: no error of a
measure is blamed on the rounding of its data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Made = tuple[Rows, Rows]


def _related(n: int = 300, d: int = 24, e: int = 16, seed: int = 0) -> Made:
    """Two views that share a part, as two layers do."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 8))
    x = common @ rng.normal(size=(8, d)) + rng.normal(size=(n, d))
    y = common @ rng.normal(size=(8, e)) + 2.0 * rng.normal(size=(n, e))
    return x.astype(np.float32), y.astype(np.float32)


def few_rows() -> Made:
    return _related(30, 48, 40)


def rank_deficient() -> Made:
    """Whole numbers, so that sums of columns are exact: ranks 10 of 24 and 8 of 16."""
    rng = np.random.default_rng(1)
    common = rng.integers(-20, 21, size=(300, 4))

    def view(width: int, own: int) -> Rows:
        parts = np.c_[common, rng.integers(-20, 21, size=(300, own))]
        mixed = parts @ rng.integers(-3, 4, size=(parts.shape[1], width))
        return np.asarray(mixed, dtype=np.float32)

    return view(24, 6), view(16, 4)


def copied_columns() -> Made:
    x, y = _related()
    return np.c_[x, x[:, :8]], np.c_[y, -y[:, :4]]


def shared_columns() -> Made:
    """Six columns of x are in y as well: six canonical correlations are exactly 1."""
    x, y = _related()
    return x, np.c_[x[:, :6], y[:, 6:]]


def means(size: float) -> Callable[[], Made]:
    """Column means of either sign, ``size`` standard deviations from 0."""

    def made() -> Made:
        rng = np.random.default_rng(2)
        return tuple(  # type: ignore[return-value]
            (v + size * v.std() * rng.choice([-1.0, 1.0], v.shape[1])).astype(np.float32)
            for v in _related()
        )

    return made


def constant_columns() -> Made:
    """Columns of zeros, of 0.1 and of 10,000."""
    x, y = _related()
    for v in (x, y):
        v[:, 1], v[:, 5], v[:, 9] = 0.0, 0.1, 1e4
    return x, y


def duplicated_rows() -> Made:
    x, y = _related(20)
    order = np.random.default_rng(3).permutation(np.repeat(np.arange(20), 15))
    return x[order], y[order]


def outlier_column() -> Made:
    """One dimension 10,000 times as large as the others, as in some Transformers."""
    x, y = _related()
    x[:, 3] *= 1e4
    y[:, 7] *= 1e4
    return x, y


def nearly_dependent(size: float) -> Callable[[], Made]:
    """Columns that are others and ``size`` of something else, which the other view knows."""

    def made() -> Made:
        x, y = _related()
        more = (x[:, :6] + size * y[:, :6]).astype(np.float32)
        return np.c_[x, more], y

    return made


def scaled(size: float) -> Callable[[], Made]:
    def made() -> Made:
        x, y = _related()
        return x * np.float32(size), y * np.float32(size)

    return made


INPUTS: dict[str, Callable[[], Made]] = {
    "plain": _related,
    "n < d": few_rows,
    "rank-deficient": rank_deficient,
    "copied columns": copied_columns,
    "shared columns": shared_columns,
    "means 100 sd": means(1e2),
    "means 10^4 sd": means(1e4),
    "constant columns": constant_columns,
    "duplicated rows": duplicated_rows,
    "outlier 10^4": outlier_column,
    "nearly dependent 10^-2": nearly_dependent(1e-2),
    "nearly dependent 10^-4": nearly_dependent(1e-4),
    "scale 10^-12": scaled(1e-12),
    "scale 10^12": scaled(1e12),
}
"""Inputs by name, as the columns of the table."""
