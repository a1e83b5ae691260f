"""Intervals of error rates: groups (speakers, recordings, queries) are drawn again, not utterances.

Most scores of probing are a sum by a sum: edits by reference tokens, wrong time by speaker time,
right answers by answers. Each utterance brings its two numbers; utterances of a group go together,
because they are not independent. Two systems are compared within each draw (Bisani and Ney, ICASSP
2004), where what is hard is hard for both.

A score that is a mean of such ratios (macro recall: one a class) has one column for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.metrics.bootstrap import REPLICATES, Interval, percentile_interval

Floats = NDArray[np.float64]

Groups = Sequence[str] | NDArray[np.generic]

_CELLS = 4_000_000
"""Counts that are drawn at a time: draws times groups."""


class GroupDraws:
    """Draws of G groups with replacement, the same for every score of the same utterances.

    Args:
        groups: group of each utterance (any labels), [N].
        draws: number of draws B.
        seed: of the draws.

    Attributes:
        number: how many groups there are, G.

    Raises:
        UsageError: there are no utterances, or fewer than one draw.
    """

    def __init__(self, groups: Groups, *, draws: int = REPLICATES, seed: int = 0) -> None:
        labels = np.asarray(groups)
        if labels.ndim != 1:
            raise ShapeError("one group an utterance is needed", got=labels.shape, expected="[N]")
        if not len(labels) or draws < 1:
            raise UsageError(
                "a bootstrap needs utterances and draws",
                got=f"{len(labels)} utterances, {draws} draws",
            )
        names, self._codes = np.unique(labels, return_inverse=True)
        self.number = len(names)
        self._draws, self._seed = draws, seed

    def counts(self) -> NDArray[np.int64]:
        """How often each group is drawn, in the order of sorted labels, [B, G]."""
        return np.concatenate(list(self._blocks()))

    def replicates(self, numerators: ArrayLike, denominators: ArrayLike) -> Floats:
        """The ratio in each draw.

        Args:
            numerators, denominators: [N] or [N, C], of each utterance.

        Returns:
            [B]; NaN where a draw has no denominator. Of C columns the mean over those that have
            one in the draw.

        Raises:
            ShapeError: the two do not fit each other or the groups.
            NumericsError: a number is not finite, or a denominator is negative.
        """
        above, below = (self._by_group(part) for part in self._checked(numerators, denominators))
        return np.concatenate(
            [_mean_ratio(block @ above, block @ below) for block in self._blocks()]
        )

    def value(self, numerators: ArrayLike, denominators: ArrayLike) -> float:
        """The ratio of the utterances as they are; NaN without denominator.

        Args:
            numerators, denominators: as of :meth:`replicates`.
        """
        above, below = self._checked(numerators, denominators)
        return float(_mean_ratio(above.sum(0, keepdims=True), below.sum(0, keepdims=True))[0])

    def _blocks(self) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng(self._seed)
        chance = np.full(self.number, 1 / self.number)
        size = max(1, _CELLS // self.number)
        sizes = [min(size, self._draws - done) for done in range(0, self._draws, size)]
        return [rng.multinomial(self.number, chance, size=many) for many in sizes]

    def _checked(self, numerators: ArrayLike, denominators: ArrayLike) -> tuple[Floats, Floats]:
        above, below = (np.asarray(a, dtype=np.float64) for a in (numerators, denominators))
        if above.shape != below.shape or above.ndim not in (1, 2) or len(above) != len(self._codes):
            raise ShapeError(
                "numerators, denominators and groups do not fit each other",
                got=f"{above.shape}, {below.shape} and {len(self._codes)} groups",
                expected="[N] or [N, C], twice, and N groups",
            )
        if not (np.isfinite(above).all() and np.isfinite(below).all() and (below >= 0).all()):
            raise NumericsError(
                "counts of utterances must be finite, and denominators not negative",
                got=f"{int((~np.isfinite(above)).sum())} numerators not finite, "
                f"{int((~(below >= 0)).sum())} denominators negative or NaN",
            )
        return above.reshape(len(above), -1), below.reshape(len(below), -1)

    def _by_group(self, values: Floats) -> Floats:
        columns = [np.bincount(self._codes, column, self.number) for column in values.T]
        return np.stack(columns, axis=1)


def _mean_ratio(above: Floats, below: Floats) -> Floats:
    """Mean over the columns that have a denominator, [B]; NaN where none has."""
    there = below > 0
    ratios = np.divide(above, below, out=np.zeros_like(above), where=there)
    found: Floats = np.full(len(above), np.nan)
    np.divide(ratios.sum(1), there.sum(1), out=found, where=there.any(1))
    return found


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    groups: Groups,
    draws: int = REPLICATES,
    seed: int = 0,
    *,
    level: float = 0.95,
) -> Interval:
    """A ratio of sums with its percentile interval over groups.

    Args:
        numerators, denominators: what each utterance brings, [N], or [N, C] for a mean of C ratios
            (columns without denominator are left out).
        groups: what is drawn together, [N].
        draws, seed: of the bootstrap.
        level: coverage aimed at.

    Returns:
        value and interval; no interval for fewer than three groups.

    Raises:
        ShapeError: the arrays do not fit each other.
        NumericsError: a number is not finite, or a denominator is negative.
        UsageError: there are no utterances or draws, or all denominators are 0.

    Example:
        >>> ratio_interval([1, 0, 2], [4, 3, 1], ["a", "b", "c"]).value
        0.375
    """
    drawn = GroupDraws(groups, draws=draws, seed=seed)
    value = _defined(drawn.value(numerators, denominators))
    found = drawn.replicates(numerators, denominators)
    return percentile_interval(value, found, level, speakers=drawn.number)


def paired_ratio_difference(
    numerators: ArrayLike,
    reference_numerators: ArrayLike,
    denominators: ArrayLike,
    groups: Groups,
    draws: int = REPLICATES,
    seed: int = 0,
    *,
    reference_denominators: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """How far one system's ratio lies above another's on the same utterances.

    Args:
        numerators, reference_numerators: of the system, and of the one it is held against, [N] or
            [N, C], in the same order of utterances.
        denominators: of both systems, or of the first.
        groups: what is drawn together, [N].
        draws, seed: of the bootstrap.
        reference_denominators: of the other system, where they differ.
        level: coverage aimed at.

    Returns:
        ratio less reference ratio, with the interval of that difference within draws; an interval
        on one side of 0 speaks for a difference that would hold for other groups.

    Raises:
        as :func:`ratio_interval`.
    """
    drawn = GroupDraws(groups, draws=draws, seed=seed)
    other = denominators if reference_denominators is None else reference_denominators
    value = _defined(drawn.value(numerators, denominators))
    value -= _defined(drawn.value(reference_numerators, other))
    found = drawn.replicates(numerators, denominators)
    found = found - drawn.replicates(reference_numerators, other)
    return percentile_interval(value, found, level, speakers=drawn.number)


def _defined(value: float) -> float:
    if np.isnan(value):
        raise UsageError("a ratio needs a denominator", got="0 in all utterances")
    return value
