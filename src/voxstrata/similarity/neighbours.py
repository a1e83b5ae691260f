"""Shared nearest neighbours of rows in two views."""

from __future__ import annotations

import warnings
from typing import Literal

import torch

from voxstrata.errors import NumericsError, UsageError, VoxstrataWarning
from voxstrata.numerics.linalg import EPS
from voxstrata.similarity.kernels import squared_distances

Nearness = Literal["cosine", "inner", "euclidean"]

TIES = 0.01
"""Share of rows with a tie at the last neighbour from which on a warning is given."""


def neighbours(x: torch.Tensor, k: int, nearness: Nearness = "cosine") -> torch.Tensor:
    """Indices of the k nearest other rows of every row, int64 [N, k].

    Args:
        x: rows, float64 [N, D].
        k: neighbours, 1..N-1.
        nearness: ``"cosine"`` (rows scaled to length 1), ``"inner"`` (plain inner products) or
            ``"euclidean"`` distance.

    Raises:
        UsageError: k out of range or an unknown kind.
        NumericsError: a row of zeros has no cosine.

    Warns:
        VoxstrataWarning: many rows have ties at the last neighbour (repeated rows).
    """
    if not 1 <= k < len(x):
        raise UsageError(
            "impossible number of neighbours", got=k, expected=f"1 to rows - 1 = {len(x) - 1}"
        )
    if nearness == "euclidean":
        near = -squared_distances(x)
    elif nearness == "inner":
        near = x @ x.T
    elif nearness == "cosine":
        norms = x.norm(dim=1, keepdim=True)
        if float(norms.min()) <= 0:
            raise NumericsError(
                f"row {int(norms.argmin())} is zero and has no cosine with other rows",
                fix="remove it, or use nearness='euclidean'",
            )
        unit = x / norms
        near = unit @ unit.T
    else:
        raise UsageError(
            "unknown nearness", got=nearness, expected="'cosine', 'inner' or 'euclidean'"
        )
    near.fill_diagonal_(-torch.inf)
    found = near.topk(min(k + 1, len(x) - 1), dim=1)
    if len(x) > k + 1:
        last, further = found.values[:, k - 1], found.values[:, k]
        # Equal rows differ by rounding of their products.
        ties = last - further <= 8 * EPS * last.abs().maximum(further.abs())
        if float(ties.double().mean()) > TIES:
            warnings.warn(
                f"more than {TIES:.0%} of the rows have their k-th and their next neighbour at the "
                "same distance, so which of them counts is arbitrary, and the share of neighbours "
                "in common with it (remove repeated rows, or choose another measure)",
                VoxstrataWarning,
                stacklevel=2,
            )
    return found.indices[:, :k]


def shared(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Number of neighbours that both lists of :func:`neighbours` have in common, [N]."""
    marks = torch.zeros((len(a), len(a)), dtype=torch.bool, device=a.device)
    marks.scatter_(1, a, True)
    return marks.gather(1, b.to(a.device)).sum(dim=1).double()


def mean_shared(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean share of neighbours in common, 0..1."""
    return float((shared(a, b) / a.shape[1]).mean())


def mutual_knn(
    x: torch.Tensor, y: torch.Tensor, k: int = 10, nearness: Nearness = "cosine"
) -> float:
    """Mean share of the k nearest neighbours that both views agree on, 0..1.

    Source: Huh et al., "The platonic representation hypothesis", ICML 2024. Their code takes
    plain inner products unless the caller scales the rows: ``nearness="inner"``. Unrelated views
    give about k / (N - 1).
    """
    return mean_shared(neighbours(x, k, nearness), neighbours(y, k, nearness))


def jaccard_knn(
    x: torch.Tensor, y: torch.Tensor, k: int = 10, nearness: Nearness = "cosine"
) -> float:
    """Mean Jaccard index of the two neighbour sets (ReSi's JaccardSimilarity), 0..1."""
    both = shared(neighbours(x, k, nearness), neighbours(y, k, nearness))
    return float((both / (2 * k - both)).mean())
