"""Group jackknife and folds of whole groups."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.errors import ShapeError, UsageError, VoxstrataWarning
from voxstrata.numerics.jackknife import assign_folds, fold_of_rows, jackknife


def means_without(rows: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    folds = range(fold.max() + 1)
    return np.array([rows[fold != f].mean() for f in folds]), np.bincount(fold)


def test_equal_folds_are_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    rows, fold = rng.normal(size=120), np.arange(120) % 10
    parts, sizes = means_without(rows, fold)
    out = jackknife(rows.mean(), parts, sizes)
    expected = np.sqrt(9 / 10 * ((parts - parts.mean()) ** 2).sum())
    assert out.error == pytest.approx(expected, rel=1e-12)
    half = 2.2621571627409915 * expected  # Student's t, 9 degrees of freedom, 97.5 %
    assert out.high - out.value == pytest.approx(half, rel=1e-9)
    assert out.value - out.low == pytest.approx(half, rel=1e-9)


def test_deleting_single_rows_gives_the_standard_error_of_the_mean() -> None:
    rows = np.random.default_rng(1).normal(size=40)
    parts, sizes = means_without(rows, np.arange(40))
    assert jackknife(rows.mean(), parts, sizes).error == pytest.approx(
        rows.std(ddof=1) / np.sqrt(40), rel=1e-12
    )


def test_unequal_folds_cover() -> None:
    """95 % intervals of a mean of grouped rows, groups of 1 to 30 rows, cover about as often."""
    rng = np.random.default_rng(2)
    hits = 0
    trials = 400
    for _ in range(trials):
        sizes = rng.integers(1, 30, 40)
        rows = np.repeat(rng.normal(size=40), sizes) + rng.normal(size=sizes.sum())
        groups = np.repeat(np.arange(40), sizes)
        folds = fold_of_rows(groups.tolist(), assign_folds(groups.tolist(), 10, seed=3))
        out = jackknife(rows.mean(), *means_without(rows, folds))
        hits += bool(out.low <= 0 <= out.high)
    assert 0.90 < hits / trials <= 0.99


def test_ignoring_groups_is_overconfident() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 20)
    rows = np.repeat(rng.normal(size=30), 20) + 0.1 * rng.normal(size=600)
    by_group = fold_of_rows(groups.tolist(), assign_folds(groups.tolist(), 10))
    honest = jackknife(rows.mean(), *means_without(rows, by_group)).error
    naive = jackknife(rows.mean(), *means_without(rows, np.arange(600) % 10)).error
    assert honest > 2 * naive


def test_arrays_and_bounds() -> None:
    value = np.array([[0.99, 0.5], [0.0, np.nan]])
    replicates = value + np.linspace(-0.05, 0.05, 4)[:, None, None]
    out = jackknife(value, replicates, [1, 1, 1, 1], bounds=(0.0, 1.0))
    assert out.error.shape == (2, 2)
    assert out.high[0, 0] == 1.0
    assert out.low[1, 0] == 0.0
    assert np.isnan(out.low[1, 1])
    assert out.low[0, 1] < 0.5 < out.high[0, 1]


def test_jackknife_refuses() -> None:
    with pytest.raises(UsageError, match="two folds"):
        jackknife(1.0, [1.0], [3])
    with pytest.raises(UsageError, match="two folds"):
        jackknife(1.0, [1.0, 2.0], [3, 0])
    with pytest.raises(ShapeError):
        jackknife([1.0, 2.0], [[1.0], [2.0]], [1, 1])
    with pytest.raises(UsageError, match="coverage"):
        jackknife(1.0, [1.0, 2.0], [1, 1], level=95)


def test_folds_keep_groups_whole_and_balanced() -> None:
    rng = np.random.default_rng(0)
    groups = [f"spk{g}" for g in rng.integers(0, 200, 5000)]
    weights = rng.gamma(2.0, 3.0, 5000)
    chosen = assign_folds(groups, 10, seed=1, weights=weights)
    assert set(chosen) == set(groups)
    fold = fold_of_rows(groups, chosen)
    load = np.bincount(fold, weights=weights)
    assert len(load) == 10
    assert load.max() / load.min() < 1.02


def test_folds_depend_on_seed_but_not_on_order() -> None:
    groups = [f"u{i}" for i in range(60)]
    weights = [float(1 + i % 7) for i in range(60)]
    first = assign_folds(groups, 5, seed=4, weights=weights)
    again = assign_folds(groups[::-1], 5, seed=4, weights=weights[::-1])
    assert first == again
    assert first != assign_folds(groups, 5, seed=5, weights=weights)


def test_folds_are_reduced_with_a_warning_and_refused_below_two() -> None:
    with pytest.warns(VoxstrataWarning, match="only 3 groups"):
        chosen = assign_folds(["a", "b", "c", "a"], 10)
    assert sorted(chosen.values()) == [0, 1, 2]
    with pytest.raises(UsageError, match="two independent groups"):
        assign_folds(["a", "a"], 2)
    with pytest.raises(UsageError, match="two folds"):
        assign_folds(["a", "b"], 1)
    with pytest.raises(ShapeError):
        assign_folds(["a", "b"], 2, weights=[1.0])
    with pytest.raises(UsageError, match="finite"):
        assign_folds(["a", "b"], 2, weights=[1.0, np.nan])


def test_groups_without_weight_still_fill_folds() -> None:
    chosen = assign_folds(list("abcd"), 4, weights=[0, 0, 0, 1])
    assert sorted(chosen.values()) == [0, 1, 2, 3]
