"""Diarisation error rate: who spoke when, against turns of the reference.

At every moment with r reference and h hypothesis speakers, of whom c are the same by the mapping of
speakers, max(0, r - h) speakers are missed, max(0, h - r) are false alarms and min(r, h) - c are
confused. The rate is the time of all three by the time of reference speakers (NIST Rich
Transcription; ``md-eval.pl``, which SUPERB calls through dscore). Speech of several speakers counts
for each of them, so the rate can exceed 1.

Times are compared as they are: between two boundaries of turns nothing changes, so the sums are of
whole intervals and no frames are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError

Floats = NDArray[np.float64]

Turn = tuple[float, float, str]
"""Start and end in seconds, and the speaker's name."""


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of speakers in one recording, or in several together.

    Attributes:
        miss, false_alarm, confusion: of speakers not found, not there, and taken for another.
        speech: of reference speakers.
        mapping: reference speaker of each hypothesis speaker that has one (of one recording).
    """

    miss: float
    false_alarm: float
    confusion: float
    speech: float
    mapping: tuple[tuple[str, str], ...] = ()

    @property
    def errors(self) -> float:
        """Seconds of all three errors."""
        return self.miss + self.false_alarm + self.confusion

    @property
    def rate(self) -> float:
        """Errors by reference speaker time, a fraction.

        Raises:
            UsageError: no reference speaker speaks.
        """
        if not self.speech > 0:
            raise UsageError(
                "a diarisation error rate needs reference speech",
                got=f"{self.speech:g} s of it",
                fix="sum several recordings first (total_errors), or leave this one out",
            )
        return self.errors / self.speech


def diarization_errors(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    *,
    collar: float = 0.0,
    regions: Sequence[tuple[float, float]] | None = None,
) -> DiarizationErrors:
    """Errors in one recording.

    The mapping pairs speakers one to one so that they share the most time (Hungarian algorithm),
    over all that is scored but for collars, as ``md-eval.pl`` does. Turns of one speaker that
    overlap or touch are one turn.

    Args:
        reference, hypothesis: turns in any order; speakers' names need not agree.
        collar: seconds on **either** side of each reference boundary that are not scored
            (``pyannote.metrics`` states the sum of both sides).
        regions: stretches to be scored (a UEM); ``None`` for everything.

    Raises:
        UsageError: a turn ends before it begins, or the collar is negative.
        NumericsError: a time is not finite.
    """
    from scipy.optimize import linear_sum_assignment

    if not (collar >= 0 and np.isfinite(collar)):
        raise UsageError("the collar is a time", got=collar, expected="0 or more seconds")
    wanted, found = _by_speaker(reference, "reference"), _by_speaker(hypothesis, "hypothesis")
    edges = np.concatenate([np.empty((0, 2)), *wanted.values()]).reshape(-1)
    unscored = np.stack([edges - collar, edges + collar], axis=1)
    within = None if regions is None else _stretches(regions, "region")
    used = [*wanted.values(), *found.values(), unscored, *([] if within is None else [within])]
    times = np.unique(np.concatenate(used))
    lengths = np.diff(times)
    here = np.stack([_active(turns, times) for turns in wanted.values()] or [lengths < 0])
    there = np.stack([_active(turns, times) for turns in found.values()] or [lengths < 0])
    if within is not None:
        lengths = np.where(_active(within, times), lengths, 0.0)
    shared = (here * lengths) @ there.T
    pairs = [
        (int(i), int(j))
        for i, j in zip(*linear_sum_assignment(shared, maximize=True), strict=True)
        if shared[i, j] > 0
    ]
    if collar:
        lengths = np.where(_active(unscored, times), 0.0, lengths)
    right = sum((here[i] & there[j] for i, j in pairs), np.zeros(len(lengths), dtype=np.int64))
    r, h = here.sum(axis=0), there.sum(axis=0)
    names, others = list(wanted), list(found)
    return DiarizationErrors(
        miss=float(lengths @ np.maximum(r - h, 0)),
        false_alarm=float(lengths @ np.maximum(h - r, 0)),
        confusion=float(lengths @ (np.minimum(r, h) - right)),
        speech=float(lengths @ r),
        mapping=tuple((others[j], names[i]) for i, j in pairs),
    )


def total_errors(parts: Iterable[DiarizationErrors]) -> DiarizationErrors:
    """Errors of several recordings together; speakers are mapped within each."""
    all_parts = list(parts)
    return DiarizationErrors(
        miss=sum(p.miss for p in all_parts),
        false_alarm=sum(p.false_alarm for p in all_parts),
        confusion=sum(p.confusion for p in all_parts),
        speech=sum(p.speech for p in all_parts),
    )


def activity_turns(
    activity: ArrayLike,
    stride_s: float,
    *,
    threshold: float = 0.5,
    median: int = 1,
    start_s: float = 0.0,
    speakers: Sequence[str] | None = None,
) -> list[Turn]:
    """Turns of speakers from activities a frame, as SUPERB makes them (EEND's ``make_rttm.py``).

    Frame t of a speaker is speech where its activity is above the threshold; a median filter over
    time, with silence before and after, then decides by the majority of the frames around it. The
    frame lasts from t to t + 1 strides. Times are not rounded (an RTTM file has two decimals).

    Args:
        activity: probabilities, or 0 and 1, [T, S].
        stride_s: seconds from frame to frame.
        threshold: frames above it are speech. SUPERB tries .3 to .7.
        median: frames of the filter, odd; 1 for none. SUPERB tries 1 and 11.
        start_s: time of the first frame.
        speakers: names of the columns; "0", "1", ... without.

    Raises:
        ShapeError: the activities are no matrix, or names are too few.
        UsageError: a setting is out of range.
        NumericsError: an activity is NaN.
    """
    values = np.asarray(activity, dtype=np.float64)
    if values.ndim != 2 or (speakers is not None and len(speakers) != values.shape[1]):
        raise ShapeError(
            "activities do not fit",
            got=f"{values.shape}" + ("" if speakers is None else f" of {len(speakers)} speakers"),
            expected="[frames, speakers]",
        )
    if median < 1 or median % 2 == 0 or not stride_s > 0:
        raise UsageError(
            "frames must have a length, and a median filter an odd number of them",
            got=f"stride_s={stride_s:g}, median={median}",
        )
    if np.isnan(values).any():
        raise NumericsError("activities of speakers must be numbers", got="NaN")
    names = [str(i) for i in range(values.shape[1])] if speakers is None else speakers
    side = median // 2
    counted = np.cumsum(np.pad(values > threshold, ((side + 1, side), (0, 0))), axis=0)
    speech = np.pad(counted[median:] - counted[:-median] > side, ((1, 1), (0, 0)))
    found: list[Turn] = []
    for name, frames in zip(names, speech.T, strict=True):
        changes = np.flatnonzero(frames[1:] != frames[:-1])
        found += [
            (start_s + int(a) * stride_s, start_s + int(b) * stride_s, name)
            for a, b in changes.reshape(-1, 2)
        ]
    return found


def _stretches(pairs: Sequence[Any], what: str) -> Floats:
    """Starts and ends [n, 2], checked."""
    times = np.array([pair[:2] for pair in pairs], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(times).all():
        raise NumericsError(f"the times of a {what} must be finite", got="NaN or infinite")
    for start, end in times[times[:, 1] < times[:, 0]]:
        raise UsageError(f"a {what} ends before it begins", got=f"{start:g} to {end:g} s")
    return times


def _by_speaker(turns: Sequence[Turn], side: str) -> dict[str, Floats]:
    """Turns of each speaker [n, 2], merged and in order; such without duration are dropped."""
    times = _stretches(turns, f"turn of the {side}")
    names = [str(turn[2]) for turn in turns]
    found = {}
    for name in dict.fromkeys(names):
        own = times[[other == name for other in names]]
        own = own[own[:, 1] > own[:, 0]]
        own = own[np.argsort(own[:, 0], kind="stable")]
        latest = np.maximum.accumulate(own[:, 1])
        fresh = np.append(True, own[1:, 0] > latest[:-1])[: len(own)]
        last = np.append(fresh[1:], True)[: len(own)]
        if len(own):
            found[name] = np.stack([own[fresh, 0], latest[last]], axis=1)
    return found


def _active(stretches: Floats, times: Floats) -> NDArray[np.bool_]:
    """Whether some stretch covers each interval between times, [len(times) - 1]."""
    change = np.zeros(max(len(times), 1), dtype=np.int64)
    np.add.at(change, np.searchsorted(times, stretches[:, 0]), 1)
    np.add.at(change, np.searchsorted(times, stretches[:, 1]), -1)
    covered: NDArray[np.bool_] = np.cumsum(change)[:-1] > 0
    return covered
