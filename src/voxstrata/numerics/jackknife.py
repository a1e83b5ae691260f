"""Delete-a-group jackknife: folds of whole groups, standard errors and intervals.

Rows of one utterance (or speaker) depend on each other, so what is left out is always a fold
of whole groups. Unequal folds are handled by the delete-m_j jackknife of Busing, Meijer and
van der Leeden, "Delete-m jackknife for unequal m", Statistics and Computing 9 (1999), 3-8; with
equal folds it is the textbook formula.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import ShapeError, UsageError, VoxstrataWarning

G = TypeVar("G", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """Jackknife result for one number or an array of numbers.

    Attributes:
        value: the estimate on all rows, shape [...].
        error: standard error, shape [...].
        low, high: ends of the interval, shape [...], clipped to the measure's range.
        folds: number of folds F behind it.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    folds: int


def jackknife(
    value: ArrayLike,
    replicates: ArrayLike,
    sizes: ArrayLike,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> Interval:
    """Standard error and t-interval from leave-one-fold-out replicates.

    With fold sizes m_j, n = sum_j m_j and h_j = n / m_j, the pseudo-values are
    p_j = h_j value - (h_j - 1) replicate_j, the jackknife estimate is
    F value - sum_j (1 - 1/h_j) replicate_j, and the squared error is the mean over j of
    (p_j - estimate)^2 / (h_j - 1) (Busing et al. 1999). The interval is value +- t(F - 1) error:
    it is centred on the number that is reported, not on the bias-corrected one, and then clipped
    to ``bounds``, since a measure that cannot exceed 1 has no interval that does. NaN replicates
    give NaN intervals.

    Args:
        value: estimate on all rows, shape [...].
        replicates: estimates with fold f left out, shape [F, ...].
        sizes: rows (or any weight) in each fold, shape [F], all positive.
        bounds: range of the measure.
        level: coverage.

    Raises:
        ShapeError: shapes do not fit.
        UsageError: fewer than two folds, or a fold of no rows.

    Example:
        >>> import numpy as np
        >>> rows = np.array([1.0, 2.0, 4.0, 5.0])
        >>> drop = [(rows.sum() - r) / 3 for r in rows]
        >>> out = jackknife(rows.mean(), drop, [1, 1, 1, 1])
        >>> bool(np.isclose(out.error, rows.std(ddof=1) / 2))
        True
    """
    from scipy.stats import t as student

    whole = np.asarray(value, dtype=np.float64)
    parts = np.asarray(replicates, dtype=np.float64)
    m = np.asarray(sizes, dtype=np.float64)
    if parts.shape[1:] != whole.shape or m.shape != parts.shape[:1]:
        raise ShapeError(
            "value, replicates and fold sizes do not fit each other",
            got=f"value {whole.shape}, replicates {parts.shape}, sizes {m.shape}",
            expected="[...], [F, ...] and [F]",
        )
    folds = len(m)
    if folds < 2 or not (m > 0).all():
        raise UsageError(
            "the jackknife needs at least two folds, each with rows in it",
            got=f"{folds} folds of sizes {m.tolist()}",
        )
    if not 0 < level < 1:
        raise UsageError("the coverage is not a probability", got=level, expected="0 < level < 1")
    h = (m.sum() / m).reshape(-1, *([1] * whole.ndim))
    estimate = folds * whole - ((1 - 1 / h) * parts).sum(axis=0)
    pseudo = h * whole - (h - 1) * parts
    error = np.sqrt(((pseudo - estimate) ** 2 / (h - 1)).mean(axis=0))
    half = float(student.ppf(0.5 + level / 2, folds - 1)) * error
    low, high = (np.clip(end, *bounds) for end in (whole - half, whole + half))
    return Interval(whole, error, low, high, folds)


def assign_folds(
    groups: Sequence[G],
    folds: int = 10,
    seed: int = 0,
    weights: Sequence[float] | NDArray[Any] | None = None,
) -> dict[G, int]:
    """Give every group a fold, at random from a seed and balanced by weight.

    Groups are visited from heavy to light (weights jittered by up to a tenth, so that the seed
    matters also where weights differ) and each joins the lightest fold. The result depends on
    the set of groups, their weights and the seed, not on the order they come in.

    Args:
        groups: group of each row, utterance, ...; repeats are the normal case.
        folds: wanted number of folds F.
        seed: seed of the assignment.
        weights: weight of each entry of ``groups`` (seconds, rows); 1 if not given.

    Returns:
        fold index 0..F-1 of each distinct group; no fold is empty.

    Raises:
        UsageError: fewer than two groups or folds, or a negative or non-finite weight.
        ShapeError: as many weights as groups are needed.

    Warns:
        VoxstrataWarning: there are fewer groups than folds; one fold a group is used.

    Example:
        >>> out = assign_folds(["a", "b", "a", "c", "d"], folds=2, weights=[1, 3, 2, 2, 4])
        >>> sorted(out), sorted(set(out.values()))
        (['a', 'b', 'c', 'd'], [0, 1])
    """
    listed = list(groups)
    load = np.ones(len(listed)) if weights is None else np.asarray(weights, dtype=np.float64)
    if load.shape != (len(listed),):
        raise ShapeError(
            "every entry of groups needs one weight",
            got=f"{len(listed)} groups and weights of shape {load.shape}",
        )
    if not (np.isfinite(load).all() and (load >= 0).all()):
        raise UsageError(
            "weights of groups must be finite and not negative", got=str(load[:5].tolist())
        )
    if folds < 2:
        raise UsageError("at least two folds are needed", got=folds, expected="2 or more")
    total: dict[G, float] = {}
    for group, weight in zip(listed, load.tolist(), strict=True):
        total[group] = total.get(group, 0.0) + weight
    if len(total) < 2:
        raise UsageError(
            "an interval needs at least two independent groups",
            got=f"{len(total)} group(s)",
            fix="group by utterance instead of speaker, or give more recordings",
        )
    if len(total) < folds:
        warnings.warn(
            f"only {len(total)} groups for {folds} folds: using {len(total)} folds, one group each",
            VoxstrataWarning,
            stacklevel=2,
        )
        folds = len(total)
    # Sorting by type and text makes the order of arrival irrelevant.
    names = sorted(total, key=lambda g: (type(g).__name__, str(g)))
    jitter = np.random.default_rng(seed).uniform(0.95, 1.05, len(names))
    order = np.argsort(-np.array([total[g] for g in names]) * jitter, kind="stable")
    sums, counts = [0.0] * folds, [0] * folds
    chosen: dict[G, int] = {}
    for index in order.tolist():
        fold = min(range(folds), key=lambda f: (sums[f], counts[f], f))
        chosen[names[index]] = fold
        sums[fold] += total[names[index]]
        counts[fold] += 1
    return {group: chosen[group] for group in total}


def fold_of_rows(groups: Sequence[G], folds: Mapping[G, int]) -> NDArray[np.int64]:
    """Fold of each row from the group of each row and :func:`assign_folds`, int64 [N].

    Example:
        >>> fold_of_rows(["a", "b", "a"], {"a": 1, "b": 0}).tolist()
        [1, 0, 1]
    """
    return np.fromiter((folds[g] for g in groups), dtype=np.int64, count=len(groups))
