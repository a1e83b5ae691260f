"""The published selection of many labellings at once, exact: one product for all of them.

For row c and a block of labellings, the active frames of every group are ``Z A_c``, where A_c
[P, D] are the units' counts and Z [labellings * groups, P] says who is in which group. A_c is
sparse while units are recordings, and dense once they are speakers. Sums are whole numbers that
floats hold exactly, compared to the largest whole number that is not above chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from voxstrata.neurons.counts import Floats, Ints, UnitCounts
from voxstrata.neurons.selection import by_chance

Bools = NDArray[np.bool_]

BLOCK = 1 << 23
"""Numbers held at a time."""
DENSE_FROM = 0.08
"""Share of non-zero counts from which a dense product is faster."""


def limits(counts: UnitCounts, layer: str, seen: NDArray[np.number]) -> Floats:
    """The largest number of active frames that is not above chance, [..., 1] or [..., D].

    ``above`` of the published rule (``selection.above``) is a count greater than this, since
    counts are whole.

    Args:
        counts: whose chance is meant.
        layer: which.
        seen: [...], frames.
    """
    frames = np.asarray(seen)[..., None]
    top = counts.top[layer]
    if top is not None:
        return np.asarray(np.rint(frames).astype(np.int64) * top // counts.width(layer), np.float64)
    return np.asarray(np.floor(by_chance(frames, counts.base[layer])))


class RowCounts:
    """Counts of one layer by row, laid out for products with many labellings.

    Args:
        counts: by unit.
        layer: which.
        rows: the rows that count.
    """

    def __init__(self, counts: UnitCounts, layer: str, rows: Ints) -> None:
        block = counts.active[layer]
        C, P = len(counts.rows), len(counts.units)
        # Sums are at most the frames seen; float32 holds whole numbers up to 2^24.
        self.type = np.float32 if counts.seen.sum() < 1 << 24 else np.float64
        dense = block.nnz > DENSE_FROM * block.shape[0] * block.shape[1]
        self.rows = rows
        self.seen = counts.seen.astype(np.float64)
        self.width = int(block.shape[1])
        self.units = P
        self._parts = []
        for c in rows.tolist():
            part = block[c::C].astype(self.type)
            self._parts.append(
                np.ascontiguousarray(part.toarray().T) if dense else csr_array(part).T
            )

    def products(
        self, weights: NDArray[np.floating]
    ) -> Iterator[tuple[int, NDArray[np.floating], Floats]]:
        """Weighted sums over units.

        Args:
            weights: [P, n].

        Yields:
            row, active frames [D, n], frames [n].
        """
        cast = weights.astype(self.type)
        exact = weights.astype(np.float64)
        for c, part in zip(self.rows.tolist(), self._parts, strict=True):
            yield c, part @ cast, self.seen[:, c] @ exact


def group_sets(
    counts: UnitCounts,
    layer: str,
    labels: Ints,
    groups: int,
    row_group: Ints,
    sigma: float,
) -> Iterator[tuple[int, Bools]]:
    """Group neurons of many labellings of the units.

    Args:
        counts: by unit.
        layer: which.
        labels: [B, P], group of each unit in each labelling, -1 for none.
        groups: G, of units.
        row_group: [C], group of each row (H of them), -1 for rows that do not count.
        sigma: least share of rows.

    Yields:
        first labelling of the block, and [b, G, H, D]: whether the neuron is above chance in at
        least sigma of the rows of row group h, counted in the units of group g.
    """
    H = int(row_group.max()) + 1
    D, P = counts.width(layer), len(counts.units)
    store = RowCounts(counts, layer, np.flatnonzero(row_group >= 0))
    sizes = np.bincount(row_group[row_group >= 0], minlength=H)
    fixed = bool(((labels >= 0) == (labels[0] >= 0)).all())
    # Where every labelling holds the same units, the last group is the rest.
    counted = groups - 1 if fixed and groups > 1 else groups
    total = (labels[0] >= 0).astype(np.float64)[:, None]
    wholes = {c: (part, seen) for c, part, seen in store.products(total)}
    step = max(1, BLOCK // (D * groups * H))
    for start in range(0, len(labels), step):
        block = labels[start : start + step]
        b = len(block)
        chosen = block.T[:, :, None] == np.arange(counted)
        hits = np.zeros((H, D, b, groups), dtype=np.int32)
        for c, active, seen in store.products(chosen.reshape(P, b * counted)):
            mine, frames = active.reshape(D, b, counted), seen.reshape(b, counted)
            if counted < groups:
                part, whole = wholes[c]
                rest = part[:, :, None] - mine.sum(axis=2, keepdims=True)
                mine = np.concatenate([mine, rest], axis=2)
                frames = np.concatenate(
                    [frames, whole[0] - frames.sum(axis=1, keepdims=True)], axis=1
                )
            bound = np.moveaxis(limits(counts, layer, frames), -1, 0)
            hits[row_group[c]] += mine > bound.astype(store.type)
        yield start, _members(hits, sizes, sigma).transpose(2, 3, 0, 1)


def dealt_sets(
    counts: UnitCounts,
    layer: str,
    row_group: Ints,
    sigma: float,
    draws: int,
    seed: int,
    strata: Ints | None = None,
) -> Iterator[tuple[int, Bools]]:
    """Group neurons of rows whose names were dealt anew within each unit.

    Within a unit, the rows that count and were seen change names with each other: a row's frames
    and active frames move together, and every unit keeps what it has. The deals are the same for
    every layer.

    Args:
        counts: by unit.
        layer: which.
        row_group: [C], group of each row, -1 for rows that do not count.
        sigma: least share of rows.
        draws: B.
        seed: of the draws.
        strata: [C], names are exchanged only between rows of the same number (the phone, where
            rows are thirds of pitch within phones).

    Yields:
        first draw of the block, and [b, 1, H, D].
    """
    C, P, D = len(counts.rows), len(counts.units), counts.width(layer)
    H = int(row_group.max()) + 1
    sizes = np.bincount(row_group[row_group >= 0], minlength=H)
    there = (counts.seen > 0) & (row_group >= 0)
    stratum = np.zeros(C) if strata is None else np.asarray(strata, np.float64)
    last = stratum.max(initial=0) + 2
    natural = np.argsort(np.where(there, stratum, last), axis=1, kind="stable")
    filled = np.arange(C) < there.sum(axis=1, keepdims=True)
    source = (np.arange(P)[:, None] * C + natural)[filled]
    kind = np.float32 if counts.seen.sum() < 1 << 24 else np.float64
    active = csr_array(counts.active[layer]).astype(kind)
    dense = active.nnz > DENSE_FROM * active.shape[0] * D and active.shape[0] * D < 16 * BLOCK
    factor = active.toarray() if dense else active
    flat = counts.seen.reshape(-1).astype(np.float64)
    step = max(1, BLOCK // (C * D))
    for start in range(0, draws, step):
        b = min(step, draws - start)
        targets = []
        for draw in range(start, start + b):
            keys = np.random.default_rng([seed, 2, draw]).random((P, C))
            order = np.argsort(np.where(there, stratum + keys, last), axis=1)
            targets.append(order[filled] + (draw - start) * C)
        where = (np.concatenate(targets), np.tile(source, b))
        adder = csr_array((np.ones(len(where[0]), kind), where), shape=(b * C, P * C))
        found = adder @ factor
        mine = np.asarray(found if dense else found.toarray()).reshape(b, C, D)
        bound = limits(counts, layer, (adder.astype(np.float64) @ flat).reshape(b, C))
        over = mine > bound.astype(kind)
        hits = np.stack([over[:, row_group == h].sum(axis=1) for h in range(H)])
        yield start, _members(hits[:, :, None, :], sizes, sigma).transpose(1, 2, 0, 3)


def _members(hits: NDArray[np.integer], sizes: Ints, sigma: float) -> Bools:
    """Shares of rows compared as floats, as the published rule does; no rows, no neurons."""
    shape = (len(sizes), *([1] * (hits.ndim - 1)))
    share = hits / np.maximum(sizes, 1).reshape(shape)
    return np.asarray((share >= sigma) & (sizes.reshape(shape) > 0))
