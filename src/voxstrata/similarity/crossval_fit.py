"""Canonical directions of a training set, and what they score on rows they have not seen.

The work of one fold of :mod:`voxstrata.similarity.crossval`. Where a covariance is whitened by
Cholesky its triangle is solved with, never inverted or multiplied by, and where products of rows
were summed in float32 the whole fit is done in float32: every step here is backward stable, so it
gives the exact result for covariances that differ by a few units of float32 rounding, which is
what they are good to. What float32 cannot tell apart from rounding is done again in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxstrata.errors import UsageError
from voxstrata.numerics.linalg import whiten
from voxstrata.similarity.canonical import kept_components
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.view_folds import QuickView

SMALL = {torch.float64: 1e-3, torch.float32: 0.1}
"""Singular values below this share of the largest are not taken from squares (quick_svd)."""


@dataclass(frozen=True)
class Basis:
    """A whitening W [D, r] of a training view, W' S W = I.

    Attributes:
        matrix: W, or L [D, D] with S = L L', which stands for W = L^-T.
        triangular: which of the two.
    """

    matrix: torch.Tensor
    triangular: bool = False

    @property
    def rank(self) -> int:
        """r."""
        return self.matrix.shape[1]

    def turned(self, S: torch.Tensor) -> torch.Tensor:
        """W' S, [r, E] for S [D, E]."""
        if not self.triangular:
            return self.matrix.T @ S
        made: torch.Tensor = torch.linalg.solve_triangular(self.matrix, S, upper=False)
        return made

    def rows(self, C: torch.Tensor) -> torch.Tensor:
        """C W', [k, D] for C [k, r]: directions from their whitened coordinates."""
        if not self.triangular:
            return C @ self.matrix.T
        made: torch.Tensor = torch.linalg.solve_triangular(self.matrix, C, upper=False, left=False)
        return made


@dataclass(frozen=True)
class HeldOut:
    """Directions of one training set, scored on rows they have not seen.

    Attributes:
        rho: correlations of the k pairs of directions, 0 where one has no variance there,
            float64 [k].
        weights_x, weights_y: projection weights, normalised, float64 [k].
    """

    rho: torch.Tensor
    weights_x: torch.Tensor
    weights_y: torch.Tensor

    @property
    def x(self) -> float:
        """PWCCA with the weights of x."""
        return float(self.weights_x @ self.rho)

    @property
    def y(self) -> float:
        """PWCCA with the weights of y."""
        return float(self.weights_y @ self.rho)


def held_out(Px: torch.Tensor, Py: torch.Tensor, rows: Moments) -> HeldOut:
    """Correlations and weights of directions (rows of Px [k, D], Py [k, V]) on other rows.

    As :func:`voxstrata.similarity.projection.pwcca_held_out`, with one product a view; a
    direction that is constant on those rows counts as correlation 0 with weight 0. Products are
    made in the precision of the directions; where rounding then hides the variance of one, all
    is done again in float64.
    """
    dtype = Px.dtype
    Sxx, Syy = _cast(rows.view_x, dtype), _cast(rows.view_y, dtype)
    loads_x, loads_y = Px @ Sxx, Py @ Syy
    own_x, own_y = (loads_x * Px).sum(dim=1), (loads_y * Py).sum(dim=1)
    cross = ((Px @ rows.Sxy.to(dtype)) * Py).sum(dim=1)
    sums_x, sums_y = loads_x.abs_(), loads_y.abs_()
    # Rounding of a direction's variance is relative to the largest that its loadings allow.
    eps = torch.finfo(dtype).eps
    floor_x = eps * len(rows.mean_x) * (sums_x * Px.abs()).sum(dim=1)
    floor_y = eps * len(rows.mean_y) * (sums_y * Py.abs()).sum(dim=1)
    alive_x, alive_y = own_x > floor_x, own_y > floor_y
    if dtype == torch.float32 and not (
        bool((alive_x & alive_y).all()) and _seen(Px, Sxx, own_x) and _seen(Py, Syy, own_y)
    ):
        return held_out(Px.double(), Py.double(), rows)
    one, none = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    safe_x, safe_y = own_x.double().where(alive_x, one), own_y.double().where(alive_y, one)
    rho = (cross.double() / (safe_x * safe_y).sqrt()).where(alive_x & alive_y, none)
    return HeldOut(
        rho,
        _normal((sums_x.sum(dim=1).double() * safe_x.rsqrt()).where(alive_x, none)),
        _normal((sums_y.sum(dim=1).double() * safe_y.rsqrt()).where(alive_y, none)),
    )


