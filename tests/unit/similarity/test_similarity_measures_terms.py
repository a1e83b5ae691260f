"""Terms in both forms, with folds; measures made of them against direct computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from voxstrata.errors import ShapeError, UsageError
from voxstrata.similarity import estimators
from voxstrata.similarity.minibatch import MinibatchHsic, minibatch_hsic
from voxstrata.similarity.terms import HsicTerms, terms_from_gram, terms_from_rows

RNG = np.random.default_rng(7)
N = 53
XS = [RNG.normal(size=(N, d)) + 4 for d in (5, 70)]
YS = [XS[0] @ RNG.normal(size=(5, 6)) + 1, RNG.normal(size=(N, 90)), RNG.normal(size=(N, 3)) - 9]
FOLDS = RNG.integers(0, 5, N)


def grams(layers: list[np.ndarray]) -> np.ndarray:
    centred = [v - v.mean(0) for v in layers]
    return np.stack([v @ v.T for v in centred])


def brute_hsic1(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al., equation 5, matrix by matrix."""
    n = len(x)
    K, L = x @ x.T, y @ y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    one = np.ones(n)
    total = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return float(total - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


def brute_hsic0(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    H = np.eye(n) - 1 / n
    return float(np.trace(x @ x.T @ H @ y @ y.T @ H)) / (n - 1) ** 2


def test_both_forms_give_the_same_terms() -> None:
    rows, gram = terms_from_rows(XS, YS, FOLDS), terms_from_gram(grams(XS), grams(YS), FOLDS)
    assert rows.replicates == 6
    assert rows.shape == (2, 3)
    for field in dataclasses.fields(HsicTerms):
        a, b = getattr(rows, field.name), getattr(gram, field.name)
        # s of all rows is zero up to rounding, so errors are held against the largest entry.
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(a).max())


@pytest.mark.parametrize("debiased", [True, False])
def test_every_replicate_is_the_direct_value_on_the_rows_left(debiased: bool) -> None:
    terms = terms_from_rows(XS, YS, FOLDS)
    got = (estimators.hsic_debiased if debiased else estimators.hsic_biased)(terms)
    brute = brute_hsic1 if debiased else brute_hsic0
    for r in range(6):
        keep = r - 1 != FOLDS
        assert terms.n[r] == keep.sum()
        for i, x in enumerate(XS):
            for j, y in enumerate(YS):
                assert got[r, i, j] == pytest.approx(
                    brute(x[keep] - 4, y[keep] - y.mean()), rel=1e-9, abs=1e-9
                )


def test_within_a_model_the_grid_is_symmetric_and_its_diagonal_one() -> None:
    terms = terms_from_rows(XS + YS, None, FOLDS)
    for debiased in (True, False):
        grid = estimators.cka(terms, debiased=debiased)
        np.testing.assert_allclose(grid, np.swapaxes(grid, 1, 2), rtol=1e-12)
        np.testing.assert_allclose(estimators.diagonal(grid), 1.0, rtol=1e-12)
        cross = estimators.cka(
            terms.pick([0, 1], [2, 3, 4]),
            terms.pick([0, 1], [0, 1]),
            terms.pick([2, 3, 4], [2, 3, 4]),
            debiased=debiased,
        )
        np.testing.assert_allclose(cross, grid[:, :2, 2:], rtol=1e-12)
    turned = terms_from_rows(YS, XS, FOLDS).swap()
    np.testing.assert_allclose(turned.uv, terms_from_rows(XS, YS, FOLDS).uv, rtol=1e-9, atol=1e-6)


def test_pearson_rsa_needs_no_distances() -> None:
    terms = terms_from_rows(XS + YS, None, FOLDS)
    grid = estimators.rsa(terms)
    for r in range(6):
        keep = r - 1 != FOLDS
        D = np.stack([pdist(v[keep], "sqeuclidean") for v in XS + YS])
        np.testing.assert_allclose(grid[r], np.corrcoef(D), atol=1e-11)


def test_shift_of_the_rows_does_not_matter() -> None:
    """Terms of rows shifted by an early mean instead of the mean give the same measures."""
    K = [(v - v[:5].mean(0)) @ (v - v[:5].mean(0)).T for v in XS + YS]
    shifted = terms_from_gram(np.stack(K), None, FOLDS)
    exact = terms_from_rows(XS + YS, None, FOLDS)
    for of in (estimators.cka, estimators.rsa):
        np.testing.assert_allclose(of(shifted), of(exact), atol=1e-12)


def test_gram_form_of_torch_tensors_and_no_folds() -> None:
    terms = terms_from_gram(torch.as_tensor(grams(XS)))
    assert terms.replicates == 1
    np.testing.assert_allclose(
        estimators.cka(terms), estimators.cka(terms_from_rows(XS)), rtol=1e-12
    )


def test_refusals() -> None:
    with pytest.raises(ShapeError):
        terms_from_rows(XS[0], YS[0][:-1])
    with pytest.raises(ShapeError):
        terms_from_rows([XS[0], XS[1][:-1]])
    with pytest.raises(ShapeError, match="fold"):
        terms_from_rows(XS[0], YS[0], FOLDS[:-1])
    with pytest.raises(ShapeError, match="square"):
        terms_from_gram(np.ones((3, 4)))
    with pytest.raises(ShapeError, match="square grid"):
        estimators.cka(terms_from_rows(XS, YS))
    good = terms_from_rows(XS, YS)
    with pytest.raises(ShapeError, match="c2"):
        dataclasses.replace(good, c2=good.c2[:, :1])
    with pytest.raises(UsageError, match="4 rows"):
        estimators.hsic_debiased(terms_from_rows(XS[0][:3], YS[0][:3]))


def test_minibatch_hsic_is_hsic1_of_the_batch() -> None:
    layers = XS + YS
    expected = [[brute_hsic1(a - a.mean(0), b - b.mean(0)) for b in layers] for a in layers]
    got64 = minibatch_hsic(layers, torch.float64)
    np.testing.assert_allclose(got64, expected, rtol=1e-9, atol=1e-9)
    got32 = minibatch_hsic([v.astype(np.float32) for v in layers])
    np.testing.assert_allclose(got32, expected, rtol=1e-4, atol=1e-4)


def test_minibatch_survives_large_means_in_float32() -> None:
    layers = [v.astype(np.float32) for v in XS]
    far = [v + np.float32(1000) for v in layers]
    # The inputs themselves are rounded to 6e-5 at 1000.
    np.testing.assert_allclose(minibatch_hsic(far), minibatch_hsic(layers), rtol=2e-3, atol=1e-3)


def test_minibatch_folds_and_merge() -> None:
    layers = [RNG.normal(size=(96, d)) for d in (4, 6)]
    one, first, second = MinibatchHsic(2, 3), MinibatchHsic(2, 3), MinibatchHsic(2, 3)
    for b in range(6):
        batch = [v[16 * b : 16 * b + 16] for v in layers]
        one.add(batch, b % 3)
        (first if b < 3 else second).add(batch, b % 3)
    first.merge(second)
    np.testing.assert_allclose(first.hsic(), one.hsic(), rtol=1e-12)
    assert one.cka().shape == (4, 2, 2)
    without_zero = MinibatchHsic(2)
    for b in (1, 2, 4, 5):
        without_zero.add([v[16 * b : 16 * b + 16] for v in layers])
    np.testing.assert_allclose(one.hsic()[1], without_zero.hsic()[0], rtol=1e-9)


def test_minibatch_refusals() -> None:
    with pytest.raises(UsageError, match="4 rows"):
        minibatch_hsic([np.ones((3, 2))])
    with pytest.raises(ShapeError):
        minibatch_hsic([np.ones((5, 2)), np.ones((6, 2))])
    running = MinibatchHsic(2, 2)
    with pytest.raises(UsageError, match="no batch"):
        running.hsic()
    with pytest.raises(ShapeError, match="number of layers"):
        running.add([np.ones((5, 2))])
    with pytest.raises(ShapeError, match="layers or folds"):
        running.merge(MinibatchHsic(3, 2))
    running.add([RNG.normal(size=(8, 2))] * 2, 0)
    with pytest.raises(UsageError, match="one fold"):
        running.hsic()
