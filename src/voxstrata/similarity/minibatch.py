"""Minibatch-debiased CKA: means of unbiased HSIC over batches.

Source: Nguyen, Raghu, Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021,
eq. 3 to 5. One batch of m rows costs L products of [m, D] and one of [L, m^2], for all layer
pairs together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.similarity.estimators import diagonal, normalise
from voxstrata.similarity.terms import Array


def minibatch_hsic(batch: Sequence[Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Unbiased HSIC of every pair of layers on one batch.

    Once rows are centred, the row sums of a zero-diagonal Gram matrix are minus the squared norms
    of the rows, so equation 5 of Song et al. needs no further pass over the m x m matrices than
    one product of all of them, flattened.

    Args:
        batch: L matrices [m, D_l], numpy or torch, rows aligned.
        dtype: of the products; the result is float64.

    Returns:
        [L, L] float64 on the CPU.

    Raises:
        ShapeError: row counts differ.
        UsageError: fewer than four rows.
    """
    layers = [torch.as_tensor(x) for x in batch]
    m = len(layers[0])
    if any(x.ndim != 2 or len(x) != m for x in layers):
        raise ShapeError(
            "the layers of a batch must be matrices with the same rows",
            got=", ".join(str(tuple(x.shape)) for x in layers),
        )
    if m < 4:
        raise UsageError("debiased HSIC needs at least 4 rows a batch", got=m)
    device = layers[0].device
    grams = torch.empty((len(layers), m, m), dtype=dtype, device=device)
    row_sums = torch.empty((len(layers), m), dtype=torch.float64, device=device)
    for position, x in enumerate(layers):
        # The mean is taken off first: it drops out exactly, and costs digits if it is large.
        centred = x.to(dtype) - x.mean(dim=0, dtype=torch.float64).to(dtype)
        torch.mm(centred, centred.T, out=grams[position])
        # What rounding left of the mean still counts.
        rest = centred.sum(dim=0, dtype=torch.float64).to(dtype)
        row_sums[position] = (centred @ rest).double() - grams[position].diagonal().double()
    grams.diagonal(dim1=1, dim2=2).zero_()
    flat = grams.flatten(1)
    trace = (flat @ flat.T).double()
    totals = row_sums.sum(dim=1)
    inner = (
        trace
        + torch.outer(totals, totals) / ((m - 1) * (m - 2))
        - 2.0 / (m - 2) * (row_sums @ row_sums.T)
    )
    return inner.cpu() / (m * (m - 3))


class MinibatchHsic:
    """Running sums of :func:`minibatch_hsic`, by fold, mergeable.

    Batches weigh by their rows, so that a short last batch does not count like a full one. Each
    batch belongs to one fold and should hold whole groups (utterances); then leaving a fold out
    is a subtraction and the jackknife costs no further pass.

    Args:
        layers: number of layers L of the joint stack (all models side by side).
        folds: number of folds F.
    """

    def __init__(self, layers: int, folds: int = 1) -> None:
        self.sums: Array = np.zeros((folds, layers, layers))
        self.rows: Array = np.zeros(folds)

    def add(self, batch: Sequence[Any], fold: int = 0) -> None:
        """Count one batch: L matrices [m, D_l]."""
        value = minibatch_hsic(batch).numpy()
        if value.shape != self.sums.shape[1:]:
            raise ShapeError(
                "the batch has another number of layers",
                got=len(value),
                expected=self.sums.shape[1],
            )
        m = len(batch[0])
        self.sums[fold] += m * value
        self.rows[fold] += m

    def merge(self, other: MinibatchHsic) -> None:
        """Add the sums of another accumulator (another shard or process)."""
        if other.sums.shape != self.sums.shape:
            raise ShapeError(
                "accumulators differ in layers or folds",
                got=other.sums.shape,
                expected=self.sums.shape,
            )
        self.sums += other.sums
        self.rows += other.rows

    def hsic(self) -> Array:
        """Mean HSIC of all batches, then without each fold, [1 + F, L, L] ([1, L, L] if F = 1)."""
        total, rows = self.sums.sum(axis=0), self.rows.sum()
        if rows == 0:
            raise UsageError("no batch has been counted")
        if len(self.rows) == 1:
            whole: Array = (total / rows)[None]
            return whole
        if (self.rows == rows).any():
            raise UsageError("all batches lie in one fold: there is nothing to leave out")
        left = (total - self.sums) / (rows - self.rows)[:, None, None]
        return np.concatenate([(total / rows)[None], left])

    def cka(self) -> Array:
        """Minibatch CKA of all layer pairs, [R, L, L]; NaN where a self term is not positive."""
        grid = self.hsic()
        own = diagonal(grid)
        return normalise(grid, own, own)
