"""What heads made of the layers: the table of tasks and models, published figures beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

from voxstrata.report import probing_words as words
from voxstrata.report.figure_tasks import task_scores
from voxstrata.report.inline import inline
from voxstrata.report.probing_view import (
    OVER_OTHER,
    SUM,
    Task,
    TaskCell,
    Value,
    apart,
    best_of,
    cell,
    is_lower,
    is_probing,
    layer_values,
    other_sums,
    sum_scores,
    tasks,
)
from voxstrata.report.probing_weights import WEIGHT
from voxstrata.report.published import Published, comparability, published
from voxstrata.report.section import Section, render
from voxstrata.report.sides import asked_models, is_baseline
from voxstrata.report.view import View
from voxstrata.report.words import counted


def probing(view: View) -> Section | None:
    """Sentences, then tasks and models as a table; nothing for results of another kind."""
    if not is_probing(view):
        return None
    asked = tasks(view)
    best = [_best(view, task) for task in asked]
    rows = [_row(view, model, best) for model in words.in_table(view)]
    config = view.record.get("protocol")
    protocol = dict(config) if isinstance(config, dict) else {}
    shown = [c for row in rows for c in row["cells"] if c]
    sums = _sums(view)
    quoted = published(asked)
    sources = list(dict.fromkeys(row.source for row in quoted))
    html = render(
        "sections/probing.html",
        tasks=[_task(task) for task in asked],
        rows=rows,
        sums=sums,
        several=any(c and c["most"] for row in sums for c in row["cells"]),
        over=any(c and c["over"] for row in sums for c in row["cells"]),
        published=[_published(asked, row, sources) for row in quoted],
        sources=sources,
        comparability=comparability(view),
        figure=_figure(view) if shown else None,
        behind=[text for m in asked_models(view) for text in words.behind(view, m)],
        protocol=protocol,
        grid=_grid(protocol),
        level=any(c["level"] for c in shown),
        dealt=any(c["control"] for c in shown),
        on_test=any(c["on_test"] for c in shown),
        lone=any(c["layer"] for c in shown),
    )
    return Section("probing", "What can simple heads do with the layers?", "Tasks", html)


def _figure(view: View) -> dict[str, str]:
    return inline(
        partial(task_scores, view),
        "Scores of every model in every task, with intervals",
        "The learned sum of all layers (the best layer where a task has no sum), with 95 % "
        "intervals. An untrained twin stands below its model in the same colour.",
    )


def _task(task: Task) -> dict[str, Any]:
    sizes = task.get("sizes") or [{}]
    classes = task.get("classes") or {}
    corpora = task.get("corpora") or {}
    return {
        "title": task.get("title"),
        "summary": task.get("summary"),
        "measure": words.measured(task),
        "classes": " x ".join(str(n) for n in classes.values()),
        "sizes": " / ".join(str(sizes[0].get(part, 0)) for part in ("train", "dev", "test")),
        "rounds": len(sizes),
        "majority": _majority(task),
        "corpora": list(dict.fromkeys(str(spec) for spec in corpora.values())),
        "notices": [str(text) for text in task.get("notices") or []],
    }


def _majority(task: Task) -> str:
    """Share of the most frequent class, where it is something to hold the score against."""
    share = task.get("majority")
    if share is None or not str(task.get("main")).endswith("accuracy"):
        return ""
    return f"{100 * float(share):.1f}"


def _grid(protocol: dict[str, Any]) -> str:
    """ "5 learning rates, 3 seeds"; tasks may have other numbers of their own."""
    lrs, seeds = protocol.get("lrs"), protocol.get("seeds")
    parts = [
        counted(len(lrs), "learning rate") if isinstance(lrs, list) else "",
        counted(seeds, "seed") if isinstance(seeds, int) else "",
    ]
    return ", ".join(part for part in parts if part) or "settings not recorded"


def _best(view: View, task: Task) -> Value | None:
    """The best score of a column."""
    cells = [cell(view, task, model.spec) for model in view.models]
    return best_of(task, [c.whole for c in cells if c])


def _row(view: View, model: int, best: list[Value | None]) -> dict[str, Any]:
    shown = view.models[model]
    kind = "twin" if shown.twin_of is not None else "plain" if is_baseline(shown) else "trained"
    return {
        "model": shown.label,
        "kind": kind,
        "cells": [
            _cell(task, cell(view, task, shown.spec), top)
            for task, top in zip(tasks(view), best, strict=True)
        ],
    }


def _cell(task: Task, found: TaskCell | None, top: Value | None) -> dict[str, Any] | None:
    if found is None:
        return None
    main = str(task.get("main"))
    is_best = top is not None and found.whole.value == top.value
    return {
        "value": words.figure(main, found.whole.value),
        "interval": words.ends(main, found.whole),
        "best": is_best,
        "level": top is not None and not is_best and apart(found.whole, top) is False,
        "layer": found.best[0] if not found.is_sum and found.layers > 1 else "",
        "control": "" if found.control is None else words.figure(main, found.control),
        "on_test": found.on_test,
    }


def _sums(view: View) -> list[dict[str, Any]]:
    """Sums of chosen layers or of several models, where the run has such."""
    labels = {model.spec: model.label for model in view.models}
    rows = []
    for model, layer in other_sums(view):
        cells = [_sum(view, task, model, layer) for task in tasks(view)]
        if any(cells):
            named = " + ".join(labels.get(part, part) for part in model.split(" + "))
            whole = layer == SUM
            of = "all layers" if whole else layer.removeprefix(SUM).removeprefix(" of ").strip()
            rows.append({"model": named, "layer": of, "cells": cells})
    return rows


def _sum(view: View, task: Task, model: str, layer: str) -> dict[str, Any] | None:
    """A cell; of sums over several models also the layer with the largest weight, and what it has
    more than each of them alone."""
    value = sum_scores(view, task, model, layer)
    if value is None:
        return None
    main = str(task.get("main"))
    held = layer_values(view, task, model, WEIGHT) if layer == SUM else {}
    top = max(held, key=lambda name: held[name].value, default="")
    owner = next((m for m in view.models if top.startswith(f"{m.spec} ")), None)
    named = f"{owner.label} {top[len(owner.spec) + 1 :]}" if owner else top
    most = f"most {named} ({held[top].value:.2f} of 1)" if top else ""
    return {
        "value": words.figure(main, value.value),
        "interval": words.ends(main, value),
        "most": most,
        "over": _over(view, task, model) if layer == SUM else [],
    }


def _over(view: View, task: Task, model: str) -> list[str]:
    """ "a: +5.0 (0.3 to 9.9)": paired differences of a sum over several models with each of them,
    so that more than 0 means that the sum over all is better."""
    labels = {one.spec: one.label for one in view.models}
    table = view.table
    rows = table[
        (table["property"] == task.get("name"))
        & (table["model"] == model)
        & table["measure"].str.endswith(OVER_OTHER)
    ]
    found = []
    for row in rows.to_dict("records"):
        measure = str(row["measure"]).removesuffix(OVER_OTHER)
        more = Value(float(row["value"]), float(row["ci_low"]), float(row["ci_high"]))
        more = more.turned if is_lower(task, measure) else more
        said = words.figure(measure, more.value, signed=True)
        ends = words.ends(measure, more, signed=True)
        other = labels.get(row["other_model"], str(row["other_model"]))
        found.append(f"{other}: {said}{f' ({ends})' if ends else ''}")
    return found


def _published(asked: list[Task], row: Published, sources: list[str]) -> dict[str, Any]:
    cells = [row.values.get(str(task.get("name"))) for task in asked]
    return {
        "model": row.model,
        "source": sources.index(row.source) + 1,
        "cells": ["" if value is None else f"{value:.2f}" for value in cells],
    }
