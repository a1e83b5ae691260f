"""Detection cost: errors weighed by what they cost and how often a target comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from voxstrata.errors import UsageError
from voxstrata.metrics.curve import ErrorCurve, error_curve


@dataclass(frozen=True)
class DetectionCost:
    """Settings of a detection cost (NIST speaker recognition evaluations).

    C = c_miss P_miss p + c_fa P_fa (1 - p), and normalised C / min(c_miss p, c_fa (1 - p)): what a
    system that looks at nothing would pay is 1.

    Attributes:
        p_target: prior probability p of a target trial, between 0 and 1.
        c_miss, c_fa: cost of a miss and of a false alarm, positive.
        normalise: whether to divide; SpeechBrain does not (and prints a hundred times the raw
            cost, which is the normalised one at p = 0.01 only).

    Raises:
        UsageError: a setting is out of range.
    """

    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0
    normalise: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.p_target < 1:
            raise UsageError("p_target is a probability", got=self.p_target, expected="0 < p < 1")
        if not (self.c_miss > 0 and self.c_fa > 0):
            raise UsageError(
                "costs must be positive", got=f"c_miss={self.c_miss:g}, c_fa={self.c_fa:g}"
            )

    @property
    def default(self) -> float:
        """Raw cost of the better of "accept all" and "reject all"."""
        return min(self.c_miss * self.p_target, self.c_fa * (1 - self.p_target))

    def least(self, curve: ErrorCurve) -> tuple[float, float]:
        """The minimum over thresholds (minDCF), and the threshold it is reached at.

        Returns:
            cost, and the score above which trials are accepted (-inf for "accept all").
        """
        of_miss = self.c_miss * self.p_target / curve.targets
        of_alarm = self.c_fa * (1 - self.p_target) / curve.nontargets
        cost = curve.missed * of_miss + curve.accepted * of_alarm
        at = int(np.argmin(cost))
        scale = self.default if self.normalise else 1.0
        return float(cost[at] / scale), float(curve.thresholds[at])


def min_dcf(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    p_target: float = 0.01,
    *,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    normalise: bool = True,
) -> float:
    """Minimum detection cost of two sets of scores; see :class:`DetectionCost`.

    Args:
        target_scores: [N1], of trials of the same speaker.
        nontarget_scores: [N2], of trials of two speakers.
        p_target, c_miss, c_fa, normalise: the cost's settings.

    Raises:
        UsageError: a setting is out of range, or a set is empty.
        NumericsError: a score is not finite.
    """
    cost = DetectionCost(p_target, c_miss, c_fa, normalise)
    return cost.least(error_curve(target_scores, nontarget_scores))[0]
