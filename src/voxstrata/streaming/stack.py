"""The stack: all chosen layers of all models of a run, in one fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.types import FrameGrid, LayerInfo


@dataclass(frozen=True)
class StackLayer:
    """One layer in the stack of a run.

    Attributes:
        model: position of its model in the run.
        name: the model's name in results.
        info: the layer.
    """

    model: int
    name: str
    info: LayerInfo

    @property
    def width(self) -> int:
        """Number of dimensions D."""
        return self.info.width

    @property
    def key(self) -> str:
        """``model/layer``, unique within the run."""
        return f"{self.name}/{self.info.name}"

    def describe(self) -> dict[str, Any]:
        """JSON-like facts for the run record."""
        grid = self.info.grid
        return {
            "name": self.info.name,
            "width": self.info.width,
            "kind": self.info.kind,
            "stride": grid.stride if grid else None,
            "receptive": grid.receptive if grid else None,
            "start": grid.start if grid else None,
        }


def build_stack(
    models: Sequence[SpeechModel], wanted: Sequence[Sequence[str] | None] | None = None
) -> list[StackLayer]:
    """All chosen layers of all models, model by model, in order of depth.

    Args:
        models: the models of the run.
        wanted: for each model the layers asked for (names, patterns, ranges); ``None`` for
            the default set.

    Raises:
        UsageError: two models carry the same name.
        UnknownNameError: a layer does not exist.
    """
    names = [model.spec for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "the same model is named twice",
            got=", ".join(twice),
            expected="every model once (each is compared with itself anyway)",
        )
    stack = []
    for position, model in enumerate(models):
        chosen = choose_layers(model, wanted[position] if wanted else None)
        stack += [StackLayer(position, model.spec, info) for info in chosen]
    return stack


def grids(stack: Sequence[StackLayer]) -> list[FrameGrid | None]:
    """The frame grid of every layer of a stack (``None`` for utterance layers)."""
    return [layer.info.grid for layer in stack]
