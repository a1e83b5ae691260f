"""Does a single layer, chosen well, do as well as the learned sum of all layers? (P2023.)

An equivalence needs a margin. Ours: the layer that is best on dev keeps at least 90 % of what
the sum gains over heads trained on labels dealt anew. With g that gain and d = sum less layer
(paired, same test examples; both turned so that more is better) the effect is

    1 - d / g - 0.9,

above 0 where the layer keeps enough. Its interval is that of d; g is taken as known, and a cell
enters only if the sum's own interval is above the dealt labels' score.

Controls speak against the effect's sign. Where it is positive: a layer drawn at random and the
untrained twin's best layer must keep less (else the choice, or the training, is not what does
it). Where it is negative: the loss of one layer must exceed that in the twin and that of heads
on dealt labels, in units of the same gain. What was not measured of one cell is not known of the
mean: the control was not run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstrata.report.curve_view import PROBING
from voxstrata.report.probing_view import (
    SUM,
    Gain,
    Task,
    Value,
    cell,
    gains,
    is_lower,
    layer_scores,
    tasks,
)
from voxstrata.report.sides import asked_models
from voxstrata.report.view import View
from voxstrata.report.words import counted
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number, mean
from voxstrata.studies.claims.views import seen

MARGIN = 0.1
"""Share of the sum's gain that a single layer may lose and still count as doing as well."""

TASKS = ("pr", "asr", "ic", "sf")
"""Recognition and understanding, the tasks of P2023; other tasks stand in the table."""

WHAT = f"share of the sum's gain that the best single layer keeps, less {1 - MARGIN:.1f}"


@dataclass(frozen=True)
class Kept:
    """One task asked of one model.

    Attributes:
        task, model: of the cell.
        layer: chosen on dev.
        share: what it keeps, with its interval; ``n`` groups of test recordings.
        random: share that a layer drawn at random keeps; NaN where layers have no scores alike.
        twin: share that the twin's best layer reaches; NaN without twin.
        twin_lost: what one layer loses in the twin, in units of the model's gain.
        dealt_lost: the same of heads on dealt labels; NaN where that layer has none.
        why: why the cell is left out; "" where it is not.
    """

    task: Task
    model: str
    layer: str
    share: Number
    random: float = math.nan
    twin: float = math.nan
    twin_lost: float = math.nan
    dealt_lost: float = math.nan
    why: str = ""


def single_layer(evidence: Evidence) -> Claimed:
    """The best single layer keeps nearly all that the learned sum gains."""
    found = seen(evidence, PROBING)
    kept: list[Kept] = []
    for view in found.views:
        taken = {(one.task.get("name"), one.model) for one in kept}
        kept += [
            one for one in _cells(evidence, view) if (one.task.get("name"), one.model) not in taken
        ]
    names = list(dict.fromkeys(str(one.task.get("name")) for one in kept))
    effects = [
        _effect([one for one in kept if one.task.get("name") == name])
        for name in names
        if name in TASKS
    ]
    if not effects:
        why = found.missing or f"none of the tasks {', '.join(TASKS)} has a learned sum"
        effects = [Effect(WHAT, math.nan, missing=why)]
    return Claimed(
        "single-layer-against-all",
        "A single layer, chosen well, does as well as the learned sum of all layers",
        "Single-layer performance often matches or improves upon using all layers (arXiv "
        "2211.03929, abstract). As well means here: at least 90 % of what the sum gains over "
        "heads trained on labels dealt anew; the margin is ours.",
        tuple(effects),
        tuple(_said(evidence, kept)),
        {"What the best single layer keeps": [_line(evidence, one) for one in kept]}
        if kept
        else {},
    )


def _cells(evidence: Evidence, view: View) -> list[Kept]:
    every = gains(view)
    mine = [m for m in asked_models(view) if not evidence.is_untrained(view.models[m].spec)]
    by = {(str(g.task.get("name")), g.model): g for g in every}
    known = {str(task.get("name")) for task in tasks(view)}
    found = []
    for gain in every:
        name, twin = str(gain.task.get("name")), view.models[gain.model].twin
        if gain.model in mine and name in known:
            found.append(_cell(view, gain, None if twin is None else by.get((name, twin))))
    return found


