"""Representational similarity analysis on rows: dissimilarities of all pairs, compared.

Source: Kriegeskorte, Mur, Bandettini 2008. For Pearson on squared Euclidean distances no n x n
matrix is needed: see ``estimators.rsa``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from voxstrata.errors import NumericsError, UsageError

Rdm = Literal["squared", "euclidean", "cosine", "correlation"]
Compare = Literal["spearman", "pearson", "distance"]


def dissimilarities(x: torch.Tensor, rdm: Rdm = "squared") -> torch.Tensor:
    """Dissimilarity of every pair of rows i < j, float64 [N (N - 1) / 2].

    Args:
        x: rows, float64 [N, D].
        rdm: squared or plain Euclidean distance; 1 - cosine; 1 - Pearson correlation of the two
            rows (the cosine of rows less their own mean).

    Raises:
        UsageError: an unknown kind.
        NumericsError: a row of zeros (cosine) or a constant row (correlation).
    """
    if rdm in ("squared", "euclidean"):
        # Sums of squared differences, not inner products: equal distances stay exactly equal,
        # and ranks depend on ties.
        D = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        D = D * D if rdm == "squared" else D
    elif rdm in ("cosine", "correlation"):
        rows = x - x.mean(dim=1, keepdim=True) if rdm == "correlation" else x
        norms = rows.norm(dim=1, keepdim=True)
        if float(norms.min()) <= 0:
            raise NumericsError(
                f"row {int(norms.argmin())} has no direction, so its {rdm} with others is undefined"
            )
        rows = rows / norms
        D = 1.0 - rows @ rows.T
    else:
        raise UsageError(
            "unknown dissimilarity",
            got=rdm,
            expected="'squared', 'euclidean', 'cosine' or 'correlation'",
        )
    first, second = torch.triu_indices(len(D), len(D), 1)
    return D[first, second]


def standardised(values: torch.Tensor, *, ranks: bool) -> torch.Tensor:
    """Values (or their ranks, ties averaged) centred and scaled to length 1, float64 [P].

    Raises:
        NumericsError: all values are equal.
    """
    u = values
    if ranks:
        from scipy.stats import rankdata

        u = torch.from_numpy(np.asarray(rankdata(values.cpu().numpy()), dtype=np.float64))
    u = u - u.mean()
    scale = u.norm()
    if float(scale) <= 0:
        raise NumericsError("all pairs of rows are equally far apart, so nothing can correlate")
    unit: torch.Tensor = u / scale
    return unit


def compare_rdms(a: torch.Tensor, b: torch.Tensor, compare: Compare = "spearman") -> float:
    """Compare two vectors of dissimilarities.

    Args:
        a, b: [P].
        compare: rank or linear correlation (similarities), or the Euclidean ``"distance"`` of
            the two vectors.

    Raises:
        NumericsError: all dissimilarities of a side are equal (correlations).
    """
    if compare == "distance":
        return float((a - b).norm())
    if compare not in ("spearman", "pearson"):
        raise UsageError(
            "unknown comparison", got=compare, expected="'spearman', 'pearson' or 'distance'"
        )
    u, v = (standardised(side, ranks=compare == "spearman") for side in (a, b))
    return max(-1.0, min(1.0, float(u @ v)))


def rsa_rows(
    x: torch.Tensor, y: torch.Tensor, rdm: Rdm = "correlation", compare: Compare = "spearman"
) -> float:
    """RSA of rows x [N, D1] and y [N, D2]."""
    return compare_rdms(dissimilarities(x, rdm), dissimilarities(y, rdm), compare)
