"""All layer pairs in Gram form: cheaper where rows are few against the width of the stack.

Gram matrices are made a strip of rows at a time, for all layers, and reduced at once, so memory
holds the rows themselves and one strip, never L matrices of N x N. Leaving a fold out is
inclusion and exclusion: all - 2 (rows of the fold) + (fold by fold), and row sums less the
fold's columns (:func:`voxstrata.similarity.terms.terms_from_gram` is the same in one piece).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from voxstrata.similarity.blocks import LayerRows
from voxstrata.similarity.pair_sums import assemble, row_terms
from voxstrata.similarity.terms import HsicTerms

STRIP_BYTES = 256 << 20
"""Size of a strip of all Gram matrices."""


def terms_by_gram(
    rows: LayerRows,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    advance: Callable[[float], None] = lambda _amount: None,
) -> HsicTerms:
    """Terms of every layer pair and replicate, from row-by-row products.

    Args:
        rows: a store, or rows in memory.
        dtype: of the products: float32, float64 or bfloat16; sums over them are float64 (in
            float32 only along one row of a Gram matrix).
        device: where products run.
        advance: called with the number of rows done; N in all.

    Returns:
        terms [R, L, L]; R is 1 where there is a single fold.
    """
    fold = rows.folds()
    order = torch.from_numpy(np.argsort(fold, kind="stable"))
    counts = [int(count) for count in np.bincount(fold) if count]
    working = torch.float64 if dtype == torch.float64 else torch.float32
    layers, scales = [], []
    for position in range(len(rows.widths)):
        x = rows.layer(position)[order].to(device, working)
        x = x - x.mean(dim=0, dtype=torch.float64).to(working)
        scales.append(_scale(x))
        layers.append(x if scales[-1] == 1.0 else x / scales[-1])
    low = layers if dtype == working else [x.to(dtype) for x in layers]
    ends = np.cumsum(counts)
    parts = [slice(int(e - c), int(e)) for e, c in zip(ends, counts, strict=True)]
    total = len(fold)
    piece = max(1, STRIP_BYTES // (layers[0].element_size() * len(layers) * total))
    by_rows = torch.zeros(len(parts), len(layers), len(layers), dtype=torch.float64, device=device)
    inside = torch.zeros_like(by_rows)
    sums = torch.empty(len(layers), total, len(parts), dtype=torch.float64, device=device)
    for number, part in enumerate(parts):
        for start in range(part.start, part.stop, piece):
            some = slice(start, min(start + piece, part.stop))
            strip = torch.stack([(x[some] @ x.T).to(working) for x in low])
            by_rows[number] += _products(strip)
            inside[number] += _products(strip[:, :, part])
            for other, columns in enumerate(parts):
                sums[:, some, other] = strip[:, :, columns].sum(dim=2, dtype=torch.float64)
            advance(some.stop - some.start)
    norms = torch.stack([x.square().sum(dim=1, dtype=torch.float64) for x in layers])
    squares = torch.tensor(scales, dtype=torch.float64, device=device).square()
    norms, sums = norms * squares[:, None], sums * squares[:, None, None]
    by_rows, inside = (part * torch.outer(squares, squares) for part in (by_rows, inside))
    return _assemble(by_rows, inside, sums, norms, parts)


def _scale(x: torch.Tensor) -> float:
    """A power of two to divide by, so that products of products stay within float32; mostly 1."""
    largest = float(x.abs().max())
    if 1e-4 < largest < 1e4 or not 0 < largest < math.inf:
        return 1.0
    return 2.0 ** math.frexp(largest)[1]


def _products(strip: torch.Tensor) -> torch.Tensor:
    """Inner products of the layers' strips, [L, m, n] to float64 [L, L]."""
    by_row = strip.transpose(0, 1)
    return torch.bmm(by_row, by_row.transpose(1, 2)).sum(dim=0, dtype=torch.float64)


def _assemble(
    by_rows: torch.Tensor,
    inside: torch.Tensor,
    sums: torch.Tensor,
    norms: torch.Tensor,
    parts: list[slice],
) -> HsicTerms:
    whole = by_rows.sum(dim=0)
    c2 = [whole]
    if len(parts) > 1:
        c2 += [whole - 2 * rows + both for rows, both in zip(by_rows, inside, strict=True)]
    row_sums = sums.sum(dim=2)
    replicates = [row_sums]
    if len(parts) > 1:
        replicates += [row_sums - sums[:, :, fold] for fold in range(len(parts))]
    rows = row_terms(norms.T, torch.stack(replicates).transpose(1, 2), parts)
    return assemble(rows, torch.stack(c2).cpu().numpy())
