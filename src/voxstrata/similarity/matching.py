"""Neuron-to-neuron measures: single columns of one view against single columns of the other."""

from __future__ import annotations

import torch

from voxstrata.errors import NumericsError
from voxstrata.similarity.moments import Moments


def column_correlations(m: Moments) -> torch.Tensor:
    """Pearson correlation of every column of x with every column of y, [D1, D2].

    Raises:
        NumericsError: a column is constant.
    """
    scale_x, scale_y = m.Sxx.diagonal(), m.Syy.diagonal()
    if float(scale_x.min()) <= 0 or float(scale_y.min()) <= 0:
        raise NumericsError(
            "a constant column has no correlations", fix="remove constant columns first"
        )
    return m.Sxy * scale_x.rsqrt()[:, None] * scale_y.rsqrt()


def soft_match(m: Moments) -> float:
    """Mean, over the columns of both views apart, of the highest correlation in the other view.

    Source: Li et al., "Convergent learning", ICLR 2016 (bipartite and one-to-many matching), as
    in ReSi's SoftCorrelationMatch.
    """
    c = column_correlations(m)
    return float((c.max(dim=1).values.mean() + c.max(dim=0).values.mean()) / 2)


def hard_match(m: Moments) -> float:
    """Mean correlation under the best one-to-one assignment of columns (HardCorrelationMatch)."""
    from scipy.optimize import linear_sum_assignment

    c = column_correlations(m).cpu().numpy()
    rows, columns = linear_sum_assignment(-c)
    return float(c[rows, columns].mean())
