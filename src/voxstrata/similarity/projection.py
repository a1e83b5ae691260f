"""Projection-weighted CCA, sign-free: canonical correlations weighted by what they stand for.

Source: Morcos, Raghu, Bengio, NeurIPS 2018, section 3: the weight of direction i is
sum_j |<h_i, x_j>|, h_i the unit canonical variate and x_j the centred features. The published
code of P2023 computes something else (see ``pasad.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.numerics.linalg import EPS, float64
from voxstrata.similarity.canonical import canonical
from voxstrata.similarity.moments import Moments, View

Side = Literal["auto", "x", "y", "mean"]
Complement = Literal["all", "paired", "svd"]


@dataclass(frozen=True)
class Pwcca:
    """Both weightings of one pair.

    Attributes:
        x, y: score with weights from view x, from view y.
        rho: correlations, [k].
        d, other_d: widths of the views.
    """

    x: float
    y: float
    rho: torch.Tensor
    d: int
    other_d: int

    def side(self, side: Side = "auto") -> float:
        """The score of a side.

        ``auto``: the narrower view (as Morcos et al. and P2023 choose), the mean of both where
        widths are equal, so that exchanging x and y never changes it.
        """
        if side == "mean" or (side == "auto" and self.d == self.other_d):
            return (self.x + self.y) / 2
        if side in ("x", "y", "auto"):
            chosen = side if side != "auto" else ("x" if self.d < self.other_d else "y")
            return self.x if chosen == "x" else self.y
        raise UsageError("unknown side of PWCCA", got=side, expected="'auto', 'x', 'y' or 'mean'")


SAME = 1e-5
"""Correlations above 1 - SAME count as one subspace that both views share, those below SAME as
directions without a partner: within either, the basis is rounding."""

TIED = 1e-10
"""Correlations elsewhere that differ by no more than this are the same."""


def _subspaces(rho: torch.Tensor) -> list[slice]:
    """Runs of directions that correlations tell apart, largest first; no run of ends below SAME."""
    values = [value for value in rho.tolist() if value > SAME]
    edges = [0] + [
        i
        for i in range(1, len(values))
        if values[i] < 1.0 - SAME and values[i - 1] - values[i] > TIED
    ]
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], len(values)], strict=True) if b > a]


def _spread(length: torch.Tensor, r: int) -> float:
    """Mean sum of absolute loadings of r directions over all orthonormal bases of their space.

    A column z of loadings on r random orthonormal directions has an expected sum of absolute
    values |z| r Gamma(r/2) / (sqrt(pi) Gamma((r+1)/2)), which is |z| for r = 1.

    Args:
        length: |z| of each feature, [D].
        r: directions.
    """
    log_factor = math.lgamma(r / 2) - math.lgamma((r + 1) / 2)
    return float(length.sum()) * r * math.exp(log_factor) / math.sqrt(math.pi)


def _score(view: View, P: torch.Tensor, rho: torch.Tensor, free: int) -> float:
    """sum w rho / sum w, the weight of a subspace being its mean over all bases.

    Where correlations are equal, or directions have no partner, any basis is as good as another,
    and each gives another sum of absolute loadings.

    Args:
        view: the view whose weights these are.
        P: its directions, [k, D].
        rho: their correlations, largest first, [k].
        free: directions of the view beyond these.
    """
    loads = P @ view.S
    runs = _subspaces(rho)
    paired = runs[-1].stop if runs else 0
    if len(runs) == len(rho):
        weights = loads.abs().sum(dim=1)
        top, total = float((weights * rho).sum()), float(weights.sum())
    else:
        own = [_spread(loads[run].square().sum(dim=0).sqrt(), run.stop - run.start) for run in runs]
        means = [float(rho[run].mean()) for run in runs]
        top, total = sum(w * r for w, r in zip(own, means, strict=True)), sum(own)
    free += len(rho) - paired
    if free > 0:
        # What the paired directions leave of each feature's sum of squares.
        left = view.S.diagonal() - loads[:paired].square().sum(dim=0)
        total += _spread(left.clamp_min(0.0).sqrt(), free)
    return top / total


def _svd_weights(m: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights over all directions in the basis that a full SVD of S11^-1/2 S12 S22^-1/2 returns.

    numpy's SVD, since that basis is a LAPACK's private choice and torch's makes another.
    """
    roots, inverse = [], []
    for view in (m.view_x, m.view_y):
        values, vectors = view.spectrum
        keep = values > len(values) * EPS * values[0]
        v, lam = vectors[:, keep], values[keep].sqrt()
        roots.append((v * lam) @ v.T)
        inverse.append((v / lam) @ v.T)
    U, _, Vt = np.linalg.svd((inverse[0] @ m.Sxy @ inverse[1]).cpu().numpy(), full_matrices=True)
    left, right = float64(U).to(m.Sxy.device), float64(Vt).to(m.Sxy.device)
    return (left.T @ roots[0]).abs().sum(dim=1), (right @ roots[1]).abs().sum(dim=1)


