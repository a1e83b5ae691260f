"""All layer pairs from rows in a store: block by block, fold by fold, in bounded memory.

The products of ten folds of a wide stack do not fit in memory (51,200 columns: 10 GB for one
fold). Here layers are loaded in chunks, side by side in one matrix; one layer at a time is
multiplied with a few others, fold by fold, and what the measures need is taken from the products
before they are overwritten. Reading costs about (chunks / 2) times the store's size, products cost
what they cost in any route: n W^2 operations for a stack of width W, each pair once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from voxstrata.numerics.linalg import centre
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pair_sums import (
    assemble,
    empty_grid,
    leave_out,
    product_norms,
    put,
    row_terms,
)
from voxstrata.similarity.terms import Array, HsicTerms
from voxstrata.streaming.moments import PRODUCT_ROWS

FEW_PIECES = 16
"""Partial products of a fold beyond which they are summed in float64."""

GROUP_WIDTH = 4096
"""Columns that one layer is multiplied with at a time: enough for the products to run at their
full rate, few enough for them to stay in the cache until they have been used."""


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
class _Chunk:
    """Some layers in memory, side by side, about their means, rows in fold order."""

    columns: dict[int, slice]
    x: torch.Tensor  # [N, Wc]
    low: torch.Tensor  # the same in the precision of the products
    mean: torch.Tensor  # [Wc] float64, exactly what was subtracted
    s: torch.Tensor  # [F, Wc] float64
    views: dict[int, list[View]] = field(default_factory=dict)


@dataclass(frozen=True)
class PairMoments:
    """Moments of one pair for every replicate (0: all rows, 1 + f: without fold f)."""

    i: int
    j: int
    replicates: list[Moments]


OnPair = Callable[[PairMoments], None]
OnBlock = Callable[[Array, list[tuple[int, int]]], None]


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
        self.total = sum(self.counts)
        ends = np.cumsum(self.counts)
        self._parts = [slice(int(e - c), int(e)) for e, c in zip(ends, self.counts, strict=True)]
        pieces = -(-max(self.counts, default=0) // PRODUCT_ROWS)
        self._total_dtype = torch.float64 if pieces > FEW_PIECES else self.row_dtype
        self.memory_bytes = memory_bytes
        self._buffer: torch.Tensor | None = None

    @property
    def replicates(self) -> int:
        """R: 1 + F, or 1 for a single fold."""
        return len(self.counts) + 1 if len(self.counts) > 1 else 1

    def run(
        self,
        *,
        on_pair: OnPair | None = None,
        done: Sequence[tuple[int, int]] = (),
        on_block: OnBlock | None = None,
        products: Array | None = None,
    ) -> HsicTerms:
        """Go through all pairs.

        Args:
            on_pair: called with the moments of every pair, if moment measures are wanted.
            done: pairs that ``products`` and the caller hold already (a resumed run).
            on_block: called after each group of pairs with the norms of products so far and the
                pairs it added, so that the caller can save and show progress.
            products: partly filled norms of products [R, L, L]; new ones if not given.

        Returns:
            terms of the whole stack against itself, [R, L, L].
        """
        rows = self._row_terms()
        if products is None:
            products = empty_grid(self.replicates, len(self.widths))
        finished = set(done)
        chunks = self._chunks(on_pair is not None)
        for number, first in enumerate(chunks):
            # Dropped before the next is read: there is room for two.
            one: _Chunk | None = None
            two: _Chunk | None = None
            for second in chunks[number:]:
                wanted = {(i, j) for i in first for j in second if i <= j} - finished
                if not wanted:
                    continue
                two = None
                one = one or self._load(first)
                two = one if second is first else self._load(second)
                for i in first:
                    for group in self._groups([j for j in second if (i, j) in wanted]):
                        self._group(i, group, one, two, products, on_pair)
                        if on_block is not None:
                            on_block(products, [(i, j) for j in group])
        return assemble(rows, products)

    def _chunks(self, keep_moments: bool) -> list[list[int]]:
        """Layers in chunks of a third of the memory: two chunks and the products at a time."""
        size = 8 if self.row_dtype == torch.float64 else 4
        if self.dtype not in (torch.float32, torch.float64):
            size += 2
        folds = len(self.counts)
        chunks: list[list[int]] = [[]]
        held = 0.0
        for position, width in enumerate(self.widths):
            cost = size * self.total * width
            if keep_moments:
                cost += 3 * 8 * (folds + 1) * width * width
            if chunks[-1] and held + cost > self.memory_bytes / 3:
                chunks.append([])
                held = 0.0
            chunks[-1].append(position)
            held += cost
        return chunks

    def _groups(self, positions: Sequence[int]) -> Iterator[list[int]]:
        """Neighbouring layers, in groups up to :data:`GROUP_WIDTH` columns wide."""
        group: list[int] = []
        for position in positions:
            wide = sum(self.widths[p] for p in group) + self.widths[position] > GROUP_WIDTH
            if group and (wide or position != group[-1] + 1):
                yield group
                group = []
            group.append(position)
        if group:
            yield group

    def _fill(self, positions: Sequence[int], x: torch.Tensor) -> torch.Tensor:
        """Read layers into the columns of ``x`` [N, Wc], about their means; returns the means.

        The mean serves as a shift only (all terms are exact about any), so float32 will do.
        """
        ones = torch.ones(self.total, dtype=self.row_dtype, device=self.device)
        means, start = [], 0
        for position in positions:
            rows = self.rows.layer(position)
            if self._order is not None:
                rows = rows[self._order]
            rows = rows.to(self.device, self.row_dtype)
            mean = (ones @ rows) / self.total
            torch.sub(rows, mean, out=x[:, start : start + rows.shape[1]])
            start += rows.shape[1]
            means.append(mean.double())
        return torch.cat(means)

    def _empty(self, positions: Sequence[int]) -> torch.Tensor:
        width = sum(self.widths[p] for p in positions)
        return torch.empty(self.total, width, dtype=self.row_dtype, device=self.device)

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        """Sums of rows by fold, float64 [F, D]."""
        s = torch.zeros(len(self._parts), x.shape[1], dtype=torch.float64, device=x.device)
        ones = torch.ones(PRODUCT_ROWS, dtype=x.dtype, device=x.device)
        for total, part in zip(s, self._parts, strict=True):
            for rows in _pieces(part):
                total += ones[: rows.stop - rows.start] @ x[rows]
        return s

    def _row_terms(self) -> dict[str, torch.Tensor]:
        """All terms that follow from single rows, in one reading of the store."""
        layers = len(self.widths)
        norms = torch.empty(self.total, layers, dtype=torch.float64, device=self.device)
        sums = torch.empty(
            self.replicates, self.total, layers, dtype=torch.float64, device=self.device
        )
        for position in range(layers):
            x = self._empty([position])
            self._fill([position], x)
            sums[:, :, position] = (x @ leave_out(self._sums(x)).to(x.dtype).T).T
            norms[:, position] = x.square_().sum(dim=1)
        return row_terms(norms, sums, self._parts)

    def _load(self, positions: Sequence[int]) -> _Chunk:
        x = self._empty(positions)
        mean = self._fill(positions, x)
        columns, start = {}, 0
        for position in positions:
            columns[position] = slice(start, start + self.widths[position])
            start += self.widths[position]
        low = x if self.dtype == self.row_dtype else x.to(self.dtype)
        return _Chunk(columns, x, low, mean, self._sums(x))

    def _products(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Products by fold X_f' Y_f, [F, D1, D2]; long folds are summed piece by piece.

        The result lies in a buffer that the next call overwrites: new memory for every call
        would cost as much as a tenth of the products.
        """
        shape = (len(self._parts), left.shape[1], right.shape[1])
        size = shape[0] * shape[1] * shape[2]
        if self._buffer is None or self._buffer.numel() < size:
            self._buffer = torch.empty(size, dtype=self._total_dtype, device=left.device)
        C = self._buffer[:size].view(shape)
        for out, part in zip(C, self._parts, strict=True):
            for rows in _pieces(part):
                x, y = left[rows], right[rows]
                if self.dtype == self._total_dtype:
                    torch.addmm(out, x.T, y, beta=int(rows.start > part.start), out=out)
                elif rows.start > part.start:
                    out += x.T @ y
                else:
                    out.copy_(x.T @ y)
        return C

    def _group(
        self,
        i: int,
        group: Sequence[int],
        one: _Chunk,
        two: _Chunk,
        products: Array,
        on_pair: OnPair | None,
    ) -> None:
        """Enter the pairs of layer i with a group of neighbouring layers."""
        at = one.columns[i]
        start = two.columns[group[0]].start
        C = self._products(one.low[:, at], two.low[:, start : two.columns[group[-1]].stop])
        for j in group:
            to = two.columns[j]
            part = C[:, :, to.start - start : to.stop - start]
            put(products, i, j, product_norms(part))
            if on_pair is not None:
                replicates = list(self._moments(i, j, one, two, part))
                on_pair(PairMoments(i, j, replicates))

    def _own(self, position: int, chunk: _Chunk) -> list[View]:
        """Second moments of a layer for every replicate, decompositions cached while loaded."""
        if position not in chunk.views:
            x = chunk.low[:, chunk.columns[position]]
            kept, self._buffer = self._buffer, None  # the group's products are still wanted
            P = leave_out(self._products(x, x).double())
            self._buffer = kept
            n = leave_out(torch.tensor(self.counts, dtype=torch.float64))
            s = leave_out(chunk.s[:, chunk.columns[position]])
            cut = rank_cut(self.dtype)
            chunk.views[position] = [
                View(centre(P[r], s[r], float(n[r]), cut), cut) for r in range(len(n))
            ]
        return chunk.views[position]

    def _moments(
        self, i: int, j: int, one: _Chunk, two: _Chunk, C: torch.Tensor
    ) -> Iterator[Moments]:
        P = leave_out(C.double())
        n = leave_out(torch.tensor(self.counts, dtype=torch.float64))
        at, to = one.columns[i], two.columns[j]
        s_x, s_y = leave_out(one.s[:, at]), leave_out(two.s[:, to])
        own_x, own_y = self._own(i, one), self._own(j, two)
        for r in range(len(n)):
            yield Moments(
                int(n[r]),
                one.mean[at] + s_x[r] / n[r],
                two.mean[to] + s_y[r] / n[r],
                own_x[r].S,
                own_y[r].S,
                P[r] - torch.outer(s_x[r], s_y[r]) / n[r],
                own_x[r],
                own_y[r],
            )


def _pieces(part: slice) -> Iterator[slice]:
    """A range of rows in pieces of at most :data:`PRODUCT_ROWS`, of nearly equal length."""
    length = part.stop - part.start
    count = -(-length // PRODUCT_ROWS)
    edges = [part.start + length * k // max(1, count) for k in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)
