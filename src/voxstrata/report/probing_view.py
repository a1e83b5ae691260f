"""A probing run, arranged for its sections: cells of tasks and models, scores of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.report.curve_view import LOWER_IS_BETTER, ON_TEST, PROBING, SCREEN
from voxstrata.report.reading import mappings
from voxstrata.report.sides import is_baseline
from voxstrata.report.view import View

if TYPE_CHECKING:
    import pandas as pd

SUM = "weighted-sum"
OVER_BEST = "-over-best-layer"
"""Ending of the measure that holds the sum against the best single layer."""

OVER_OTHER = "-over-other-model"
"""Ending of the measure that holds a model against another on the same test examples."""

Task = Mapping[str, Any]
"""A task as the run record describes it."""


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

    @property
    def turned(self) -> Value:
        """The same with the other sign."""
        return Value(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class TaskCell:
    """One task asked of one model.

    Attributes:
        whole: the weighted sum; the best layer where there is no sum.
        is_sum: whether it is a sum.
        layers: single layers that have a score.
        best: the layer chosen on dev, and its score.
        control: the same trained on labels dealt anew; ``None`` without controls.
        on_test: something was chosen on the test part, as the published rules of the task do.
    """

    whole: Value
    is_sum: bool
    layers: int
    best: tuple[str, Value]
    control: float | None
    on_test: bool


@dataclass(frozen=True)
class Gain:
    """What the sum of one model brings over its best single layer, in one task.

    Attributes:
        task: as the record has it.
        model: position in ``View.models``.
        layer: the single layer, chosen on dev.
        measure: registry name of the measure compared.
        more: the difference, so that more than 0 means that the sum is better.
    """

    task: Task
    model: int
    layer: str
    measure: str
    more: Value

    @property
    def verdict(self) -> str:
        """ "better", "worse", "even" (the interval holds 0) or "unknown" (no interval)."""
        if not self.more.has_interval:
            return "unknown"
        if self.more.low > 0:
            return "better"
        return "worse" if self.more.high < 0 else "even"


@dataclass(frozen=True)
class LayerScores:
    """Scores of the single layers of one model in one task.

    Attributes:
        values: by layer.
        screened: they are of heads that were trained shortly, to choose the layer.
    """

    values: Mapping[str, Value]
    screened: bool


def is_probing(view: View) -> bool:
    """Whether these are results of ``voxstrata probe``."""
    return view.record.get("job") == PROBING


def probing_parts(view: View) -> list[View]:
    """The probing runs behind a page: the view itself, or those it was joined from."""
    return [part for part in (view.parts or (view,)) if is_probing(part)]


def tasks(view: View) -> list[Task]:
    """Tasks of the run as the record has them."""
    return list(mappings(view.record.get("properties")))


def is_lower(task: Task, measure: str = "") -> bool:
    """Whether less of a measure of a task is better (of its main one if none is named)."""
    if not measure or measure == task.get("main"):
        return task.get("better") == "lower"
    return any(measure == ending or measure.endswith(f"-{ending}") for ending in LOWER_IS_BETTER)


def ordered(view: View) -> list[int]:
    """Models as tables list them: trained ones, each before its untrained twin, then models that
    are random on purpose, then plain features."""
    own = [i for i, model in enumerate(view.models) if model.twin_of is None]
    plain = [i for i in own if is_baseline(view.models[i])]
    found: list[int] = []
    for i in own:
        if i not in plain:
            twin = view.models[i].twin
            found += [i, *([twin] if twin is not None and twin not in found else [])]
    return [*found, *plain]


def cell(view: View, task: Task, model: str) -> TaskCell | None:
    """A cell of the table; ``None`` where the model has no score for the task."""
    rows = _scores(view, task, model)
    rows = rows[rows["estimator"] != SCREEN]
    mine = rows[rows["control"] == ""]
    held = {str(row["layer"]): _value(row) for row in mine.to_dict("records")}
    layers = [name for name in held if not name.startswith(SUM)]
    chosen = view.record.get("best")
    named = chosen.get(f"{task.get('name')} {model}") if isinstance(chosen, Mapping) else None
    if not layers:
        return None
    best = str(named) if named in held else layers[0]
    shown = SUM if SUM in held else best
    dealt = rows[(rows["control"] != "") & (rows["layer"] == shown)]
    estimators = set(mine[mine["layer"] == shown]["estimator"])
    return TaskCell(
        whole=held[shown],
        is_sum=shown == SUM,
        layers=len(layers),
        best=(best, held[best]),
        control=float(dealt["value"].iloc[0]) if len(dealt) else None,
        on_test=ON_TEST in estimators,
    )


def gains(view: View) -> list[Gain]:
    """The sum against the best single layer, for every task and model that has both."""
    table = view.table
    held = table[
        table["measure"].str.endswith(OVER_BEST)
        & (table["control"] == "")
        & (table["layer"] == SUM)
    ]
    at = {model.spec: i for i, model in enumerate(view.models)}
    found = []
    for task in tasks(view):
        mine = held[held["property"] == task.get("name")]
        for row in mine.to_dict("records"):
            if row["model"] not in at:
                continue
            measure = str(row["measure"]).removesuffix(OVER_BEST)
            more = _value(row)
            found.append(
                Gain(
                    task=task,
                    model=at[row["model"]],
                    layer=str(row["other_layer"]),
                    measure=measure,
                    more=more.turned if is_lower(task, measure) else more,
                )
            )
    order = ordered(view)
    return sorted(found, key=lambda gain: order.index(gain.model))


def layer_scores(view: View, task: Task, model: str) -> LayerScores:
    """Scores of single layers by the task's main measure: those that cover most layers, of heads
    trained at length before those that were trained shortly."""
    rows = _scores(view, task, model)
    rows = rows[(rows["control"] == "") & ~rows["layer"].str.startswith(SUM)]
    by_way: dict[bool, dict[str, Value]] = {False: {}, True: {}}
    for row in rows.to_dict("records"):
        by_way[row["estimator"] == SCREEN][str(row["layer"])] = _value(row)
    screened = len(by_way[True]) > len(by_way[False])
    return LayerScores(by_way[screened], screened)


def other_sums(view: View) -> list[tuple[str, str]]:
    """Model and name of every sum that is not of all layers of one model (of chosen layers; of
    all layers of several models, "a + b"), in the order of the table."""
    table = view.table
    known = [model.spec for model in view.models]
    rows = table[
        table["layer"].str.startswith(SUM) & ((table["layer"] != SUM) | ~table["model"].isin(known))
    ]
    pairs = rows[["model", "layer"]].drop_duplicates().itertuples(index=False)
    return [(str(model), str(layer)) for model, layer in pairs]


def sum_scores(view: View, task: Task, model: str, layer: str) -> Value | None:
    """Score of a sum by its name; ``None`` where the task was not asked of it."""
    rows = _scores(view, task, model)
    rows = rows[(rows["control"] == "") & (rows["layer"] == layer) & (rows["estimator"] != SCREEN)]
    return _value(rows.to_dict("records")[0]) if len(rows) else None


def layer_values(view: View, task: Task, model: str, measure: str) -> dict[str, Value]:
    """Values of another measure by layer (weights; what the sum loses without the layer)."""
    rows = _rows(view, task, model, measure)
    return {str(row["layer"]): _value(row) for row in rows.to_dict("records")}


def beats(task: Task, one: float, other: float) -> bool:
    """Whether the first of two scores of a task is the better one."""
    return one < other if is_lower(task) else one > other


def apart(one: Value, other: Value) -> bool | None:
    """Whether two intervals share no point; ``None`` where both are missing. A side without an
    interval counts as exact if the other has one."""
    if not (one.has_interval or other.has_interval):
        return None
    (low, high), (its_low, its_high) = (
        (v.low, v.high) if v.has_interval else (v.value, v.value) for v in (one, other)
    )
    return low > its_high or high < its_low


def clear_of(view: View, task: Task, model: int, other: int) -> bool | None:
    """Whether two models of a task are told apart: by the interval of their paired difference where
    there is one, else by whether their intervals share a point; ``None`` without intervals."""
    one, two = (view.models[i].spec for i in (model, other))
    table = view.table
    rows = table[
        (table["property"] == task.get("name"))
        & (table["model"] == one)
        & (table["other_model"] == two)
        & table["measure"].str.endswith(OVER_OTHER)
    ]
    if len(rows):
        value = _value(rows.to_dict("records")[0])
        return (value.low > 0 or value.high < 0) if value.has_interval else None
    held = (cell(view, task, one), cell(view, task, two))
    return apart(held[0].whole, held[1].whole) if held[0] and held[1] else None


def best_of(task: Task, values: Sequence[Value]) -> Value | None:
    """The best of several scores of a task; ``None`` of none."""
    known = [value for value in values if math.isfinite(value.value)]
    if not known:
        return None
    return (min if is_lower(task) else max)(known, key=lambda value: value.value)


def _scores(view: View, task: Task, model: str) -> pd.DataFrame:
    return _rows(view, task, model, str(task.get("main")))


def _rows(view: View, task: Task, model: str, measure: str) -> pd.DataFrame:
    table = view.table
    return table[
        (table["property"] == task.get("name"))
        & (table["model"] == model)
        & (table["measure"] == measure)
    ]


def _value(row: Mapping[Any, Any]) -> Value:
    return Value(float(row["value"]), float(row["ci_low"]), float(row["ci_high"]))
