"""EER, minDCF and curves on cases worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from voxstrata.errors import NumericsError, ShapeError, UnknownNameError, UsageError
from voxstrata.metrics.curve import SortedTrials, corners, error_curve, thinned
from voxstrata.metrics.dcf import DetectionCost, min_dcf
from voxstrata.metrics.eer import DEFINITIONS, eer, eer_threshold, equal_error


def _scores(seed: int, targets: int = 40, others: int = 300, ties: bool = False):
    rng = np.random.default_rng(seed)
    same, other = rng.normal(1.5, 1, targets), rng.normal(0, 1, others)
    return (np.round(same, 1), np.round(other, 1)) if ties else (same, other)


def _by_hand(same: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates at every threshold, counted one by one."""
    thresholds = [-np.inf, *np.unique(np.concatenate([same, other]))]
    miss = np.array([(same <= t).mean() for t in thresholds])
    alarm = np.array([(other > t).mean() for t in thresholds])
    return miss, alarm


def test_a_case_by_hand() -> None:
    # 2 of 4 targets and 1 of 4 others on the wrong side of 0.5.
    same, other = [0.2, 0.4, 0.8, 0.9], [0.1, 0.15, 0.3, 0.7]
    miss, alarm = _by_hand(np.array(same), np.array(other))
    curve = error_curve(same, other)
    np.testing.assert_array_equal(curve.miss, miss)
    np.testing.assert_array_equal(curve.false_alarm, alarm)
    # Rejecting up to 0.2 misses 1/4 and accepts 2/4; up to 0.3: 1/4 and 1/4.
    assert eer(same, other) == 0.25
    assert eer_threshold(same, other) == pytest.approx(0.3)
    assert eer(same, other, "mean") == 0.25
    assert eer(same, other, "max") == 0.25


def test_between_two_points_the_definitions_differ() -> None:
    # Up to 1: miss 0, alarm 2/3; up to 2: miss 1/2, alarm 2/3; up to 3: 1/2 and 1/3.
    same, other = [2, 5], [1, 3, 4]
    assert eer(same, other) == pytest.approx(0.5)  # where miss is 1/2, between 2/3 and 1/3
    assert eer(same, other, "mean") == pytest.approx((0.5 + 2 / 3) / 2)
    # 1/2 and 1/3 lies on the straight line from 0 to 2/3 of false alarms, and is left out.
    assert eer(same, other, "max") == pytest.approx(2 / 3)


def test_perfect_reversed_and_constant_scores() -> None:
    for definition in DEFINITIONS:
        assert eer([3, 4], [1, 2], definition) == 0
        assert np.isfinite(eer_threshold([3, 4], [1, 2], definition))
    assert 2 <= eer_threshold([3, 4], [1, 2]) < 3
    assert eer([1, 2], [3, 4]) == 1
    assert eer([1, 1], [1, 1, 1]) == pytest.approx(0.5)
    assert min_dcf([1, 1], [1, 1, 1]) == 1


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_max_is_what_scikit_learns_curve_gives(seed: int, ties: bool) -> None:
    same, other = _scores(seed, ties=ties)
    labels = np.r_[np.ones(len(same)), np.zeros(len(other))]
    false_alarm, hit, _ = roc_curve(labels, np.r_[same, other], pos_label=1)
    at = np.nanargmin(np.abs(1 - hit - false_alarm))
    expected = max(1 - hit[at], false_alarm[at])
    assert eer(same, other, "max") == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_interpolated_and_mean_by_search(seed: int) -> None:
    same, other = _scores(seed, ties=seed % 2 == 1)
    miss, alarm = _by_hand(same, other)
    after = int(np.argmax(miss >= alarm))
    before = after - 1
    share = (alarm[before] - miss[before]) / (
        alarm[before] - miss[before] + miss[after] - alarm[after]
    )
    expected = miss[before] + share * (miss[after] - miss[before])
    assert eer(same, other) == pytest.approx(expected, abs=1e-12)
    nearest = int(np.argmin(np.round(np.abs(miss - alarm)[1:], 12))) + 1
    assert eer(same, other, "mean") == pytest.approx((miss[nearest] + alarm[nearest]) / 2)


