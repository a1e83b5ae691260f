"""Moments: merging, leaving out, large means; and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.similarity.canonical import canonical, kept_components, svcca_correlations
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.projection import Pwcca, pwcca, pwcca_held_out
from voxstrata.similarity.shapes import procrustes, shape_metric
from voxstrata.similarity.subspace import regression_r2

RNG = np.random.default_rng(11)
X = RNG.normal(size=(400, 6)) + 1000
Y = X[:, :4] @ RNG.normal(size=(4, 5)) + RNG.normal(size=(400, 5)) - 30
FIELDS = ("mean_x", "mean_y", "Sxx", "Syy", "Sxy")


def same(a: Moments, b: Moments, rtol: float = 1e-10) -> None:
    assert a.n == b.n
    for name in FIELDS:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=rtol, atol=1e-7)


def test_addition_and_subtraction() -> None:
    parts = [Moments.from_rows(X[s], Y[s]) for s in (slice(0, 37), slice(37, 260), slice(260, 400))]
    total = parts[0] + parts[1] + parts[2]
    same(total, Moments.from_rows(X, Y))
    same(
        total - parts[1], Moments.from_rows(np.delete(X, np.s_[37:260], 0), Y[np.r_[:37, 260:400]])
    )
    with pytest.raises(UsageError, match="no rows"):
        parts[0] - parts[1]


def test_from_shifted_sums() -> None:
    a, b = X - X[:10].mean(0), Y - Y[:10].mean(0)
    made = Moments.from_sums(
        400,
        a.sum(0),
        b.sum(0),
        a.T @ a,
        b.T @ b,
        a.T @ b,
        shift_x=X[:10].mean(0),
        shift_y=Y[:10].mean(0),
    )
    same(made, Moments.from_rows(X, Y))


def test_means_of_1e7_do_no_harm() -> None:
    far = Moments.from_rows(X + 1e7, Y)
    near = Moments.from_rows(X, Y)
    assert float(canonical(far).rho.sub(canonical(near).rho).abs().max()) < 1e-7
    folds = [Moments.from_rows(X[f::5] + 1e7, Y[f::5]) for f in range(5)]
    total = folds[0]
    for fold in folds[1:]:
        total = total + fold
    assert procrustes(total - folds[2]) == pytest.approx(
        procrustes(Moments.from_rows(np.delete(X, np.s_[2::5], 0), np.delete(Y, np.s_[2::5], 0))),
        rel=1e-7,
    )


def test_canonical_correlations_are_the_correlations_of_the_variates() -> None:
    c = canonical(Moments.from_rows(X, Y))
    a, b = (X - X.mean(0)) @ c.Px.numpy().T, (Y - Y.mean(0)) @ c.Py.numpy().T
    np.testing.assert_allclose(a.T @ a, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(a.T @ b, np.diag(c.rho), atol=1e-9)
    assert (c.rank_x, c.rank_y) == (6, 5)


def test_held_out_scoring_on_the_fitted_rows_is_in_sample() -> None:
    m = Moments.from_rows(X, Y)
    again = pwcca_held_out(m, Moments.from_rows(X, Y))
    assert again.y == pytest.approx(pwcca(m).y, rel=1e-9)
    assert again.x == pytest.approx(pwcca(m, "paired").x, rel=1e-9)
    with pytest.raises(ShapeError):
        pwcca_held_out(m, Moments.from_rows(X, X))


def test_in_sample_exceeds_held_out_for_unrelated_views() -> None:
    x, y = RNG.normal(size=(300, 40)), RNG.normal(size=(300, 40))
    fit, rest = Moments.from_rows(x[:150], y[:150]), Moments.from_rows(x[150:], y[150:])
    assert pwcca(fit).x > 0.4
    assert abs(pwcca_held_out(fit, rest).x) < 0.1


def test_unpaired_weight_is_the_mean_over_bases() -> None:
    """The closed form against random orthonormal bases of the unpaired subspace."""
    x = RNG.normal(size=(500, 9)) * np.arange(1, 10)
    y = x[:, :2] + RNG.normal(size=(500, 2))
    m = Moments.from_rows(x, y)
    c = canonical(m)
    W = m.view_x.whitening.matrix.numpy()
    S = m.Sxx.numpy()
    inside = W.T @ S @ c.Px.numpy().T
    basis = np.linalg.svd(inside, full_matrices=True)[0][:, 2:]
    loads = basis.T @ W.T @ S
    totals = [np.abs(np.linalg.qr(RNG.normal(size=(7, 7)))[0] @ loads).sum() for _ in range(3000)]
    paired = np.abs(c.Px.numpy() @ S).sum(axis=1)
    expected = (paired * c.rho.numpy()).sum() / (paired.sum() + np.mean(totals))
    assert pwcca(m).x == pytest.approx(expected, rel=2e-3)


def test_sides() -> None:
    result = Pwcca(0.2, 0.8, torch.ones(1), 3, 5)
    assert [result.side(s) for s in ("auto", "x", "y", "mean")] == [0.2, 0.2, 0.8, 0.5]
    assert Pwcca(0.2, 0.8, torch.ones(1), 5, 3).side() == 0.8
    assert Pwcca(0.2, 0.8, torch.ones(1), 3, 3).side() == 0.5
    with pytest.raises(UsageError):
        result.side("left")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unpaired"):
        pwcca(Moments.from_rows(X, Y), "some")  # type: ignore[arg-type]


def test_components_kept_by_svcca() -> None:
    values = torch.tensor([90.0, 9.0, 0.5, 0.5, 0.0], dtype=torch.float64)
    assert kept_components(values, "variance") == 2
    assert kept_components(values, "variance", 0.999) == 4
    assert kept_components(values, "variance", 1.0) == 4
    assert kept_components(values, 3) == 3
    assert kept_components(values, 5) == 4  # the fifth has no variance
    assert kept_components(values, "singular_sum", 0.9) == 2
    for wrong in (0, 6, "most"):
        with pytest.raises(UsageError):
            kept_components(values, wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        kept_components(values, "variance", 1.5)
    m = Moments.from_rows(X, Y)
    torch.testing.assert_close(svcca_correlations(m, "variance", 1.0), canonical(m).rho)


def test_views_are_shared() -> None:
    m = Moments.from_rows(X, Y)
    shared = View(m.Sxx)
    again = Moments(m.n, m.mean_x, m.mean_y, m.Sxx, m.Syy, m.Sxy, view_x=shared)
    first = shared.whitening
    assert procrustes(again) == procrustes(m)
    assert regression_r2(again) == pytest.approx(regression_r2(m), rel=1e-12)
    assert again.swap().view_y.whitening is first
    same(again.swap().swap(), m)


def test_shape_metric_at_its_ends() -> None:
    m = Moments.from_rows(X, Y)
    assert shape_metric(m, 1.0) == pytest.approx(np.arccos(procrustes(m)), rel=1e-12)
    rho = canonical(m).rho
    assert shape_metric(m, 0.0) == pytest.approx(
        np.arccos(float(rho.sum()) / np.sqrt(30)), rel=1e-9
    )
    with pytest.raises(UsageError):
        shape_metric(m, 1.5)


def test_moments_must_fit() -> None:
    with pytest.raises(ShapeError):
        Moments.from_rows(X, Y[:-1])
    m = Moments.from_rows(X, Y)
    with pytest.raises(ShapeError, match="do not fit"):
        Moments(m.n, m.mean_x, m.mean_y, m.Sxx, m.Syy, m.Sxy.T)


def test_float32_products_with_a_cut() -> None:
    """Products summed in float32, as the streaming job does, cost few digits with rtol 1e-6."""
    x = RNG.normal(size=(2000, 12)).astype(np.float32)
    x[:, 11] = x[:, 0]
    y = (x[:, :5] + RNG.normal(size=(2000, 5))).astype(np.float32)
    exact = Moments.from_rows(x, y)
    a, b = x - x.mean(0), y - y.mean(0)
    rough = [torch.as_tensor(p).double() for p in (a.T @ a, b.T @ b, a.T @ b)]
    m = Moments(
        2000, x.mean(0), y.mean(0), *rough, view_x=View(rough[0], 1e-6), view_y=View(rough[1], 1e-6)
    )
    assert canonical(m).rank_x == 11
    assert pwcca(m).y == pytest.approx(pwcca(exact).y, abs=1e-5)
