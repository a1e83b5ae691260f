"""CKA from Gram matrices: RBF kernels, and the Gram form of linear CKA. Needs n x n memory."""

from __future__ import annotations

from typing import Literal

import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.similarity import estimators
from voxstrata.similarity.terms import terms_from_gram

Median = Literal["numpy", "torch"]


def squared_distances(x: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of all rows, float64 [N, N], exact zeros on the diagonal."""
    centred = x - x.mean(dim=0)
    norms = (centred * centred).sum(dim=1)
    D = (norms[:, None] + norms - 2.0 * (centred @ centred.T)).clamp_min(0.0)
    D.fill_diagonal_(0.0)
    return D


def rbf_gram(x: torch.Tensor, threshold: float = 1.0, median: Median = "numpy") -> torch.Tensor:
    """k_ij = exp(-D_ij / (2 threshold^2 med D)), D squared distances, float64 [N, N].

    Args:
        x: rows, float64 [N, D].
        threshold: bandwidth in units of the median distance.
        median: ``"numpy"``: mean of the two middle values of all n^2 entries, the diagonal
            included (google-research's code, the default); ``"torch"``: the lower of the two.

    Raises:
        UsageError: an unknown convention or a threshold that is not positive.
        NumericsError: more than half of the pairs are at distance zero.
    """
    if median not in ("numpy", "torch"):
        raise UsageError("unknown convention of the median", got=median, expected="numpy or torch")
    if not threshold > 0:
        raise UsageError("the RBF threshold must be positive", got=threshold)
    D = squared_distances(x)
    middle = D.flatten()
    half = middle.numel() // 2
    if median == "torch" or middle.numel() % 2:
        centre = float(middle.median())
    else:
        centre = float(middle.kthvalue(half).values + middle.kthvalue(half + 1).values) / 2
    if centre <= 0:
        raise NumericsError(
            "the median distance between rows is zero, so the RBF kernel has no width",
            fix="remove repeated rows, or use the linear kernel",
        )
    return torch.exp(D / (-2.0 * threshold**2 * centre))


def centred_kernel(K: torch.Tensor, *, debiased: bool = True) -> torch.Tensor:
    """A kernel matrix centred, flattened and scaled to length 1, float64 [N^2].

    The inner product of two of these is CKA: with double centring the biased one, with
    U-centring (zero diagonal; Szekely and Rizzo 2014) the debiased one. NaN where nothing is
    left after centring.
    """
    n = len(K)
    if debiased:
        C = K.clone().fill_diagonal_(0.0)
        rows = C.sum(dim=1)
        shift = rows / (n - 2) - rows.sum() / (2 * (n - 1) * (n - 2))
        C = (C - shift[:, None] - shift).fill_diagonal_(0.0)
    else:
        means = K.mean(dim=1)
        C = K - means[:, None] - means + means.mean()
    flat = C.flatten()
    unit: torch.Tensor = flat / flat.norm()
    return unit


def rbf_side(
    x: torch.Tensor, *, threshold: float = 1.0, debiased: bool = True, median: Median = "numpy"
) -> torch.Tensor:
    """What RBF CKA needs of one view: its centred, normalised kernel, float64 [N^2]."""
    return centred_kernel(rbf_gram(x, threshold, median), debiased=debiased)


def cka_rbf(
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    threshold: float = 1.0,
    debiased: bool = True,
    median: Median = "numpy",
) -> float:
    """RBF CKA of rows x [N, D1] and y [N, D2]; see :func:`rbf_gram`."""
    sides = (rbf_side(v, threshold=threshold, debiased=debiased, median=median) for v in (x, y))
    return float(torch.dot(*sides))


def gram_cka(K: torch.Tensor, L: torch.Tensor, *, debiased: bool = True) -> float:
    """CKA of two kernel matrices [N, N]: HSIC_1 (debiased) or centred HSIC in all three places.

    Kernels need not be linear: the terms are plain sums over the matrices.
    """
    terms = terms_from_gram(torch.stack([K, L]))
    return float(estimators.cka(terms, debiased=debiased)[0, 0, 1])
