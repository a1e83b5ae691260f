"""What a condition is: labels of recordings, labels of frames, and what is asked of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import LabelError
from voxstrata.neurons.counting import FrameLabels
from voxstrata.neurons.counts import Counts, UnitCounts

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """One label a recording.

    Attributes:
        name: "gender", "ivector=2".
        groups: G names.
        of: group of each recording that has a label.
        details: JSON-like facts.
    """

    name: str
    groups: tuple[str, ...]
    of: Mapping[str, int]
    details: Mapping[str, Any] = field(default_factory=dict)

    def units(self, names: Sequence[str], members: Mapping[str, str]) -> Ints:
        """The label of each unit [P]; -1 where its recordings have none, or have several.

        Args:
            names: of the units.
            members: unit of each recording.
        """
        place = {name: i for i, name in enumerate(names)}
        found = np.full(len(names), -2, np.int64)
        for recording, unit in members.items():
            label = self.of.get(recording, -1)
            at = place[unit]
            found[at] = label if found[at] in (-2, label) else -1
        return np.where(found == -2, -1, found)


class Everything:
    """The frame condition with one row, for labels of recordings alone."""

    name = "all"
    rows: tuple[str, ...] = ("all",)
    layers: tuple[str, ...] = ()

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Zeros [T]."""
        return np.zeros(len(start_s), np.int64)


class Crossed:
    """Two frame conditions at once: rows ``a * B + b``, named ``"a | b"``.

    Args:
        first, second: the conditions.
    """

    def __init__(self, first: FrameLabels, second: FrameLabels) -> None:
        self.first, self.second = first, second
        self.name = f"{first.name}/{second.name}"
        self.rows = tuple(f"{a} | {b}" for a in first.rows for b in second.rows)
        self.layers = (*first.layers, *second.layers)

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Rows of frames that both conditions label, -1 for the others."""
        cut = len(self.first.layers)
        a = self.first.codes(utterance, start_s, end_s, states[:cut])
        b = self.second.codes(utterance, start_s, end_s, states[cut:])
        return np.where((a < 0) | (b < 0), -1, a * len(self.second.rows) + b)


@dataclass(frozen=True)
class Contrast:
    """Groups to be told apart, within rows that are held fixed.

    Attributes:
        name: as the user wrote it: "gender/phones", "clusters=3".
        rows: the frame condition that is counted.
        labels: label of each recording that makes the groups; ``None`` where frames do.
        group_of: where frames make the groups: group of each row, -1 for none.
        groups: names of the groups.
        held: where frames make the groups within rows of another condition: the other condition's
            row of each row, which the null holds fixed.
    """

    name: str
    rows: FrameLabels
    groups: tuple[str, ...]
    labels: Labels | None = None
    group_of: tuple[int, ...] | None = None
    held: tuple[int, ...] | None = None

    def counts(self, found: UnitCounts, members: Mapping[str, str]) -> Counts:
        """Counts of this contrast.

        Args:
            found: of the frame condition :attr:`rows`.
            members: unit of each recording.

        Raises:
            LabelError: a group has no frame at all.
        """
        if self.labels is not None:
            made = found.grouped(self.labels.units(found.units, members), self.groups)
        else:
            made = found.by_row(self.group_of, self.groups)
        seen = np.bincount(
            made.group_of[made.group_of >= 0],
            weights=made.seen[made.group_of >= 0],
            minlength=len(self.groups),
        )
        if not seen.all():
            empty = [g for g, n in zip(self.groups, seen, strict=True) if not n]
            raise LabelError(
                f"groups of {self.name!r} without a frame",
                got=", ".join(empty[:8]),
                expected="speech of every group",
                fix="give recordings of them, or leave the group out of the corpus's labels",
            )
        return made
