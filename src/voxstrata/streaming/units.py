"""Units: what an analysis counts. A unit turns one recording's layer outputs into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance


@dataclass(frozen=True)
class UnitRows:
    """The rows one recording contributes.

    Attributes:
        values: for each accepted layer a tensor [N, D], all with the same N.
        start_s, end_s: span of each row [N], seconds.
        labels: label of each row, or ``None`` for units without labels.
        dropped: what was left out and why, as counts by reason.
        noted: what was kept, but not as labelled, as counts by reason.
    """

    values: list[torch.Tensor]
    start_s: list[float]
    end_s: list[float]
    labels: list[str] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start_s)


class Unit(Protocol):
    """A way to cut recordings into rows.

    Attributes:
        name: registry name ("frame", "phone", "word", "utterance").
        tier: interval tier it reads, or ``None``.
    """

    name: str
    tier: str | None

    def accepts(self, layer: StackLayer) -> bool:
        """Whether ``layer`` has rows of this unit (utterance layers have no frames)."""
        ...

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Look at the labels of the whole corpus once, before the pass (caps, selection)."""
        ...

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Rows of one recording.

        Args:
            utterance: the recording and its labels.
            outputs: for each accepted layer its output [T, D].
            layers: the accepted layers, same order.
        """
        ...

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Rows that :meth:`rows` will give, from frame counts alone (for plans)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Settings, for the run record."""
        ...
