"""Canonical correlations of two views from their moments: mean CCA, R^2 CCA, SVCCA.

Source: Hotelling 1936 in the form svd(Sxx^-1/2 Sxy Syy^-1/2); SVCCA: Raghu et al., NeurIPS 2017.
Whitening is rank-revealing, so constant columns, one-hot labels and copies of columns are no
trouble: directions without variance simply do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.linalg import EPS
from voxstrata.similarity.moments import Moments, View

Keep = Literal["variance", "singular_sum"]
Over = Literal["rank", "width"]


@dataclass(frozen=True)
class Canonical:
    """Canonical correlations and directions.

    Attributes:
        rho: correlations, largest first, [k], k = min(rank_x, rank_y), within [0, 1].
        Px, Py: directions in rows, [k, D1] and [k, D2]; Px Sxx Px' = I (in sums of squares).
        rank_x, rank_y: numerical ranks of the views.
    """

    rho: torch.Tensor
    Px: torch.Tensor
    Py: torch.Tensor
    rank_x: int
    rank_y: int


def canonical(m: Moments) -> Canonical:
    """Canonical analysis of ``m``; computed once and kept in its cache."""
    found: Canonical | None = m.cache.get("canonical")
    if found is None:
        wx, wy = m.view_x.whitening, m.view_y.whitening
        U, s, Vt = torch.linalg.svd(wx.matrix.T @ m.Sxy @ wy.matrix, full_matrices=False)
        found = Canonical(s.clamp(0.0, 1.0), U.T @ wx.matrix.T, Vt @ wy.matrix.T, wx.rank, wy.rank)
        m.cache["canonical"] = found
    return found


def mean_cca(m: Moments, over: Over = "rank") -> float:
    """Mean canonical correlation.

    Args:
        m: moments.
        over: ``"rank"``: over the min(rank_x, rank_y) correlations that exist; ``"width"``: their
            sum divided by min(D1, D2), so that directions without variance count as zero
            (sim_metric). The two differ for one-hot labels, constant or copied columns.
    """
    return _mean(canonical(m).rho, m, over)


def r2_cca(m: Moments, over: Over = "rank") -> float:
    """Mean squared canonical correlation (R^2_CCA of Kornblith et al. 2019); see mean_cca."""
    return _mean(canonical(m).rho ** 2, m, over)


def _mean(values: torch.Tensor, m: Moments, over: Over) -> float:
    if over not in ("rank", "width"):
        raise UsageError("unknown denominator", got=over, expected="'rank' or 'width'")
    return float(values.sum()) / (len(values) if over == "rank" else min(m.Sxy.shape))


def kept_components(values: torch.Tensor, keep: Keep | int, threshold: float = 0.99) -> int:
    """How many leading components SVCCA keeps, of those whose eigenvalue is not rounding noise.

    Args:
        values: eigenvalues, largest first, [D].
        keep: see :func:`svcca`.
        threshold: share, for the named rules.

    Raises:
        UsageError: an unknown rule, or a number outside 1..D.
        NumericsError: there is no variance.
    """
    rank = int((values > len(values) * EPS * values[0]).sum())
    if float(values[0]) <= 0:
        raise NumericsError("a view without variance has no principal components")
    if not isinstance(keep, int) and not 0 < threshold <= 1:
        raise UsageError("the share kept by SVCCA", got=threshold, expected="0 < threshold <= 1")
    if isinstance(keep, int):
        if not 1 <= keep <= len(values):
            raise UsageError(
                "SVCCA cannot keep so many components", got=keep, expected=f"1 to {len(values)}"
            )
        count = keep
    elif keep == "variance":
        # The margin keeps a threshold of 1.0 from asking for more than everything.
        share = values.cumsum(0) / values.sum()
        count = int((share < threshold - 1e-12).sum()) + 1
    elif keep == "singular_sum":
        roots = values.sqrt()
        count = int((roots.cumsum(0) / roots.sum() < threshold).sum())
    else:
        raise UsageError(
            "unknown rule of SVCCA", got=keep, expected="'variance', 'singular_sum' or a number"
        )
    return min(max(count, 1), rank)


def svcca_correlations(
    m: Moments, keep: Keep | int = "variance", threshold: float = 0.99
) -> torch.Tensor:
    """Canonical correlations between the leading components of both views, [k]."""
    if keep == "singular_sum":
        raw = [view.S + m.n * torch.outer(mean, mean) for view, mean in _views(m)]
        spectra = [torch.linalg.eigh(S) for S in raw]
        a, b = (
            v.flip(1)[:, : kept_components(lam.flip(0).clamp_min(0.0), keep, threshold)]
            for lam, v in spectra
        )
        # Directions of uncentred rows are not uncorrelated, so the general form is needed.
        reduced = Moments(
            m.n, m.mean_x @ a, m.mean_y @ b, a.T @ m.Sxx @ a, b.T @ m.Syy @ b, a.T @ m.Sxy @ b
        )
        return canonical(reduced).rho
    sides = []
    for view, _ in _views(m):
        values, vectors = view.spectrum
        count = kept_components(values, keep, threshold)
        sides.append(vectors[:, :count] * values[:count].rsqrt())
    rho: torch.Tensor = torch.linalg.svdvals(sides[0].T @ m.Sxy @ sides[1])
    return rho.clamp(0.0, 1.0)


def _views(m: Moments) -> tuple[tuple[View, torch.Tensor], tuple[View, torch.Tensor]]:
    return (m.view_x, m.mean_x), (m.view_y, m.mean_y)


def svcca(m: Moments, keep: Keep | int = "variance", threshold: float = 0.99) -> float:
    """SVCCA: mean canonical correlation after keeping the leading components of each view.

    Args:
        m: moments.
        keep: ``"variance"``: the fewest principal components that explain ``threshold`` of the
            variance (Raghu et al. 2017); ``"singular_sum"``: what the public code of anatome
            does, namely directions of the rows without centring, as long as the running sum of
            their singular values is below ``threshold`` of the total; a number: that many
            (``1`` is what ReSi's code computes by mistake, |corr(PC1, PC1')|).
        threshold: share, for the named rules.
    """
    return float(svcca_correlations(m, keep, threshold).mean())
