"""What must hold of cross-validated CCA whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstrata.similarity.crossval import cross_validate
from voxstrata.similarity.fold_moments import FoldMoments, SweepMoments
from voxstrata.similarity.view_folds import shuffle_within

QUICK = settings(max_examples=20, deadline=None)
SEEDS = st.integers(0, 10_000)


def made(seed: int, n: int = 260) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    d, v = int(rng.integers(3, 9)), int(rng.integers(2, 5))
    x = rng.normal(size=(n, d)) * np.exp(rng.normal(size=d)) + 20 * rng.normal(size=d)
    y = np.tanh(x[:, :2] - x[:, :2].mean(0)) @ rng.normal(size=(2, v)) + rng.normal(size=(n, v))
    return x, y, rng.integers(0, 5, n), rng


def values(m: FoldMoments) -> dict[str, np.ndarray]:
    return {name: one.by_fold for name, one in cross_validate(m).measures.items()}


@QUICK
@given(seed=SEEDS)
def test_invertible_maps(seed: int) -> None:
    """Correlations do not see any; PWCCA sees none of the view that does not weigh."""
    x, y, fold, rng = made(seed)
    base = values(FoldMoments.of(x, y, fold))
    A = rng.normal(size=(x.shape[1],) * 2) + 2 * np.eye(x.shape[1])
    turned = values(FoldMoments.of(x @ A + 5, y, fold))
    B = rng.normal(size=(y.shape[1],) * 2) + 2 * np.eye(y.shape[1])
    other = values(FoldMoments.of(x, y @ B - 3, fold))
    for found, same in ((turned, ("cca-mean", "pwcca-y")), (other, ("cca-mean", "pwcca-x"))):
        for name in same:
            np.testing.assert_allclose(found[name], base[name], atol=1e-6)
    scaled = values(FoldMoments.of(7 * x[:, ::-1] + 1, -2 * y, fold))
    for name in ("pwcca-x", "pwcca-y", "cca-mean", "svcca"):
        np.testing.assert_allclose(scaled[name], base[name], atol=1e-8)


@QUICK
@given(seed=SEEDS)
def test_order_of_rows_batches_and_merges(seed: int) -> None:
    x, y, fold, rng = made(seed)
    shuffled = y[shuffle_within(fold, rng)]
    base = cross_validate(FoldMoments.of(x, y, fold, shuffled))
    order = rng.permutation(len(x))
    cuts = np.sort(rng.integers(0, len(x), 3))
    parts = []
    for index in np.split(order, cuts):
        m = FoldMoments(x.shape[1], y.shape[1], 5, control=True)
        m.update([x[index]], y[index], fold[index], shuffled[index])
        parts.append(m)  # each about a shift of its own
    left = FoldMoments(x.shape[1], y.shape[1], 5, control=True)
    for i in rng.permutation(len(parts)):
        left.merge(parts[i])
    found = cross_validate(left)
    for name in base.measures:
        np.testing.assert_allclose(
            found.measures[name].by_fold, base.measures[name].by_fold, atol=1e-8
        )
        np.testing.assert_allclose(
            found.control[name].by_fold, base.control[name].by_fold, atol=1e-8
        )


@QUICK
@given(seed=SEEDS)
def test_sides_swap_with_the_views(seed: int) -> None:
    x, y, fold, _ = made(seed)
    one, two = values(FoldMoments.of(x, y, fold)), values(FoldMoments.of(y, x, fold))
    np.testing.assert_allclose(one["pwcca-x"], two["pwcca-y"], atol=1e-8)
    np.testing.assert_allclose(one["pwcca"], two["pwcca"], atol=1e-8)


@QUICK
@given(seed=SEEDS)
def test_ranges(seed: int) -> None:
    x, y, fold, _ = made(seed)
    for found in values(FoldMoments.of(x, y, fold)).values():
        assert (np.abs(found) <= 1 + 1e-12).all()
    itself = values(FoldMoments.of(x, x, fold))
    for name in ("pwcca", "cca-mean", "svcca"):
        np.testing.assert_allclose(itself[name], 1.0, atol=1e-7)


@pytest.mark.parametrize("peak", [0, 2, 4])
def test_the_layer_that_carries_most_wins(peak: int) -> None:
    """Five layers carry the view with strength falling from ``peak``; controls stay at zero."""
    rng = np.random.default_rng(peak)
    n = 2000
    labels = rng.integers(0, 6, n)
    y = np.eye(6)[labels][:, :5]
    code = rng.normal(size=(6, 10))
    fold = (np.arange(n) // 20) % 10
    layers = [
        rng.normal(size=(n, 10)) + 1.5 * 0.6 ** abs(k - peak) * code[labels] for k in range(5)
    ]
    sweep = SweepMoments([10] * 5, 5, 10, control=True)
    sweep.update(layers, y, fold, y[shuffle_within(fold, rng)])
    found = [cross_validate(sweep.pair(k)) for k in range(5)]
    curve = [f.measures["pwcca"].value for f in found]
    assert int(np.argmax(curve)) == peak
    ranked = sorted(range(5), key=lambda k: -curve[k])
    assert [abs(k - peak) for k in ranked] == sorted(abs(k - peak) for k in range(5))
    for f in found:
        assert abs(f.control["pwcca"].value) < 4 * max(f.control["pwcca"].error, 0.01)


def test_shuffled_rows_are_zero_on_average_also_with_utterances() -> None:
    """Rows of an utterance alike in both views: a control over the fold is zero all the same."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        utterance = np.repeat(np.arange(20), 15)
        common = rng.normal(size=(20, 3))[utterance]
        x, y = (common + 0.3 * rng.normal(size=common.shape) for _ in range(2))
        fold = utterance % 5
        m = FoldMoments.of(x, y, fold, y[shuffle_within(fold, rng)])
        found.append(cross_validate(m, measures=["pwcca"]).control["pwcca"].value)
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert np.std(found) < 0.15
