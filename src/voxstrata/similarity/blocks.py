"""All layer pairs from rows in a store: block by block, fold by fold, in bounded memory.

The products of ten folds of a wide stack do not fit in memory (51,200 columns: 10 GB for one
fold). Here layers are loaded in chunks; for every pair the fold products are made, used and
forgotten. Reading costs about (chunks / 2) times the store's size, products cost what they cost
in any route: n W^2 multiply-adds for a stack of width W, each once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pair_sums import TermGrid, leave_out, mixed_terms, product_terms
from voxstrata.similarity.terms import HsicTerms
from voxstrata.streaming.moments import PRODUCT_ROWS

FEW_PIECES = 16
"""Partial products of a fold beyond which they are summed in float64."""


def rank_cut(dtype: torch.dtype) -> float | None:
    """Relative eigenvalue below which a direction is rounding noise of the products.

    float32 products are good to about 1e-7 of the largest eigenvalue, bfloat16 ones to 1e-3;
    ``None`` leaves the float64 default.
    """
    return {torch.float32: 1e-6, torch.bfloat16: 1e-2}.get(dtype)


class LayerRows(Protocol):
    """Where rows come from: a row store, or matrices in memory (tests)."""

    widths: Sequence[int]

    def folds(self) -> np.ndarray:
        """Fold of each row, int64 [N]."""
        ...

    def layer(self, position: int) -> torch.Tensor:
        """All rows of a layer, [N, D]."""
        ...


@dataclass(frozen=True)
class MemoryRows:
    """Rows in memory.

    Attributes:
        matrices: L tensors [N, D].
        fold: fold of each row, int64 [N].
    """

    matrices: Sequence[torch.Tensor]
    fold: np.ndarray

    @property
    def widths(self) -> list[int]:
        """Width of each layer."""
        return [matrix.shape[1] for matrix in self.matrices]

    def folds(self) -> np.ndarray:
        """Fold of each row."""
        return self.fold

    def layer(self, position: int) -> torch.Tensor:
        """Rows of one layer."""
        return self.matrices[position]


@dataclass
class _Layer:
    """One layer in memory: rows about the mean, in fold order, with its own sums by fold."""

    x: torch.Tensor  # [N, D]
    mean: torch.Tensor  # [D] float64
    s: torch.Tensor  # [F, D] float64
    v: torch.Tensor  # [F, L, D] float64
    own: list[View] | None = None


@dataclass(frozen=True)
class PairMoments:
    """Moments of one pair for every replicate (0: all rows, 1 + f: without fold f)."""

    i: int
    j: int
    replicates: list[Moments]


OnPair = Callable[[PairMoments], None]


class BlockEngine:
    """Computes terms, and moments on request, of all pairs of layers of a store.

    Args:
        rows: where rows come from.
        memory_bytes: memory for rows and products.
        dtype: of the products: float32, float64 or bfloat16.
        device: where products run.
    """

    def __init__(
        self,
        rows: LayerRows,
        *,
        memory_bytes: float,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.rows, self.dtype, self.device = rows, dtype, device
        self.row_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.widths = list(rows.widths)
        fold = rows.folds()
        order = np.argsort(fold, kind="stable")
        self._order = None if (order == np.arange(len(order))).all() else torch.from_numpy(order)
        counts = np.bincount(fold) if len(fold) else np.zeros(1, dtype=np.int64)
        # A fold all of whose recordings were skipped has nothing to leave out.
        self.counts = [int(count) for count in counts if count]
        self.memory_bytes = memory_bytes

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs i <= j."""
        layers = range(len(self.widths))
        return list(itertools.combinations_with_replacement(layers, 2))

    def _read(self, position: int) -> torch.Tensor:
        x = self.rows.layer(position)
        if self._order is not None:
            x = x[self._order]
        return x.to(self.device, self.row_dtype)

    def _slices(self) -> list[slice]:
        ends = np.cumsum(self.counts)
        return [slice(int(e - c), int(e)) for e, c in zip(ends, self.counts, strict=True)]

    def _chunks(self, keep_moments: bool) -> list[list[int]]:
        """Layers in chunks of a third of the memory: two chunks and the products at a time."""
        size = 8 if self.row_dtype == torch.float64 else 4
        total = sum(self.counts)
        replicates = len(self.counts) + 1
        chunks: list[list[int]] = [[]]
        held = 0.0
        for position, width in enumerate(self.widths):
            cost = size * total * width + 8 * len(self.counts) * width * len(self.widths)
            if keep_moments:
                cost += 3 * 8 * replicates * width * width
            if chunks[-1] and held + cost > self.memory_bytes / 3:
                chunks.append([])
                held = 0.0
            chunks[-1].append(position)
            held += cost
        return chunks

    def run(
        self,
        *,
        on_pair: OnPair | None = None,
        done: Sequence[tuple[int, int]] = (),
        on_block: Callable[[TermGrid, list[tuple[int, int]]], None] | None = None,
        grid: TermGrid | None = None,
    ) -> HsicTerms:
        """Go through all pairs.

        Args:
            on_pair: called with the moments of every pair, if moment measures are wanted.
            done: pairs that ``grid`` and the caller hold already (a resumed run).
            on_block: called after each row of blocks with the grid and the pairs it added, so
                that the caller can save and show progress.
            grid: a partly filled grid to go on with; a new one if not given.

        Returns:
            terms of the whole stack against itself, [R, L, L].
        """
        norms = self._norms()
        if grid is None:
            grid = self._empty_grid(norms)
        finished = set(done)
        chunks = self._chunks(on_pair is not None)
        for number, first in enumerate(chunks):
            loaded_first: dict[int, _Layer] | None = None
            for second in chunks[number:]:
                wanted = [
                    (i, j) for i in first for j in second if i <= j and (i, j) not in finished
                ]
                if not wanted:
                    continue
                loaded_first = loaded_first or {p: self._load(p, norms) for p in first}
                loaded = (
                    loaded_first
                    if second is first
                    else loaded_first | {p: self._load(p, norms) for p in second}
                )
                for _, block in itertools.groupby(wanted, key=lambda pair: pair[0]):
                    pairs = list(block)
                    for i, j in pairs:
                        self._pair(i, j, loaded, grid, on_pair)
                    if on_block is not None:
                        on_block(grid, pairs)
                del loaded
        return grid.terms()

    def empty_grid(self) -> TermGrid:
        """A grid to be filled, for a run that goes on where another stopped."""
        return self._empty_grid(self._norms())

    def _norms(self) -> torch.Tensor:
        """Squared norms of all rows about their layer's mean, float64 [N, L]."""
        columns = []
        for position in range(len(self.widths)):
            x = self._read(position)
            x = x - x.mean(dim=0, dtype=torch.float64).to(x.dtype)
            columns.append(x.square().sum(dim=1, dtype=torch.float64).cpu())
        return torch.stack(columns, dim=1)

    def _empty_grid(self, norms: torch.Tensor) -> TermGrid:
        by_fold = [norms[part] for part in self._slices()]
        a = torch.stack([part.sum(dim=0) for part in by_fold])
        q = torch.stack([part.T @ part for part in by_fold])
        replicates = len(self.counts) + 1 if len(self.counts) > 1 else 1
        ss = np.full((replicates, len(self.widths)), np.nan)
        return TermGrid(torch.tensor(self.counts), a, q, ss)

    def _load(self, position: int, norms: torch.Tensor) -> _Layer:
        x = self._read(position)
        mean = x.mean(dim=0, dtype=torch.float64)
        x = x - mean.to(x.dtype)
        # What was subtracted is the rounded mean; sums below are about exactly that.
        parts = self._slices()
        s = torch.stack([x[part].sum(dim=0, dtype=torch.float64) for part in parts])
        low = norms.to(x.device, x.dtype)
        v = torch.stack([(low[part].T @ x[part]).double() for part in parts])
        return _Layer(x, mean.to(x.dtype).double(), s, v)

    def _products(self, one: _Layer, two: _Layer) -> torch.Tensor:
        """Fold products X_f' Y_f, [F, D1, D2]; long folds are summed piece by piece."""
        shape = (len(self.counts), one.x.shape[1], two.x.shape[1])
        pieces = -(-max(self.counts) // PRODUCT_ROWS)
        total = torch.float64 if pieces > FEW_PIECES else self.row_dtype
        C = torch.empty(shape, dtype=total, device=one.x.device)
        for out, part in zip(C, self._slices(), strict=True):
            for start in range(part.start, part.stop, PRODUCT_ROWS):
                rows = slice(start, min(start + PRODUCT_ROWS, part.stop))
                x, y = one.x[rows], two.x[rows]
                if start == part.start and self.dtype == total:
                    torch.mm(x.T, y, out=out)
                    continue
                product = x.to(self.dtype).T @ y.to(self.dtype)
                if start == part.start:
                    out.copy_(product)
                else:
                    out += product
        return C

    def _pair(
        self, i: int, j: int, loaded: dict[int, _Layer], grid: TermGrid, on_pair: OnPair | None
    ) -> None:
        one, two = loaded[i], loaded[j]
        C = self._products(one, two)
        c2, scs = product_terms(C, one.s, two.s)
        uv = mixed_terms(one.s, two.s, two.v[:, i], one.v[:, j])
        grid.put(i, j, c2, scs, uv)
        for position, layer in ((i, one), (j, two)):
            grid.ss[:, position] = leave_out(layer.s).square().sum(dim=1).cpu().numpy()
        if on_pair is not None:
            own = [self._views(layer, C if i == j else None) for layer in (one, two)]
            on_pair(PairMoments(i, j, list(self._moments(one, two, C, own))))

    def _views(self, layer: _Layer, C: torch.Tensor | None) -> list[View]:
        """Second moments of a layer for every replicate, decompositions cached while loaded."""
        if layer.own is None:
            P = leave_out((self._products(layer, layer) if C is None else C).double())
            n = leave_out(torch.tensor(self.counts, dtype=torch.float64))
            s = leave_out(layer.s)
            layer.own = [
                View(P[r] - torch.outer(s[r], s[r]) / n[r], rank_cut(self.dtype))
                for r in range(len(n))
            ]
        return layer.own

    def _moments(
        self, one: _Layer, two: _Layer, C: torch.Tensor, own: list[list[View]]
    ) -> Iterator[Moments]:
        P = leave_out(C.double())
        n = leave_out(torch.tensor(self.counts, dtype=torch.float64))
        s_x, s_y = leave_out(one.s), leave_out(two.s)
        for r in range(len(n)):
            yield Moments(
                int(n[r]),
                one.mean + s_x[r] / n[r],
                two.mean + s_y[r] / n[r],
                own[0][r].S,
                own[1][r].S,
                P[r] - torch.outer(s_x[r], s_y[r]) / n[r],
                own[0][r],
                own[1][r],
            )
