"""Fits by triangles and in float32 against plain ones, and products made in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.similarity.crossval import cross_validate
from voxstrata.similarity.crossval_fit import bases, held_out, quick_svd
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.projection import pwcca_held_out
from voxstrata.similarity.view_folds import shuffle_within


def rows(d: int, v: int, n: int = 3000, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(n, d))
    x = state @ rng.normal(size=(d, d)) / d**0.5 + 0.3 * rng.normal(size=(n, d)) + 5
    y = rng.normal(size=(n, v))
    y[:, :d] += state[:, :v]
    return x, y, rng.integers(0, 5, n)


@pytest.mark.parametrize("width", [100, 129, 300, 400])
def test_products_made_in_blocks_are_products(width: int) -> None:
    x, y, fold = rows(width, 3, 900)
    m = FoldMoments.of(x, y, fold)
    plain = Moments.from_rows(x[fold != 2], y[fold != 2])
    torch.testing.assert_close(m.but(2).Sxx, plain.Sxx, rtol=1e-10, atol=1e-9)
    assert torch.equal(m.x.P, m.x.P.transpose(1, 2))


@pytest.mark.parametrize(("d", "v"), [(150, 150), (150, 40), (40, 150)])
def test_float32_fits_give_the_float64_numbers(d: int, v: int) -> None:
    """Controls have singular values down to a thousandth of the largest: squares lose those."""
    x, y, fold = rows(d, v)
    shuffled = y[shuffle_within(fold, np.random.default_rng(1))]
    m = FoldMoments.of(x, y, fold, shuffled)
    low = FoldMoments.of(
        x.astype("f4"), y.astype("f4"), fold, shuffled.astype("f4"), dtype=torch.float32
    )
    train = low.but(0)
    assert all(b.matrix.dtype == torch.float32 for b in bases(train, None, None, 0, torch.float32))
    one, two = cross_validate(m), cross_validate(low)
    for a, b in ((one.measures, two.measures), (one.control, two.control)):
        for name in ("pwcca", "pwcca-x", "pwcca-y", "cca-mean"):
            np.testing.assert_allclose(a[name].by_fold, b[name].by_fold, rtol=0, atol=1e-5)
    plain = pwcca_held_out(
        Moments.from_rows(x[fold != 0], y[fold != 0]), Moments.from_rows(x[fold == 0], y[fold == 0])
    )
    assert one.measures["pwcca-x"].by_fold[0] == pytest.approx(plain.x, abs=1e-11)


def test_float32_gives_way_to_float64() -> None:
    """A column that is constant in the held-out rows, or variances that float32 cannot square."""
    x, y, fold = rows(30, 6)
    y = (y > 1).astype(float)
    y[fold == 2, 3] = 0.0
    low = FoldMoments.of(x.astype("f4"), y.astype("f4"), fold, dtype=torch.float32)
    found = cross_validate(low, measures=["pwcca", "pwcca-y", "cca-mean"])
    expected = cross_validate(FoldMoments.of(x, y, fold))
    for name, estimate in found.measures.items():
        np.testing.assert_allclose(
            estimate.by_fold, expected.measures[name].by_fold, rtol=0, atol=1e-5
        )
    # A difference of columns alike but for 1e-4: their covariances cancel to rounding in float32.
    x[:, 1] = x[:, 0] + 1e-4 * x[:, 2]
    m = FoldMoments.of(x, y, fold)
    P, Q = torch.zeros(1, 30), torch.eye(6)[:1]
    P[0, :2] = torch.tensor([-1.0, 1.0])
    one, two = (held_out(P.to(t), Q.to(t), m.fold(1)).rho for t in (torch.float32, torch.float64))
    assert torch.equal(one, two)
    far = FoldMoments.of(1e12 * x, y, fold, dtype=torch.float32)
    assert bases(far.but(0), None, None, 0, torch.float32)[0].matrix.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(60, 60), (90, 60), (60, 90)])
def test_small_singular_values_are_found_too(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    k = min(shape)
    A, B = (np.linalg.qr(rng.normal(size=(n, k)))[0] for n in shape)
    s = np.concatenate([np.linspace(1, 0.2, k - 6), [1e-2, 5e-3, 1e-3, 3e-4, 1e-4, 2e-5]])
    M = torch.tensor((A * s) @ B.T, dtype=dtype)
    U, found, Vt = quick_svd(M)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close((U * found) @ Vt, M, rtol=0, atol=100 * eps)
    one = torch.eye(k, dtype=dtype)
    # Squares alone would leave the smallest orthogonal to nothing: eps / s^2 is beyond 1.
    for gram in (U.T @ U, Vt @ Vt.T):
        torch.testing.assert_close(gram, one, rtol=0, atol=2e-2 if dtype == torch.float32 else 1e-9)
    np.testing.assert_allclose(found.double(), s, rtol=0, atol=100 * eps)


def test_totals_follow_updates() -> None:
    """The kept total of cross products is made anew after rows are added."""
    x, y, fold = rows(8, 3, 600)
    m = FoldMoments(8, 3, 5)
    m.update([x[:300]], y[:300], fold[:300])
    m.but(1)
    m.update([x[300:]], y[300:], fold[300:])
    plain = Moments.from_rows(x[fold != 1], y[fold != 1])
    torch.testing.assert_close(m.but(1).Sxy, plain.Sxy, rtol=1e-10, atol=1e-9)