def test_interpolated_is_symmetric_and_scale_free() -> None:
    same, other = _scores(3)
    assert eer(-other, -same) == pytest.approx(eer(same, other), abs=1e-12)
    assert eer(np.exp(same), np.exp(other)) == pytest.approx(eer(same, other), abs=1e-12)


def test_large_gaussian_samples_reach_the_textbook_value() -> None:
    rng = np.random.default_rng(0)
    same, other = rng.normal(2, 1, 200_000), rng.normal(0, 1, 200_000)
    for definition in DEFINITIONS:
        assert eer(same, other, definition) == pytest.approx(norm.cdf(-1), abs=2e-3)
    assert eer_threshold(same, other) == pytest.approx(1.0, abs=0.01)


def test_weights_stand_for_copies() -> None:
    same, other = _scores(1, 20, 60, ties=True)
    rng = np.random.default_rng(5)
    times = rng.integers(0, 4, 80)
    copied = np.repeat(same, times[:20]), np.repeat(other, times[20:])
    weighted = error_curve(same, other, times)
    for definition in DEFINITIONS:
        value = equal_error(weighted, definition).value
        assert value == pytest.approx(eer(*copied, definition), abs=1e-12), definition
    cost = DetectionCost(0.1)
    assert cost.least(weighted)[0] == pytest.approx(min_dcf(*copied, 0.1), abs=1e-12)


def test_detection_cost_by_hand() -> None:
    same, other = [0.2, 0.4, 0.8, 0.9], [0.1, 0.15, 0.3, 0.7]
    # Reject up to 0.7: miss 1/2, no alarm: (0.01 / 2) / 0.01.
    assert min_dcf(same, other, 0.01) == pytest.approx(0.5)
    assert min_dcf(same, other, 0.01, normalise=False) == pytest.approx(0.005)
    # Dear misses, p = 1/2: reject up to 0.15: miss 0, alarm 1/2.
    assert min_dcf(same, other, 0.5, c_miss=10, normalise=False) == pytest.approx(0.25)
    assert DetectionCost(0.01).least(error_curve(same, other))[1] == pytest.approx(0.7)


def test_thinned_curves_keep_their_shape() -> None:
    same, other = _scores(2, 3000, 20_000)
    curve = error_curve(same, other)
    thresholds, miss, alarm = thinned(curve, 200)
    assert len(miss) <= 200
    assert (miss[0], alarm[0], miss[-1], alarm[-1]) == (0, 1, 1, 0)
    assert np.all(np.diff(thresholds[1:]) > 0)
    grid = np.linspace(0.01, 0.3, 50)
    whole = np.interp(grid, curve.miss, curve.false_alarm)
    np.testing.assert_allclose(np.interp(grid, miss, alarm), whole, atol=6e-3)
    nearest = np.abs(miss - alarm).min()
    assert nearest == pytest.approx(np.abs(curve.miss - curve.false_alarm).min(), abs=1e-3)
    assert len(corners(curve)) < len(curve.miss)
    few = error_curve([1.0, 2.0], [0.0, 1.5])
    assert len(thinned(few)[0]) == len(few.miss)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="both kinds"):
        eer([], [1.0])
    with pytest.raises(NumericsError, match="finite"):
        eer([np.nan], [1.0])
    with pytest.raises(UnknownNameError, match="interpolated"):
        eer([1.0], [0.0], "middle")  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        SortedTrials([1.0, 2.0], [True])
    for bad in ({"p_target": 0.0}, {"p_target": 1.0}, {"c_fa": 0.0}):
        with pytest.raises(UsageError):
            DetectionCost(**bad)
    with pytest.raises(UsageError, match="points"):
        thinned(error_curve([1.0], [0.0]), 2)
    with pytest.raises(UsageError, match="weight"):
        error_curve([1.0], [0.0], [0, 1])
