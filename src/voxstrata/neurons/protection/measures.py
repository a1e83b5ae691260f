"""What the jobs inside measured, as one table: a row a task, size, condition and seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voxstrata.files import read_json
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import Variant
from voxstrata.neurons.sets import NeuronSet
from voxstrata.results import RECORD, Results, Row

if TYPE_CHECKING:
    from voxstrata.neurons.protection.prepare import Prepared

WHOLE = "unpruned"
"""Condition of the model that pruned ones are held against."""


@dataclass(frozen=True)
class Measured:
    """The joined results.

    Attributes:
        rows: of the table; ``layer`` holds the condition, ``other_layer`` the rows kept.
        tasks: what was measured: title, measure, and whether more is better.
        costs: parameters, operations and latency of every model.
        notices: what the reader must know.
    """

    rows: list[Row]
    tasks: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    notices: list[str]


def measured(
    config: ProtectionConfig,
    whole: str,
    prepared: Prepared,
    neurons: NeuronSet,
    probing: Results,
    verify: Results | None,
) -> Measured:
    """Join what was measured.

    Args:
        config: the settings.
        whole: the model that pruned ones are held against.
        prepared: the run.
        neurons: that were protected.
        probing: results of all models.
        verify: the same, of trials.
    """
    by = {one.model: one for one in prepared.wanted}
    config = config.model_copy(update={"model": whole})
    rows: list[Row] = []
    tasks: list[dict[str, Any]] = []
    width = min(neurons.widths.values())
    for entry in probing.record["properties"]:
        task, main = str(entry["name"]), str(entry["main"])
        tasks.append(
            {
                "name": task,
                "title": entry["title"],
                "measure": main,
                "better": entry["better"],
                "notices": entry.get("notices") or [],
            }
        )
        table = probing.table
        mine = table[(table.property == task) & (table.control == "")]
        own = mine[(mine.measure == main) & (mine.estimator != "screen")]
        for line in own.to_dict("records"):
            if line["model"] in by or line["model"] == config.model:
                rows.append(_row(config, line, by.get(line["model"]), task, main, width))
        paired = mine[mine.measure == f"{main}-over-other-model"]
        for line in paired.to_dict("records"):
            other = by.get(line["other_model"])
            if line["model"] in by and (other or line["other_model"] == config.model):
                name = WHOLE if other is None else other.condition
                measure = f"{main}-over-{name}"
                rows.append(_row(config, line, by[line["model"]], task, measure, width))
        plain = own[~own.model.isin([*by, config.model])]
        for line in plain.to_dict("records"):
            rows.append(_plain(config, line, task, main))
    if verify is not None:
        rows += _verified(config, verify, by, width)
        tasks.append(
            {
                "name": "verification",
                "title": "ASV" if config.channel == "none" else "ASV through channels",
                "measure": "eer",
                "better": "lower",
                "notices": [],
            }
        )
    # The model may have been trained: it keeps the name the user gave it.
    rows = [
        replace(row, model=prepared.config.model) if row.model == config.model else row
        for row in rows
    ]
    return Measured(rows, tasks, _costs(prepared), _notices(config, rows, tasks))


def _row(
    config: ProtectionConfig,
    line: Mapping[Any, Any],
    variant: Variant | None,
    task: str,
    measure: str,
    width: int,
) -> Row:
    return Row(
        study=config.study,
        model=config.model,
        layer=WHOLE if variant is None else variant.condition,
        other_model="",
        other_layer=str(width if variant is None else variant.keep),
        property=task,
        measure=measure,
        unit=str(line["unit"]),
        value=float(line["value"]),
        ci_low=_end(line["ci_low"]),
        ci_high=_end(line["ci_high"]),
        n=int(line["n"]),
        groups=int(line["groups"]),
        d=width if variant is None else variant.keep,
        other_d=width,
        estimator=str(line["estimator"]),
        seed=config.seed if variant is None else variant.seed,
    )


def _plain(config: ProtectionConfig, line: Mapping[Any, Any], task: str, measure: str) -> Row:
    """Plain features beside the curves."""
    made = _row(config, line, None, task, measure, 0)
    return Row(**{**vars(made), "model": str(line["model"]), "layer": "plain", "other_layer": ""})


def _verified(
    config: ProtectionConfig, verify: Results, by: dict[str, Variant], width: int
) -> Iterator[Row]:
    definition = verify.record["config"]["definition"]
    table = verify.table
    chosen = table[(table.measure == f"eer-{definition}") & (table.control == "")]
    mine = chosen[chosen.estimator == (config.backend or "cosine-centred")]
    for line in mine.to_dict("records"):
        model = str(line["model"])
        if model in by or model == config.model:
            yield _row(config, line, by.get(model), "verification", "eer", width)
        else:
            yield _plain(config, line, "verification", "eer")


def _costs(prepared: Prepared) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in prepared.wanted:
        record = read_json(one.folder / RECORD)
        if not found:
            found.append({"condition": WHOLE, "keep": None, "seed": None, **record["before"]})
        keys = {"condition": one.condition, "keep": one.keep, "seed": one.seed}
        found.append({**keys, **record["after"]})
    return found


def _notices(config: ProtectionConfig, rows: list[Row], tasks: list[dict[str, Any]]) -> list[str]:
    """Tasks in which no effect could show: the unpruned model is no better than plain
    features, or at the end of the scale."""
    notices = []
    for task in tasks:
        own = [r for r in rows if r.property == task["name"] and r.measure == task["measure"]]
        whole = [r for r in own if r.layer == WHOLE]
        plain = [r for r in own if r.layer == "plain"]
        if not whole or not plain:
            continue
        lower = task["better"] == "lower"
        best = (min if lower else max)(plain, key=lambda r: r.value)
        value = whole[0].value
        if (best.value <= value) if lower else (best.value >= value):
            notices.append(
                f"{task['title']}: the unpruned model ({value:.3f}) is no better than "
                f"{best.model} ({best.value:.3f}), so what pruning does to it says little about "
                "what its neurons know."
            )
    if config.tune is None:
        notices.append(
            "The pruned models were not trained on: what is lost may come back in training."
        )
    return notices


def _end(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
