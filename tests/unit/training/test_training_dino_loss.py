"""Losses of DINO, RDINO and SDPN by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.training.objectives.dino import loss


def _probabilities(*shape: int) -> torch.Tensor:
    return torch.softmax(3 * torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("pairs", ["cross", "same", "local"])
@pytest.mark.parametrize("crops", [(2, 4), (1, 2), (3, 1)])
def test_cross_view_is_the_mean_over_pairs(pairs: Any, crops: tuple[int, int]) -> None:
    seen, local = crops
    target = _probabilities(seen, 5, 7)
    student = torch.randn(seen + local, 5, 7)
    terms = []
    for u in range(seen):
        for v in range(seen + local):
            wanted = {"cross": u != v, "same": u == v, "local": v >= seen}[pairs]
            if wanted:
                q = np.exp(student[v].double().numpy() / 0.1)
                q /= q.sum(1, keepdims=True)
                terms.append(-(target[u].double().numpy() * np.log(q)).sum(1).mean())
    found = loss.cross_view(student.flatten(0, 1), target.flatten(0, 1), crops, pairs=pairs)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_sinkhorn_brings_columns_to_equal_shares_and_keeps_flat_ones() -> None:
    p = _probabilities(40, 6).double()
    found = loss.sinkhorn(p, 200)
    assert torch.allclose(found.sum(1), torch.ones(40, dtype=torch.float64))
    assert torch.allclose(found.sum(0), torch.full((6,), 40 / 6, dtype=torch.float64))
    # Only rows and columns were scaled: cross ratios stay.
    ratio = (p[0, 0] * p[1, 1] / (p[0, 1] * p[1, 0])).log()
    after = (found[0, 0] * found[1, 1] / (found[0, 1] * found[1, 0])).log()
    assert float(after) == pytest.approx(float(ratio), rel=1e-9)
    flat = torch.full((4, 5), 0.2)
    assert torch.allclose(loss.sinkhorn(flat), flat)


def test_koleo_is_the_log_distance_to_the_nearest_other() -> None:
    rows = torch.randn(9, 4)
    unit = (rows / rows.norm(dim=1, keepdim=True)).double().numpy()
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=2) + 10 * np.eye(9)
    assert float(loss.koleo(rows)) == pytest.approx(-np.log(distances.min(1)).mean(), rel=1e-4)
    double = torch.cat([rows, rows]).requires_grad_()  # two equal rows must not break training
    loss.koleo(double).backward()
    assert double.grad is not None
    assert double.grad.isfinite().all()


def test_mean_entropy_gap_is_zero_for_equal_use_and_log_k_for_one_prototype() -> None:
    assert float(loss.mean_entropy_gap(torch.full((3, 8), 1 / 8).log())) == pytest.approx(
        0, abs=1e-5
    )
    one = torch.full((3, 8), -60.0)
    one[:, 2] = 0.0
    assert float(loss.mean_entropy_gap(one)) == pytest.approx(math.log(8), rel=1e-5)


def test_the_regulariser_falls_with_variance_and_its_two_scalings_differ_in_one_factor() -> None:
    x = 0.3 * torch.randn(12, 6)
    only = {"std": 0.0, "cov": 1.0}
    by_outputs = loss.regularity(x, x, 2, divisor=48, **only)
    by_width = loss.regularity(x, x, 2, divisor=6, **only)
    mean = x.reshape(2, 6, 6).mean(0)
    c = np.cov(mean.double().numpy().T)
    off = 2 * ((c**2).sum() - (np.diag(c) ** 2).sum())
    assert float(by_width) == pytest.approx(off / 6, rel=1e-4)
    assert float(by_outputs) == pytest.approx(off / 48, rel=1e-4)
    narrow = loss.regularity(x, x, 2, divisor=6, cov=0.0)
    assert float(loss.regularity(9 * x, 9 * x, 2, divisor=6, cov=0.0)) < float(narrow)
