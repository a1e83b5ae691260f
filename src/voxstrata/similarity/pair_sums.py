"""From the products of one layer pair, fold by fold, to the terms of every replicate."""

from __future__ import annotations

import numpy as np
import torch

from voxstrata.similarity.terms import Array, HsicTerms


def leave_out(folded: torch.Tensor) -> torch.Tensor:
    """Sums over all folds, then over all folds but one: [F, ...] to [R, ...], R = 1 + F.

    A single fold has no leave-one-out sums: [1, ...] stays as it is.
    """
    total = folded.sum(dim=0, keepdim=True)
    return total if len(folded) == 1 else torch.cat([total, total - folded])


def product_terms(
    C: torch.Tensor, s_x: torch.Tensor, s_y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """``|C|_F^2`` and ``s_x' C s_y`` for every replicate, from products by fold.

    Inner products of the fold products, G_fg = <C_f, C_g>, give all leave-one-out norms:
    |C - C_f|^2 = sum(G) - 2 sum_g G_fg + G_ff. Sums run in float32 over one row of C at most
    (where C is float32), beyond that in float64.

    Args:
        C: products X_f' Y_f, [F, D1, D2].
        s_x, s_y: sums of rows by fold, float64 [F, D1] and [F, D2].

    Returns:
        two float64 tensors [R].
    """
    by_row = C.transpose(0, 1)
    G = torch.bmm(by_row, by_row.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    total = G.sum()
    left_x, left_y = leave_out(s_x), leave_out(s_y)
    applied = torch.bmm(C, left_y.T.to(C.dtype).expand(len(C), -1, -1))
    bilinear = (applied.double() * left_x.T).sum(dim=1)  # [F, R]
    if len(C) == 1:
        return total[None], bilinear[0]
    norms = torch.cat([total[None], total - 2 * G.sum(dim=1) + G.diagonal()])
    scs = bilinear.sum(dim=0)
    scs[1:] -= bilinear[:, 1:].diagonal()
    return norms, scs


class TermGrid:
    """Terms of a whole stack against itself, filled in pair by pair.

    Args:
        n: rows by fold [F].
        a: sums of squared norms by fold [F, L].
        q: sums of products of squared norms by fold [F, L, L].
        ss: ``|s|^2`` of every replicate, [R, L].
    """

    def __init__(self, n: torch.Tensor, a: torch.Tensor, q: torch.Tensor, ss: Array) -> None:
        layers = a.shape[1]
        self.n: Array = leave_out(n.double()).cpu().numpy()
        self.a: Array = leave_out(a.double()).cpu().numpy()
        self.q: Array = leave_out(q.double()).cpu().numpy()
        self.ss = ss
        shape = (len(self.n), layers, layers)
        self.c2, self.scs, self.uv = (np.full(shape, np.nan) for _ in range(3))

    def put(self, i: int, j: int, c2: torch.Tensor, scs: torch.Tensor, uv: torch.Tensor) -> None:
        """Enter the pair (i, j) and its mirror image, [R] each."""
        for grid, value in ((self.c2, c2), (self.scs, scs), (self.uv, uv)):
            grid[:, i, j] = grid[:, j, i] = value.cpu().numpy()

    def terms(self) -> HsicTerms:
        """The terms; pairs that were not entered are NaN."""
        return HsicTerms(
            self.n, self.ss, self.ss, self.a, self.a, self.c2, self.scs, self.q, self.uv
        )


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
