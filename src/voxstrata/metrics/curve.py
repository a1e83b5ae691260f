"""Misses and false alarms at every threshold: what EER, minDCF, DET and ROC are read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError

Floats = NDArray[np.float64]
Weights = NDArray[Any]
"""Whole numbers (how often a trial counts) or floats; [N] or cumulated."""


@dataclass(frozen=True)
class ErrorCurve:
    """Errors at all K + 1 operating points, from "accept all" to "reject all".

    Point k accepts the trials whose score is **above** ``thresholds[k]``. Trials of equal score
    are accepted or rejected together, so the order in which they were given does not matter.

    Attributes:
        thresholds: [K + 1], rising; -inf, then every distinct score.
        missed: [K + 1]; weight of the target trials that are rejected.
        accepted: [K + 1]; weight of the non-target trials that are accepted.
        targets, nontargets: total weights.
    """

    thresholds: Floats
    missed: Weights
    accepted: Weights
    targets: float
    nontargets: float

    @property
    def miss(self) -> Floats:
        """Miss rate (FNR, FRR) at each point, rising from 0 to 1."""
        return np.asarray(self.missed / self.targets, dtype=np.float64)

    @property
    def false_alarm(self) -> Floats:
        """False-alarm rate (FPR, FAR) at each point, falling from 1 to 0."""
        return np.asarray(self.accepted / self.nontargets, dtype=np.float64)


class SortedTrials:
    """Scores sorted once, so that curves under many weightings cost a sum each.

    Args:
        scores: [N], higher for "same speaker".
        target: [N], whether the trial is one of the same speaker.

    Raises:
        ShapeError: the two do not fit each other.
        NumericsError: a score is NaN or infinite.
        UsageError: there are no target or no non-target trials.
    """

    def __init__(self, scores: ArrayLike, target: ArrayLike) -> None:
        values = np.asarray(scores, dtype=np.float64)
        labels = np.asarray(target)
        if values.ndim != 1 or labels.shape != values.shape:
            raise ShapeError(
                "scores and labels of trials do not fit each other",
                got=f"{values.shape} and {labels.shape}",
                expected="two arrays of the same length",
            )
        labels = labels.astype(bool)
        bad = ~np.isfinite(values)
        if bad.any():
            raise NumericsError(
                "scores of trials must be finite",
                got=f"{int(bad.sum())} of {len(values)} NaN or infinite",
                fix="look for embeddings that are all zero or not finite",
            )
        if not labels.any() or labels.all():
            raise UsageError(
                "error rates need trials of both kinds",
                got=f"{int(labels.sum())} target and {int((~labels).sum())} non-target trials",
                expected="at least one of each",
            )
        self.order = np.argsort(values, kind="stable")
        """Positions of the trials by rising score, [N]."""
        ranked = values[self.order]
        self.target = labels[self.order]
        """Labels in that order, [N]."""
        last = np.append(ranked[1:] != ranked[:-1], True)
        self._ends = None if last.all() else np.flatnonzero(last)
        self.thresholds = np.concatenate([[-np.inf], ranked[last]])

    def curve(self, weights: Weights | None = None) -> ErrorCurve:
        """The curve with each trial counted ``weights`` times.

        Args:
            weights: [N], in the order of rising scores (``weights[trials.order]``); ``None``
                counts each once.

        Raises:
            UsageError: the weights of all target or of all non-target trials are zero.
        """
        ones = np.ones(len(self.target), dtype=np.int64) if weights is None else weights
        targets = np.cumsum(ones * self.target)
        both = np.cumsum(ones)
        if self._ends is not None:
            targets, both = targets[self._ends], both[self._ends]
        nontargets = both - targets
        if not (targets[-1] > 0 and nontargets[-1] > 0):
            raise UsageError("error rates need target and non-target trials of positive weight")
        missed, accepted = np.empty((2, len(targets) + 1), dtype=targets.dtype)
        missed[0], missed[1:] = 0, targets
        accepted[0], accepted[1:] = nontargets[-1], nontargets[-1] - nontargets
        return ErrorCurve(
            self.thresholds, missed, accepted, float(targets[-1]), float(nontargets[-1])
        )


def error_curve(
    target_scores: ArrayLike, nontarget_scores: ArrayLike, weights: ArrayLike | None = None
) -> ErrorCurve:
    """The curve of two sets of scores.

    Args:
        target_scores: [N1], of trials of the same speaker.
        nontarget_scores: [N2], of trials of two speakers.
        weights: [N1 + N2], how often each trial counts, targets first; ``None`` for once.

    Raises:
        as :class:`SortedTrials`.
    """
    same = np.asarray(target_scores, dtype=np.float64).reshape(-1)
    other = np.asarray(nontarget_scores, dtype=np.float64).reshape(-1)
    labels = np.concatenate([np.ones(len(same), dtype=bool), np.zeros(len(other), dtype=bool)])
    trials = SortedTrials(np.concatenate([same, other]), labels)
    return trials.curve(None if weights is None else np.asarray(weights)[trials.order])


def corners(curve: ErrorCurve) -> NDArray[np.int64]:
    """Positions of the points at which the curve turns, ends included: the others lie on
    straight lines between them."""
    missed, accepted = curve.missed, curve.accepted
    moved = np.append(True, (np.diff(missed) != 0) | (np.diff(accepted) != 0))
    places: NDArray[np.int64] = np.flatnonzero(moved)
    if len(places) < 3:
        return places
    a, b = np.diff(missed[places]), np.diff(accepted[places])
    # Two steps go the same way where their cross product is zero.
    turns = a[1:] * b[:-1] != a[:-1] * b[1:]
    kept: NDArray[np.int64] = places[np.concatenate([[True], turns, [True]])]
    return kept


def thinned(curve: ErrorCurve, points: int = 400) -> tuple[Floats, Floats, Floats]:
    """A curve to draw: few points, evenly spaced along the line of a DET plot.

    Args:
        curve: the curve.
        points: how many at most (3 or more).

    Returns:
        thresholds, miss rates and false-alarm rates, [at most ``points``] each; both ends, the
        point next to the equal error rate and otherwise corners of the curve.
    """
    if points < 3:
        raise UsageError("a drawn curve needs points", got=points, expected="3 or more")
    kept = corners(curve)
    if len(kept) > points:
        from scipy.special import ndtri

        # Half a trial keeps 0 and 1 on the paper, where their deviates are infinite.
        edges = [0.5 / curve.targets, 0.5 / curve.nontargets]
        x = [
            ndtri(np.clip(rate[kept], edge, 1 - edge))
            for rate, edge in zip((curve.miss, curve.false_alarm), edges, strict=True)
        ]
        along = np.append(0.0, np.cumsum(np.hypot(np.diff(x[0]), np.diff(x[1]))))
        near = int(np.argmin(np.abs(curve.miss[kept] - curve.false_alarm[kept])))
        wanted = np.searchsorted(along, np.linspace(0, along[-1], points - 1))
        kept = kept[np.unique(np.append(np.minimum(wanted, len(kept) - 1), near))]
    return curve.thresholds[kept], curve.miss[kept], curve.false_alarm[kept]
