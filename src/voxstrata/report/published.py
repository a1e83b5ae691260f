"""Published figures that stand beside measured ones; all of them are in ``published.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from voxstrata.report.probing_view import Task, tasks
from voxstrata.report.view import View
from voxstrata.report.words import listing


@dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
        model: its name.
        source: where its figures were read.
        values: by task name, in % as published.
    """

    model: str
    source: str
    values: Mapping[str, float]


def published(asked: Sequence[Task]) -> list[Published]:
    """Published figures of the tasks of a run: a row a model and source.

    Args:
        asked: tasks; a figure belongs to one that has its name and main measure.
    """
    measures = {str(task.get("name")): task.get("main") for task in asked}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for figure in _file()["figures"]:
        if measures.get(figure["task"]) == figure["measure"]:
            rows.setdefault(figure["model"], []).append(figure)
    return [
        Published(
            model=model,
            source="; ".join(_sources(figures, asked)),
            values={figure["task"]: float(figure["value"]) for figure in figures},
        )
        for model, figures in rows.items()
    ]


def _sources(figures: Sequence[Mapping[str, Any]], asked: Sequence[Task]) -> list[str]:
    """Each source once; where there are several, with the tasks it is for."""
    titles = {str(task.get("name")): str(task.get("title")) for task in asked}
    by_source: dict[str, list[str]] = {}
    for figure in figures:
        by_source.setdefault(figure["source"], []).append(titles[figure["task"]])
    if len(by_source) == 1:
        return list(by_source)
    return [f"{', '.join(names)}: {source}" for source, names in by_source.items()]


def comparability(view: View) -> str:
    """Whether published figures can be compared with those of the run, in a sentence; empty where
    none stands on the page."""
    shown = {name for row in published(tasks(view)) for name in row.values}
    asked = [task for task in tasks(view) if task.get("name") in shown]
    if not asked:
        return ""
    said = "Published figures are quoted, not measured here: corpora, sizes and models differ."
    if other := [str(task.get("title")) for task in asked if not is_official(task)]:
        return (
            f"{said} What this run used for {listing(other)} is not named as the official data, so "
            "these figures cannot be compared with the measured ones; they only show what has been "
            "reported."
        )
    return (
        f"{said} This run names the official corpora; the figures can be compared only if it used "
        "all of them, with the published settings."
    )


def is_official(task: Task) -> bool:
    """Whether all corpora of a task are of the recipe that its published figures are of."""
    corpora = task.get("corpora")
    wanted = _file()["official"].get(str(task.get("name")))
    if wanted is None or not isinstance(corpora, Mapping) or not corpora:
        return False
    named = [part for spec in corpora.values() for part in _specs(spec)]
    return bool(named) and all(spec.strip().partition(":")[0] == wanted for spec in named)


def _specs(spec: object) -> list[str]:
    """Specs of what may be several corpora joined, or a list of folds."""
    if isinstance(spec, list | tuple):
        return [part for item in spec for part in _specs(item)]
    return str(spec).split(" + ")


@cache
def _file() -> dict[str, Any]:
    import yaml

    text = (Path(__file__).parent / "published.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found
