"""Numbers with intervals, and what may be done with them when all that is known are their ends.

Results tables hold intervals, not what they were made from. Where a table has no paired difference,
two intervals are combined here by rules that are never narrower than what independence (of
differences) or perfect dependence (of means) gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""

PERCENTILE = 0.95
"""Of a permuted statistic, what an effect has to exceed."""


@dataclass(frozen=True)
class Number:
    """A value with its 95 % interval (NaN where there is none).

    Attributes:
        n: independent units behind the interval; 0 where unknown.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def turned(self) -> Number:
        """The same with the other sign."""
        return Number(-self.value, -self.high, -self.low, self.n)

    @property
    def verdict(self) -> str:
        """ "above 0", "below 0", "holds 0" or "no interval"."""
        if not self.has_interval:
            return "no interval"
        return "above 0" if self.low > 0 else "below 0" if self.high < 0 else "holds 0"


NOTHING = Number(math.nan)
"""A number that could not be made."""


def number_of(row: Mapping[Any, Any]) -> Number:
    """The number in a row of a results table; its ``n`` is the row's ``groups``."""
    return Number(
        float(row["value"]), float(row["ci_low"]), float(row["ci_high"]), int(row["groups"])
    )


def less(one: Number, other: Number) -> Number:
    """``one`` less ``other``, taken as independent.

    The distances from value to end stand for standard errors on either side and are added as
    squares (Zou and Donner, Statistics in Medicine 27, 2008; with symmetric intervals this is
    the normal approximation). Scores on the same recordings are mostly correlated positively: the
    interval is then wider than a paired one.
    """
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Number(value, low, high, _least(one, other))


def mean(numbers: Sequence[Number]) -> Number:
    """Mean of numbers that may depend on each other: the ends are the means of their ends.

    The standard deviation of a mean is at most the mean of standard deviations (reached where all
    go together), so the interval is never too narrow for want of covariances.
    """
    if not numbers:
        return NOTHING
    return Number(
        float(np.mean([x.value for x in numbers])),
        float(np.mean([x.low for x in numbers])),
        float(np.mean([x.high for x in numbers])),
        _least(*numbers),
    )


def lowest(numbers: Sequence[Number]) -> Number:
    """The least of several: the least value, the least of low ends, the least of high ends."""
    if not numbers:
        return NOTHING
    parts = np.array([(x.value, x.low, x.high) for x in numbers])
    value, low, high = (float(x) for x in parts.min(axis=0))
    return Number(value, low, high, _least(*numbers))


def greatest(numbers: Sequence[Number]) -> Number:
    """The greatest of several, as :func:`lowest`."""
    return lowest([x.turned for x in numbers]).turned


def weighted(
    values: ArrayLike, low: ArrayLike, high: ArrayLike, weights: ArrayLike, n: int = 0
) -> Number:
    """Sum of weighted numbers that may depend on each other in any way.

    Half widths are added with the sizes of the weights: the bound that holds for any covariances.
    """
    x, below, above, w = (np.asarray(a, dtype=np.float64) for a in (values, low, high, weights))
    used = w != 0
    value = float(np.sum(w[used] * x[used]))
    down, up = (x - below)[used], (above - x)[used]
    w = w[used]
    return Number(
        value,
        value - float(np.sum(np.where(w > 0, w * down, -w * up))),
        value + float(np.sum(np.where(w > 0, w * up, -w * down))),
        n,
    )


def far(null: ArrayLike, value: float) -> float:
    """What a permuted statistic reaches by chance on the side of ``value``.

    Its 95th percentile (its 5th where the value is negative): the nearest of its values that are
    passed by one deal in twenty at most. NaN without deals.
    """
    drawn = np.asarray(null, dtype=np.float64)
    drawn = np.sort(drawn[np.isfinite(drawn)])
    if not len(drawn):
        return math.nan
    passed = math.floor((1 - PERCENTILE) * len(drawn) + 1e-9)
    return float(drawn[passed] if value < 0 else drawn[-1 - passed])


def orders(size: int, most: int, seed: int) -> NDArray[np.int64]:
    """Orders of ``size`` things, [orders, size]: all of them where they are ``most`` at most, else
    ``most`` that are drawn from the seed."""
    from itertools import permutations

    if math.factorial(size) <= most:
        return np.array(list(permutations(range(size))), dtype=np.int64).reshape(-1, size)
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(size) for _ in range(most)])


def spearman(x: ArrayLike, y: ArrayLike) -> Number:
    """Spearman's correlation with its 95 % interval over independent pairs.

    Fisher's transform with the standard error sqrt((1 + rho^2 / 2) / (n - 3)) (Bonett and Wright,
    Psychometrika 65, 2000). At its ends, where the transform is infinite, rho is taken
    halfway to the next value it can have, 6 / (n^3 - n) from 1. No interval for fewer than four
    pairs; NaN for fewer than three or where one side does not vary.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(np.asarray(v, dtype=np.float64)) for v in (x, y))
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Number(math.nan, n=n)
    rho = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    if n < 4:
        return Number(rho, n=n)
    edge = 1 - 6 / (n**3 - n)
    inner = min(max(rho, -edge), edge)
    half = NORMAL * math.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inner) + sign * half) for sign in (-1, 1))
    return Number(rho, min(low, rho), max(high, rho), n)


def pairs_needed(rho: float, bound: float) -> int | None:
    """Pairs from which on the interval of :func:`spearman` around ``rho`` lies within ± ``bound``;
    ``None`` where it never does."""
    if not abs(rho) < bound:
        return None
    room = math.atanh(bound) - math.atanh(abs(rho))
    return math.floor(3 + (1 + rho**2 / 2) * (NORMAL / room) ** 2) + 1


def _least(*numbers: Number) -> int:
    return min(number.n for number in numbers)
