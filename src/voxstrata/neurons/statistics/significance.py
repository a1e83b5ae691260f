"""p values of group differences by permutation, and their false discovery rate.

The statistic of a group is the sum over its units of a number a unit and neuron (a rate, or its
rank). Under shuffled labels its mean and variance are known in closed form; with ranks the normal
approximation is the Wilcoxon rank-sum test with its correction for ties. The approximation reaches
the small p values that a false discovery rate over 36,864 neurons needs; B draws cannot get below
1 / (1 + B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.neurons.counts import Floats, Ints
from voxstrata.neurons.statistics.draws import shuffled

Control = Literal["bh", "by"]

_BLOCK = 1 << 23


@dataclass(frozen=True)
class Standardised:
    """Sums over the units of each group against all labellings of the shuffle.

    Attributes:
        z: [G, D], (sum - mean) / deviation; 0 for a neuron that does not differ between units.
        mean, deviation: [G, D], of the sum over labellings.
    """

    z: Floats
    mean: Floats
    deviation: Floats


def standardise(x: Floats, labels: Ints, groups: int, strata: Ints) -> Standardised:
    """Exact first two moments of the shuffle within strata.

    For n_g of n units drawn without replacement, the sum has mean n_g m and variance
    n_g (n - n_g) / (n (n - 1)) sum (x - m)^2; strata add up.

    Args:
        x: [P, D].
        labels: [P], from 0.
        groups: G.
        strata: [P].

    Raises:
        ShapeError: labels or strata do not fit x.
        NumericsError: x is not finite.
    """
    if x.ndim != 2 or labels.shape != x.shape[:1] or strata.shape != x.shape[:1]:
        raise ShapeError(
            "values, labels and strata of units do not fit each other",
            got=f"{x.shape}, {labels.shape} and {strata.shape}",
            expected="[P, D], [P] and [P]",
        )
    if not np.isfinite(x).all():
        raise NumericsError("a test of neurons met numbers that are not finite")
    mean, variance = np.zeros((2, groups, x.shape[1]))
    for number in np.unique(strata):
        part, mine = x[strata == number], labels[strata == number]
        n = len(part)
        size = np.bincount(mine, minlength=groups)[:, None]
        middle = part.mean(axis=0)
        # Rounding of the mean must not turn a constant into a difference.
        varies = part.max(axis=0) > part.min(axis=0)
        spread = np.where(varies, ((part - middle) ** 2).sum(axis=0), 0.0)
        mean += size * middle
        if n > 1:
            variance += size * (n - size) / (n * (n - 1)) * spread
    deviation = np.sqrt(variance)
    total = _sums(x, labels[None], groups)[:, 0]
    safe = np.where(deviation > 0, deviation, 1.0)
    return Standardised(np.where(deviation > 0, (total - mean) / safe, 0.0), mean, deviation)


def standardise_by(x: Floats, labels: Ints, groups: int, dealt: Ints) -> Floats:
    """z of every group's mean less the rest's, with moments over labellings at hand, [G, D].

    For labellings that are no free shuffle (whole speakers' labels). Groups may differ in size from
    labelling to labelling; those in which a group is empty or everything are left out for it. 0 for
    a neuron that does not differ between units; NaN for a group that is never tested.

    Args:
        x: [P, D].
        labels: [P], from 0.
        groups: G.
        dealt: [B, P].
    """
    own = _apart(x, labels[None], groups)[:, 0]
    total, square = np.zeros((2, groups, x.shape[1]))
    count = np.zeros((groups, 1))
    step = max(1, _BLOCK // (x.shape[1] * groups))
    for start in range(0, len(dealt), step):
        found = _apart(x, dealt[start : start + step], groups)
        known = np.isfinite(found)
        count += known.any(axis=2).sum(axis=1)[:, None]
        # About the observed value: sums of squares must not lose digits.
        moved = np.where(known, found - own[:, None], 0.0)
        total += moved.sum(axis=1)
        square += (moved**2).sum(axis=1)
    mean = total / np.maximum(count, 1)
    variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0.0)
    deviation = np.sqrt(variance * count / np.maximum(count - 1, 1))
    varies = x.max(axis=0) > x.min(axis=0)
    safe = np.where(deviation > 0, deviation, 1.0)
    return np.asarray(np.where((deviation > 0) & varies, -mean / safe, 0.0))


def _apart(x: Floats, labels: Ints, groups: int) -> Floats:
    """Mean of each group's units less that of the rest in each labelling, [G, b, D]; NaN where
    there is no group or no rest."""
    sums = _sums(x, labels, groups)
    sizes = (labels[None] == np.arange(groups)[:, None, None]).sum(axis=2)[..., None]
    rest = len(x) - sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.where((sizes > 0) & (rest > 0), sums / sizes - (x.sum(axis=0) - sums) / rest, np.nan)
        )


def normal_p(z: Floats) -> Floats:
    """Two-sided p of standard normal numbers."""
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(-np.abs(z)))


@dataclass(frozen=True)
class Permuted:
    """p values from draws.

    Attributes:
        p: [G, D], (1 + draws that lie as far from the mean) / (1 + B).
        largest: [B], the largest |z| of any neuron and group in each draw.
    """

    p: Floats
    largest: Floats


def permuted(
    x: Floats, labels: Ints, groups: int, strata: Ints, *, draws: int, seed: int
) -> Permuted:
    """Two-sided permutation test of every neuron; the same labellings for all of them.

    Args:
        x, labels, groups, strata: see :func:`standardise`.
        draws: B.
        seed: of the draws.

    Raises:
        as :func:`standardise`; UsageError for fewer than one draw.
    """
    own = standardise(x, labels, groups, strata)
    dealt = shuffled(labels, draws, seed, strata)
    safe = np.where(own.deviation > 0, own.deviation, 1.0)
    as_far, largest = np.zeros(own.z.shape), np.zeros(draws)
    reach = np.abs(own.z)[:, None] * (1 - 1e-9)  # equal but for rounding counts as equal
    step = max(1, _BLOCK // (x.shape[1] * groups))
    for start in range(0, draws, step):
        sums = _sums(x, dealt[start : start + step], groups)
        z = np.abs(sums - own.mean[:, None]) / safe[:, None]
        z *= own.deviation[:, None] > 0
        as_far += (z >= reach).sum(axis=1)
        largest[start : start + step] = z.max(axis=(0, 2))
    return Permuted((1 + as_far) / (1 + draws), largest)


def family_p(z: Floats, largest: Floats) -> Floats:
    """p that holds for all neurons at once: how often any of them got as far in a draw.

    The single-step maxT procedure of Westfall and Young (1993); it keeps the correlation between
    neurons.

    Args:
        z: [...], observed.
        largest: [B], the largest |z| of each draw over everything that is tested.
    """
    ordered = np.sort(largest)
    below = np.searchsorted(ordered, np.abs(z) * (1 - 1e-9), side="left")
    return np.asarray((1 + len(ordered) - below) / (1 + len(ordered)))


def false_discovery(
    p: Mapping[str, NDArray[np.floating]], control: Control = "bh"
) -> dict[str, Floats]:
    """q values over all neurons of all layers together; NaN stays NaN and does not count.

    Args:
        p: arrays of any shape.
        control: "bh" (Benjamini and Hochberg 1995: independent or positively dependent tests) or
            "by" (Benjamini and Yekutieli 2001: any dependence).

    Raises:
        UsageError: another control, or numbers that are no p values.

    Example:
        >>> q = false_discovery({"a": np.array([0.01, np.nan]), "b": np.array([0.03, 0.5])})
        >>> q["a"].round(4).tolist(), q["b"].round(4).tolist()
        ([0.03, nan], [0.045, 0.5])
    """
    from scipy.stats import false_discovery_control

    if control not in ("bh", "by"):
        raise UsageError("unknown false discovery control", got=control, expected="'bh' or 'by'")
    flat = np.concatenate([np.asarray(one, np.float64).reshape(-1) for one in p.values()])
    known = ~np.isnan(flat)
    if ((flat[known] < 0) | (flat[known] > 1)).any():
        raise UsageError("p values lie between 0 and 1", got=f"{flat[known].min()} to {flat.max()}")
    found = np.full(len(flat), np.nan)
    if known.any():
        found[known] = false_discovery_control(flat[known], method=control)
    sizes = np.cumsum([np.size(one) for one in p.values()])[:-1]
    parts = np.split(found, sizes)
    return {k: part.reshape(np.shape(p[k])) for k, part in zip(p, parts, strict=True)}


def _sums(x: Floats, labels: Ints, groups: int) -> Floats:
    """Sum over the units of each group in each labelling [b, P], [G, b, D]."""
    member = (labels[None] == np.arange(groups)[:, None, None]).astype(np.float64)
    return np.asarray((member.reshape(-1, len(x)) @ x).reshape(groups, len(labels), -1))
