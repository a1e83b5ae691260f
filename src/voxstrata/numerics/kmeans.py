"""k-means: centres from a sample, then codes of any number of rows.

Centres come from scikit-learn (k-means++ of Arthur and Vassilvitskii, SODA 2007, then Lloyd's
iterations), once a seed; the seed whose centres lie nearest to rows they were not fitted on is
taken. Codes are exact nearest centres, computed as matrix products in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError

_BLOCK = 1 << 22
"""Distances held at a time."""


@dataclass(frozen=True)
class Clusters:
    """Centres of one fit.

    Attributes:
        centres: float64 [K, D].
        seed: of k-means++.
        inertia: mean squared distance of the fitted rows to their centres.
        held: the same of rows that were held out; ``None`` where there were none.
        iterations: of Lloyd's algorithm.
    """

    centres: NDArray[np.float64]
    seed: int
    inertia: float
    held: float | None
    iterations: int


def fit(
    rows: NDArray[Any],
    clusters: int,
    seed: int,
    *,
    held: NDArray[Any] | None = None,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> Clusters:
    """Centres from one k-means++ start.

    Runs in one thread: scikit-learn adds up the shares of several threads in the order in which
    they happen to end, so that results would differ between runs in the last digits.

    Args:
        rows: [N, D].
        clusters: K.
        seed: of the start.
        held: rows [M, D] to judge the centres by.
        max_iter: iterations at most.
        tol: movement of the centres, relative to the variance of the rows, that ends them.

    Raises:
        ShapeError: ``rows`` is not a matrix, or ``held`` has another width.
        UsageError: fewer rows than clusters.
        NumericsError: values that are not finite, or fewer different rows than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    _check(rows, clusters)
    # Distances do not change when all rows move, and small numbers keep their float32 digits.
    mean = rows.mean(axis=0, dtype=np.float64)
    moved = (rows - mean).astype(np.float32)
    engine = KMeans(
        clusters,
        init="k-means++",
        n_init=1,
        max_iter=max_iter,
        tol=tol,
        random_state=seed,
        copy_x=False,
        algorithm="lloyd",
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            engine.fit(moved)
        except ConvergenceWarning as warning:
            raise NumericsError(
                "k-means found fewer different rows than clusters",
                got=str(warning),
                expected=f"at least {clusters} different rows among {len(rows)}",
                fix="ask for fewer clusters, or give more rows",
            ) from None
    centres = engine.cluster_centers_.astype(np.float64) + mean
    return Clusters(
        centres,
        seed,
        float(assign(rows, centres)[1].mean()),
        None if held is None else float(assign(held, centres)[1].mean()),
        int(engine.n_iter_),
    )


def fit_best(
    rows: NDArray[Any], held: NDArray[Any], clusters: int, seeds: Sequence[int], **options: Any
) -> tuple[Clusters, list[Clusters]]:
    """The fit, over several seeds, whose centres are nearest to held-out rows.

    Args:
        rows: [N, D].
        held: [M, D], rows of other recordings.
        clusters: K.
        seeds: one fit each; of equal fits the first is taken.
        options: see :func:`fit`.

    Returns:
        the best fit, and all of them in the order of the seeds.

    Raises:
        UsageError: no seeds, no held-out rows, or as :func:`fit`.
    """
    if not seeds or not len(held):
        raise UsageError(
            "choosing between k-means fits needs seeds and held-out rows",
            got=f"{len(seeds)} seeds, {len(held)} held-out rows",
        )
    found = [fit(rows, clusters, seed, held=held, **options) for seed in seeds]
    return min(found, key=lambda one: one.held if one.held is not None else np.inf), found


def assign(
    rows: NDArray[Any], centres: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest centre of each row; of centres that are equal, the first.

    ``||x - c||^2 = ||x||^2 - 2 x.c + ||c||^2`` about the mean of the centres, in blocks of rows.

    Args:
        rows: [N, D].
        centres: [K, D].

    Returns:
        codes [N] and squared distances [N].

    Raises:
        ShapeError: the widths differ.
        NumericsError: rows that are not finite.
    """
    if rows.ndim != 2 or rows.shape[1] != centres.shape[1]:
        raise ShapeError(
            "rows do not fit the centres", got=rows.shape, expected=f"(rows, {centres.shape[1]})"
        )
    middle = centres.mean(axis=0)
    moved = centres - middle
    squares = np.einsum("kd,kd->k", moved, moved)
    codes = np.empty(len(rows), dtype=np.int64)
    distances = np.empty(len(rows))
    step = max(1, _BLOCK // max(len(centres), rows.shape[1]))
    for start in range(0, len(rows), step):
        block = rows[start : start + step].astype(np.float64) - middle
        if not np.isfinite(block).all():
            raise NumericsError("k-means met rows that are not finite")
        partial = squares - 2 * (block @ moved.T)
        best = partial.argmin(axis=1)
        near = partial[np.arange(len(block)), best] + np.einsum("nd,nd->n", block, block)
        codes[start : start + step] = best
        distances[start : start + step] = np.maximum(near, 0.0)
    return codes, distances


def perplexity(counts: NDArray[Any]) -> float:
    """exp of the entropy of counts: how many equally common codes would be as diverse.

    Example:
        >>> round(perplexity(np.array([5, 5, 0, 5])), 9)
        3.0
    """
    total = counts.sum()
    if total <= 0:
        return 0.0
    p = counts[counts > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def _check(rows: NDArray[Any], clusters: int) -> None:
    if rows.ndim != 2:
        raise ShapeError("k-means needs a matrix", got=rows.shape, expected="(rows, width)")
    if clusters < 1 or len(rows) < clusters:
        raise UsageError(
            "k-means cannot make so many clusters",
            got=f"{clusters} clusters, {len(rows)} rows",
            expected="from 1 to the number of rows",
        )
    if not np.isfinite(rows).all():
        raise NumericsError("k-means met rows that are not finite")