def _seen(P: torch.Tensor, S: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether variances P S P' of directions stand out of all rounding in that product."""
    most = P.abs() @ S.diagonal().clamp_min(0.0).sqrt()
    return bool((own > torch.finfo(P.dtype).eps * most.square()).all())


def _normal(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


def _cast(view: View, dtype: torch.dtype) -> torch.Tensor:
    """S of a view; the float32 copy is kept for the control."""
    if dtype == torch.float32:
        return view.low if isinstance(view, QuickView) else view.S.float()
    return view.S


def basis(view: View, components: int | None = None, ridge: float = 0.0) -> torch.Tensor:
    """Whitening of a training view: W [D, r] with W' S W = I.

    Args:
        view: the view.
        components: whiten the leading principal components only, at most this many.
        ridge: whiten S + ridge diag(S) instead of S (then W' S W is only near I).

    Raises:
        UsageError: both, or a negative ridge.
    """
    if ridge < 0 or (ridge and components):
        raise UsageError(
            "ridge and principal components exclude each other; a ridge is not negative",
            got=f"ridge {ridge}, components {components}",
        )
    if components:
        values, vectors = view.spectrum
        cut = len(values) * torch.finfo(values.dtype).eps if view.rtol is None else view.rtol
        r = min(components, int((values > cut * values[0]).sum()))
        return vectors[:, :r] * values[:r].rsqrt()
    if ridge:
        return whiten(view.S + ridge * torch.diag(view.S.diagonal()), view.rtol).matrix
    return view.whitening.matrix


def leading(view: View, components: int | None = None, share: float = 0.99) -> torch.Tensor:
    """As :func:`basis`, for the fewest principal components that hold a share of the variance."""
    values, vectors = view.spectrum
    r = kept_components(values, "variance", share)
    if components:
        r = min(r, components)
    return vectors[:, :r] * values[:r].rsqrt()


def bases(
    train: Moments,
    components: int | None,
    other_components: int | None,
    ridge: float,
    dtype: torch.dtype,
) -> tuple[Basis, Basis]:
    """Whitenings of both views, triangular where that drops nothing.

    Args:
        train: moments of the training rows.
        components, other_components, ridge: see :func:`basis`.
        dtype: precision of the products of rows: float32 allows fits in float32.
    """
    wanted = ((train.view_x, components), (train.view_y, other_components))
    for precision in dict.fromkeys((dtype, torch.float64)):
        if ridge or components or other_components:
            break
        found = [
            view.triangle(precision) if isinstance(view, QuickView) else None for view, _ in wanted
        ]
        if found[0] is not None and found[1] is not None:
            return Basis(found[0], True), Basis(found[1], True)
    x, y = (Basis(basis(view, count, ridge)) for view, count in wanted)
    return x, y


def directions(
    Wx: torch.Tensor | Basis, Sxy: torch.Tensor, Wy: torch.Tensor | Basis
) -> tuple[torch.Tensor, torch.Tensor]:
    """Canonical directions in rows, [k, D] and [k, V], from whitenings of both views."""
    x = Wx if isinstance(Wx, Basis) else Basis(Wx)
    y = Wy if isinstance(Wy, Basis) else Basis(Wy)
    M = y.turned(x.turned(Sxy.to(x.matrix.dtype)).T).T
    U, _, Vt = quick_svd(M)
    return x.rows(U.T), y.rows(Vt)


def quick_svd(M: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Thin SVD of M [A, B] through the eigenvectors of M M' or M' M, three times faster.

    Vectors of a singular value s found from squares err by about eps (s_1 / s)^2 instead of eps.
    With M tall and M' M = V h V', those of large s are V and M V / s. The others span what is
    left, to eps / SMALL^2: there M V, made orthogonal to the vectors of large s, is small in
    norm and narrow, and LAPACK's SVD of it is exact relative to that norm. All of M goes to
    LAPACK where more than half of its singular values are small, or a null direction is left to
    rounding.
    """
    if M.shape[0] < M.shape[1]:
        V, s, Ut = quick_svd(M.T)
        return Ut.T, s, V.T
    values, vectors = torch.linalg.eigh(M.T @ M)
    k = int((values <= SMALL[M.dtype] ** 2 * values[-1]).sum())
    if 2 * k > len(values):
        U, s, Vt = torch.linalg.svd(M, full_matrices=False)
        return U, s, Vt
    V = vectors.flip(1)
    U = M @ V
    s = U.norm(dim=0)
    large, rest = U[:, : len(s) - k], U[:, len(s) - k :]
    large /= s[: len(s) - k]
    if k:
        small, t, Wt = torch.linalg.svd(rest - large @ (large.T @ rest), full_matrices=False)
        small = small - large @ (large.T @ small)
        length = small.norm(dim=0)
        if float(length.min()) < 0.5:
            U, s, Vt = torch.linalg.svd(M, full_matrices=False)
            return U, s, Vt
        s[-k:], rest[:] = t, small / length
        V[:, -k:] = V[:, -k:] @ Wt.T
    return U, s, V.T
