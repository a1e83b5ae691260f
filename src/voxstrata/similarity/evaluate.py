"""One pair of arrays, one measure: the value and its group-jackknife interval."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError, VoxstrataWarning
from voxstrata.numerics.jackknife import assign_folds, fold_of_rows, jackknife
from voxstrata.similarity.checks import as_pair, warn_few_rows
from voxstrata.similarity.measure import Measure
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.terms import terms_from_rows
from voxstrata.similarity.value import Similarity

Groups = Sequence[Hashable] | NDArray[Any] | None


def row_folds(
    n: int, groups: Groups, folds: int, seed: int
) -> tuple[NDArray[np.int64] | None, int]:
    """Fold of each row and the number of groups; no folds where ``folds`` is 0.

    Without groups every row is its own group: right only if rows are independent.

    Raises:
        ShapeError: not one group a row.
        UsageError: fewer than two groups, or one fold.
    """
    if folds == 0:
        return None, 0
    if groups is None:
        if folds < 2:
            raise UsageError("the jackknife needs two folds or more", got=folds, fix="or 0: none")
        order = np.random.default_rng(seed).permutation(n)
        return (order % min(folds, n)).astype(np.int64), n
    raw = groups.tolist() if isinstance(groups, (np.ndarray, torch.Tensor)) else groups
    listed: list[Hashable] = list(raw)
    if len(listed) != n:
        raise ShapeError(
            "groups must name one group for every row",
            got=f"{len(listed)} groups",
            expected=f"{n} (the rows of x and y)",
        )
    return fold_of_rows(listed, assign_folds(listed, folds, seed)), len(set(listed))


def _replicates(
    measure: Measure, x: torch.Tensor, y: torch.Tensor, fold: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Values with all rows, then without each fold, [1 + F] ([1] without folds)."""
    count = 0 if fold is None else int(fold.max()) + 1
    for f in range(count):
        rest = torch.as_tensor(np.flatnonzero(fold != f))
        # By equality: differences of sums would show rounding noise for variance.
        if any(bool((v[rest] == v[rest[0]]).all()) for v in (x, y)):
            raise NumericsError("a view has no variance once one of the folds is left out")
    if measure.needs == "terms":
        xy, xx, yy = (terms_from_rows(a, b, fold) for a, b in ((x, y), (x, None), (y, None)))
        return np.asarray(measure.compute(xy, xx, yy))[:, 0, 0]
    if measure.needs == "moments":
        total = Moments.from_rows(x, y)
        values = [measure.compute(total)]
        for f in range(count):
            part = torch.as_tensor(np.flatnonzero(fold == f))
            values.append(measure.compute(total - Moments.from_rows(x[part], y[part])))
    else:
        values = [measure.compute(x, y)]
        for f in range(count):
            rest = torch.as_tensor(np.flatnonzero(fold != f))
            values.append(measure.compute(x[rest], y[rest]))
    return np.array(values, dtype=np.float64)


def evaluate(
    measure: Measure,
    x: Any,
    y: Any,
    *,
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
    details: dict[str, float] | None = None,
) -> Similarity:
    """Compare two views with a measure.

    Args:
        measure: any :class:`~voxstrata.similarity.measure.Measure`.
        x, y: rows [N, D1], [N, D2], numpy or torch; computed in float64.
        groups: group of each row (utterance, speaker); rows of one group are left out together.
        folds: folds of the jackknife, 0 for no interval.
        seed: seed of the assignment of groups to folds.
        details: further numbers to hand through.

    Raises:
        ShapeError, UsageError, NumericsError: see :mod:`voxstrata.similarity.checks`.

    Warns:
        VoxstrataWarning: few rows for the width, or no interval could be computed.
    """
    a, b = as_pair(x, y, measure.min_rows)
    n, d, other_d = len(a), a.shape[1], b.shape[1]
    width = measure.few_rows_width(d, other_d)
    if width:
        warn_few_rows(n, width, measure.name)
    fold, count = row_folds(n, groups, folds, seed)
    if fold is not None and n - int(np.bincount(fold).max()) < measure.min_rows:
        _no_interval(f"leaving a fold of {n} rows out leaves fewer than {measure.min_rows}")
        fold = None
    values: NDArray[np.float64] | None = None
    if fold is not None:
        try:
            values = _replicates(measure, a, b, fold)
        except NumericsError as error:
            _no_interval(error.what)
    if values is None:
        fold = None
        values = _replicates(measure, a, b, None)
    if not np.isfinite(values[0]):
        raise NumericsError(
            f"{measure.name} is undefined here: a self-similarity is not positive",
            got=f"{n} rows, widths {d} and {other_d}",
            fix="give more rows, or use the biased estimator",
        )
    low = high = None
    if fold is not None and np.isfinite(values).all():
        span = jackknife(values[0], values[1:], np.bincount(fold), bounds=measure.range)
        low, high = float(span.low), float(span.high)
    elif fold is not None:
        _no_interval("a replicate is undefined")
    return Similarity(
        float(values[0]),
        n=n,
        d=d,
        other_d=other_d,
        measure=measure.name,
        estimator=measure.estimator,
        ci_low=low,
        ci_high=high,
        groups=count if low is not None else 0,
        details=details,
    )


def _no_interval(why: str) -> None:
    warnings.warn(f"no interval: {why}", VoxstrataWarning, stacklevel=4)
