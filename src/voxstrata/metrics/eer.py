"""Equal error rate, under each published definition by name.

Miss and false-alarm rates are step functions, so there need be no threshold at which they are
equal; published code differs in what it then reports (``docs/verification.md`` has an example):

``interpolated``
    where straight lines between the last point with miss < false alarm and the first with
    miss >= false alarm cross (WeSpeaker, 3D-Speaker). Our default: it is the one definition that
    changes continuously with the data, and that swapping targets and non-targets leaves as it is.
``max``
    the larger of the two rates at the ROC corner where they differ least (TaoRuijie/ECAPA-TDNN,
    by way of scikit-learn's ``roc_curve``, which leaves out points on straight lines).
``mean``
    the mean of the two rates at the threshold where they differ least (SpeechBrain).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from voxstrata.metrics.curve import ErrorCurve, error_curve
from voxstrata.registry import unknown_name

Definition = Literal["interpolated", "max", "mean"]

DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
"""All definitions, our default first."""


@dataclass(frozen=True)
class EqualError:
    """The equal error rate and where it lies.

    Attributes:
        value: as a fraction.
        threshold: score above which a trial is accepted there; finite.
        miss, false_alarm: the two rates at the point (or points) it was taken from.
    """

    value: float
    threshold: float
    miss: float
    false_alarm: float


def eer(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    definition: Definition = "interpolated",
) -> float:
    """Equal error rate as a fraction.

    Args:
        target_scores: [N1], of trials of the same speaker.
        nontarget_scores: [N2], of trials of two speakers.
        definition: "interpolated", "max" or "mean" (see the module).

    Raises:
        UsageError: a set is empty.
        NumericsError: a score is not finite.
        UnknownNameError: no such definition.
    """
    return equal_error(error_curve(target_scores, nontarget_scores), definition).value


def eer_threshold(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    definition: Definition = "interpolated",
) -> float:
    """Score above which a trial is accepted at the equal error rate; as :func:`eer`."""
    return equal_error(error_curve(target_scores, nontarget_scores), definition).threshold


def equal_error(curve: ErrorCurve, definition: Definition = "interpolated") -> EqualError:
    """The equal error rate of a curve.

    Raises:
        UnknownNameError: no such definition.
    """
    if definition == "interpolated":
        return _interpolated(curve)
    if definition == "max":
        return _at_corner(curve)
    if definition == "mean":
        return _at_threshold(curve)
    raise unknown_name("definition of the EER", str(definition), list(DEFINITIONS))


def _interpolated(curve: ErrorCurve) -> EqualError:
    # Scaled to whole numbers, where the weights are: the sign of the difference is then exact.
    # It rises from "accept all" (negative) to "reject all" (positive).
    apart = curve.missed * curve.nontargets - curve.accepted * curve.targets
    after = int(np.searchsorted(apart, 0, side="left"))
    before = after - 1
    share = float(apart[after] / (apart[after] - apart[before]))
    rates = []
    for sums, total in ((curve.missed, curve.targets), (curve.accepted, curve.nontargets)):
        rates.append(float((sums[after] + share * (sums[before] - sums[after])) / total))
    low, high = curve.thresholds[before], curve.thresholds[after]
    threshold = float(high + share * (low - high)) if np.isfinite(low) else float(high)
    return EqualError(rates[0], threshold, rates[0], rates[1])


def _at_corner(curve: ErrorCurve) -> EqualError:
    # From the highest threshold down, as roc_curve goes; points that no trial moved are not there.
    hits = (curve.targets - curve.missed)[::-1]
    alarms = curve.accepted[::-1]
    thresholds = curve.thresholds[::-1]
    moved = np.append(True, (np.diff(hits) != 0) | (np.diff(alarms) != 0))
    hits, alarms, thresholds = hits[moved], alarms[moved], thresholds[moved]
    if len(hits) > 3:  # the first point ("reject all") is put in front after the leaving out
        bent = (np.diff(hits[1:], 2) != 0) | (np.diff(alarms[1:], 2) != 0)
        kept = np.concatenate([[True, True], bent, [True]])
        hits, alarms, thresholds = hits[kept], alarms[kept], thresholds[kept]
    miss, false_alarm = 1 - hits / curve.targets, alarms / curve.nontargets
    at = int(np.argmin(np.abs(miss - false_alarm)))
    return _found(max(miss[at], false_alarm[at]), curve, thresholds[at], miss[at], false_alarm[at])


def _at_threshold(curve: ErrorCurve) -> EqualError:
    # Candidate thresholds are the scores, so "accept all" is not among them.
    apart = np.abs(curve.missed * curve.nontargets - curve.accepted * curve.targets)[1:]
    at = int(np.argmin(apart)) + 1
    miss = float(curve.missed[at] / curve.targets)
    false_alarm = float(curve.accepted[at] / curve.nontargets)
    return _found((miss + false_alarm) / 2, curve, curve.thresholds[at], miss, false_alarm)


def _found(
    value: float, curve: ErrorCurve, threshold: float, miss: float, false_alarm: float
) -> EqualError:
    if not np.isfinite(threshold):  # "accept all": any score below the lowest
        threshold = np.nextafter(curve.thresholds[1], -np.inf)
    return EqualError(float(value), float(threshold), float(miss), float(false_alarm))
