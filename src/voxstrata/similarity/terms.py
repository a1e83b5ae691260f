"""The few sums from which linear CKA, RV and Pearson RSA follow, for all layer pairs at once.

With rows x_i of one view and y_i of another (both shifted by any constant vector), K = XX' and
L = YY', everything these measures need is a handful of scalars a pair of layers
(docs/similarity.md, "Terms"). They can be had in feature form (products of width by width) or in
Gram form (products of rows by rows); both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import ShapeError
from voxstrata.numerics.linalg import float64

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HsicTerms:
    """Sums over rows, for R replicates of L1 x L2 layer pairs, all numpy float64.

    Replicate 0 uses all rows, replicate 1 + f leaves fold f out. Rows may be shifted by a
    constant vector a layer (an early mean): every measure made of these terms is invariant to
    it, and the shift keeps the sums small.

    Attributes:
        n: rows, [R].
        ss_x, ss_y: |sum_i x_i|^2, [R, L1] and [R, L2]; this is 1'K1.
        a_x, a_y: sum_i |x_i|^2, [R, L1] and [R, L2]; the trace of K.
        c2: |X'Y|_F^2, [R, L1, L2]; tr(KL).
        sCs: s_x' X'Y s_y with s the sums of rows, [R, L1, L2]; 1'KL1.
        q: sum_i |x_i|^2 |y_i|^2, [R, L1, L2].
        uv: s_y . sum_i |x_i|^2 y_i + s_x . sum_i |y_i|^2 x_i, [R, L1, L2].
    """

    n: Array
    ss_x: Array
    ss_y: Array
    a_x: Array
    a_y: Array
    c2: Array
    sCs: Array  # noqa: N815 - the name is the formula
    q: Array
    uv: Array

    def __post_init__(self) -> None:
        replicates, first = np.shape(self.ss_x) if np.ndim(self.ss_x) == 2 else (-1, -1)
        second = np.shape(self.ss_y)[-1] if np.ndim(self.ss_y) == 2 else -1
        wanted: dict[str, Any] = {"n": (replicates,)}
        wanted |= dict.fromkeys(("ss_x", "a_x"), (replicates, first))
        wanted |= dict.fromkeys(("ss_y", "a_y"), (replicates, second))
        wanted |= dict.fromkeys(("c2", "sCs", "q", "uv"), (replicates, first, second))
        for name, shape in wanted.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ShapeError(
                    f"HSIC term {name} has a wrong shape", got=value.shape, expected=shape
                )
            object.__setattr__(self, name, value)

    @property
    def replicates(self) -> int:
        """R: 1 + number of folds."""
        return len(self.n)

    @property
    def shape(self) -> tuple[int, int]:
        """(L1, L2)."""
        return self.c2.shape[1], self.c2.shape[2]

    def swap(self) -> HsicTerms:
        """The same terms with x and y exchanged."""
        turned = (np.swapaxes(t, 1, 2) for t in (self.c2, self.sCs, self.q, self.uv))
        return HsicTerms(self.n, self.ss_y, self.ss_x, self.a_y, self.a_x, *turned)

    def pick(self, rows: Sequence[int], columns: Sequence[int]) -> HsicTerms:
        """The sub-grid of layers ``rows`` of x and ``columns`` of y."""
        r, c = list(rows), list(columns)
        blocks = (t[:, r][:, :, c] for t in (self.c2, self.sCs, self.q, self.uv))
        return HsicTerms(
            self.n, self.ss_x[:, r], self.ss_y[:, c], self.a_x[:, r], self.a_y[:, c], *blocks
        )


def _layers(data: Any) -> list[torch.Tensor]:
    listed = list(data) if isinstance(data, (list, tuple)) else [data]
    rows = [float64(item) for item in listed]
    for item in rows:
        if item.ndim != 2 or item.shape[0] != rows[0].shape[0]:
            raise ShapeError(
                "layers must be matrices with the same number of rows",
                got=", ".join(str(tuple(r.shape)) for r in rows),
            )
    return rows


def _fold_rows(folds: ArrayLike | None, n: int) -> list[torch.Tensor]:
    """Row indices of each fold; one fold of all rows stands for "no folds"."""
    if folds is None:
        return []
    index = np.asarray(folds)
    if index.shape != (n,):
        raise ShapeError("every row needs a fold", got=index.shape, expected=(n,))
    count = int(index.max()) + 1
    return [torch.as_tensor(np.flatnonzero(index == f)) for f in range(count)]


def terms_from_rows(X: Any, Y: Any = None, folds: ArrayLike | None = None) -> HsicTerms:
    """Terms in feature form, from rows in memory (small cases; the streaming job has its own).

    Args:
        X: one matrix [N, D] or a list of them (layers), numpy or torch.
        Y: the other side, likewise; X itself if not given (a within-model grid).
        folds: fold of each row, int [N]; no replicates beyond 0 if not given.

    Returns:
        terms of R = 1 + F replicates, L1 x L2 layers.

    Raises:
        ShapeError: the row counts differ.
    """
    left = _layers(X)
    right = left if Y is None else _layers(Y)
    n = len(left[0])
    if len(right[0]) != n:
        raise ShapeError("both sides need the same rows", got=f"{n} and {len(right[0])} rows")
    parts = _fold_rows(folds, n)
    left = [x - x.mean(dim=0) for x in left]
    right = left if Y is None else [y - y.mean(dim=0) for y in right]
    kept = [slice(None), *parts]

    def replicate(of: Any) -> list[torch.Tensor]:
        """[R] sums of a quantity ``of(rows)``: all rows, then all rows minus each fold."""
        whole, *folded = [of(rows) for rows in kept]
        return [whole, *[whole - part for part in folded]]

    counts = replicate(lambda rows: torch.tensor(float(len(left[0][rows]))))
    sums = [[replicate(lambda rows, v=v: v[rows].sum(0)) for v in side] for side in (left, right)]
    norms = [[(v * v).sum(1) for v in side] for side in (left, right)]
    traces = [[replicate(lambda rows, v=v: v[rows].sum()) for v in side] for side in norms]
    shape = (len(kept), len(left), len(right))
    c2, scs, q, uv = (np.empty(shape) for _ in range(4))
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            a, b = norms[0][i], norms[1][j]
            C = replicate(lambda rows, x=x, y=y: x[rows].T @ y[rows])
            ab = replicate(lambda rows, a=a, b=b: (a[rows] * b[rows]).sum())
            ay = replicate(lambda rows, a=a, y=y: a[rows] @ y[rows])
            bx = replicate(lambda rows, b=b, x=x: b[rows] @ x[rows])
            for r in range(shape[0]):
                sx, sy = sums[0][i][r], sums[1][j][r]
                c2[r, i, j] = float((C[r] * C[r]).sum())
                scs[r, i, j] = float(sx @ C[r] @ sy)
                q[r, i, j] = float(ab[r])
                uv[r, i, j] = float(sy @ ay[r] + sx @ bx[r])
    ss_x, ss_y = (np.array([[float(s @ s) for s in v] for v in side]).T for side in sums)
    a_x, a_y = (np.array([[float(t) for t in v] for v in side]).T for side in traces)
    n_kept = np.array([float(c) for c in counts])
    return HsicTerms(n_kept, ss_x, ss_y, a_x, a_y, c2, scs, q, uv)


def terms_from_gram(K: Any, L: Any = None, folds: ArrayLike | None = None) -> HsicTerms:
    """Terms in Gram form: cheaper than feature form where rows are few against the widths.

    Leaving a fold out needs no new product: with B the entrywise product of two Gram matrices,
    the sum over kept rows and columns is total - 2 (rows of the fold) + (fold by fold), and the
    row sums lose the fold's columns.

    Args:
        K: Gram matrices of shifted rows, [L1, N, N] or [N, N], numpy or torch.
        L: those of the other side; K itself if not given.
        folds: fold of each row, int [N].

    Returns:
        the same terms as :func:`terms_from_rows`.

    Raises:
        ShapeError: matrices are not square or of different size.
    """
    left = float64(K)
    left = left[None] if left.ndim == 2 else left
    right = left if L is None else float64(L)
    right = right[None] if right.ndim == 2 else right
    n = left.shape[-1]
    if left.shape[1:] != (n, n) or right.shape[1:] != (n, n):
        raise ShapeError(
            "Gram matrices must be square and of one size",
            got=f"{tuple(left.shape)} and {tuple(right.shape)}",
            expected="[L, N, N]",
        )
    parts = _fold_rows(folds, n)

    def product(rows: Any, columns: Any) -> torch.Tensor:
        first = left[:, rows][:, :, columns].flatten(1)
        second = first if L is None else right[:, rows][:, :, columns].flatten(1)
        return first @ second.T

    every = slice(None)
    if parts:
        strips = [product(rows, every) for rows in parts]
        whole = torch.stack(strips).sum(dim=0)
        c2 = [whole]
        for rows, strip in zip(parts, strips, strict=True):
            # The strip of pair (x, y) counts K_ij L_ij for i in the fold; both are symmetric.
            c2.append(whole - 2 * strip + product(rows, rows))
    else:
        c2 = [product(every, every)]
    out: dict[str, list[torch.Tensor]] = {
        k: [] for k in ("n", "sx", "sy", "ax", "ay", "s", "q", "u")
    }
    diagonals = [side.diagonal(dim1=1, dim2=2) for side in (left, right)]
    totals = [side.sum(dim=2) for side in (left, right)]
    for r in range(len(c2)):
        keep = torch.ones(n, dtype=torch.bool, device=left.device)
        rows_left, rows_right = totals
        if r:
            gone = parts[r - 1].to(left.device)
            keep[gone] = False
            rows_left = totals[0] - left[:, :, gone].sum(dim=2)
            rows_right = totals[1] - right[:, :, gone].sum(dim=2)
        rk, rl = rows_left[:, keep], rows_right[:, keep]
        a, b = (d[:, keep] for d in diagonals)
        out["n"].append(keep.sum())
        out["sx"].append(rk.sum(dim=1))
        out["sy"].append(rl.sum(dim=1))
        out["ax"].append(a.sum(dim=1))
        out["ay"].append(b.sum(dim=1))
        out["s"].append(rk @ rl.T)
        out["q"].append(a @ b.T)
        out["u"].append(a @ rl.T + rk @ b.T)
    found = {k: torch.stack(v).double().cpu().numpy() for k, v in out.items()}
    return HsicTerms(
        found["n"],
        found["sx"],
        found["sy"],
        found["ax"],
        found["ay"],
        torch.stack(c2).cpu().numpy(),
        found["s"],
        found["q"],
        found["u"],
    )
