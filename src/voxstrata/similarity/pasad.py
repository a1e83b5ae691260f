"""PWCCA as the public code of P2023 (and of google/svcca) computes it, from moments alone.

Definition: docs/similarity.md, "PWCCA, published forms". Both add the column means of features
to the canonical variates before a QR, so the score depends on the arbitrary signs of an SVD; we
fix the signs (largest entry of each x direction positive) unless directions to align with are
given. For the sign-free measure see ``projection.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.linalg import fix_signs, float64
from voxstrata.similarity.canonical import canonical
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.projection import held_out_correlations

PINV_RCOND = 1e-15
DEFAULT_EPS = (1e-10, 1e-10)


@dataclass(frozen=True)
class PasadFit:
    """Projections fitted by the published recipe.

    Attributes:
        Px, Py: projections over the kept columns, [k, D1'] and [k, D2'].
        kept_x, kept_y: boolean masks of the columns kept, [D1] and [D2].
        s: singular values of the whitened cross-covariance, [k].
        Ux, Uy: the singular vectors themselves (google's "coefficients"), [k, D1'], [k, D2'].
    """

    Px: torch.Tensor
    Py: torch.Tensor
    kept_x: torch.Tensor
    kept_y: torch.Tensor
    s: torch.Tensor
    Ux: torch.Tensor
    Uy: torch.Tensor

    def directions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Px and Py over all columns, [k, D1] and [k, D2], zero where a column was dropped."""
        full = []
        for P, kept in ((self.Px, self.kept_x), (self.Py, self.kept_y)):
            wide = P.new_zeros((len(P), len(kept)))
            wide[:, kept] = P
            full.append(wide)
        return full[0], full[1]


@dataclass(frozen=True)
class PasadScore:
    """Scores by the published recipe.

    Attributes:
        corr: correlations of the projections on the scored rows, [k].
        weights_x, weights_y: normalised weights, [k].
        x, y: scores with either weighting.
        default: x where view x keeps fewer columns than view y, else y.
        mean: (x + y) / 2.
    """

    corr: torch.Tensor
    weights_x: torch.Tensor
    weights_y: torch.Tensor
    x: float
    y: float
    default: float
    mean: float


def inverse_root(S: torch.Tensor, view: str) -> torch.Tensor:
    """S^-1/2 by a pseudo-inverse and its eigenvectors, as published.

    Raises:
        NumericsError: rounding has made an eigenvalue of the inverse negative.
    """
    values, vectors = torch.linalg.eigh(torch.linalg.pinv(S, rtol=PINV_RCOND))
    if values[0] < 0:
        raise NumericsError(
            f"the covariance of view {view} is singular to rounding, which the published PWCCA "
            "does not survive",
            got=f"smallest eigenvalue of its inverse {float(values[0]):.3g}",
            fix="use a larger epsilon (>= 1e-7), or mode='clean', which drops null directions",
        )
    root: torch.Tensor = (vectors * values.sqrt()) @ vectors.T
    return root


def pasad_fit(
    m: Moments,
    eps: tuple[float, float] = DEFAULT_EPS,
    align: tuple[Any, Any] | None = None,
) -> PasadFit:
    """Fit projections.

    Covariances are divided by their largest entry; columns whose scaled variance is below
    epsilon go; epsilon is added to the diagonals; then svd(S11^-1/2 S12 S22^-1/2).

    Args:
        m: moments of the rows to fit on.
        eps: epsilon of x and of y.
        align: reference directions [k, D1] and [k, D2] over all columns; each of our rows is
            negated where its product with the reference row is negative.

    Raises:
        NumericsError: a covariance is singular to rounding (the original raises too).
    """
    S11, S22 = m.Sxx / (m.n - 1), m.Syy / (m.n - 1)
    a, b = float(S11.abs().max()), float(S22.abs().max())
    if not (a > 0 and b > 0):
        raise NumericsError("a view without variance has no canonical correlations")
    S11, S22, S12 = S11 / a, S22 / b, m.Sxy / (m.n - 1) / (a * b) ** 0.5
    kx, ky = S11.diagonal() >= eps[0], S22.diagonal() >= eps[1]
    S11, S22, S12 = S11[kx][:, kx], S22[ky][:, ky], S12[kx][:, ky]
    R1 = inverse_root(S11 + eps[0] * torch.eye(len(S11), dtype=S11.dtype, device=S11.device), "x")
    R2 = inverse_root(S22 + eps[1] * torch.eye(len(S22), dtype=S22.dtype, device=S22.device), "y")
    U, s, Vt = torch.linalg.svd(R1 @ S12 @ R2, full_matrices=False)
    Ux, Uy = U.T, Vt
    Px, Py = Ux @ R1, Uy @ R2
    flip_x, flip_y = signs_of(Px, Py, (kx, ky), align)
    return PasadFit(Px * flip_x, Py * flip_y, kx, ky, s, Ux * flip_x, Uy * flip_y)


def signs_of(
    Px: torch.Tensor,
    Py: torch.Tensor,
    kept: tuple[torch.Tensor, torch.Tensor],
    align: tuple[Any, Any] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs (+1 or -1) [k, 1] of directions over kept columns: our rule, or as ``align`` has them.

    Args:
        Px, Py: directions, [k, D1'] and [k, D2'].
        kept: which columns these are, boolean [D1] and [D2].
        align: see :func:`pasad_fit`.
    """
    if align is None:
        sign_x = sign_y = fix_signs(Px)
    else:
        sign_x, sign_y = (
            _signs(P, float64(ref)[:, columns.cpu()].to(P.device))
            for P, ref, columns in zip((Px, Py), align, kept, strict=True)
        )
    return sign_x[:, None], sign_y[:, None]


def _signs(P: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    if reference.shape[1] != P.shape[1] or len(reference) < len(P):
        raise ShapeError(
            "directions to align with do not fit the projections",
            got=tuple(reference.shape),
            expected=f"at least {len(P)} rows of {P.shape[1]} columns",
        )
    return torch.where((P * reference[: len(P)]).sum(dim=1) < 0, -1.0, 1.0).to(P.dtype)


def _weights(
    P: torch.Tensor, S: torch.Tensor, mean: torch.Tensor, n: int, width: int
) -> torch.Tensor:
    """Weights sum_j |Q_i . z_j| where Q R = D' and D = P (Z - mean) + mean[:k] per direction.

    With G = D D' = L L' the rows of Q are those of L^-1 D, so only D D' and D Z' are needed;
    z_j are the first ``width`` raw (uncentred) features.
    """
    PS = P @ S
    return weights_of(PS @ P.T, PS[:, :width], mean[: len(P)], mean[:width], n)


def bounded(rho: torch.Tensor) -> torch.Tensor:
    """Correlations within [-1, 1], 0 where a direction has no variance.

    From rows they cannot lie outside; from moments rounding can bring a variance to 0 or below
    it while a covariance is left.
    """
    return rho.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp(-1.0, 1.0)


def weights_of(
    A: torch.Tensor, B: torch.Tensor, c: torch.Tensor, mean: torch.Tensor, n: int
) -> torch.Tensor:
    """The same from products.

    Args:
        A: P S P', [k, k].
        B: P S over the features that weigh, [k, width].
        c: mean added to each direction, [k]; negated where the direction is.
        mean: means of the features that weigh, [width].
        n: rows.
    """
    if len(c) < len(A):
        raise NumericsError("fewer features than directions: the published weights do not exist")
    L, info = torch.linalg.cholesky_ex(A + n * torch.outer(c, c))
    if int(info):
        raise NumericsError(
            "the projections are linearly dependent on the scored rows",
            fix="score on more rows than there are directions, or use mode='clean'",
        )
    own = torch.linalg.solve_triangular(L, B + n * torch.outer(c, mean), upper=False)
    w = own.abs().sum(dim=1)
    normalised: torch.Tensor = w / w.sum()
    return normalised


def pasad_score(fit: PasadFit, rows: Moments) -> PasadScore:
    """Score rows with fitted projections (the same rows, or held-out ones)."""
    kx, ky = fit.kept_x, fit.kept_y
    if (len(kx), len(ky)) != tuple(rows.Sxy.shape):
        raise ShapeError(
            "fitted and scored rows have different widths",
            got=f"{(len(kx), len(ky))} and {tuple(rows.Sxy.shape)}",
        )
    part = Moments(
        rows.n,
        rows.mean_x[kx],
        rows.mean_y[ky],
        rows.Sxx[kx][:, kx],
        rows.Syy[ky][:, ky],
        rows.Sxy[kx][:, ky],
    )
    k = len(fit.Px)
    # A null direction (full one-hot labels have one) has correlation 0 +- rounding noise; where
    # rounding makes its variance negative the original, which works on rows, still gets noise.
    corr = bounded(held_out_correlations(fit.Px, fit.Py, part))
    wx = _weights(fit.Px, part.Sxx, part.mean_x, part.n, k)
    wy = _weights(fit.Py, part.Syy, part.mean_y, part.n, k)
    x, y = float((wx * corr).sum()), float((wy * corr).sum())
    default = x if int(kx.sum()) < int(ky.sum()) else y
    return PasadScore(corr, wx, wy, x, y, default, (x + y) / 2)


def pwcca_pasad(
    m: Moments,
    eps: tuple[float, float] = DEFAULT_EPS,
    align: tuple[Any, Any] | None = None,
) -> PasadScore:
    """Published PWCCA of P2023, fitted and scored on the same rows (one epsilon pair)."""
    return pasad_score(pasad_fit(m, eps, align), m)


def pwcca_google(m: Moments, eps: float = 1e-10, align: tuple[Any, Any] | None = None) -> float:
    """PWCCA as google/svcca's code computes it: directions lack the inverse square root.

    Raises:
        UsageError: view x keeps more columns than view y (the original raises an IndexError).
    """
    fit = pasad_fit(m, (eps, eps), align)
    kx = fit.kept_x
    if int(kx.sum()) > int(fit.kept_y.sum()):
        raise UsageError(
            "google's PWCCA is not defined where x is wider than y",
            got=f"{int(kx.sum())} and {int(fit.kept_y.sum())} columns",
            fix="exchange x and y, or use mode='clean'",
        )
    S = m.Sxx[kx][:, kx]
    w = _weights(fit.Ux, S, m.mean_x[kx], m.n, len(S))
    return float((w * fit.s).sum())


def pwcca_anatome(x: torch.Tensor, y: torch.Tensor) -> float:
    """PWCCA as the public code of anatome computes it: weights from orthonormalised coefficients.

    The coefficients (not the variates) go through a QR, and the weights are sums of absolute
    values over uncentred rows (anatome issue 30); not a function of moments.

    Args:
        x, y: rows, float64 [N, D1] and [N, D2].
    """
    c = canonical(Moments.from_rows(x, y))
    weights = (x @ torch.linalg.qr(c.Px.T).Q).abs().sum(dim=0)
    return float((weights * c.rho).sum() / weights.sum())


def google_mean_cca(m: Moments, eps: float = 1e-10, threshold: float = 0.98) -> float:
    """google/svcca's mean CCA: mean of the leading s whose sum reaches ``threshold`` of all."""
    s = pasad_fit(m, (eps, eps)).s
    count = int((s.cumsum(0) / s.sum() < threshold).sum()) + 1
    return float(s[: min(count, len(s))].mean())
