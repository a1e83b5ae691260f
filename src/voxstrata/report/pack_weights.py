"""Layers of one model in one task as JSON for the page: what each does alone, its weight in the
sum, and what the sum loses without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voxstrata.report import probing_words as words
from voxstrata.report.figure_layers import OTHER, OWN, TWIN, layers_of, sides, task_title
from voxstrata.report.layer_picks import owner
from voxstrata.report.pack import rounded
from voxstrata.report.probing_view import (
    SUM,
    Task,
    Value,
    cell,
    layer_scores,
    layer_values,
    sum_scores,
)
from voxstrata.report.probing_weights import BY_NORM, LOST, WEIGHT, SeedWeights, weights
from voxstrata.report.view import View
from voxstrata.report.words import number, property_measure

TITLES = {
    "score": "score of the layer alone",
    WEIGHT: "weight in the sum",
    BY_NORM: "weight times norm",
    LOST: "lost without the layer",
}
"""The parts of a panel, from top to bottom."""

Part = dict[str, Any]


def pack_panel(view: View, model: int, task: Task, seeds: SeedWeights | None) -> dict[str, Any]:
    """One model and task: layers, and parts over them. No value is NaN.

    Args:
        view: a probing run.
        model: position in ``view.models``.
        task: as the record has it.
        seeds: weights of every seed; ``None`` where only means are known.
    """
    names = layers_of(view, model, task)
    parts = [
        _scores(view, model, task, names),
        *(_weights(view, model, task, names, measure, seeds) for measure in (WEIGHT, BY_NORM)),
        _lost(view, model, task, names),
    ]
    title, _, under = task_title(view, view.models[model].spec, task).partition("\n")
    return {
        "title": title,
        "under": under,
        "owner": owner(view, model),
        "layers": names,
        "parts": [part for part in parts if part["spots"]],
    }


def pack_map(view: View, model: int, measure: str) -> dict[str, Any]:
    """Weights of one model's layers in every task, as a heat map."""
    titles, layers, values = weights(view, view.models[model].spec, measure)
    return {
        "title": f"{TITLES[measure]} (all equal: {number(1 / len(layers))})",
        "model": view.models[model].label,
        "owner": owner(view, model),
        "layers": layers,
        "tasks": titles,
        "values": [[rounded(v) for v in row] for row in values.tolist()],
        "top": max(float(np.nanmax(values)), 1e-9),
    }


def _part(title: str) -> Part:
    return {"title": title, "bands": [], "levels": [], "bars": [], "dots": [], "spots": []}


def _scores(view: View, model: int, task: Task, names: Sequence[str]) -> Part:
    measure = str(task.get("main"))
    by, part = words.scale(measure), _part(TITLES["score"])
    what = property_measure(measure) + (", %" if words.in_percent(measure) else "")
    for spec, label, own in _labelled(view, model):
        held = layer_scores(view, task, spec).values
        for i, name in enumerate(names):
            if name in held:
                told = [f"{what}: {words.figure(measure, held[name].value)}"]
                part["spots"].append(
                    _spot(part, i, names, label, own, held[name], by, told, measure=measure)
                )
        whole = sum_scores(view, task, spec, SUM) if own else None
        if whole is not None and math.isfinite(whole.value):
            part["levels"].append([rounded(by * whole.value), OTHER, "plain"])
            if whole.has_interval:
                part["bands"].append([rounded(by * whole.low), rounded(by * whole.high)])
        found = cell(view, task, spec) if own else None
        if found and found.best[0] in names and layer_scores(view, task, spec).screened:
            best, value = found.best
            told = [f"{what}: {words.figure(measure, value.value)}", "trained at length"]
            spot = _spot(
                part, names.index(best), names, label, own, value, by, told, measure=measure
            )
            part["spots"].append(spot | {"shape": "diamond", "joined": False})
    return part


def _weights(
    view: View,
    model: int,
    task: Task,
    names: Sequence[str],
    measure: str,
    seeds: SeedWeights | None,
) -> Part:
    part = _part(TITLES[measure])
    for spec, label, own in _labelled(view, model):
        held = layer_values(view, task, spec, measure)
        if own and held:
            part["levels"].append([rounded(1 / len(held)), "#6b6b6b", "even"])
        for i, name in enumerate(names):
            if name not in held:
                continue
            each = seeds.of(task, spec, measure, name) if seeds is not None and own else []
            told = [f"{TITLES[measure]}: {number(held[name].value)}"]
            if each:
                told.append(f"single seeds: {', '.join(number(v) for v in each)}")
                part["dots"] += [[i, rounded(v)] for v in each if math.isfinite(v)]
            mean = Value(held[name].value, math.nan, math.nan)
            spot = _spot(part, i, names, label, own, mean, 1.0, told)
            if own:
                part["bars"].append([i, spot["y"]])
            part["spots"].append(spot | {"joined": not own})
    # Without a sum of the model itself there is nothing to hold its twin's against.
    return part if part["bars"] else _part(TITLES[measure])


def _lost(view: View, model: int, task: Task, names: Sequence[str]) -> Part:
    measure = str(task.get("main"))
    by, part = words.scale(measure), _part(TITLES[LOST])
    held = layer_values(view, task, view.models[model].spec, LOST)
    part["levels"].append([0, "#6b6b6b", "plain"])
    for i, name in enumerate(names):
        if name not in held:
            continue
        value = held[name]
        clear = value.has_interval and (value.low > 0 or value.high < 0)
        told = [f"{TITLES[LOST]}: {words.figure(measure, value.value, signed=True)}"]
        spot = _spot(
            part, i, names, view.models[model].label, True, value, by, told, measure=measure
        )
        part["spots"].append(spot | {"joined": False, "hollow": not clear})
    return part


def _labelled(view: View, model: int) -> list[tuple[str, str, bool]]:
    """Spec, label and whether it is the model itself; its twin first, so that it lies below."""
    labels = {m.spec: m.label for m in view.models}
    return [(spec, labels[spec], own) for spec, _, own in sides(view, model)]


def _spot(
    part: Mapping[str, Any],
    at: int,
    names: Sequence[str],
    label: str,
    own: bool,
    value: Value,
    by: float,
    told: Sequence[str],
    *,
    measure: str = "",
) -> dict[str, Any]:
    """A point that can be read; the first line tells rows of points apart."""
    lines = [f"{label}: {part['title']}", f"layer {names[at]}", *told]
    if value.has_interval:
        low, high = (words.figure(measure, end) for end in (value.low, value.high))
        lines.append(f"95 % interval {low} to {high}")
    return {
        "at": at,
        "y": rounded(by * value.value),
        "low": rounded(by * value.low) if value.has_interval else None,
        "high": rounded(by * value.high) if value.has_interval else None,
        "twin": not own,
        "colour": OWN if own else TWIN,
        "shape": "circle",
        "hollow": False,
        "joined": True,
        "lines": lines,
    }
