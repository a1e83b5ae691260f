"""Whitening that reveals rank and survives outlier dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import NumericsError
from voxstrata.numerics.linalg import fix_signs, float64, nuclear_norm, whiten


def covariance(rows: np.ndarray) -> torch.Tensor:
    centred = rows - rows.mean(axis=0)
    return torch.as_tensor(centred.T @ centred)


def test_whitens() -> None:
    S = covariance(np.random.default_rng(0).normal(size=(100, 7)) @ np.diag(range(1, 8)))
    w = whiten(S)
    assert w.rank == 7
    torch.testing.assert_close(w.matrix.T @ S @ w.matrix, torch.eye(7, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_reveals_rank(scale: float) -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(200, 4))
    rows = np.c_[base, base @ rng.normal(size=(4, 3)), np.full(200, 1.1)] * scale
    w = whiten(covariance(rows))
    assert w.rank == 4
    S = covariance(rows)
    torch.testing.assert_close(w.matrix.T @ S @ w.matrix, torch.eye(4, dtype=torch.float64))
    assert (w.matrix[-1] == 0).all()


def test_keeps_small_dimensions_beside_huge_ones() -> None:
    """A dimension with 1e-12 of another's variance is as real as it, in float64."""
    rows = np.random.default_rng(2).normal(size=(300, 3)) * [1e6, 1.0, 1.0]
    S = covariance(rows)
    w = whiten(S)
    assert w.rank == 3
    error = (w.matrix.T @ S @ w.matrix - torch.eye(3, dtype=torch.float64)).abs().max()
    assert error < 1e-12


def test_cut_for_float32_products() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(500, 20))
    rows[:, -1] = rows[:, 0]
    S = covariance(rows) * (1 + 1e-7 * torch.as_tensor(rng.normal(size=(20, 20))))
    assert whiten((S + S.T) / 2, rtol=1e-5).rank == 19


def test_no_variance() -> None:
    with pytest.raises(NumericsError, match="without variance"):
        whiten(torch.zeros((3, 3), dtype=torch.float64))
    with pytest.raises(NumericsError):
        whiten(torch.full((2, 2), float("nan"), dtype=torch.float64))


def test_small_helpers() -> None:
    A = np.random.default_rng(4).normal(size=(5, 3))
    assert nuclear_norm(float64(A)) == pytest.approx(np.linalg.norm(A, "nuc"))
    rows = float64([[1.0, -3.0], [0.5, 0.1]])
    assert fix_signs(rows).tolist() == [-1.0, 1.0]
    assert float64(torch.ones(2, dtype=torch.float16)).dtype == torch.float64
