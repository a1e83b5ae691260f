"""All layer pairs from moments in memory: the same terms and moments as from rows."""

from __future__ import annotations

from collections.abc import Callable

import torch

from voxstrata.numerics.linalg import centre
from voxstrata.similarity.blocks import OnPair, PairMoments, rank_cut
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pair_sums import (
    assemble,
    empty_grid,
    leave_out,
    mixed_terms,
    put,
    terms_of_moments,
)
from voxstrata.similarity.terms import HsicTerms
from voxstrata.streaming.moments import StackMoments


def terms_from_moments(
    m: StackMoments,
    *,
    dtype: torch.dtype = torch.float64,
    on_pair: OnPair | None = None,
    advance: Callable[[float], None] = lambda _amount: None,
) -> HsicTerms:
    """Terms of every layer pair and replicate, from the moments reducer's sums.

    Args:
        m: moments of the stack by fold; folds without rows are left out.
        dtype: in which the products were made (where rank is cut).
        on_pair: called with the moments of every pair i <= j, if moment measures are wanted.
        advance: called with 1 after every pair.

    Returns:
        terms [R, L, L].
    """
    keep = m.n > 0
    n, s, a, v, q = m.n[keep], m.s[keep], m.a[keep], m.v[keep], m.q[keep]
    layers = range(len(m.widths))
    sums = [s[:, m.columns(i)] for i in layers]
    ss = torch.stack([leave_out(part).square().sum(dim=1) for part in sums], dim=1)
    known = {"n": leave_out(n), "ss": ss, "a": leave_out(a), "q": leave_out(q)}
    c2, scs, uv = (empty_grid(len(ss), len(layers)) for _ in range(3))
    counts, left = leave_out(n), [leave_out(part) for part in sums]
    views: dict[int, list[View]] = {}

    def own(i: int) -> list[View]:
        if i not in views:
            P = leave_out(m.block(i, i)[keep])
            cut = rank_cut(dtype)
            views[i] = [
                View(centre(P[r], left[i][r], float(counts[r]), cut), cut)
                for r in range(len(counts))
            ]
        return views[i]

    for i in layers:
        for j in layers[i:]:
            C = m.block(i, j)[keep]
            norm, bilinear = terms_of_moments(C, sums[i], sums[j])
            put(c2, i, j, norm)
            put(scs, i, j, bilinear)
            v_ij, v_ji = v[:, i, m.columns(j)], v[:, j, m.columns(i)]
            put(uv, i, j, mixed_terms(sums[i], sums[j], v_ij, v_ji))
            if on_pair is not None:
                P = leave_out(C)
                x, y = own(i), own(j)
                replicates = [
                    Moments(
                        int(counts[r]),
                        m.shift[m.columns(i)] + left[i][r] / counts[r],
                        m.shift[m.columns(j)] + left[j][r] / counts[r],
                        x[r].S,
                        y[r].S,
                        P[r] - torch.outer(left[i][r], left[j][r]) / counts[r],
                        x[r],
                        y[r],
                    )
                    for r in range(len(counts))
                ]
                on_pair(PairMoments(i, j, replicates))
            advance(1)
        views.pop(i, None)
    known |= {"scs": torch.from_numpy(scs), "uv": torch.from_numpy(uv)}
    return assemble(known, c2)
