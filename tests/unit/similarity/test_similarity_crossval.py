"""Fold moments and cross-validated CCA against plain computations on rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.similarity.crossval import corrected_error, cross_validate
from voxstrata.similarity.crossval_fit import basis, directions, held_out, quick_svd
from voxstrata.similarity.crossval_pasad import (
    cross_validate_pasad,
    draw_eps,
    draw_splits,
    draw_trials,
    search_trial,
)
from voxstrata.similarity.fold_moments import FoldMoments, SweepMoments
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pasad import pasad_fit, pasad_score
from voxstrata.similarity.projection import pwcca_held_out
from voxstrata.similarity.view_folds import QuickView, ViewFolds, shuffle_within


def views(n: int = 600, d: int = 9, v: int = 5, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 40 * rng.normal(size=d)
    y = x[:, :v] @ rng.normal(size=(v, v)) + 3 * rng.normal(size=(n, v)) - 7
    return x, y, rng.integers(0, 6, n)


def test_moments_of_folds_and_of_what_is_left() -> None:
    x, y, fold = views()
    m = FoldMoments.of(x, y, fold)
    for removed in ((), (2,), (0, 5)):
        plain = Moments.from_rows(x[~np.isin(fold, removed)], y[~np.isin(fold, removed)])
        found = m.but(*removed)
        assert found.n == plain.n
        for name in ("mean_x", "mean_y", "Sxx", "Syy", "Sxy"):
            torch.testing.assert_close(
                getattr(found, name), getattr(plain, name), rtol=1e-11, atol=1e-9
            )
    one, plain = m.fold(3), Moments.from_rows(x[fold == 3], y[fold == 3])
    torch.testing.assert_close(one.Sxy, plain.Sxy, rtol=1e-11, atol=1e-9)
    assert m.total().n == len(x)


def test_control_pairs_other_rows_of_the_same_fold() -> None:
    x, y, fold = views()
    order = shuffle_within(fold, np.random.default_rng(1))
    assert (fold[order] == fold).all()
    assert (order != np.arange(len(order))).mean() > 0.9
    m = FoldMoments.of(x, y, fold, y[order])
    plain = Moments.from_rows(x[fold != 4], y[order][fold != 4])
    found = m.control().but(4)
    for name in ("mean_y", "Syy", "Sxy"):
        torch.testing.assert_close(
            getattr(found, name), getattr(plain, name), rtol=1e-11, atol=1e-9
        )


def test_streaming_and_float32() -> None:
    x, y, fold = views(5000)
    x = x + 1000.0  # a mean far from zero must not cost digits
    whole = FoldMoments.of(x, y, fold)
    low = FoldMoments(9, 5, 6, dtype=torch.float32)
    for part in np.array_split(np.arange(len(x)), 7):
        low.update([x[part].astype(np.float32)], y[part].astype(np.float32), fold[part])
    a, b = whole.but(1), low.but(1)
    assert float((a.Sxx - b.Sxx).abs().max() / a.Sxx.abs().max()) < 1e-5
    one, two = cross_validate(whole), cross_validate(low)
    for name, estimate in one.measures.items():
        assert two.measures[name].value == pytest.approx(estimate.value, abs=1e-4), name
    assert low.x.P.dtype == torch.float64


def test_memory_does_not_grow_with_rows() -> None:
    held = []
    for n in (500, 5000):
        x, y, fold = views(n)
        m = FoldMoments.of(x, y, fold)
        held.append(sum(t.numel() for t in (m.C, m.z, m.x.P, m.x.s, m.y.P, m.y.s)))
    assert held[0] == held[1]


def test_a_fold_that_holds_all_variance_is_removed_without_loss() -> None:
    x, y, fold = views()
    x[:, 2] = 1e-6 * x[:, 2]
    x[fold == 1, 2] = 1e9 * np.arange((fold == 1).sum())
    m = FoldMoments.of(x, y, fold)
    assert m.x.apart([1])
    assert not m.y.apart([1])
    plain = Moments.from_rows(x[fold != 1], y[fold != 1])
    # By subtraction from the total, column 2 would be rounding noise of 1e24.
    assert float(m.but(1).Sxx[2, 2]) < 1e9
    kept = [0, 1, 3, 4, 5, 6, 7, 8]
    torch.testing.assert_close(
        m.but(1).Sxx[kept][:, kept], plain.Sxx[kept][:, kept], rtol=1e-9, atol=1e-6
    )


def test_sweep_is_the_same_as_pairs() -> None:
    x, y, fold = views()
    z = np.tanh(x[:, ::-1] / 10).copy()
    shuffled = y[shuffle_within(fold, np.random.default_rng(0))]
    sweep = SweepMoments([9, 9], 5, 6, control=True)
    for part in np.array_split(np.arange(len(x)), 3):
        sweep.update([x[part], z[part]], y[part], fold[part], shuffled[part])
    for i, layer in enumerate((x, z)):
        one = cross_validate(FoldMoments.of(layer, y, fold, shuffled))
        two = cross_validate(sweep.pair(i))
        for name in one.measures:
            assert two.measures[name].value == pytest.approx(one.measures[name].value, abs=1e-10)
            assert two.control[name].value == pytest.approx(one.control[name].value, abs=1e-10)


def test_a_shared_complete_view_is_left_alone() -> None:
    x, y, fold = views()
    shared = ViewFolds(5, 6)
    shared.update(y, fold)
    before = shared.P.clone()
    m = FoldMoments(9, shared)
    m.update([x], y, fold)
    assert torch.equal(shared.P, before)
    torch.testing.assert_close(m.but(0).Sxy, FoldMoments.of(x, y, fold).but(0).Sxy)


def test_default_protocol_is_pwcca_held_out_fold_by_fold() -> None:
    x, y, fold = views()
    found = cross_validate(FoldMoments.of(x, y, fold))
    for i, f in enumerate(found.folds):
        train = Moments.from_rows(x[fold != f], y[fold != f])
        test = Moments.from_rows(x[fold == f], y[fold == f])
        plain = pwcca_held_out(train, test)
        assert found.measures["pwcca-x"].by_fold[i] == pytest.approx(plain.x, abs=1e-11)
        assert found.measures["pwcca-y"].by_fold[i] == pytest.approx(plain.y, abs=1e-11)
        assert found.measures["pwcca"].by_fold[i] == pytest.approx(plain.y, abs=1e-11)
        rho = float(plain.rho.mean())
        assert found.measures["cca-mean"].by_fold[i] == pytest.approx(rho, abs=1e-11)
    assert (found.n, found.d, found.other_d, found.rank_x) == (600, 9, 5, 9)
    assert found.train == 600 - np.bincount(fold).max()


def test_error_is_nadeau_and_bengios() -> None:
    scores = [0.2, 0.4, 0.3, 0.5]
    expected = np.sqrt((1 / 4 + 1 / 3) * np.var(scores, ddof=1))
    assert corrected_error(scores, 1 / 3) == pytest.approx(expected)
    assert np.isnan(corrected_error([0.3], 0.1))


def test_svcca_and_components_are_pca_then_cca() -> None:
    x, y, fold = views()
    m = FoldMoments.of(x, y, fold)
    found = cross_validate(m, components=3)
    assert (found.d, found.rank_x) == (3, 3)
    expected, svcca = [], []
    for f in range(6):
        held = fold == f
        a, b = x[~held], y[~held]
        _, s, V = np.linalg.svd(a - a.mean(0), full_matrices=False)
        scored = pwcca_held_out(
            Moments.from_rows(a @ V[:3].T, b), Moments.from_rows(x[held] @ V[:3].T, y[held])
        )
        expected.append(scored.y)
        r = int((np.cumsum(s**2) / (s**2).sum() < 0.99).sum()) + 1
        _, t, W = np.linalg.svd(b - b.mean(0), full_matrices=False)
        q = int((np.cumsum(t**2) / (t**2).sum() < 0.99).sum()) + 1
        both = pwcca_held_out(
            Moments.from_rows(a @ V[:r].T, b @ W[:q].T),
            Moments.from_rows(x[held] @ V[:r].T, y[held] @ W[:q].T),
        )
        svcca.append(float(both.rho.mean()))
    np.testing.assert_allclose(found.measures["pwcca-y"].by_fold, expected, atol=1e-10)
    whole = cross_validate(m, measures=["svcca"])
    np.testing.assert_allclose(whole.measures["svcca"].by_fold, svcca, atol=1e-10)


def test_ridge_shrinks_towards_separate_columns() -> None:
    x, y, fold = views(120, 40, 3)
    m = FoldMoments.of(x, y, fold)
    plain, ridge = (
        cross_validate(m, ridge=r, measures=["pwcca"]).measures["pwcca"].value for r in (0.0, 0.05)
    )
    assert ridge != pytest.approx(plain, abs=1e-3)
    S = m.but(0).Sxx
    W = basis(View(S), ridge=0.05)
    again = W.T @ (S + 0.05 * torch.diag(S.diagonal())) @ W
    torch.testing.assert_close(again, torch.eye(40, dtype=S.dtype), rtol=0, atol=1e-9)
    with pytest.raises(UsageError, match="exclude each other"):
        cross_validate(m, ridge=0.1, components=2)


def test_constant_directions_of_a_fold_count_as_nothing() -> None:
    x, y, fold = views()
    y = (y > y.mean(0)).astype(float)
    y[:, 0] = 0.0
    y[fold == 1, 0] = np.arange((fold == 1).sum()) % 2  # varies in fold 1 alone
    found = cross_validate(FoldMoments.of(x, y, fold))
    assert all(np.isfinite(e.by_fold).all() for e in found.measures.values())
    assert found.rank_y == 4
    P = torch.zeros(1, 5, dtype=torch.float64)
    P[0, 0] = 1.0
    one = held_out(torch.ones(1, 9, dtype=torch.float64), P, FoldMoments.of(x, y, fold).fold(0))
    assert (one.y, float(one.rho[0])) == (0.0, 0.0)


def test_quick_whitening_and_svd_agree_with_lapack() -> None:
    x, y, _ = views()
    S = Moments.from_rows(x, y).Sxx
    quick, plain = QuickView(S).whitening, View(S).whitening
    assert quick.rank == plain.rank == 9
    torch.testing.assert_close(
        quick.matrix @ quick.matrix.T, plain.matrix @ plain.matrix.T, rtol=1e-9, atol=1e-15
    )
    flat = S.clone()
    flat[4] = flat[3]
    flat[:, 4] = flat[:, 3]
    assert QuickView(flat).whitening.rank == 8
    rng = np.random.default_rng(0)
    for shape in ((7, 20), (20, 7)):
        M = torch.tensor(rng.normal(size=shape))
        U, s, Vt = quick_svd(M)
        torch.testing.assert_close((U * s) @ Vt, M, rtol=0, atol=1e-12)
        torch.testing.assert_close(s, torch.linalg.svdvals(M), rtol=1e-10, atol=0)
    M[:, 0] = 0
    U, s, Vt = quick_svd(M)
    torch.testing.assert_close((U * s) @ Vt, M, rtol=0, atol=1e-12)
    torch.testing.assert_close(Vt @ Vt.T, torch.eye(7, dtype=M.dtype), rtol=0, atol=1e-12)


def test_directions_are_canonical() -> None:
    x, y, _ = views()
    m = Moments.from_rows(x, y)
    Px, Py = directions(m.view_x.whitening.matrix, m.Sxy, m.view_y.whitening.matrix)
    torch.testing.assert_close(Px @ m.Sxx @ Px.T, torch.eye(5).double(), rtol=0, atol=1e-9)
    cross = Px @ m.Sxy @ Py.T
    torch.testing.assert_close(cross, torch.diag(cross.diagonal()), rtol=0, atol=1e-9)


def test_published_search_equals_fits_on_rows() -> None:
    x, y, _ = views(1000)
    split = draw_splits(1000, 0)
    m = FoldMoments.of(x, y, split)
    order = [(1e-9, 1e-10), (1e-5, 1e-6)]
    found = search_trial(m, 3, 7, order, signs=4)
    train = ~np.isin(split, [3, 7])
    for eps, score in zip(order, found.dev_scores, strict=True):
        fit = pasad_fit(Moments.from_rows(x[train], y[train]), eps)
        rows = Moments.from_rows(x[split == 3], y[split == 3])
        assert score == pytest.approx(pasad_score(fit, rows).default, abs=1e-9)
    assert found.best == int(np.argmax(found.dev_scores))
    assert found.sign_range[0] < found.sign_range[1]
    assert found.sign_range[0] <= found.score <= found.sign_range[1]


def test_published_draws() -> None:
    labels = ["a"] * 57 + ["b"] * 143
    split = draw_splits(200, 3, labels)
    for label, (low, high) in {"a": (5, 6), "b": (14, 15)}.items():
        counts = np.bincount(split[np.array(labels) == label], minlength=10)
        assert (counts.min(), counts.max()) == (low, high)
    assert (split == draw_splits(200, 3, labels)).all()
    assert (split != draw_splits(200, 4, labels)).any()
    trials = draw_trials(0)
    assert len(trials) == 5
    assert len({s for pair in trials for s in pair}) == 10
    eps = draw_eps(0)
    assert len(set(eps)) == len(eps) == 25
    assert max(max(pair) for pair in eps[:9]) == 1e-9
    assert min(min(pair) for pair in eps[9:]) == 1e-8


def test_pairs_that_cannot_be_fitted_are_passed_over() -> None:
    x, y, _ = views(800)
    x = np.concatenate([x, x[:, :3]], axis=1)  # copies: singular but for rounding
    split = draw_splits(800, 0)
    m = FoldMoments.of(x, y, split)
    found = search_trial(m, 0, 1, [(0.0, 1e-9), (1e-5, 1e-5)], pairs=1, signs=0)
    assert found.failed == ((0.0, 1e-9),)
    assert found.eps == ((1e-5, 1e-5),)
    with pytest.raises(NumericsError, match="no pair of epsilon"):
        cross_validate_pasad(m, [(0, 1)], [[(0.0, 0.0)]])


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (lambda x, y, f: FoldMoments.of(x[:-1], y, f[:-1]), ShapeError),
        (lambda x, y, f: FoldMoments.of(x, y, f[:-1]), ShapeError),
        (lambda x, y, f: FoldMoments(9, 5, 2).update([x], y, f), UsageError),
        (lambda x, y, f: FoldMoments(8, 5, 6).update([x], y, f), ShapeError),
        (lambda x, y, f: FoldMoments(9, 5, 6, control=True).update([x], y, f), UsageError),
        (lambda x, y, f: FoldMoments.of(x, y, f).control(), UsageError),
        (lambda x, y, f: FoldMoments.of(x, y, f).but(*range(6)), UsageError),
        (lambda x, y, f: cross_validate(FoldMoments.of(x, y, 0 * f)), UsageError),
        (lambda x, y, f: cross_validate(FoldMoments.of(x, y, f), measures=["nope"]), UsageError),
        (lambda x, y, f: draw_splits(5, 0), UsageError),
        (lambda x, y, f: FoldMoments.of(x, y, f).merge(FoldMoments(9, 4, 6)), ShapeError),
    ],
)
def test_refusals(work, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        work(*views())


def test_a_fold_of_one_row_is_not_scored_but_trains() -> None:
    """It would count as 0 and take its share from the mean over folds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(402, 5))
    y = x[:, :1] + 0.3 * rng.normal(size=(402, 1))
    fold = np.arange(402) % 5
    whole = cross_validate(FoldMoments.of(x, y, fold)).measures["pwcca"]
    fold[-1], fold[-3:-1] = 5, 6
    found = cross_validate(FoldMoments.of(x, y, fold))
    assert found.folds == (0, 1, 2, 3, 4)
    assert found.measures["pwcca"].value == pytest.approx(whole.value, abs=0.01)
    assert found.train == 402 - 80
    with pytest.raises(UsageError, match="two folds with 3 rows"):
        cross_validate(FoldMoments.of(x, y, np.r_[np.zeros(400), 1, 1].astype(int)))


def test_published_scores_of_a_split_without_variance_stay_in_range() -> None:
    """The view is constant in every split but one: a covariance of rounding noise over a variance
    of 0 was infinite, and the mean over trials about 1e307."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fold = np.repeat(np.arange(10), 5)
        x, y = rng.normal(size=(50, 3)) + 7, 0.3 + rng.normal(size=(10, 1))[fold]
        y[fold > 7] += rng.normal(size=(10, 1))
        m = FoldMoments.of(x, y, fold)
        found = cross_validate_pasad(m, [(0, 1), (2, 3)], [draw_eps(seed)] * 2)
        assert abs(found.score) <= 1
        assert all(np.abs(t.dev_scores).max() <= 1 for t in found.trials)
