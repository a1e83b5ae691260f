"""Diarisation errors drawn on paper, and frames turned into turns."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.metrics.diarization import (
    DiarizationErrors,
    activity_turns,
    diarization_errors,
    total_errors,
)

REFERENCE = [(0.0, 10.0, "ann"), (8.0, 14.0, "bob"), (20.0, 24.0, "ann")]


def _parts(found: DiarizationErrors) -> tuple[float, float, float, float]:
    return found.miss, found.false_alarm, found.confusion, found.speech


def test_one_recording_by_hand() -> None:
    """Speech: 10 + 6 + 4 = 20 s. With x for ann and y for bob:

    0-1 ann, nobody: miss 1. 1-8 ann, x: right. 8-10 ann and bob, x alone: miss 2. 10-12 bob, x:
    confusion 2. 12-14 bob, y: right. 14-16 nobody, y: false alarm 2. 20-23 ann, y: confusion 3.
    23-24 ann, x and y: x is right, false alarm 1.
    Mapping: ann-x shares 9 + 1, ann-y 4, bob-x 4, bob-y 2: 10 + 2 beats 4 + 4.
    """
    hypothesis = [(1.0, 12.0, "x"), (12.0, 16.0, "y"), (20.0, 24.0, "y"), (23.0, 24.0, "x")]
    found = diarization_errors(REFERENCE, hypothesis)
    assert _parts(found) == (3, 3, 5, 20)
    assert found.rate == 11 / 20
    assert dict(found.mapping) == {"x": "ann", "y": "bob"}


def test_a_mapping_serves_all_speakers_together() -> None:
    """a-x share 6 s, a-y 5, b-x 5, b-y none: a-x leaves b alone (6), a-y and b-x have 10."""
    reference = [(0, 11, "a"), (11, 16, "b")]
    hypothesis = [(0, 6, "x"), (6, 11, "y"), (11, 16, "x")]
    found = diarization_errors(reference, hypothesis)
    assert dict(found.mapping) == {"y": "a", "x": "b"}
    assert _parts(found) == (0, 0, 6, 16)


def test_a_collar_leaves_out_both_sides_of_reference_boundaries() -> None:
    """Boundaries 0, 10, 8, 14, 20, 24 with half a second on either side.

    Left of ann 0.5-7.5, 8.5-9.5 (with bob) and 20.5-23.5, of bob 8.5-9.5 and 10.5-13.5: 15 s. One
    speaker x all the time from 0 to 24 is ann: 8.5-9.5 misses bob (1), 10.5-13.5 is confused (3),
    14.5-19.5 is a false alarm (5).
    """
    found = diarization_errors(REFERENCE, [(0.0, 24.0, "x")], collar=0.5)
    assert _parts(found) == (1, 5, 3, 15)
    whole = diarization_errors(REFERENCE, [(0.0, 24.0, "x")])
    assert _parts(whole) == (2, 6, 4, 20)


def test_speakers_are_mapped_before_collars_are_cut() -> None:
    """x shares 2.0 s with a, of which the collar leaves 1.0, and 1.9 s with b, all of it away from
    boundaries: md-eval maps x to a all the same."""
    reference = [(0.0, 2.0, "a"), (10.0, 20.0, "b")]
    hypothesis = [(0.0, 2.0, "x"), (14.0, 15.9, "x")]
    found = diarization_errors(reference, hypothesis, collar=0.5)
    assert dict(found.mapping) == {"x": "a"}
    assert found.confusion == pytest.approx(1.9)


def test_only_regions_are_scored() -> None:
    found = diarization_errors(REFERENCE, [(0.0, 30.0, "x")], regions=[(5.0, 9.0), (22.0, 26.0)])
    assert _parts(found) == (1, 2, 0, 7)  # bob from 8 to 9; 24 to 26; 4 + 1 + 2 s of speech


def test_turns_of_a_speaker_that_overlap_or_touch_are_one() -> None:
    split = [(0, 4, "ann"), (3, 7, "ann"), (7, 10, "ann"), (5, 5, "ann"), *REFERENCE[1:]]
    hypothesis = [(1.0, 12.0, "x"), (12.0, 16.0, "y")]
    for collar in (0.0, 0.25):
        found = diarization_errors(split, hypothesis, collar=collar)
        assert found == diarization_errors(REFERENCE, hypothesis, collar=collar)


def test_silence_and_nothing() -> None:
    assert _parts(diarization_errors(REFERENCE, [])) == (20, 0, 0, 20)
    assert _parts(diarization_errors([], [(1.0, 3.0, "x")])) == (0, 2, 0, 0)
    assert _parts(diarization_errors([], [])) == (0, 0, 0, 0)
    with pytest.raises(UsageError, match="needs reference speech"):
        _ = diarization_errors([], [(1.0, 3.0, "x")]).rate


def test_more_speakers_than_there_are() -> None:
    hypothesis = [(i, i + 1, f"s{i}") for i in range(10)]
    found = diarization_errors([(0, 10, "a")], hypothesis)
    assert _parts(found) == (0, 0, 9, 10)


def test_recordings_are_summed_and_mapped_apart() -> None:
    one = diarization_errors([(0, 4, "a")], [(0, 3, "x")])
    two = diarization_errors([(0, 6, "b")], [(0, 8, "x")])
    both = total_errors([one, two])
    assert _parts(both) == (1, 2, 0, 10)
    assert both.rate == 0.3
    assert total_errors([]).errors == 0


def test_frames_become_turns_as_in_the_protocol() -> None:
    """Above 0.5, not at it; frames of 20 ms; the end is that of the last frame."""
    activity = np.array([[0.9, 0.5], [0.6, 0.6], [0.1, 0.7], [0.8, 0.0]])
    found = activity_turns(activity, 0.02)
    assert found == [(0.0, 0.04, "0"), (0.06, 0.08, "0"), (0.02, 0.06, "1")]
    named = activity_turns(activity, 0.5, threshold=0.65, speakers=["a", "b"], start_s=10)
    assert named == [(10.0, 10.5, "a"), (11.5, 12.0, "a"), (11.0, 11.5, "b")]
    assert activity_turns(np.zeros((5, 2)), 0.02) == []
    assert activity_turns(np.zeros((0, 2)), 0.02, median=11) == []


@pytest.mark.filterwarnings("ignore:kernel_size exceeds")
@pytest.mark.parametrize("median", [1, 3, 11])
def test_the_median_filter_is_scipy_s(median: int) -> None:
    from scipy.signal import medfilt

    rng = np.random.default_rng(median)
    for length in (1, 4, 7, 200):
        activity = rng.random((length, 3))
        smooth = medfilt((activity > 0.4).astype(float), (median, 1))
        turns = activity_turns(activity, 1.0, threshold=0.4, median=median)
        again = np.zeros_like(activity)
        for start, end, name in turns:
            again[int(start) : int(end), int(name)] += 1
        np.testing.assert_array_equal(again, smooth)


def test_what_is_no_turn_is_refused() -> None:
    with pytest.raises(UsageError, match="turn of the hypothesis ends before"):
        diarization_errors(REFERENCE, [(2.0, 1.0, "x")])
    with pytest.raises(NumericsError, match="turn of the reference"):
        diarization_errors([(0.0, float("nan"), "x")], [])
    with pytest.raises(UsageError, match="collar"):
        diarization_errors(REFERENCE, [], collar=-0.1)
    with pytest.raises(ShapeError, match="activities"):
        activity_turns(np.zeros(4), 0.02)
    with pytest.raises(ShapeError, match="activities"):
        activity_turns(np.zeros((4, 2)), 0.02, speakers=["a"])
    with pytest.raises(UsageError, match="odd number"):
        activity_turns(np.zeros((4, 2)), 0.02, median=2)
    with pytest.raises(NumericsError, match="NaN"):
        activity_turns(np.full((4, 2), np.nan), 0.02)
