"""Symmetric eigenproblems, whitening and nuclear norms in float64, through torch.

torch is used rather than numpy because its LAPACK does not spin-wait when cores are shared,
and because the same code then runs on a GPU.
"""

from __future__ import annotations

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
    """

    matrix: torch.Tensor
    rank: int


def whiten(S: torch.Tensor, rtol: float | None = None) -> Whitening:
    """Whiten a covariance (or matrix of centred sums), dropping what is only rounding noise.

    The columns are brought to unit variance first: that changes nothing for measures invariant
    to invertible linear maps, and keeps directions of small variance accurate when a few
    dimensions are very large, as they are in speech Transformers. Columns with less than
    ``rtol`` of the largest variance, then eigenvalues below ``rtol`` of the largest, go.

    Args:
        S: symmetric positive semi-definite, float64 [D, D].
        rtol: relative cut; D times the float64 epsilon if not given. Pass about 1e-6 if the
            products behind S were summed in float32.

    Raises:
        NumericsError: S has no variance at all, or is not finite.
    """
    variance = S.diagonal()
    top = float(variance.max())
    if not np.isfinite(top) or top <= 0:
        raise NumericsError(
            "a covariance without variance cannot be whitened", got=f"largest variance {top}"
        )
    cut = S.shape[0] * EPS if rtol is None else rtol
    alive = torch.nonzero(variance > cut * top)[:, 0]
    scale = variance[alive].rsqrt()
    values, vectors = torch.linalg.eigh(S[alive][:, alive] * scale[:, None] * scale)
    keep = values > cut * float(values[-1])
    # Largest first, as every user of canonical directions expects.
    basis = (vectors[:, keep] * values[keep].rsqrt()).flip(1) * scale[:, None]
    matrix = S.new_zeros((S.shape[0], basis.shape[1]))
    matrix[alive] = basis
    return Whitening(matrix, int(basis.shape[1]))


def nuclear_norm(A: torch.Tensor) -> float:
    """Sum of the singular values of A."""
    return float(torch.linalg.svdvals(A).sum())


def fix_signs(vectors: torch.Tensor) -> torch.Tensor:
    """Signs (+1 or -1) [k] that make the largest-magnitude entry of each row positive."""
    picked = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))[:, 0]
    return torch.where(picked < 0, -1.0, 1.0).to(vectors.dtype)
