"""Fits of the published search at epsilons near one that was fitted in full.

The pairs of epsilon that a trial tries first differ by 1e-9 of a covariance's largest entry, so
their canonical directions differ by little more than rounding does. They are expanded to second
order about those of the first pair; where the expansion may not hold, :meth:`Nearby.at` says so
and the pair is fitted in full.

*The problem.* Call the narrower view y (it weighs the score; k columns), the other x, with
covariances S + e I at the first pair, canonical directions in the rows of P (y) and Q (x),
canonical correlations s, h = s^2, and Z = diag(s) Q = P Syx (Sxx + e I)^-1. With epsilons moved
by a (x) and b (y), and y's new directions written as V' P, the columns v of V solve

    [diag(h) - a Z Z' + a^2 Z (Sxx + e I)^-1 Z' + O(a^3)] v = h' [I + b P P'] v

with v' [I + b P P'] v = 1.

*The expansion.* With E and B for the two perturbations and v_j = e_j + g_j + g2_j, entry j of
g_j and g2_j zero before normalising, comparing orders in row i of the equation for column j gives

    (h_j - h_i) g_ij  = E_ij - h_j B_ij,
    (h_j - h_i) g2_ij = (E g)_ij - h_j (B g)_ij - m_j g_ij - m_j B_ij,   m_j = E_jj - h_j B_jj,

with the a^2 part of E in the second line. Both are polynomials in a and b whose coefficients are
made once for all pairs. With R = V - I, y's directions are P + R' P, x's (up to lengths, which
no correlation sees) Z - a Z (Sxx + e I)^-1 and R' times that, and the products that the score needs
follow in the same way. Base values are float64, corrections products in float32: these are 1e-3
of the values at most, so 1e-10 is kept.

*What is left out*, as it moves the score, is about the mean over directions of |g_j|^3, and of
the squares of a times the eigenvalues of (Sxx + e I)^-1: at most (a |L^-1|_F^2)^2 / k with
Sxx + e I = L L'. :data:`CUBES` and :data:`SQUARES` bound them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from voxstrata.errors import NumericsError
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.pasad import bounded, signs_of, weights_of

CUBES = 1e-10
"""Largest mean of |g_j|^3 over directions."""

STEP = 0.03
"""Largest |g_j|."""

SQUARES = 1e-9
"""Largest (a |L^-1|_F^2)^2 / k. A bound from all eigenvalues: the error is far smaller."""

FLAT = 1e-5
"""Smallest canonical correlation, relative to the largest, that is expanded about."""


@dataclass(frozen=True)
class Fit:
    """Projections [k, D'] and [k, V'] over kept columns, signs chosen.

    Attributes:
        Px, Py: projections.
        kept: which columns of x and y these are over.
        s: canonical correlations, [k].
        flips: signs that Px and Py were multiplied by, [k, 1].
    """

    Px: torch.Tensor
    Py: torch.Tensor
    kept: tuple[torch.Tensor, torch.Tensor]
    s: torch.Tensor
    flips: tuple[torch.Tensor, torch.Tensor]


class Nearby:
    """Scores on some rows at epsilons near those of a fit.

    Args:
        fit: the fit in full, over all columns.
        L: triangle of the wider view's covariance with its epsilon, [D, D] (x's where the views
            are equally wide).
        reach: |L^-1|_F^2.
        rows: moments of the rows to score.
    """

    def __init__(self, fit: Fit, L: torch.Tensor, reach: float, rows: Moments) -> None:
        self.fit, self.reach, self.n = fit, reach, rows.n
        self.by_x = fit.Px.shape[1] < fit.Py.shape[1]
        P, Q = fit.Py * fit.flips[1], fit.Px * fit.flips[0]
        Syy, Sxx, Sxy, mean = rows.Syy, rows.Sxx, rows.Sxy, rows.mean_y
        if self.by_x:
            P, Q, Syy, Sxx, Sxy, mean = Q, P, Sxx, Syy, Sxy.T, rows.mean_x
        self.k, self.mean = len(P), mean[: len(P)]
        self.P, self.Z = P, fit.s[:, None] * Q
        self.low_P, self.low_Z = self.P.float(), self.Z.float()
        low_L = L.float()
        # Z (Sxx + e I)^-1 = Z L^-T L^-1.
        turned = torch.linalg.solve_triangular(low_L.T, self.low_Z, upper=True, left=False)
        self.D = torch.linalg.solve_triangular(low_L, turned, upper=False, left=False)
        self._expand(fit.s**2)
        loads = P @ Syy
        self.B, self.A = loads[:, : self.k], loads @ P.T
        self.low_A, self.low_B = self.A.float(), self.B.float()
        loads = self.Z @ Sxx
        self.own = (loads * self.Z).sum(dim=1)
        low = loads.float()
        self.Ax, first = low @ self.low_Z.T, low @ self.D.T
        self.own_1, self.Ax_1 = first.diagonal().double(), first + first.T
        cross = Sxy @ P.T
        self.cross = (self.Z * cross.T).sum(dim=1)
        low = cross.float()
        self.C, first = self.low_Z @ low, self.D @ low
        self.cross_1 = first.diagonal().double()
        self.C_0, self.C_1 = self.C + self.C.T, first + first.T

    def _expand(self, h: torch.Tensor) -> None:
        """Coefficients of a, b, a^2, a b and b^2 in g and g2."""
        gap = (h - h[:, None]).reciprocal().fill_diagonal_(0.0).float()
        E, G = -(self.low_Z @ self.low_Z.T), self.low_P @ self.low_P.T
        e, g, low = E.diagonal().clone(), G.diagonal().clone(), h.float()
        one, two = E * gap, -(G * low * gap)
        self.order_1 = (one, two)
        self.order_2 = (
            (self.D @ self.low_Z.T + E @ one - e * one) * gap,
            (E @ two - low * (G @ one) - e * (two + G) + (low * g) * one) * gap,
            (low * g * (two + G) - low * (G @ two)) * gap,
        )
        self.G, self.g = G, g.double()
        self.usable = bool(h[-1] > FLAT**2 * h[0]) and bool(torch.isfinite(gap).all())

    def at(self, a: float, b: float) -> Moved | None:
        """The fit with x's epsilon moved by ``a`` and y's by ``b``; ``None``: fit in full."""
        if self.by_x:
            a, b = b, a
        if not self.usable or (a * self.reach) ** 2 > SQUARES * self.k:
            return None
        one, two = self.order_1
        first = (a * one).add_(two, alpha=b)
        squares = first.square().sum(dim=0).double()
        if not (float(squares.max()) <= STEP**2 and float((squares**1.5).mean()) <= CUBES):
            return None
        bent = b * self.g + squares + 2 * b * (self.G * first).sum(dim=0).double()
        for c, order in zip((a * a, a * b, b * b), self.order_2, strict=True):
            first.add_(order, alpha=c)
        # v / |v| - e_j, without the cancellation of 1 - 1.
        shrunk = torch.expm1(-0.5 * torch.log1p(bent)).float()
        R = first.mul_(1.0 + shrunk)
        R.diagonal().copy_(shrunk)
        return Moved(self, a, R)


@dataclass(frozen=True)
class Moved:
    """One pair of epsilons near that of a fit.

    Attributes:
        about: the fit expanded about.
        a: by how much the wider view's epsilon moved.
        R: what the narrower view's directions are to be mixed with, float32 [k, k].
    """

    about: Nearby
    a: float
    R: torch.Tensor

    def projections(
        self, which: torch.Tensor | slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Directions of x and y, signs as they come, the wider's s times too long."""
        o, mix = self.about, self.R[:, which].T
        P = o.P[which] + mix @ o.low_P
        step = self.a * o.D
        Z = o.Z[which] + (mix @ (o.low_Z - step) - step[which])
        return (P, Z) if o.by_x else (Z, P)

    def signs(self, align: tuple[Any, Any] | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Signs by the rule of :func:`voxstrata.similarity.pasad.signs_of`, [k, 1].

        Rows whose largest entry cannot have changed sign keep that of the fit.
        """
        o, kept = self.about, self.about.fit.kept
        if align is not None:
            return signs_of(*self.projections(), kept, align)
        ruling, moved = (o.P, 0.0) if o.by_x else (o.Z, abs(self.a) * float(o.D.abs().max()))
        high, low = ruling.amax(dim=1), -ruling.amin(dim=1)
        most = torch.maximum(high, low).float()
        change = self.R.abs().T @ (most + moved) + moved
        near = torch.nonzero((high - low).abs() <= 2 * change.double())[:, 0]
        flip = o.fit.flips[0].clone()
        if len(near):
            flip[near] = signs_of(*self.projections(near), kept)[0]
        return flip, flip

    def fit(self, align: tuple[Any, Any] | None) -> Fit:
        """The fit itself, both views' directions of unit variance to first order."""
        Px, Py = self.projections()
        flips = self.signs(align)
        s = self.about.fit.s
        Px, Py = (Px, Py / s[:, None]) if self.about.by_x else (Px / s[:, None], Py)
        return Fit(Px * flips[0], Py * flips[1], self.about.fit.kept, s, flips)

    def score(self, align: tuple[Any, Any] | None) -> float | None:
        """The published score on the rows; ``None`` where rounding decides."""
        o, a, R = self.about, self.a, self.R
        W = o.low_A @ R
        A = o.A + (W + W.T + R.T @ W)
        B = o.B + R.T @ o.low_B
        own_x = (R * (2 * (o.Ax - a * o.Ax_1) + o.Ax @ R)).sum(dim=0)
        cross = (R * (o.C_0 - a * o.C_1 + o.C @ R)).sum(dim=0)
        own = (o.own - 2 * a * o.own_1 + own_x) * A.diagonal()
        rho = bounded((o.cross - a * o.cross_1 + cross) / own.sqrt())
        flip_x, flip_y = (flip[:, 0] for flip in self.signs(align))
        flip, rho = (flip_x if o.by_x else flip_y), flip_x * flip_y * rho
        try:
            found = float(weights_of(A, B, flip * o.mean, o.mean, o.n) @ rho)
        except NumericsError:
            return None
        return found if abs(found) <= 1.0 else None
