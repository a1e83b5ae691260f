"""Confidence intervals of verification errors: speakers are drawn again, not trials.

Trials share speakers, so they are not independent, and an interval that resamples trials is far
too narrow. Here S speakers are drawn with replacement from the S there are; a trial of two
speakers then counts as often as the product of how often each was drawn (Owen 2007, "The
pigeonhole bootstrap"), a trial within one speaker as often as that speaker was (Poh, Martin and
Bengio 2007 on resampling users in biometrics). Two systems are compared within each draw (Bisani
and Ney 2004).

Percentile intervals of few speakers are somewhat too narrow; ``docs/verification.md`` has their
coverage in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.curve import ErrorCurve, Floats, SortedTrials

Statistic = Callable[[ErrorCurve], float]
"""A number read from an error curve, such as ``lambda curve: equal_error(curve).value``."""

REPLICATES = 1000
LEAST_SPEAKERS = 3
"""Fewer have no interval: half of all draws of two speakers hold one of them alone."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval.

    Attributes:
        value: of the trials as they are.
        low, high: ends; ``None`` where there is no interval.
        replicates: draws behind it (those in which the value is defined).
    """

    value: float
    low: float | None
    high: float | None
    replicates: int


class SpeakerBootstrap:
    """Draws of speakers, the same for every system that is scored on the same trials.

    Args:
        first, second: [N], speaker of either side of each trial (any labels).
        replicates: number of draws B.
        seed: of the draws.

    Attributes:
        speakers: number of speakers S.
        counts: [B, S], how often each was drawn.

    Raises:
        ShapeError: the two sides differ in length.
        UsageError: there are no trials, or fewer than one replicate.
    """

    def __init__(
        self,
        first: Sequence[str] | NDArray[np.generic],
        second: Sequence[str] | NDArray[np.generic],
        *,
        replicates: int = REPLICATES,
        seed: int = 0,
    ) -> None:
        a, b = np.asarray(first), np.asarray(second)
        if a.ndim != 1 or a.shape != b.shape:
            raise ShapeError(
                "the two sides of the trials differ", got=f"{a.shape} and {b.shape} speakers"
            )
        if not len(a) or replicates < 1:
            raise UsageError(
                "a bootstrap needs trials and draws", got=f"{len(a)} trials, {replicates} draws"
            )
        names, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
        self._first, self._second = codes.astype(np.int32).reshape(2, -1)
        self.speakers = len(names)
        chance = np.full(self.speakers, 1 / self.speakers)
        self.counts: NDArray[np.int64] = np.random.default_rng(seed).multinomial(
            self.speakers, chance, size=replicates
        )

    def weights(self, replicate: int) -> NDArray[np.int64]:
        """How often each trial counts in one draw, [N]."""
        counts = self.counts[replicate]
        one, other = counts[self._first], counts[self._second]
        found: NDArray[np.int64] = np.where(self._first == self._second, one, one * other)
        return found

    def replicates(
        self, scores: ArrayLike, target: ArrayLike, statistics: Sequence[Statistic]
    ) -> Floats:
        """Each statistic in each draw.

        Args:
            scores: [N], of one system.
            target: [N], whether trials are of the same speaker.
            statistics: what to compute.

        Returns:
            [B, len(statistics)]; NaN in draws without target or without non-target trials.

        Raises:
            as :class:`~voxstrata.metrics.curve.SortedTrials`; ``ShapeError`` where there are not
            as many scores as trials.
        """
        trials = SortedTrials(scores, target)
        if len(trials.order) != len(self._first):
            raise ShapeError(
                "there are not as many scores as trials",
                got=f"{len(trials.order)} scores",
                expected=f"{len(self._first)}",
            )
        one, other = self._first[trials.order], self._second[trials.order]
        pairs = np.flatnonzero(one != other)
        partner = other[pairs]
        same = trials.target
        found = np.full((len(self.counts), len(statistics)), np.nan)
        for number, counts in enumerate(self.counts):
            weights = counts[one]
            weights[pairs] *= counts[partner]
            total = weights.sum()
            of_targets = weights @ same
            if 0 < of_targets < total:
                curve = trials.curve(weights)
                found[number] = [statistic(curve) for statistic in statistics]
        return found

    def interval(self, value: float, replicates: Floats, level: float = 0.95) -> Interval:
        """The percentile interval of one statistic.

        Args:
            value: of the trials as they are.
            replicates: [B], its values in the draws.
            level: coverage aimed at.
        """
        return percentile_interval(value, replicates, level, speakers=self.speakers)


def percentile_interval(
    value: float, replicates: Floats, level: float = 0.95, *, speakers: int = LEAST_SPEAKERS
) -> Interval:
    """Quantiles of the finite replicates; no interval for fewer than three speakers.

    Raises:
        UsageError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError("the level of an interval", got=level, expected="between 0 and 1")
    finite = replicates[np.isfinite(replicates)]
    if speakers < LEAST_SPEAKERS or len(finite) < 2:
        return Interval(value, None, None, len(finite))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(finite))


def relative_difference(
    value: float,
    reference: float,
    replicates: Floats,
    reference_replicates: Floats,
    level: float = 0.95,
    *,
    speakers: int = LEAST_SPEAKERS,
) -> Interval:
    """How far one system's error lies above (+) or below (-) another's, as a fraction of that.

    Both systems' replicates must come from the same :class:`SpeakerBootstrap`, so that a draw of
    hard speakers is hard for both: the interval of the difference is then narrower than the two
    intervals suggest.

    Args:
        value, reference: errors of the system and of the one it is held against.
        replicates, reference_replicates: [B], the same in the draws.
        level: coverage aimed at.
        speakers: behind the draws.

    Returns:
        (value - reference) / reference; NaN without interval where the reference is 0. Draws in
        which it is 0 are left out.

    Raises:
        ShapeError: the replicates are not of the same draws.
    """
    if replicates.shape != reference_replicates.shape:
        raise ShapeError(
            "two systems can be compared on the same draws only",
            got=f"{replicates.shape} and {reference_replicates.shape} replicates",
        )
    if reference == 0:
        return Interval(float("nan"), None, None, 0)
    usable = np.isfinite(replicates) & (reference_replicates > 0)
    found = replicates[usable] / reference_replicates[usable] - 1
    return percentile_interval(value / reference - 1, found, level, speakers=speakers)