def _cell(view: View, gain: Gain, twin: Gain | None) -> Kept:
    task, model = gain.task, view.models[gain.model].spec
    empty = Kept(task, model, gain.layer, Number(math.nan))
    held = cell(view, task, model)
    if held is None or not held.is_sum or gain.measure != task.get("main"):
        return _without(empty, "the sum is compared by another measure than it is scored by")
    if held.control is None or not math.isfinite(held.control):
        return _without(empty, "no head was trained on labels dealt anew")
    sign = -1.0 if is_lower(task) else 1.0
    floor, whole = sign * held.control, _turned(held.whole, sign)
    room = whole.value - floor
    if not (math.isfinite(whole.low) and whole.low > floor):
        return _without(empty, "the sum is not told apart from labels dealt anew")
    low, high = 1 - gain.more.high / room, 1 - gain.more.low / room
    layers = layer_scores(view, task, model)
    alike = [] if layers.screened else [v.value for v in layers.values.values()]
    other = None if twin is None else cell(view, task, view.models[twin.model].spec)
    return Kept(
        task,
        model,
        gain.layer,
        Number(1 - gain.more.value / room, low, high, _groups(view, task, model)),
        (sign * float(np.mean(alike)) - floor) / room if len(alike) > 1 else math.nan,
        math.nan if other is None else (sign * other.best[1].value - floor) / room,
        math.nan if twin is None else twin.more.value / room,
        _dealt_lost(view, task, model, gain.layer, sign, room),
    )


def _without(one: Kept, why: str) -> Kept:
    return Kept(one.task, one.model, one.layer, one.share, why=why)


def _turned(value: Value, sign: float) -> Value:
    return value if sign > 0 else value.turned


def _dealt_lost(view: View, task: Task, model: str, layer: str, sign: float, room: float) -> float:
    """Sum less the same single layer, both on dealt labels; NaN where one was not dealt."""
    table = view.table
    rows = table[
        (table["property"] == task.get("name"))
        & (table["model"] == model)
        & (table["measure"] == task.get("main"))
        & (table["control"] == "permuted-labels")
    ]
    held = {str(row["layer"]): float(row["value"]) for row in rows.to_dict("records")}
    if SUM not in held or layer not in held:
        return math.nan
    return sign * (held[SUM] - held[layer]) / room


def _groups(view: View, task: Task, model: str) -> int:
    table = view.table
    rows = table[(table["property"] == task.get("name")) & (table["model"] == model)]
    return int(rows["groups"].max()) if len(rows) else 0


def _effect(cells: Sequence[Kept]) -> Effect:
    title = str(cells[0].task.get("title") or cells[0].task.get("name"))
    used = [one for one in cells if not one.why]
    said = f"{title}: {WHAT}"
    if not used:
        return Effect(said, math.nan, missing="; ".join(dict.fromkeys(one.why for one in cells)))
    share = mean([one.share for one in used])
    value = share.value - (1 - MARGIN)
    twin = [one.twin if value > 0 else 1 - one.twin_lost for one in used]
    other = [_best_alternative(one) if value > 0 else 1 - one.dealt_lost for one in used]
    note = "single layers were trained shortly, or there is one alone"
    if value <= 0:
        note = "the best single layer has no head on labels dealt anew"
    return Effect(
        said,
        value,
        share.low - (1 - MARGIN),
        share.high - (1 - MARGIN),
        {
            TWIN: float(np.mean(twin)) - (1 - MARGIN),
            PERMUTATION: float(np.mean(other)) - (1 - MARGIN),
        },
        share.n,
        "groups of test recordings",
        notes={} if np.isfinite(other).all() else {PERMUTATION: note},
    )


def _best_alternative(one: Kept) -> float:
    """A layer drawn at random, and never less than heads on dealt labels, which keep nothing; NaN
    where that layer was not measured."""
    return max(0.0, one.random) if math.isfinite(one.random) else math.nan


def _said(evidence: Evidence, kept: Sequence[Kept]) -> list[str]:
    used = [one for one in kept if not one.why and one.share.has_interval]
    if not used:
        return []
    line = 1 - MARGIN
    over = sum(one.share.low > line for one in used)
    under = sum(one.share.high < line for one in used)
    open_ = len(used) - over - under
    said = [
        f"Of {counted(len(used), 'cell')} (task and model), the best single layer keeps at least "
        f"{100 * line:.0f} % of the sum's gain in {over}, less in {under}; {open_} cannot be told."
    ]
    worst = min(used, key=lambda one: one.share.value)
    said.append(
        f"It keeps least in {worst.task.get('title') or worst.task.get('name')} of "
        f"{evidence.label(worst.model)}: {100 * worst.share.value:.0f} % (layer {worst.layer})."
    )
    return said


def _line(evidence: Evidence, one: Kept) -> dict[str, Any]:
    return {
        "task": str(one.task.get("title") or one.task.get("name")),
        "model": evidence.label(one.model),
        "layer": one.layer,
        "kept": one.share.value,
        "low": one.share.low,
        "high": one.share.high,
        "a layer at random": one.random,
        "twin's best layer": one.twin,
        "left out": one.why,
    }
