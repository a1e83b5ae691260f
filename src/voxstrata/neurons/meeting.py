"""The reducer that counts how often labels of frames meet: clusters against phones and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voxstrata.neurons.counting import FrameLabels
from voxstrata.neurons.counts import Ints
from voxstrata.streaming.reducers import Rows


@dataclass(frozen=True)
class Meeting:
    """Two frame conditions whose labels are counted together.

    Attributes:
        clusters, classes: the conditions.
        cluster_reads, class_reads: positions among the rows' values of the layers they read.
    """

    clusters: FrameLabels
    classes: FrameLabels
    cluster_reads: tuple[int, ...] = ()
    class_reads: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """A and B."""
        return len(self.clusters.rows), len(self.classes.rows)


class MeetReducer:
    """Counts frames by unit, label of one condition and label of the other.

    Args:
        meetings: what is counted.
        unit_of: unit of each recording.
        units: how many units.
    """

    def __init__(self, meetings: Sequence[Meeting], unit_of: Mapping[str, int], units: int) -> None:
        self.meetings, self.unit_of = tuple(meetings), unit_of
        self._tables: list[Ints] = [np.zeros((units, *m.shape), np.int64) for m in meetings]

    def update(self, rows: Rows) -> None:
        """Count one recording; frames without a label of either side are left out."""
        unit = self.unit_of[rows.utterance]
        for meeting, table in zip(self.meetings, self._tables, strict=True):
            where = (rows.utterance, rows.start_s, rows.end_s)
            a = meeting.clusters.codes(*where, [rows.values[i] for i in meeting.cluster_reads])
            b = meeting.classes.codes(*where, [rows.values[i] for i in meeting.class_reads])
            kept = (a >= 0) & (b >= 0)
            size = meeting.shape[0] * meeting.shape[1]
            flat = np.bincount(a[kept] * meeting.shape[1] + b[kept], minlength=size)
            table[unit] += flat.reshape(meeting.shape)

    def end_shard(self, shard: int) -> None:
        """Nothing is buffered."""

    def merge(self, other: MeetReducer) -> None:
        """Add other recordings."""
        for mine, theirs in zip(self._tables, other._tables, strict=True):
            mine += theirs

    def finish(self) -> list[Ints]:
        """Counts [P, A, B] of each meeting."""
        return self._tables

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The counts."""
        return {str(i): torch.from_numpy(table) for i, table in enumerate(self._tables)}, {}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from them."""
        self._tables = [tensors[str(i)].numpy().copy() for i in range(len(self._tables))]

    def state_bytes(self) -> int:
        """Eight bytes a cell."""
        return 8 * sum(table.size for table in self._tables)