def pwcca(m: Moments, complement: Complement = "all") -> Pwcca:
    """Sign-free PWCCA, fitted and scored on the same rows.

    Args:
        m: moments.
        complement: what becomes of the directions of the larger view that have no partner.
            ``"all"``: they count with correlation 0 and the mean weight over all bases of their
            subspace, as do directions of equal correlation (:data:`SAME`, :data:`TIED`);
            ``"paired"``: weights are normalised over the k pairs alone; ``"svd"``: as ``"all"``, in
            the basis the SVD happens to return (sim_metric's ``pwcca_dist``; not invariant to
            anything on that side). Where all correlations differ, the smaller view's score is the
            same in all.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(500, 4))
        >>> round(pwcca(Moments.from_rows(x, x @ np.diag([1.0, 2.0, 3.0, 4.0]))).x, 9)
        1.0
    """
    if complement not in ("all", "paired", "svd"):
        raise UsageError(
            "unknown treatment of unpaired directions",
            got=complement,
            expected="'all', 'paired' or 'svd'",
        )
    key = f"pwcca-{complement}"
    found: Pwcca | None = m.cache.get(key)
    if found is None:
        c = canonical(m)
        if complement == "svd":
            scores = [float((w[: len(c.rho)] * c.rho).sum() / w.sum()) for w in _svd_weights(m)]
        elif complement == "paired":
            weights = [(P @ v.S).abs().sum(dim=1) for v, P in ((m.view_x, c.Px), (m.view_y, c.Py))]
            scores = [float((w * c.rho).sum() / w.sum()) for w in weights]
        else:
            sides = ((m.view_x, c.Px, c.rank_x), (m.view_y, c.Py, c.rank_y))
            scores = [_score(view, P, c.rho, rank - len(P)) for view, P, rank in sides]
        found = Pwcca(scores[0], scores[1], c.rho, len(m.mean_x), len(m.mean_y))
        m.cache[key] = found
    return found


def held_out_correlations(Px: torch.Tensor, Py: torch.Tensor, rows: Moments) -> torch.Tensor:
    """Correlations of given directions on other rows, [k].

    rho_i = p1 S12 p2' / sqrt(p1 S11 p1' p2 S22 p2') with p1, p2 the i-th rows of Px, Py.
    NaN where a direction has no variance on those rows.
    """
    cross = torch.einsum("kd,de,ke->k", Px, rows.Sxy, Py)
    own_x = torch.einsum("kd,de,ke->k", Px, rows.Sxx, Px)
    own_y = torch.einsum("kd,de,ke->k", Py, rows.Syy, Py)
    return cross / (own_x * own_y).sqrt()


def pwcca_held_out(fit: Moments, rows: Moments) -> Pwcca:
    """Sign-free PWCCA with directions from ``fit`` and correlations and weights from ``rows``.

    Weights are row sums of |P S| on the scored rows, each direction scaled to unit variance
    there, over the k pairs. The signs of the directions cancel in both factors, so the score
    does not depend on them.

    Args:
        fit: moments of the rows that directions are fitted on.
        rows: moments of the rows to score.

    Raises:
        ShapeError: widths differ.
    """
    if fit.Sxy.shape != rows.Sxy.shape:
        raise ShapeError(
            "fitted and scored rows have different widths",
            got=f"{tuple(fit.Sxy.shape)} and {tuple(rows.Sxy.shape)}",
        )
    c = canonical(fit)
    rho = held_out_correlations(c.Px, c.Py, rows)
    scores = []
    for S, P in ((rows.Sxx, c.Px), (rows.Syy, c.Py)):
        loads = P @ S
        weights = loads.abs().sum(dim=1) / (loads * P).sum(dim=1).sqrt()
        scores.append(float((weights * rho).sum() / weights.sum()))
    return Pwcca(scores[0], scores[1], rho, len(rows.mean_x), len(rows.mean_y))
