"""How much of one view lies in the span of the other: regression, GULP, eigenspace overlap."""

from __future__ import annotations

import torch

from voxstrata.errors import NumericsError
from voxstrata.similarity.canonical import canonical
from voxstrata.similarity.moments import Moments


def regression_r2(m: Moments) -> float:
    """Share of y's variance that least squares predicts from x, 0..1, fitted in sample.

    R^2 = |Sxx^-1/2 Sxy|_F^2 / tr Syy, pooled over the columns of y (Kornblith et al. 2019,
    section 3; ReSi's LinearRegression is this with the roles of its arguments exchanged).
    Expected value for unrelated views about rank_x / n: mind n against d.
    """
    if m.view_y.trace <= 0:
        raise NumericsError("a view without variance cannot be predicted")
    explained = float((m.view_x.whitening.matrix.T @ m.Sxy).square().sum())
    return min(explained / m.view_y.trace, 1.0)


def gulp(m: Moments) -> float:
    """GULP distance at lambda 0: rank_x + rank_y - 2 sum rho^2 (Boix-Adsera et al. 2022; ReSi)."""
    c = canonical(m)
    return c.rank_x + c.rank_y - 2.0 * float((c.rho**2).sum())


def eigenspace_overlap(m: Moments) -> float:
    """|U'V|_F^2 / max(D1, D2), U and V bases of the column spaces, rows not centred.

    Source: May et al., NeurIPS 2019 (eigenspace overlap score), as in ReSi.
    """
    raw = Moments(
        m.n,
        torch.zeros_like(m.mean_x),
        torch.zeros_like(m.mean_y),
        m.Sxx + m.n * torch.outer(m.mean_x, m.mean_x),
        m.Syy + m.n * torch.outer(m.mean_y, m.mean_y),
        m.Sxy + m.n * torch.outer(m.mean_x, m.mean_y),
    )
    return float((canonical(raw).rho ** 2).sum()) / max(m.Sxy.shape)
