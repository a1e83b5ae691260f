"""Made results folders of a protection run: every score and difference is given by the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

Difference = tuple[float, float | None, float | None]
"""Value and ends of its interval, as in the table: of scores as they are, not turned."""

Differences = Callable[[int, int], Difference | None]
"""Of a size and a seed."""

PARAMETERS = 1_000_000
WIDTH = 768


def always(
    value: float, half: float | None = 0.01, sizes: Mapping[int, float] | None = None
) -> Differences:
    """The same difference for all seeds, plus something by size."""

    def of(keep: int, seed: int) -> Difference:
        v = value + (sizes or {}).get(keep, 0.0)
        return (v, None, None) if half is None else (v, v - half, v + half)

    return of


@dataclass(frozen=True)
class Task:
    """A made task.

    Attributes:
        name, title, measure, better, notices: as in the record.
        none, random, whole: differences of protected models and those conditions; ``None`` for no
            such rows.
        lost: differences of models pruned by weight alone and the unpruned one.
        base: score of every model pruned by weight alone; others follow from the differences.
        half: half of every score's interval.
        unpruned: score.
        plain: plain features and their scores.
    """

    name: str = "sid"
    title: str = "SID"
    measure: str = "accuracy"
    better: str = "higher"
    none: Differences | None = field(default_factory=lambda: always(0.0))
    random: Differences | None = field(default_factory=lambda: always(0.0))
    lost: Differences | None = field(default_factory=lambda: always(-0.1))
    base: float = 0.5
    half: float | None = 0.05
    unpruned: float = 0.6
    plain: Mapping[str, float] = field(default_factory=lambda: {"mfcc": 0.3})
    paired: bool = True
    notices: tuple[str, ...] = ()


NEURONS = {
    "block.1.ffn.inner": {"observed": 20, "null": 8, "low": 4, "high": 12},
    "block.2.ffn.inner": {"observed": 10, "null": 9, "low": 5, "high": 14},
    "all": {"observed": 30, "null": 17, "low": 10, "high": 25},
}


def write_protection(
    folder: Path,
    tasks: tuple[Task, ...] = (Task(),),
    *,
    keep: tuple[int, ...] = (64, 128, 256),
    seeds: int = 2,
    conditions: tuple[str, ...] = ("none", "protected", "random"),
    model: str = "m",
    config: Mapping[str, Any] | None = None,
    neurons: Mapping[str, Any] | None = NEURONS,
    protected: Mapping[str, int] | None = None,
    doubled: bool = False,
    record_model: Mapping[str, Any] | None = None,
    **record: Any,
) -> Path:
    """A folder of ``voxstrata protect``."""
    rows: list[Row] = []
    for task in tasks:
        for k in keep:
            for s in range(seeds):
                rows += _of_size(task, k, s, conditions, model, doubled)
        rows.append(
            _row(task, model, "unpruned", WIDTH, 0, task.measure, _around(task, task.unpruned))
        )
        for name, value in task.plain.items():
            rows.append(_row(task, name, "plain", "", 0, task.measure, _around(task, value)))
    held = {"block.1.ffn.inner": 20, "block.2.ffn.inner": 10}
    told = {
        "job": "protection",
        "study": "made",
        "command": "voxstrata protect m -c made -m map.yaml -o out",
        "config": {
            "model": model, "contrast": "ivector=2/clusters=3", "group": None, "score": "l1",
            "control": "random", "seeds": seeds, "tune": "recipe", "tune_steps": 100,
            "conditions": list(conditions), "found": "published", **(config or {}),
        },
        "model": record_model or {"spec": f"{folder}/base/model", "fingerprint": "print"},
        "keep": list(keep),
        "widths": [WIDTH, WIDTH],
        "protected": held if protected is None else protected,
        "neurons": neurons or {},
        "tasks": [
            {
                "name": t.name, "title": t.title, "measure": t.measure, "better": t.better,
                "notices": list(t.notices),
            }
            for t in tasks
        ],
        "costs": _costs(keep, seeds, conditions),
        "corpus": {"spec": "made", "name": "made", "utterances": 40, "speakers": 8},
        "models": [],
        "notices": [],
        "wall_parts_s": {"neurons": 12.0, "pruning": 3.0},
        **record,
    }  # fmt: skip
    write_results(folder, rows, told)
    return folder


def protection_view(folder: Path, *args: Any, **kwargs: Any) -> View:
    """The same, written, read and arranged."""
    return read_view(load_results(write_protection(folder, *args, **kwargs)))


def _of_size(
    task: Task, keep: int, seed: int, conditions: tuple[str, ...], model: str, doubled: bool
) -> list[Row]:
    def row(condition: str, measure: str, value: Difference) -> Row:
        return _row(task, model, condition, keep, seed, measure, value)

    less = {
        name: of(keep, seed)
        for name, of in (("none", task.none), ("random", task.random))
        if of is not None and name in conditions and "protected" in conditions
    }
    scores = {"none": task.base}
    none, other = less.get("none"), less.get("random")
    scores["protected"] = task.base + (none[0] if none is not None else 0.0)
    scores["random"] = scores["protected"] - (other[0] if other is not None else 0.0)
    found = [row(c, task.measure, _around(task, scores[c])) for c in conditions]
    if not task.paired:
        return found
    found += [
        row("protected", f"{task.measure}-over-{name}", held)
        for name, held in less.items()
        if held is not None
    ]
    if task.lost is not None and "none" in conditions:
        lost = task.lost(keep, seed)
        if lost is not None:
            found.append(row("none", f"{task.measure}-over-unpruned", lost))
            if doubled:  # an older version wrote what plain features gave under the same name
                found.append(row("none", f"{task.measure}-over-unpruned", (0.9, 0.8, 1.0)))
    return found


def _around(task: Task, value: float) -> Difference:
    if task.half is None:
        return value, None, None
    return value, value - task.half, value + task.half


def _row(
    task: Task, model: str, layer: str, keep: int | str, seed: int, measure: str, value: Difference
) -> Row:
    return Row(
        study="made", model=model, layer=layer, other_model="", other_layer=str(keep),
        property=task.name, measure=measure, unit="utterance", value=value[0], ci_low=value[1],
        ci_high=value[2], n=40, groups=8, d=0, other_d=WIDTH, estimator="dev-selected", seed=seed,
    )  # fmt: skip


def _costs(keep: tuple[int, ...], seeds: int, conditions: tuple[str, ...]) -> list[dict[str, Any]]:
    whole = {
        "condition": "unpruned", "keep": None, "seed": None, "parameters": PARAMETERS,
        "nonzero": PARAMETERS, "flops": 2e9, "latency_s": 0.004,
        "feed_forward": [WIDTH, WIDTH], "heads": [4, 4],
    }  # fmt: skip
    return [
        whole,
        *(
            {
                **whole, "condition": condition, "keep": k, "seed": s,
                "parameters": 1000 * k, "flops": 1e7 * k, "latency_s": None if k == 64 else 0.002,
                "feed_forward": [k, k],
            }
            for k in keep
            for condition in conditions
            for s in range(seeds)
        ),
    ]  # fmt: skip
