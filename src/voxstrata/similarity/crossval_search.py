"""Fits and scores of one trial of the published search, and what they share.

The published recipe is that of :mod:`voxstrata.similarity.pasad`. Here the triangle or the
eigenvectors of a covariance are made once for all pairs of epsilon that can use them, and pairs
next to the first are expanded about it (:mod:`voxstrata.similarity.crossval_nearby`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from voxstrata.errors import NumericsError
from voxstrata.similarity.crossval_fit import Basis, quick_svd
from voxstrata.similarity.crossval_nearby import Fit, Moved, Nearby
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pasad import PINV_RCOND, bounded, inverse_root, signs_of, weights_of

SAFE_RATIO = 1e-9
"""Smallest ratio of eigenvalues (epsilon added) at which one decomposition serves all epsilons."""

LEAST_WIDTH = 128
"""Width of the narrower view from which expanding is faster than fitting."""

Pair = tuple[float, float]


class _Side:
    """One view of a training set: for every epsilon R = S^-1/2 as V diag(scale) V', or a
    triangle, which whitens as well (canonical directions do not depend on which).
    """

    def __init__(self, view: View, n: int, name: str) -> None:
        S = view.S / (n - 1)
        self.top, self.name = float(S.abs().max()), name
        if self.top <= 0:
            raise NumericsError("a view without variance has no canonical correlations")
        self.S = S / self.top
        self._spectra: dict[bytes, tuple[torch.Tensor, torch.Tensor]] = {}
        self._factors: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}
        self._triangles: dict[float, tuple[torch.Tensor, float] | None] = {}

    def kept(self, eps: float) -> torch.Tensor:
        """Which columns stay, boolean [D]."""
        return self.S.diagonal() >= eps

    def triangle(self, eps: float) -> tuple[torch.Tensor, float] | None:
        """L [D, D] with S + eps I = L L' and |L^-1|_F^2; ``None`` where rounding may decide."""
        if eps not in self._triangles:
            self._triangles[eps] = self._triangle(eps)
        return self._triangles[eps]

    def _triangle(self, eps: float) -> tuple[torch.Tensor, float] | None:
        if not bool(self.kept(eps).all()):
            return None
        one = torch.eye(len(self.S), dtype=self.S.dtype)
        L, info = torch.linalg.cholesky_ex(self.S + eps * one)
        if int(info):
            return None
        reach = float(torch.linalg.solve_triangular(L, one, upper=False).square().sum())
        # Smallest and largest eigenvalue are at least 1 / |L^-1|_F^2 and at most |S + eps I|_F.
        if 1.0 / reach <= SAFE_RATIO * (float(self.S.norm()) + eps * len(L) ** 0.5):
            return None
        return L, reach

    def factor(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        """V [D', D'] over the kept columns, and scale [D'].

        One decomposition of S serves all epsilons, except where rounding decides: there what
        the original does is done.
        """
        if eps not in self._factors:
            self._factors[eps] = self._factor(eps)
        return self._factors[eps]

    def _factor(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self.kept(eps)
        S = self.S if bool(kept.all()) else self.S[kept][:, kept]
        key = kept.cpu().numpy().tobytes()
        if key not in self._spectra:
            values, vectors = torch.linalg.eigh(S)
            self._spectra[key] = (values, vectors)
        values, vectors = self._spectra[key]
        shifted = values + eps
        if float(shifted[0]) > max(SAFE_RATIO, PINV_RCOND) * float(shifted[-1]):
            return vectors, shifted.rsqrt()
        root = inverse_root(S + eps * torch.eye(len(S), dtype=S.dtype), self.name)
        scale, vectors = torch.linalg.eigh(root)
        return vectors, scale


class Search:
    """All fits of a trial, each with its score on the development split.

    Args:
        train, rows: moments to fit on and to score.
        mean_score: mean of both weightings instead of the published choice of side.
    """

    def __init__(self, train: Moments, rows: Moments, mean_score: bool = False) -> None:
        self.x, self.y = _Side(train.view_x, train.n, "x"), _Side(train.view_y, train.n, "y")
        self.Sxy = train.Sxy / (train.n - 1) / (self.x.top * self.y.top) ** 0.5
        self.rows, self.mean_score = rows, mean_score
        self._core: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._near: tuple[Pair, Nearby] | None = None

    def fit(self, eps: Pair, align: tuple[Any, Any] | None = None) -> tuple[Fit | Moved, float]:
        """One pair of epsilon.

        Raises:
            NumericsError: it cannot be fitted or scored.
        """
        sides = ((self.x, eps[0]), (self.y, eps[1]))
        if self._near is not None and all(bool(side.kept(e).all()) for side, e in sides):
            (ex, ey), near = self._near
            moved = near.at(eps[0] - ex, eps[1] - ey)
            score = None if moved is None else moved.score(align)
            if moved is not None and score is not None:
                return moved, score
        fit = self.whole(eps, align)
        wide = self.y.triangle(eps[1]) if len(self.x.S) < len(self.y.S) else self.x.triangle(eps[0])
        pays = len(fit.Px) >= LEAST_WIDTH and not self.mean_score
        if self._near is None and pays and self.triangular(eps) and wide is not None:
            near = Nearby(fit, *wide, self.rows)
            at_once = near.at(0.0, 0.0)
            score = None if at_once is None else at_once.score(align)
            if score is not None:
                self._near = (eps, near)
                return fit, score
        return fit, scored(fit, self.rows, self.mean_score)[0]

    def triangular(self, eps: Pair) -> bool:
        """Whether both covariances are whitened by triangles."""
        return self.x.triangle(eps[0]) is not None and self.y.triangle(eps[1]) is not None

    def whole(self, eps: Pair, align: tuple[Any, Any] | None = None) -> Fit:
        """As :func:`voxstrata.similarity.pasad.pasad_fit`.

        With R1 = V1 D1 V1' and R2 = V2 D2 V2' the singular vectors of R1 S12 R2 are V1 U and V2 W
        for those of D1 (V1' S12 V2) D2, whose middle part is the same for every epsilon; with
        triangles they are those of L1^-1 S12 L2^-T.
        """
        kx, ky = self.x.kept(eps[0]), self.y.kept(eps[1])
        found = self.x.triangle(eps[0]), self.y.triangle(eps[1])
        if found[0] is not None and found[1] is not None:
            x, y = Basis(found[0][0], True), Basis(found[1][0], True)
            U, s, Wt = quick_svd(y.turned(x.turned(self.Sxy).T).T)
            Px, Py = x.rows(U.T), y.rows(Wt)
        else:
            (V1, d1), (V2, d2) = self.x.factor(eps[0]), self.y.factor(eps[1])
            if self._core is None or self._core[0] is not V1 or self._core[1] is not V2:
                self._core = (V1, V2, V1.T @ self.Sxy[kx][:, ky] @ V2)
            U, s, Wt = quick_svd(d1[:, None] * self._core[2] * d2)
            Px, Py = (U.T * d1) @ V1.T, (Wt * d2) @ V2.T
        flips = signs_of(Px, Py, (kx, ky), align)
        return Fit(Px * flips[0], Py * flips[1], (kx, ky), s, flips)


def scored(
    fit: Fit, rows: Moments, mean_score: bool, flips: Sequence[torch.Tensor] = ()
) -> list[float]:
    """The published score, then the score for each choice of signs in ``flips`` [k].

    As :func:`voxstrata.similarity.pasad.pasad_score`, with every product made once and only for
    the side that counts. Negating a direction in both views leaves its correlation and turns
    the mean that is added to it.
    """
    kx, ky = fit.kept
    whole = bool(kx.all() and ky.all())
    Sxx, Syy, Sxy = rows.Sxx, rows.Syy, rows.Sxy
    mean_x, mean_y = rows.mean_x[kx], rows.mean_y[ky]
    if not whole:
        Sxx, Syy, Sxy = Sxx[kx][:, kx], Syy[ky][:, ky], Sxy[kx][:, ky]
    loads_x, loads_y = fit.Px @ Sxx, fit.Py @ Syy
    own = (loads_x * fit.Px).sum(dim=1) * (loads_y * fit.Py).sum(dim=1)
    cross = ((fit.Px @ Sxy) * fit.Py).sum(dim=1)
    rho = bounded(cross / own.sqrt())
    sides = [(fit.Px, loads_x, mean_x), (fit.Py, loads_y, mean_y)]
    if not mean_score:
        sides = sides[:1] if len(mean_x) < len(mean_y) else sides[1:]
    k = len(fit.Px)
    made = [(loads @ P.T, loads[:, :k], mean[:k]) for P, loads, mean in sides]
    scores = []
    for flip in (torch.ones(k, dtype=rho.dtype), *flips):
        # w_i sums absolute values over features: turning the row or its mean is the same.
        each = [float(weights_of(A, B, flip * mean, mean, rows.n) @ rho) for A, B, mean in made]
        scores.append(sum(each) / len(each))
    return scores
