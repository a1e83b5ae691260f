"""The stack: all chosen layers of all models of a run, in one fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.errors import UnknownNameError, UsageError
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.registry import unknown_name
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
    models: Sequence[SpeechModel], wanted: Sequence[str] | None = None
) -> list[StackLayer]:
    """All chosen layers of all models, model by model, in order of depth.

    Args:
        models: the models of the run.
        wanted: layers asked for (names, patterns, ranges). A model that has none of them keeps
            its default set, so that "4-8" of a Transformer can be held against log-mel. ``None``
            for the default set of all.

    Raises:
        UsageError: two models carry the same name.
        UnknownNameError: an item matches no layer of any model.
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
    found: set[str] = set()
    for position, model in enumerate(models):
        here = [item for item in wanted or () if _has(model, item)]
        found.update(here)
        chosen = choose_layers(model, here or None)
        stack += [StackLayer(position, model.spec, info) for info in chosen]
    for item in wanted or ():
        if item not in found:
            known = sorted({info.name for model in models for info in model.layers})
            raise unknown_name("layer of any model of this run", item, known)
    return stack


def _has(model: SpeechModel, item: str) -> bool:
    try:
        return bool(choose_layers(model, [item]))
    except UnknownNameError:
        return False


def grids(stack: Sequence[StackLayer]) -> list[FrameGrid | None]:
    """The frame grid of every layer of a stack (``None`` for utterance layers)."""
    return [layer.info.grid for layer in stack]
