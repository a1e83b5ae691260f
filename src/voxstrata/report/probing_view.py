"""A probing run, arranged for its section: cells of tasks and models, and layer weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.curve_view import PROBING
from voxstrata.report.reading import mappings
from voxstrata.report.view import View

SUM = "weighted-sum"
WEIGHT, BY_NORM = "layer-weight", "layer-weight-by-norm"
OVER_BEST = "-over-best-layer"
"""Ending of the measure that holds the sum against the best single layer."""


@dataclass(frozen=True)
class Value:
    """A score with its interval (NaN where there is none)."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class TaskCell:
    """One task asked of one model.

    Attributes:
        whole: the weighted sum; the single layer where a model has one.
        best: the layer chosen on dev, and its score.
        difference: the sum less that layer, paired; ``None`` where there is one layer.
        control: the sum trained on labels dealt anew; ``None`` without controls.
    """

    whole: Value
    best: tuple[str, Value]
    difference: Value | None
    control: float | None


def is_probing(view: View) -> bool:
    """Whether these are results of ``voxstrata probe``."""
    return view.record.get("job") == PROBING


def tasks(view: View) -> list[Mapping[str, Any]]:
    """Tasks of the run as the record has them."""
    return list(mappings(view.record.get("properties")))


def cell(view: View, task: Mapping[str, Any], model: str) -> TaskCell | None:
    """A cell of the table; ``None`` where the model has no score for the task."""
    measure = str(task.get("main"))
    table = view.table
    mine = table[(table["property"] == task.get("name")) & (table["model"] == model)]
    scores = mine[(mine["measure"] == measure) & (mine["control"] == "")]
    held = {str(row["layer"]): _value(row) for row in scores.to_dict("records")}
    if not held:
        return None
    chosen = view.record.get("best")
    named = chosen.get(f"{task.get('name')} {model}") if isinstance(chosen, Mapping) else None
    best = str(named) if named in held else next(iter(held))
    paired = mine[mine["measure"].str.endswith(OVER_BEST) & (mine["control"] == "")]
    dealt = mine[(mine["measure"] == measure) & (mine["control"] != "")]
    dealt = dealt[dealt["layer"] == (SUM if SUM in held else best)]
    return TaskCell(
        whole=held.get(SUM, held[best]),
        best=(best, held[best]),
        difference=_value(paired.to_dict("records")[0]) if len(paired) else None,
        control=float(dealt["value"].iloc[0]) if len(dealt) else None,
    )


def beats(task: Mapping[str, Any], one: float, other: float) -> bool:
    """Whether the first of two scores of a task is the better one."""
    return one < other if task.get("better") == "lower" else one > other


def weights(view: View, model: str, measure: str) -> tuple[list[str], list[str], NDArray[Any]]:
    """Layer weights of one model.

    Args:
        view: the results.
        model: its spec.
        measure: :data:`WEIGHT` or :data:`BY_NORM`.

    Returns:
        titles of tasks, names of layers, and the weights [tasks, layers].
    """
    table = view.table
    mine = table[(table["model"] == model) & (table["measure"] == measure)]
    layers = [str(name) for name in mine["layer"].drop_duplicates()]
    asked = [t for t in tasks(view) if (mine["property"] == t.get("name")).any()]
    found = np.full((len(asked), len(layers)), np.nan)
    for i, task in enumerate(asked):
        of = mine[mine["property"] == task.get("name")]
        for row in of.to_dict("records"):
            found[i, layers.index(str(row["layer"]))] = row["value"]
    return [str(t.get("title")) for t in asked], layers, found


def _value(row: Mapping[Any, Any]) -> Value:
    return Value(float(row["value"]), float(row["ci_low"]), float(row["ci_high"]))
