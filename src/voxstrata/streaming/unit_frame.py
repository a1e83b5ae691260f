"""Units without labels: frames on a common time grid, and whole utterances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from voxstrata.streaming.join import common_grid, join
from voxstrata.streaming.stack import StackLayer, grids
from voxstrata.streaming.units import UnitRows
from voxstrata.types import FrameGrid, Utterance


def _frame_grids(layers: Sequence[StackLayer]) -> list[FrameGrid]:
    return [grid for grid in grids(layers) if grid is not None]


class FrameUnit:
    """Every frame, all layers joined on the coarsest grid among them (:mod:`.join`)."""

    name = "frame"
    tier: str | None = None

    def accepts(self, layer: StackLayer) -> bool:
        """Layers with a time axis."""
        return layer.info.kind == "frame"

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Nothing to prepare."""

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Frames of every layer that stand for the same moments."""
        grid_of = _frame_grids(layers)
        joined = join(grid_of, [len(output) for output in outputs])
        values = []
        for output, index in zip(outputs, joined.indices, strict=True):
            whole = len(index) == len(output)
            values.append(output if whole else output[torch.from_numpy(index).to(output.device)])
        half = grid_of[common_grid(grid_of)].receptive / 32_000
        return UnitRows(
            values,
            [float(c) - half for c in joined.centres_s],
            [float(c) + half for c in joined.centres_s],
            dropped={"frames without a partner in every layer": joined.dropped},
        )

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Frames on the common grid."""
        return len(join(_frame_grids(layers), frames).centres_s)

    def describe(self) -> dict[str, Any]:
        """Settings of the join."""
        return {"unit": self.name, "join": "nearest centre on the coarsest grid"}


class UtteranceUnit:
    """One row a recording: the mean over time of frame layers, utterance layers as they are."""

    name = "utterance"
    tier: str | None = None

    def accepts(self, layer: StackLayer) -> bool:
        """Every layer."""
        return True

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Nothing to prepare."""

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Means over time, [1, D] each, accumulated in float32 at least."""
        values = []
        for output in outputs:
            wide = output if output.dtype == torch.float64 else output.float()
            values.append(wide.mean(dim=0, keepdim=True))
        return UnitRows(values, [0.0], [utterance.duration_s])

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """One."""
        return 1

    def describe(self) -> dict[str, Any]:
        """Settings of the pooling."""
        return {"unit": self.name, "pooling": "mean over time"}
