"""From the products of one layer pair, fold by fold, to the terms of every replicate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from voxstrata.similarity.terms import Array, HsicTerms

SAFE = (1e-24, 1e24)
"""Mean squares of products beyond which float32 may lose small ones, or overflow in a sum."""


def leave_out(folded: torch.Tensor) -> torch.Tensor:
    """Sums over all folds, then over all folds but one: [F, ...] to [R, ...], R = 1 + F.

    A single fold has no leave-one-out sums: [1, ...] stays as it is.
    """
    total = folded.sum(dim=0, keepdim=True)
    return total if len(folded) == 1 else torch.cat([total, total - folded])


def product_norms(C: torch.Tensor) -> torch.Tensor:
    """``|C|_F^2`` of every replicate, from products by fold.

    Inner products of the fold products, G_fg = <C_f, C_g>, give all leave-one-out norms:
    |C - C_f|^2 = sum(G) - 2 sum_g G_fg + G_ff. Sums run in float32 over one row of C at most
    (where C is float32), beyond that in float64.

    Args:
        C: products X_f' Y_f, [F, D1, D2].

    Returns:
        float64 [R].
    """
    G = _inner(C)
    mean = float(G.diagonal().sum()) / C.numel()
    if C.dtype == torch.float32 and not SAFE[0] < mean < SAFE[1]:
        largest = float(C.abs().max())
        if 0 < largest < math.inf:
            scale = 2.0 ** math.frexp(largest)[1]
            G = _inner(C / scale) * scale**2
    total = G.sum()
    if len(C) == 1:
        return total[None]
    return torch.cat([total[None], total - 2 * G.sum(dim=1) + G.diagonal()])


def _inner(C: torch.Tensor) -> torch.Tensor:
    by_row = C.transpose(0, 1)
    return torch.bmm(by_row, by_row.transpose(1, 2)).sum(dim=0, dtype=torch.float64)


def row_terms(
    norms: torch.Tensor, sums: torch.Tensor, parts: Sequence[slice]
) -> dict[str, torch.Tensor]:
    """All terms but the products, which follow from two numbers a row, layer and replicate.

    With a_i = |x_i|^2 and k_i = x_i . s, the sum of row i of the Gram matrix: ss = sum k,
    s_x' C s_y = sum k_x k_y, q = sum a_x a_y and uv = sum (a_x k_y + k_x a_y), each over the rows
    that a replicate keeps.

    Args:
        norms: a, float64 [N, L].
        sums: k for every replicate (s without the fold that is left out), float64 [R, N, L].
        parts: rows of each fold.

    Returns:
        float64 tensors: "n" [R], "ss" and "a" [R, L], "scs", "q" and "uv" [R, L, L].
    """
    found: dict[str, list[torch.Tensor]] = {k: [] for k in ("n", "ss", "a", "scs", "q", "uv")}
    keep = torch.ones(len(norms), dtype=torch.bool, device=norms.device)
    for r in range(len(sums)):
        kept = keep.clone()
        if r:
            kept[parts[r - 1]] = False
        k, d = sums[r][kept], norms[kept]
        cross = d.T @ k
        found["n"].append(kept.sum().double())
        found["ss"].append(k.sum(dim=0))
        found["a"].append(d.sum(dim=0))
        found["scs"].append(k.T @ k)
        found["q"].append(d.T @ d)
        found["uv"].append(cross + cross.T)
    return {name: torch.stack(values) for name, values in found.items()}


def assemble(rows: dict[str, torch.Tensor], c2: Array) -> HsicTerms:
    """Terms of a stack against itself from :func:`row_terms` and norms of products [R, L, L]."""
    t = {name: value.cpu().numpy() for name, value in rows.items()}
    return HsicTerms(t["n"], t["ss"], t["ss"], t["a"], t["a"], c2, t["scs"], t["q"], t["uv"])


def terms_of_moments(
    C: torch.Tensor, s_x: torch.Tensor, s_y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """``|C|_F^2`` and ``s_x' C s_y`` of every replicate, from moments without rows.

    Args:
        C: products X_f' Y_f, [F, D1, D2].
        s_x, s_y: sums of rows by fold, float64 [F, D1] and [F, D2].

    Returns:
        two float64 tensors [R].
    """
    left_x, left_y = leave_out(s_x), leave_out(s_y)
    applied = torch.bmm(C, left_y.T.to(C.dtype).expand(len(C), -1, -1))
    bilinear = (applied.double() * left_x.T).sum(dim=1)  # [F, R]
    if len(C) == 1:
        return product_norms(C), bilinear[0]
    scs = bilinear.sum(dim=0)
    scs[1:] -= bilinear[:, 1:].diagonal()
    return product_norms(C), scs


def mixed_terms(
    s_i: torch.Tensor, s_j: torch.Tensor, v_ij: torch.Tensor, v_ji: torch.Tensor
) -> torch.Tensor:
    """``uv = s_j . sum a_i x_j + s_i . sum a_j x_i`` of every replicate, float64 [R].

    Args:
        s_i, s_j: sums of rows by fold, [F, D_i] and [F, D_j].
        v_ij: sums of |x_i|^2 x_j by fold, [F, D_j].
        v_ji: sums of |x_j|^2 x_i by fold, [F, D_i].
    """
    first = (leave_out(s_j) * leave_out(v_ij)).sum(dim=1)
    return first + (leave_out(s_i) * leave_out(v_ji)).sum(dim=1)


def empty_grid(replicates: int, layers: int) -> Array:
    """A grid [R, L, L] to be filled pair by pair; NaN says "not yet"."""
    return np.full((replicates, layers, layers), np.nan)


def put(grid: Array, i: int, j: int, value: torch.Tensor) -> None:
    """Enter a value [R] for the pair (i, j) and its mirror image."""
    grid[:, i, j] = grid[:, j, i] = value.cpu().numpy()
