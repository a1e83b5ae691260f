"""Made results folders of a probing run: every score is given by the test, no models, no audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from report_made_joined import models_record
from voxstrata.report.probing_view import SUM
from voxstrata.report.probing_weights import WEIGHTS
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

Scores = Mapping[str, float]
"""Layer name (or :data:`SUM`) to score."""


@dataclass(frozen=True)
class Asked:
    """A made task.

    Attributes:
        name, title, main, better: as in the record.
        scores: by model spec, the score of each layer, and of the sum under its name.
        half: half the width of every score's interval; ``None`` for no intervals.
        over: by model spec, the sum less the best layer with the ends of its paired interval, in
            the measure's own direction.
        best: by model spec, the layer that was chosen on dev.
        lost: by model spec, what the sum loses without each layer: value, low, high.
        estimators: estimator of a layer's scores where that is not "dev-selected".
        screens: by model spec, scores of layers by heads that were trained shortly.
        dealt: score on labels dealt anew; ``None`` for no control.
        corpora: corpora by part.
    """

    name: str
    title: str
    scores: Mapping[str, Scores]
    main: str = "accuracy"
    better: str = "higher"
    half: float | None = 0.05
    over: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    best: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)
    estimators: Mapping[str, str] = field(default_factory=dict)
    screens: Mapping[str, Scores] = field(default_factory=dict)
    dealt: float | None = 0.1
    corpora: Mapping[str, str] = field(default_factory=lambda: {"all": "synthetic:tiny"})


TWINS = {"a": "random:a", "m": "random:m"}
LAYERS = ("0", "1", "2", "3")

SID = Asked(
    "sid",
    "SID",
    {
        "a": {"0": 0.30, "1": 0.40, "2": 0.60, "3": 0.80, SUM: 0.85},
        "random:a": {"0": 0.20, "1": 0.22, "2": 0.21, "3": 0.20, SUM: 0.25},
        "m": {"0": 0.50, "1": 0.48, "2": 0.40, "3": 0.30, SUM: 0.45},
        "random:m": {"0": 0.42, "1": 0.44, "2": 0.40, "3": 0.38, SUM: 0.40},
        "log-mel": {"logmel": 0.47},
    },
    over={
        "a": (0.05, 0.01, 0.09),
        "random:a": (0.03, -0.02, 0.08),
        "m": (-0.05, -0.08, -0.02),
        "random:m": (0.0, -0.06, 0.06),
    },
    best={"a": "3", "random:a": "1", "m": "0", "random:m": "1"},
    lost={"a": {"0": (0.0, -0.02, 0.02), "3": (0.2, 0.1, 0.3)}},
)
PR = Asked(
    "pr",
    "PR",
    {
        "a": {"0": 0.70, "1": 0.60, "2": 0.55, "3": 0.50, SUM: 0.45},
        "random:a": {"0": 0.72, "1": 0.73, "2": 0.74, "3": 0.75, SUM: 0.70},
        "m": {"0": 0.60, "1": 0.45, "2": 0.40, "3": 0.38, SUM: 0.30},
        "random:m": {"0": 0.66, "1": 0.67, "2": 0.68, "3": 0.69, SUM: 0.32},
        "log-mel": {"logmel": 0.65},
    },
    main="per",
    better="lower",
    over={"a": (-0.05, -0.09, -0.01), "m": (-0.08, -0.12, -0.04)},
    best={"a": "3", "m": "3"},
)


def write_probing(
    folder: Path,
    asked: tuple[Asked, ...] = (SID, PR),
    *,
    twins: Mapping[str, str] = TWINS,
    seeds: int = 3,
    **record: Any,
) -> Path:
    """A probing folder: table, record, and weights of every seed (none for ``seeds=0``)."""
    rows = [row for one in asked for row in _rows(one)]
    specs = list(dict.fromkeys(spec for one in asked for spec in one.scores))
    told = {
        "job": "probing",
        "study": "made",
        "command": "voxstrata probe a m log-mel -c synthetic:tiny -o out",
        "models": models_record(specs),
        "twins": {k: v for k, v in twins.items() if k in specs and v in specs},
        "corpus": {"spec": "synthetic:tiny", "name": "synthetic", "fingerprint": "c"},
        "protocol": {"name": "small", "lrs": [0.1, 0.01], "seeds": max(1, seeds)},
        "properties": [_entry(one) for one in asked],
        "best": {f"{one.name} {spec}": layer for one in asked for spec, layer in one.best.items()},
        "notices": [],
        "left_out": [],
        **record,
    }
    write_results(folder, rows, told)
    lines = [line for one in asked for line in _weights(one, seeds)]
    if lines:
        pd.DataFrame(lines).to_parquet(folder / WEIGHTS, index=False)
    return folder


def probing_view(folder: Path, *args: Any, **kwargs: Any) -> View:
    """The same, written, read and arranged."""
    return read_view(load_results(write_probing(folder, *args, **kwargs)))


def seed_weight(layer: int, layers: int, seed: int) -> float:
    """A made weight: falls with depth, differs by seed; the seeds of a layer have a mean."""
    return (layers - layer) / (layers * (layers + 1) / 2) + 0.01 * (seed - 1)


def _entry(one: Asked) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "summary": f"what {one.title} asks",
        "group": "task",
        "unit": "utterance",
        "main": one.main,
        "better": one.better,
        "corpora": dict(one.corpora),
        "classes": {one.name: 10},
        "sizes": [{"train": 60, "dev": 20, "test": 20}],
        "majority": 0.2,
        "facts": [],
        "notices": [],
    }


def _rows(one: Asked) -> list[Row]:
    found = []
    for spec, scores in one.scores.items():
        for layer, value in scores.items():
            found.append(_row(one, spec, layer, one.main, _around(one, value),
                              estimator=one.estimators.get(layer, "dev-selected")))  # fmt: skip
            if one.dealt is not None:
                dealt = (one.dealt, None, None)
                found.append(_row(one, spec, layer, one.main, dealt, control="permuted-labels"))
        for layer, value in one.screens.get(spec, {}).items():
            found.append(_row(one, spec, layer, one.main, _around(one, value), estimator="screen"))
        single = [layer for layer in {**one.screens.get(spec, {}), **scores} if layer != SUM]
        if SUM in scores:
            for i, layer in enumerate(single):
                weight = seed_weight(i, len(single), 1)
                for measure in ("layer-weight", "layer-weight-by-norm"):
                    found.append(_row(one, spec, layer, measure, (weight, None, None)))
        for layer, value in one.lost.get(spec, {}).items():
            found.append(_row(one, spec, layer, "lost-without-layer", value))
        if spec in one.over:
            found.append(
                _row(one, spec, SUM, f"{one.main}-over-best-layer", one.over[spec],
                     other_model=spec, other_layer=one.best[spec])
            )  # fmt: skip
    return found


def _around(one: Asked, value: float) -> tuple[float, float | None, float | None]:
    return (value, None, None) if one.half is None else (value, value - one.half, value + one.half)


def _row(
    one: Asked,
    spec: str,
    layer: str,
    measure: str,
    value: tuple[float, float | None, float | None],
    **more: Any,
) -> Row:
    return Row(
        **{
            "study": "made", "model": spec, "layer": layer, "other_model": "", "other_layer": "",
            "property": one.name, "measure": measure, "unit": "utterance", "value": value[0],
            "ci_low": value[1], "ci_high": value[2], "n": 20, "groups": 12, "d": 8, "other_d": 10,
            "estimator": "dev-selected", "seed": 0, **more,
        }
    )  # fmt: skip


def _weights(one: Asked, seeds: int) -> list[dict[str, Any]]:
    return [
        {"task": one.name, "model": spec, "round": "", "seed": seed, "lr": 0.1, "layer": layer,
         "weight": seed_weight(i, len(single), seed), "norm": 1.0,
         "corrected": seed_weight(i, len(single), seed)}
        for spec, scores in one.scores.items()
        if SUM in scores
        for single in [[x for x in {**one.screens.get(spec, {}), **scores} if x != SUM]]
        for seed in range(seeds)
        for i, layer in enumerate(single)
    ]  # fmt: skip
