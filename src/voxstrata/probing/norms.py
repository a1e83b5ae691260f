"""How large the states of each layer are, and how they are made alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import Unit, UnitRows
from voxstrata.types import Utterance


def standardised(rows: torch.Tensor) -> torch.Tensor:
    """Every frame to mean 0 and variance 1 over its numbers (``layer_norm`` without learned scale,
    eps 1e-5), [T, D]."""
    wide = rows if rows.dtype == torch.float64 else rows.float()
    return torch.nn.functional.layer_norm(wide, wide.shape[-1:], eps=1e-5)


class Standardised:
    """Another unit, of states that are standardised first.

    Args:
        unit: the unit.
    """

    tier: str | None = None

    def __init__(self, unit: Unit) -> None:
        self._unit, self.name = unit, unit.name

    def accepts(self, layer: StackLayer) -> bool:
        """What the unit accepts."""
        return self._unit.accepts(layer)

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """As the unit."""
        self._unit.prepare(utterances, seed)

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Rows of the unit, of standardised states."""
        return self._unit.rows(utterance, [standardised(x) for x in outputs], layers)

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """As the unit."""
        return self._unit.count(utterance, frames, layers)

    def describe(self) -> dict[str, Any]:
        """The unit, and that states are standardised."""
        return {**self._unit.describe(), "standardised": True}


class NormUnit:
    """Mean Euclidean norm of a layer's frames, one number a recording and layer."""

    name = "norm"
    tier: str | None = None

    def accepts(self, layer: StackLayer) -> bool:
        """Every layer."""
        return True

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Nothing to prepare."""

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """For each layer [1, 1]."""
        values = [output.double().norm(dim=1).mean().reshape(1, 1) for output in outputs]
        return UnitRows(values, [0.0], [utterance.duration_s])

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """One."""
        return 1

    def describe(self) -> dict[str, Any]:
        """Its name."""
        return {"unit": self.name}


class MeanReducer:
    """Mean over recordings of one number a layer."""

    def __init__(self, layers: int) -> None:
        self.total = torch.zeros(layers, dtype=torch.float64)
        self.count = 0

    def update(self, rows: Rows) -> None:
        """Add the recording's numbers."""
        self.total += torch.cat([value.reshape(1).double().cpu() for value in rows.values])
        self.count += 1

    def end_shard(self, shard: int) -> None:
        """Nothing is buffered."""

    def merge(self, other: MeanReducer) -> None:
        """Add other recordings."""
        self.total += other.total
        self.count += other.count

    def finish(self) -> list[float]:
        """The means, by layer."""
        found: list[float] = (self.total / max(1, self.count)).tolist()
        return found

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """Sum and count."""
        return {"total": self.total}, {"count": self.count}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.total = tensors["total"].clone()
        self.count = int(facts["count"])

    def state_bytes(self) -> int:
        """Eight bytes a layer."""
        return 8 * len(self.total)
