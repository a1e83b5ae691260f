"""HSIC, CKA and Pearson RSA as pure functions of the sums in ``terms.py``.

All are vectorised over replicates and layer pairs; nothing here loops over rows or widths.
"""

from __future__ import annotations

import numpy as np

from voxstrata.errors import ShapeError, UsageError
from voxstrata.similarity.terms import Array, HsicTerms


def hsic_biased(terms: HsicTerms) -> Array:
    """Biased HSIC, tr(KHLH) / (n - 1)^2 with H = I - 11'/n, [R, L1, L2].

    Source: Gretton et al. 2005; tr(KHLH) = 1'(K*L)1 - 2/n 1'KL1 + 1'K1 1'L1 / n^2.
    """
    n = terms.n[:, None, None]
    spread = terms.ss_x[:, :, None] * terms.ss_y[:, None, :]
    return (terms.c2 - 2 * terms.sCs / n + spread / n**2) / (n - 1) ** 2


def hsic_debiased(terms: HsicTerms) -> Array:
    """Unbiased HSIC (HSIC_1), [R, L1, L2]; may be negative.

    Source: Song et al., "Feature selection via dependence maximization", JMLR 13 (2012), eq. 5,
    with zero-diagonal kernels written in the terms (docs/similarity.md, "Terms").

    Raises:
        UsageError: a replicate has fewer than four rows.
    """
    n = terms.n[:, None, None]
    if (n < 4).any():
        raise UsageError(
            "debiased HSIC needs at least 4 rows",
            got=f"{int(n.min())} rows in the smallest replicate",
            fix="give more rows, use fewer folds, or the biased estimator",
        )
    trace = terms.c2 - terms.q
    ones_k = (terms.ss_x - terms.a_x)[:, :, None]
    ones_l = (terms.ss_y - terms.a_y)[:, None, :]
    cross = terms.sCs - terms.uv + terms.q
    inner = trace + ones_k * ones_l / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)
    return inner / (n * (n - 3))


def diagonal(grid: Array) -> Array:
    """The self terms [R, L] of a square grid [R, L, L]."""
    if grid.ndim != 3 or grid.shape[1] != grid.shape[2]:
        raise ShapeError("self terms need a square grid", got=grid.shape, expected="[R, L, L]")
    return np.diagonal(grid, axis1=1, axis2=2)


def normalise(cross: Array, own_x: Array, own_y: Array) -> Array:
    """cross / sqrt(own_x own_y) for [R, L1, L2], [R, L1], [R, L2].

    NaN where a self term is not positive: with very few rows an unbiased self term may be zero
    or negative, and then there is no CKA to report.
    """
    scale = own_x[:, :, None] * own_y[:, None, :]
    good = (own_x[:, :, None] > 0) & (own_y[:, None, :] > 0)
    out = np.full(cross.shape, np.nan)
    np.divide(cross, np.sqrt(scale, where=good, out=np.ones_like(scale)), out=out, where=good)
    return out


def cka(
    xy: HsicTerms,
    xx: HsicTerms | None = None,
    yy: HsicTerms | None = None,
    *,
    debiased: bool = True,
) -> Array:
    """Linear CKA of every layer pair and replicate, [R, L1, L2].

    Args:
        xy: terms of the pairs.
        xx, yy: terms of x with itself and y with itself (square grids, of which the diagonal is
            used); leave both out where ``xy`` itself is a square grid of one stack of layers.
        debiased: HSIC_1 in all three places (Kornblith et al. 2019 with Song et al. 2012)
            instead of the biased estimate.
    """
    hsic = hsic_debiased if debiased else hsic_biased
    own_x = diagonal(hsic(xy if xx is None else xx))
    own_y = diagonal(hsic(xy if yy is None else yy))
    return normalise(hsic(xy), own_x, own_y)


def cka_prime_distance(terms: HsicTerms) -> Array:
    """sim_metric's ``lin_cka_prime_dist``: 1 - 2 |X'Y|_F^2 / (|X|_F^4 + |Y|_F^4), [R, L1, L2].

    For comparison with that code only (it agrees where n > d; with fewer rows its other branch
    gives another number): neither scale-invariant nor zero for equal views.
    """
    n = terms.n[:, None]
    size_x = (terms.a_x - terms.ss_x / n)[:, :, None]
    size_y = (terms.a_y - terms.ss_y / n)[:, None, :]
    product = hsic_biased(terms) * (terms.n[:, None, None] - 1) ** 2
    distance: Array = 1 - 2 * product / (size_x**2 + size_y**2)
    return distance


def _distance_moments(terms: HsicTerms) -> tuple[Array, Array, Array]:
    """Mean of D_ij D'_ij and of D_ij, D'_ij over ordered pairs i != j, D squared Euclidean."""
    n = terms.n[:, None, None]
    pairs = n * (n - 1)
    both = (
        2 * n * terms.q
        + 2 * terms.a_x[:, :, None] * terms.a_y[:, None, :]
        - 4 * terms.uv
        + 4 * terms.c2
    )
    mean_x = (2 * terms.n[:, None] * terms.a_x - 2 * terms.ss_x) / pairs[:, :, 0]
    mean_y = (2 * terms.n[:, None] * terms.a_y - 2 * terms.ss_y) / pairs[:, :, 0]
    return both / pairs, mean_x, mean_y


def rsa_covariance(terms: HsicTerms) -> Array:
    """Covariance over row pairs of the two squared Euclidean distances, [R, L1, L2]."""
    both, mean_x, mean_y = _distance_moments(terms)
    return both - mean_x[:, :, None] * mean_y[:, None, :]


def rsa(xy: HsicTerms, xx: HsicTerms | None = None, yy: HsicTerms | None = None) -> Array:
    """Pearson RSA on squared Euclidean distances, without any n x n matrix, [R, L1, L2].

    sum_ij D_ij D'_ij = 2 n q + 2 a_x a_y - 4 uv + 4 c2 with D_ij = |x_i|^2 + |x_j|^2 - 2 x_i.x_j.
    Arguments as for :func:`cka`.
    """
    own_x = diagonal(rsa_covariance(xy if xx is None else xx))
    own_y = diagonal(rsa_covariance(xy if yy is None else yy))
    return normalise(rsa_covariance(xy), own_x, own_y)
