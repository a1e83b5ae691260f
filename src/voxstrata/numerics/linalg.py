"""Symmetric eigenproblems, whitening and nuclear norms in float64, through torch.

torch is used rather than numpy because its LAPACK does not spin-wait when cores are shared,
and because the same code then runs on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voxstrata.errors import NumericsError

EPS = float(np.finfo(np.float64).eps)


def float64(array: Any) -> torch.Tensor:
    """A float64 tensor of ``array`` (numpy or torch, any device), copied only if needed."""
    if isinstance(array, torch.Tensor):
        return array.detach().to(torch.float64)
    return torch.as_tensor(np.asarray(array, dtype=np.float64))


@dataclass(frozen=True)
class Whitening:
    """A rank-revealing whitening of a positive semi-definite matrix S [D, D].

    Attributes:
        matrix: W [D, r] with W' S W = I.
        rank: r, the number of directions kept.
        amplified: how much larger rounding of S is in a direction than in S, mean over the
            directions kept: largest eigenvalue of S with unit variances over theirs; NaN where
            nobody looked.
    """

    matrix: torch.Tensor
    rank: int
    amplified: float = math.nan


def whiten(S: torch.Tensor, rtol: float | None = None) -> Whitening:
    """Whiten a covariance (or matrix of centred sums), dropping what is only rounding noise.

    The columns are brought to unit variance first: that changes nothing for measures invariant
    to invertible linear maps, and keeps directions of small variance accurate when a few
    dimensions are very large, as they are in speech Transformers. Columns with less than
    D times the float64 epsilon of the largest variance go, then eigenvalues below ``rtol`` of the
    largest. Columns whose variance is rounding noise of their own mean must be zero already
    (:func:`centre`): sizes of other columns say nothing about that.

    Args:
        S: symmetric positive semi-definite, float64 [D, D].
        rtol: relative cut of eigenvalues; D times the float64 epsilon if not given. Pass about
            1e-6 if the products behind S were summed in float32.

    Raises:
        NumericsError: S has no variance at all, or is not finite.
    """
    variance = S.diagonal()
    top = float(variance.max())
    if not np.isfinite(top) or top <= 0:
        raise NumericsError(
            "a covariance without variance cannot be whitened", got=f"largest variance {top}"
        )
    least = S.shape[0] * EPS
    cut = least if rtol is None else rtol
    alive = torch.nonzero(variance > least * top)[:, 0]
    scale = variance[alive].rsqrt()
    values, vectors = torch.linalg.eigh(S[alive][:, alive] * scale[:, None] * scale)
    keep = values > cut * float(values[-1])
    # Largest first, as every user of canonical directions expects.
    basis = (vectors[:, keep] * values[keep].rsqrt()).flip(1) * scale[:, None]
    matrix = S.new_zeros((S.shape[0], basis.shape[1]))
    matrix[alive] = basis
    amplified = float((values[-1] / values[keep]).mean())
    return Whitening(matrix, int(basis.shape[1]), amplified)


def centre(
    P: torch.Tensor, s: torch.Tensor, n: float, rtol: float | None, *, inplace: bool = False
) -> torch.Tensor:
    """Centred sums of products P - s s' / n, with columns that are constant to rounding at 0.

    Args:
        P: sums of products of shifted rows, float64 [D, D].
        s: sums of shifted rows, float64 [D].
        n: rows.
        rtol: a column is constant if centring leaves less than this share of its sum of squares;
            ``None``: no column is touched (products in float64).
        inplace: P itself becomes the result.
    """
    before = P.diagonal().clone()
    S = torch.addr(P, s, s, alpha=-1.0 / n, out=P if inplace else None)
    if rtol is not None:
        flat = S.diagonal() <= rtol * before
        if bool(flat.any()):
            S[flat], S[:, flat] = 0.0, 0.0
    return S


def nuclear_norm(A: torch.Tensor) -> float:
    """Sum of the singular values of A."""
    return float(torch.linalg.svdvals(A).sum())


def fix_signs(vectors: torch.Tensor) -> torch.Tensor:
    """Signs (+1 or -1) [k] that make the largest-magnitude entry of each row positive."""
    picked = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))[:, 0]
    return torch.where(picked < 0, -1.0, 1.0).to(vectors.dtype)
