"""All layer pairs in Gram form: cheaper where rows are few against the width of the stack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from voxstrata.similarity.blocks import LayerRows
from voxstrata.similarity.terms import HsicTerms, terms_from_gram


def terms_by_gram(
    rows: LayerRows,
    *,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[float], None] = lambda _amount: None,
) -> HsicTerms:
    """Terms of every layer pair and replicate, from row-by-row products.

    Args:
        rows: a store, or rows in memory.
        dtype: of the products X X'; sums over them are float64.
        advance: called with 1 after every layer.

    Returns:
        terms [R, L, L]; R is 1 where there is a single fold.
    """
    fold = rows.folds()
    _, dense = np.unique(fold, return_inverse=True)  # folds without rows have nothing to leave out
    working = torch.float64 if dtype == torch.float64 else torch.float32
    grams = torch.empty((len(rows.widths), len(fold), len(fold)), dtype=torch.float64)
    for position in range(len(rows.widths)):
        x = rows.layer(position).to(working)
        x = x - x.mean(dim=0, dtype=torch.float64).to(working)
        grams[position] = x @ x.T
        advance(1)
    return terms_from_gram(grams, folds=dense if dense.max(initial=0) else None)
