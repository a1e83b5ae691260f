"""Counts of active neurons: all that the analyses of neurons keep of the activations.

A *row* is a label that a frame can have (a phone, a cluster), a *unit* a recording or a speaker.
How often each neuron was active in each row of each unit is enough for every labelling of the
units: their genders, their clusters, and those labels dealt anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from voxstrata.errors import ShapeError, UsageError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Base = float | Floats


@dataclass(frozen=True)
class Counts:
    """How often neurons were active in the rows of a condition.

    Attributes:
        rows: R names.
        groups: G names.
        group_of: [R], group of each row; -1 for rows that belong to none.
        seen: [R], frames.
        active: layer to [R, D], frames in which each neuron was active.
        base: layer to the activating probability expected by chance: one number, or one a neuron.
        top: layer to the number of active neurons of a frame; ``None`` where it differs by frame.
    """

    rows: tuple[str, ...]
    groups: tuple[str, ...]
    group_of: Ints
    seen: Ints
    active: Mapping[str, Ints]
    base: Mapping[str, Base]
    top: Mapping[str, int | None]

    def probability(self, layer: str) -> Floats:
        """Activating probability [R, D] (L2025, P): active frames over frames; 0 in unseen rows."""
        return np.asarray(self.active[layer] / np.maximum(self.seen, 1)[:, None])

    def rows_of(self, group: int) -> Ints:
        """Rows of a group, unseen ones too."""
        return np.flatnonzero(self.group_of == group)

    def empty(self) -> list[str]:
        """Rows of groups in which no frame was seen."""
        return [
            name
            for name, seen, group in zip(self.rows, self.seen, self.group_of, strict=True)
            if group >= 0 and not seen
        ]


@dataclass(frozen=True)
class UnitCounts:
    """The same unit by unit: what one pass keeps of a frame condition.

    Attributes:
        condition: name of the frame condition ("phones", "clusters", "all").
        rows: C names.
        units: P names.
        seen: [P, C], frames.
        active: layer to a sparse [P*C, D]; row ``p*C + c``.
        base, top: see :class:`Counts`.
    """

    condition: str
    rows: tuple[str, ...]
    units: tuple[str, ...]
    seen: Ints
    active: Mapping[str, csr_array]
    base: Mapping[str, Base]
    top: Mapping[str, int | None]

    def __post_init__(self) -> None:
        shape = (len(self.units), len(self.rows))
        if self.seen.shape != shape:
            raise ShapeError("frames seen by unit and row", got=self.seen.shape, expected=shape)
        for layer, found in self.active.items():
            if found.shape[0] != shape[0] * shape[1]:
                raise ShapeError(
                    f"counts of {layer}", got=found.shape, expected=(shape[0] * shape[1], "D")
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers, in order of depth."""
        return tuple(self.active)

    def width(self, layer: str) -> int:
        """D of a layer."""
        return int(self.active[layer].shape[1])

    def grouped(self, labels: Sequence[int] | Ints, groups: Sequence[str]) -> Counts:
        """Counts of every row within every group of units.

        Args:
            labels: [P], group of each unit; -1 leaves it out.
            groups: G names.

        Returns:
            rows ``g*C + c``, named ``"group | row"``.

        Raises:
            ShapeError: there is not one label a unit.
            UsageError: a label is no group.
        """
        given = np.asarray(labels, dtype=np.int64)
        self._check(given, len(groups))
        P, C, G = len(self.units), len(self.rows), len(groups)
        kept = np.flatnonzero(given >= 0)
        adder = csr_array((np.ones(len(kept), np.int64), (given[kept], kept)), shape=(G, P))
        names = tuple(
            f"{group} | {row}" if C > 1 else group for group in groups for row in self.rows
        )
        spread = expand(adder, C)
        return Counts(
            names,
            tuple(groups),
            np.repeat(np.arange(G), C),
            np.asarray(adder @ self.seen).reshape(-1),
            {k: np.asarray((spread @ v).todense(), np.int64) for k, v in self.active.items()},
            self.base,
            self.top,
        )

    def by_row(
        self, group_of: Sequence[int] | Ints | None = None, groups: Sequence[str] | None = None
    ) -> Counts:
        """Counts of every row over all units.

        Args:
            group_of: [C], group of each row, -1 for none; by default each row is a group.
            groups: names of the groups.

        Raises:
            ShapeError: there is not one group a row.
            UsageError: a number is no group.
        """
        one = self.grouped(np.zeros(len(self.units), np.int64), ["all"])
        names = tuple(self.rows if groups is None else groups)
        given = np.asarray(
            np.arange(len(self.rows)) if group_of is None else group_of, dtype=np.int64
        )
        if given.shape != (len(self.rows),):
            raise ShapeError("groups of rows", got=given.shape, expected=(len(self.rows),))
        if given.max(initial=-1) >= len(names) or given.min(initial=0) < -1:
            raise UsageError("a row's group is none of the groups", got=str(given.tolist()[:20]))
        return Counts(self.rows, names, given, one.seen, one.active, self.base, self.top)

    def only(self, units: Sequence[int] | NDArray[Any]) -> UnitCounts:
        """The counts of some units, in the order given."""
        chosen = np.asarray(units)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        C = len(self.rows)
        flat = (chosen[:, None] * C + np.arange(C)).reshape(-1)
        return UnitCounts(
            self.condition,
            self.rows,
            tuple(self.units[int(i)] for i in chosen),
            self.seen[chosen],
            {k: v[flat] for k, v in self.active.items()},
            self.base,
            self.top,
        )

    def merged(self, labels: Sequence[int] | Ints, names: Sequence[str]) -> UnitCounts:
        """Units added up into fewer ones (recordings into speakers).

        Args:
            labels: [P], which new unit each goes to; -1 leaves it out.
            names: of the new units.
        """
        given = np.asarray(labels, dtype=np.int64)
        self._check(given, len(names))
        kept = np.flatnonzero(given >= 0)
        adder = csr_array(
            (np.ones(len(kept), np.int64), (given[kept], kept)), shape=(len(names), len(given))
        )
        spread = expand(adder, len(self.rows))
        return UnitCounts(
            self.condition,
            self.rows,
            tuple(names),
            np.asarray(adder @ self.seen),
            {k: csr_array(spread @ v) for k, v in self.active.items()},
            self.base,
            self.top,
        )

    def _check(self, labels: Ints, groups: int) -> None:
        if labels.shape != (len(self.units),):
            raise ShapeError("labels of units", got=labels.shape, expected=(len(self.units),))
        if labels.min(initial=0) < -1 or labels.max(initial=-1) >= groups:
            raise UsageError(
                "a unit's label is none of the groups",
                got=f"{int(labels.min())} to {int(labels.max())}",
                expected=f"-1 (left out) to {groups - 1}",
            )


def expand(adder: csr_array, rows: int) -> csr_array:
    """An adding matrix [G, P] of units as one of all their rows, [G*C, P*C]."""
    from scipy.sparse import eye_array, kron

    return csr_array(kron(adder, eye_array(rows, dtype=np.int64), format="csr"))
