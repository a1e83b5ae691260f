"""What heads made of the layers: the table of tasks, the weights, the sum against single layers."""

from __future__ import annotations

import base64
import io
from typing import Any

from voxstrata.report.figure_weights import weight_maps
from voxstrata.report.probing_view import (
    WEIGHT,
    TaskCell,
    Value,
    beats,
    cell,
    is_probing,
    tasks,
)
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import listing, property_measure


def probing(view: View) -> Section | None:
    """Table of tasks and models, layer weights; nothing for results of another kind."""
    if not is_probing(view):
        return None
    asked = tasks(view)
    rows = []
    for model in view.models:
        cells = [cell(view, task, model.spec) for task in asked]
        rows.append(
            {
                "model": model.label,
                "twin": model.twin_of is not None,
                "cells": [_shown(found) for found in cells],
            }
        )
    config = view.record.get("protocol")
    html = render(
        "sections/probing.html",
        tasks=[_task(task) for task in asked],
        rows=rows,
        behind=_behind(view),
        protocol=dict(config) if isinstance(config, dict) else {},
        maps=[_image(view, position) for position in _weighted(view)],
    )
    return Section("probing", "What can simple heads do with the layers?", "Tasks", html)


def probing_title(view: View) -> str:
    """The page's title."""
    labels = [model.label for model in view.models if model.twin_of is None]
    return f"What heads learn from the layers of {listing(labels)}"


def probing_lead(view: View) -> str:
    """What the page is about."""
    return (
        "A small head learns a task from frozen features of a model: from one layer, or from a "
        "learned sum of all layers. What it reaches on speakers or recordings it has not seen says "
        "what the layers hold in a form that is easy to use. Beside it stand the same network "
        "without training, plain features, and labels dealt at random."
    )


def _task(task: Any) -> dict[str, Any]:
    sizes = task.get("sizes") or [{}]
    classes = task.get("classes") or {}
    return {
        "title": task.get("title"),
        "summary": task.get("summary"),
        "measure": _measure(task),
        "classes": " x ".join(str(n) for n in classes.values()),
        "sizes": " / ".join(str(sizes[0].get(part, 0)) for part in ("train", "dev", "test")),
        "rounds": len(sizes),
        "majority": "" if task.get("majority") is None else f"{100 * float(task['majority']):.1f}",
        "notices": [str(text) for text in task.get("notices") or []],
    }


def _measure(task: Any) -> str:
    written = property_measure(str(task.get("main", "")))
    return f"{written} (lower is better)" if task.get("better") == "lower" else written


def _shown(found: TaskCell | None) -> dict[str, str] | None:
    if found is None:
        return None
    name, best = found.best
    return {
        "whole": f"{100 * found.whole.value:.1f}",
        "interval": _interval(found.whole),
        "layer": name,
        "best": f"{100 * best.value:.1f}",
        "difference": ""
        if found.difference is None
        else f"{100 * found.difference.value:+.1f}{_interval(found.difference, signed=True)}",
        "control": "" if found.control is None else f"{100 * found.control:.1f}",
    }


def _interval(value: Value, *, signed: bool = False) -> str:
    if not value.has_interval:
        return ""
    form = "+.1f" if signed else ".1f"
    return f" ({100 * value.low:{form}} to {100 * value.high:{form}})"


def _behind(view: View) -> list[str]:
    """Cells in which a trained model does not do better than its untrained twin."""
    said = []
    for model in view.models:
        if model.twin is None:
            continue
        names = []
        for task in tasks(view):
            mine = cell(view, task, model.spec)
            its = cell(view, task, view.models[model.twin].spec)
            if mine and its and not beats(task, mine.whole.value, its.whole.value):
                names.append(str(task.get("title")))
        if names:
            said.append(f"{model.label} does not do better than its untrained twin in "
                        f"{listing(names)}.")  # fmt: skip
    return said


def _weighted(view: View) -> list[int]:
    """Models whose layers were summed."""
    held = set(view.table[view.table["measure"] == WEIGHT]["model"])
    return [i for i, model in enumerate(view.models) if model.spec in held]


def _image(view: View, model: int) -> dict[str, str]:
    from matplotlib import style

    from voxstrata.report.figures import STYLE

    buffer = io.BytesIO()
    with style.context(["default", STYLE]):
        weight_maps(view, model).savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {
        "address": f"data:image/svg+xml;base64,{data}",
        "alt": f"Layer weights of {view.models[model].label} by task",
    }
