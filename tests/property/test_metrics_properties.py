"""What must hold of error rates for any scores, ties included."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voxstrata.metrics.curve import error_curve, thinned
from voxstrata.metrics.dcf import DetectionCost
from voxstrata.metrics.eer import DEFINITIONS, eer, equal_error

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=30)


@given(scores, scores)
def test_rates_are_steps_between_accepting_and_rejecting_all(same, other) -> None:
    curve = error_curve(same, other)
    assert (curve.miss[0], curve.false_alarm[0]) == (0, 1)
    assert (curve.miss[-1], curve.false_alarm[-1]) == (1, 0)
    assert (np.diff(curve.miss) >= 0).all()
    assert (np.diff(curve.false_alarm) <= 0).all()
    assert len(curve.thresholds) == len(set(same) | set(other)) + 1


@given(scores, scores, st.randoms())
def test_only_the_order_of_scores_counts(same, other, random) -> None:
    shuffled = random.sample(same, len(same)), random.sample(other, len(other))
    for definition in DEFINITIONS:
        value = eer(same, other, definition)
        assert 0 <= value <= 1
        assert eer(*shuffled, definition) == value
        assert eer(np.arctan(same), np.arctan(other), definition) == value


@given(scores, scores)
def test_interpolated_lies_between_the_points_around_it(same, other) -> None:
    curve = error_curve(same, other)
    found = equal_error(curve)
    at = int(np.argmax(curve.miss >= curve.false_alarm))
    assert curve.miss[at - 1] - 1e-12 <= found.value <= curve.miss[at] + 1e-12
    assert curve.false_alarm[at] - 1e-12 <= found.value <= curve.false_alarm[at - 1] + 1e-12
    assert abs(found.miss - found.false_alarm) < 1e-12
    swapped = eer(-np.array(other), -np.array(same))
    assert abs(swapped - found.value) < 1e-12


@given(scores, scores, st.data())
def test_weights_are_copies(same, other, data) -> None:
    count = len(same) + len(other)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    first, second = times[: len(same)], times[len(same) :]
    if not (first.any() and second.any()):
        return
    weighted = error_curve(same, other, times)
    copied = error_curve(np.repeat(same, first), np.repeat(other, second))
    for definition in DEFINITIONS:
        value = equal_error(copied, definition).value
        assert abs(equal_error(weighted, definition).value - value) < 1e-12
    cost = DetectionCost(0.2)
    assert abs(cost.least(weighted)[0] - cost.least(copied)[0]) < 1e-12


@given(scores, scores, st.floats(0.01, 0.99))
def test_the_least_cost_is_at_most_that_of_deciding_blindly(same, other, p) -> None:
    least, threshold = DetectionCost(p).least(error_curve(same, other))
    assert 0 <= least <= 1 + 1e-12
    miss = np.mean(np.array(same) <= threshold)
    alarm = np.mean(np.array(other) > threshold)
    assert abs(least - (p * miss + (1 - p) * alarm) / min(p, 1 - p)) < 1e-9


@given(scores, scores, st.integers(3, 12))
def test_a_thinned_curve_is_part_of_the_whole(same, other, points) -> None:
    curve = error_curve(same, other)
    thresholds, miss, alarm = thinned(curve, points)
    assert len(thresholds) <= points
    whole = set(zip(curve.thresholds, curve.miss, curve.false_alarm, strict=True))
    assert set(zip(thresholds, miss, alarm, strict=True)) <= whole
    assert (miss[0], alarm[0], miss[-1], alarm[-1]) == (0, 1, 1, 0)
