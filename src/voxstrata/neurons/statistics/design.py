"""What is selected: the groups, whether units or rows make them, and the share of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.counts import Counts, Ints, UnitCounts
from voxstrata.neurons.selection import SIGMA


@dataclass(frozen=True)
class Design:
    """One selection: the groups, and what makes them.

    Attributes:
        groups: G names.
        labels: [P], group of each unit, -1 for units left out; ``None`` where rows are the groups.
        rows: [C]; -1 for rows that do not count (silence); else 0 where units make the groups, and
            the row's group where rows do.
        sigma: least share of a group's rows.
        row_strata: [C], within which rows change names in the null; ``None`` for all rows.
    """

    groups: tuple[str, ...]
    labels: Ints | None
    rows: Ints
    sigma: float = SIGMA
    row_strata: Ints | None = None

    @property
    def of_units(self) -> bool:
        """Whether units make the groups (gender, speaker) and not rows (phones, clusters)."""
        return self.labels is not None

    def counts(self, counts: UnitCounts) -> Counts:
        """Counts of the groups' rows, as the published rule takes them."""
        if self.labels is None:
            return counts.by_row(self.rows, self.groups)
        found = counts.grouped(self.labels, self.groups)
        used = np.tile(self.rows >= 0, len(self.groups))
        return Counts(
            found.rows,
            found.groups,
            np.where(used, found.group_of, -1),
            found.seen,
            found.active,
            found.base,
            found.top,
        )


def by_units(
    counts: UnitCounts,
    labels: Sequence[int] | NDArray[np.int64],
    groups: Sequence[str],
    *,
    leave_out: Sequence[str] = (),
    sigma: float = SIGMA,
) -> Design:
    """Groups of units: gender, speakers, i-vector clusters.

    Args:
        counts: whose units and rows are meant.
        labels: [P], group of each unit; -1 leaves it out.
        groups: G names.
        leave_out: rows that do not count (silence).
        sigma: least share of rows.

    Raises:
        ShapeError: there is not one label a unit.
        UsageError: a label is no group, a row is unknown, or sigma is no share.
    """
    given = np.asarray(labels, dtype=np.int64)
    if given.shape != (len(counts.units),):
        raise ShapeError("labels of units", got=given.shape, expected=(len(counts.units),))
    if given.min(initial=0) < -1 or given.max(initial=-1) >= len(groups):
        raise UsageError(
            "a unit's label is none of the groups",
            got=f"{given.min()} to {given.max()}",
            expected=f"-1 (left out) to {len(groups) - 1}",
        )
    unknown = [row for row in leave_out if row not in counts.rows]
    if unknown:
        raise UsageError("rows to leave out are not there", got=", ".join(unknown))
    rows = np.array([-1 if row in set(leave_out) else 0 for row in counts.rows], dtype=np.int64)
    return _checked(Design(tuple(groups), given, rows, sigma))


def by_rows(
    counts: UnitCounts,
    group_of: Sequence[int] | NDArray[np.int64] | None = None,
    groups: Sequence[str] | None = None,
    *,
    sigma: float = SIGMA,
    row_strata: Sequence[int] | NDArray[np.int64] | None = None,
) -> Design:
    """Groups of rows: phone classes, k-means clusters.

    Args:
        counts: whose rows are meant.
        group_of: [C], group of each row, -1 for none; by default each row is a group.
        groups: names; the rows' by default.
        sigma: least share of rows.
        row_strata: [C], rows that may change names with each other in the null.

    Raises:
        ShapeError: there is not one group a row.
        UsageError: a number is no group, or sigma is no share.
    """
    names = tuple(counts.rows if groups is None else groups)
    given = np.asarray(np.arange(len(counts.rows)) if group_of is None else group_of, np.int64)
    if given.shape != (len(counts.rows),):
        raise ShapeError("groups of rows", got=given.shape, expected=(len(counts.rows),))
    if given.min(initial=0) < -1 or given.max(initial=-1) >= len(names):
        raise UsageError("a row's group is none of the groups", got=str(given.tolist()[:20]))
    strata = None if row_strata is None else np.asarray(row_strata, np.int64)
    if strata is not None and strata.shape != given.shape:
        raise ShapeError("strata of rows", got=strata.shape, expected=given.shape)
    return _checked(Design(names, None, given, sigma, strata))


def _checked(design: Design) -> Design:
    if not 0 < design.sigma <= 1:
        raise UsageError("sigma is a share of rows", got=design.sigma, expected="above 0, up to 1")
    if (design.rows < 0).all():
        raise UsageError("no row is left to select by", got=f"{len(design.rows)} rows, none counts")
    return design
