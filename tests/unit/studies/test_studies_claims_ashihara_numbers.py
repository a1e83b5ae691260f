"""Numbers with intervals: against formulas, brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from voxstrata.studies.claims.numbers import (
    Number,
    far,
    greatest,
    less,
    lowest,
    mean,
    orders,
    pairs_needed,
    spearman,
    weighted,
)


def test_difference_of_independent_numbers_is_the_normal_approximation() -> None:
    """Symmetric intervals: half widths add as squares; more speakers are no more than the least."""
    found = less(Number(0.9, 0.87, 0.93, 40), Number(0.5, 0.46, 0.54, 30))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((0.35, 0.45))
    assert found.n == 30


def test_difference_uses_the_side_that_matters() -> None:
    """The low end needs the first's lower side and the other's upper one."""
    found = less(Number(0.5, 0.2, 0.51), Number(0.1, 0.09, 0.5))
    assert found.low == pytest.approx(0.4 - math.hypot(0.3, 0.4))
    assert found.high == pytest.approx(0.4 + math.hypot(0.01, 0.01))


def test_no_interval_where_one_side_has_none() -> None:
    assert not less(Number(0.5), Number(0.1, 0.0, 0.2)).has_interval
    assert not mean([Number(0.5), Number(0.1, 0.0, 0.2)]).has_interval


def test_mean_covers_numbers_that_go_together() -> None:
    """Errors that are the same in all numbers: the interval of the mean must cover 95 %."""
    rng = np.random.default_rng(3)
    half = 1.959964
    covered = 0
    for _ in range(2000):
        error = rng.normal()
        held = mean([Number(error, error - half, error + half) for _ in range(4)])
        covered += held.low <= 0 <= held.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_weights_of_either_sign_add_half_widths() -> None:
    found = weighted([1.0, 2.0, 9.0], [0.9, 1.7, math.nan], [1.2, 2.1, math.nan], [2.0, -1.0, 0.0])
    assert found.value == pytest.approx(0.0)
    assert found.low == pytest.approx(-2 * 0.1 - 0.1)
    assert found.high == pytest.approx(2 * 0.2 + 0.3)


def test_least_and_greatest() -> None:
    held = [Number(0.3, 0.1, 0.5), Number(0.2, 0.15, 0.25)]
    assert lowest(held) == Number(0.2, 0.1, 0.25)
    assert greatest(held) == Number(0.3, 0.15, 0.5)


def test_far_end_of_a_null_is_on_the_side_of_the_value() -> None:
    null = np.arange(1, 101) / 100
    assert far(null, 1.0) == pytest.approx(0.95)  # five of a hundred are greater
    assert far(null, -1.0) == pytest.approx(0.06)
    assert far([1.0, 2.0, 3.0], 1.0) == 3.0  # of three deals none may be greater
    assert math.isnan(far([], 1.0))


def test_orders_are_all_or_drawn() -> None:
    assert {tuple(o) for o in orders(3, 6, 0).tolist()} == {
        *((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    }
    drawn = orders(9, 50, 1)
    assert drawn.shape == (50, 9)
    assert (np.sort(drawn, axis=1) == np.arange(9)).all()
    assert (drawn == orders(9, 50, 1)).all()


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 20), rng.integers(0, 6, 20)
    assert spearman(x, y).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_interval_of_spearman_covers_a_true_correlation() -> None:
    """Normal pairs with r = 0.5 have rho = 6 / pi asin(r / 2) = 0.483."""
    rng = np.random.default_rng(1)
    true = 6 / math.pi * math.asin(0.25)
    covered = 0
    for _ in range(600):
        x = rng.normal(size=25)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=25)
        found = spearman(x, y)
        covered += found.low <= true <= found.high
    assert 0.92 < covered / 600 < 0.98


def test_perfect_order_of_few_models_is_no_certainty() -> None:
    five = spearman(range(5), range(5))
    assert five.value == pytest.approx(1)
    assert five.high == five.value
    assert five.low < 0.5
    assert not spearman(range(3), range(3)).has_interval
    assert math.isnan(spearman([1, 1, 1, 1], range(4)).value)


@pytest.mark.parametrize("rho", [0.0, 0.2, -0.35])
def test_models_needed_are_the_fewest(rho: float) -> None:
    """From the interval's formula: with as many it lies within the bound, with one fewer not."""
    bound = 0.5
    n = pairs_needed(rho, bound)
    assert n is not None

    def reach(pairs: int) -> float:
        half = 1.959963984540054 * math.sqrt((1 + rho**2 / 2) / (pairs - 3))
        return math.tanh(math.atanh(abs(rho)) + half)

    assert reach(n) < bound <= reach(n - 1)
    assert pairs_needed(0.5, bound) is None
