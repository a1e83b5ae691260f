"""Reading a matrix: nearest layers, runners-up, neighbours. No number is made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voxstrata.report.view import Facet, View


@dataclass(frozen=True)
class Cell:
    """One entry of a facet.

    Attributes:
        row, column: positions in :attr:`Facet.layers`.
        value, low, high: value and interval, NaN where there is none.
    """

    row: int
    column: int
    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


@dataclass(frozen=True)
class Match:
    """The layer of another model that is most like a given one.

    Attributes:
        best: the cell of the most similar layer.
        runner: the cell of the second most similar; ``None`` where there is only one.
        tie: whether the intervals of the two overlap, so that the data do not tell which is
            higher; ``None`` where an interval is missing or there is no runner-up.
        rivals: how many layers of the other model have an interval overlapping the best one's.
    """

    best: Cell
    runner: Cell | None
    tie: bool | None
    rivals: int


def cell(facet: Facet, row: int, column: int) -> Cell:
    """One entry of a facet."""
    at = row, column
    return Cell(row, column, float(facet.value[at]), float(facet.low[at]), float(facet.high[at]))


def overlap(a: Cell, b: Cell) -> bool | None:
    """Whether two intervals share a point; ``None`` where one of them is missing.

    Overlap of two 95 % intervals is a cautious sign of "cannot tell": values from the same
    recordings move together, so their difference is often known better than either.
    """
    if not (a.has_interval and b.has_interval):
        return None
    return a.low <= b.high and b.low <= a.high


def ranked(facet: Facet, cells: Sequence[Cell]) -> list[Cell]:
    """Cells with a value, most alike first; equal values keep the order of the stack."""
    known = [c for c in cells if np.isfinite(c.value)]
    return sorted(known, key=lambda c: -c.value if facet.closer_is_high else c.value)


def match(facet: Facet, row: int, columns: Sequence[int]) -> Match | None:
    """The most similar of ``columns`` to ``row``; ``None`` where no cell has a value."""
    order = ranked(facet, [cell(facet, row, column) for column in columns])
    if not order:
        return None
    best, rest = order[0], order[1:]
    runner = rest[0] if rest else None
    return Match(
        best=best,
        runner=runner,
        tie=overlap(best, runner) if runner is not None else None,
        rivals=sum(overlap(best, other) is True for other in rest),
    )


def best_path(view: View, facet: Facet, model: int, other: int) -> list[Match | None]:
    """For every layer of ``model``, in order, its most similar layer of ``other``."""
    columns = view.rows_of(facet, other)
    return [match(facet, row, columns) for row in view.rows_of(facet, model)]


def steps(view: View, facet: Facet, model: int) -> list[Cell]:
    """Similarity of every layer of ``model`` with the next one, in order of depth."""
    rows = view.rows_of(facet, model)
    return [cell(facet, a, b) for a, b in pairwise(rows)]


def cross_cells(view: View, facet: Facet) -> list[Cell]:
    """Every pair of layers of two different models; once a pair where the measure is symmetric."""
    owner = [view.layer(facet, row).model for row in range(len(facet.layers))]
    return [
        cell(facet, i, j)
        for i in range(len(owner))
        for j in range(i + 1 if facet.symmetric else 0, len(owner))
        if owner[i] != owner[j] and facet.present[i, j]
    ]
