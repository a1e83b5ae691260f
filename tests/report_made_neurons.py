"""Made results folders of a neurons run: every count is given by the test, no models, no audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from voxstrata.files import write_json
from voxstrata.report.reading import slug
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

WIDTH = 100
TWINS = {"m": "random:m"}
TOP, RANDOM = {1: 0.5, 4: 0.79, WIDTH: 0.8}, {1: 0.4, 4: 0.6, WIDTH: 0.8}
AGREEMENT = {"auc ~ probeless": 0.5}

Null = tuple[float, float, float, float]
"""Mean, low, high and p."""


@dataclass(frozen=True)
class Asked:
    """A made contrast of one model.

    Attributes:
        name, model, groups: as in the table.
        found: layer to group to indices of neurons.
        total: null of all layers; ``None`` for a run without draws.
        layer: null of every layer and group.
        tested, both: pairs that passed the test; neurons of both; ``None`` for no test.
        survive: stratum to found again and expected, all in the first layer.
        sigma: sigma to neurons of each layer.
        halves: Jaccard index, low, high, chance, of every layer.
        silhouettes: metric to value, of every layer.
        moved, labellings: as in the record.
    """

    name: str
    found: Mapping[str, Mapping[str, tuple[int, ...]]]
    total: Null | None = (10.0, 5.0, 15.0, 0.5)
    model: str = "m"
    groups: tuple[str, ...] = ("F", "M")
    layer: Null = (2.0, 0.0, 4.5, 0.25)
    tested: int | None = None
    both: int = 0
    survive: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sigma: Mapping[float, float] = field(default_factory=lambda: {0.5: 9, 0.8: 4, 1.0: 1})
    halves: tuple[float, float, float, float] | None = (0.4, 0.3, 0.5, 0.02)
    silhouettes: Mapping[str, float] = field(
        default_factory=lambda: {"euclidean": 0.1, "jaccard": 0.2, "mds": -0.3}
    )
    moved: str = "speaker"
    labellings: float | None = 252.0

    @property
    def count(self) -> int:
        """Neurons of all layers."""
        return sum(len(n) for of in self.found.values() for n in of.values())


def layers(first: int, *, to: int = 2, group: str = "F") -> dict[str, dict[str, tuple[int, ...]]]:
    """``first`` neurons of one group in the first layer, none in the others."""
    found: dict[str, dict[str, tuple[int, ...]]] = {
        f"block.{k}.ffn.inner": {} for k in range(1, to + 1)
    }
    found["block.1.ffn.inner"] = {group: tuple(range(first))}
    return found


MORE = Asked("gender/phones", layers(34), (10.0, 5.0, 15.0, 0.005), tested=3, both=2)
EQUAL = Asked("pitch/phones", layers(9), (10.0, 5.0, 15.0, 0.6), moved="rows within each recording")
FEWER = Asked("duration/phones", layers(2), (10.0, 5.0, 15.0, 1.0), moved="recording")
UNKNOWN = Asked("noise/phones", layers(7), None)


def write_neurons(
    folder: Path,
    asked: tuple[Asked, ...] = (MORE,),
    *,
    twins: Mapping[str, str] = TWINS,
    matches: tuple[Row, ...] = (),
    neurons: bool = True,
    sets: bool = True,
    **record: Any,
) -> Path:
    """A folder of ``voxstrata neurons``: table, record, sets, and neurons by themselves."""
    specs = list(dict.fromkeys(one.model for one in asked))
    told = {
        "job": "neurons",
        "study": "made",
        "command": "voxstrata neurons m -c synthetic:tiny -o out",
        "config": {"sigma": 0.8, "rule": "top=0.01"},
        "models": [_model(spec, asked) for spec in specs],
        "twins": {k: v for k, v in twins.items() if k in specs and v in specs},
        "corpus": {"spec": "synthetic:tiny", "name": "synthetic", "speakers": 10},
        "contrasts": [
            {
                "model": one.model,
                "name": one.name,
                "groups": list(one.groups),
                "moved": one.moved,
                "units": 10,
                "draws": 0 if one.total is None else 200,
                "labellings": one.labellings,
            }
            for one in asked
        ],
        "notices": [],
        "left_out": [],
        **record,
    }
    write_results(folder, [row for one in asked for row in _rows(one)] + list(matches), told)
    if neurons:
        lines = [line for one in asked for line in _lines(one)]
        pd.DataFrame(lines).to_parquet(folder / "neurons.parquet", index=False)
    if sets:
        for number, one in enumerate(asked):
            place = folder / "sets" / slug([one.model], set())
            place.mkdir(parents=True, exist_ok=True)
            write_json(place / f"{number}.json", _set(one, "published"))
            write_json(place / f"{number}-tested.json", _set(one, "AUC of units' rates"))
    return folder


def neurons_view(folder: Path, *args: Any, **kwargs: Any) -> View:
    """The same, written, read and arranged."""
    return read_view(load_results(write_neurons(folder, *args, **kwargs)))


def match_rows(
    spec: str,
    name: str,
    shares: Mapping[str, Mapping[str, float]],
    purity: tuple[float, float | None, float | None, float],
) -> tuple[Row, ...]:
    """Clusters against classes: shares, purity with interval and what needs no clusters, and an
    ARI of 0.25 whose interval is as wide as that of purity."""

    def row(measure: str, value: float, **more: Any) -> Row:
        return _row(
            property=name, model=spec, layer="2", measure=measure, value=value,
            estimator="in-sample", **more,
        )  # fmt: skip

    value, low, high, alone = purity
    return (
        row("purity", value, ci_low=low, ci_high=high),
        row("purity", alone, control="chance"),
        row(
            "ari",
            0.25,
            ci_low=None if low is None else 0.25 + low - value,
            ci_high=None if high is None else 0.25 + high - value,
        ),
        *(
            row("share", share, other_model=cluster, other_layer=class_)
            for cluster, of in shares.items()
            for class_, share in of.items()
        ),
    )


def ranked_rows(
    name: str = "gender/phones",
    top: Mapping[int, float] = TOP,
    *,
    layer: str = "block.1.ffn.inner",
    random: Mapping[int, float] = RANDOM,
    majority: float = 0.3,
    minimal: int = 4,
    probe: tuple[float, float] | None = (0.9, 0.6),
    agreement: Mapping[str, float] = AGREEMENT,
    model: str = "m",
) -> tuple[Row, ...]:
    """Rows of one layer whose neurons were ranked."""

    def row(measure: str, value: float, **more: Any) -> Row:
        plain = {"estimator": "", "other_d": 0, "groups": 20, "unit": "utterance"}
        return _row(property=name, model=model, layer=layer, measure=measure, value=value,
                    **{**plain, **more})  # fmt: skip

    found = [
        row("subset-accuracy", value, other_layer=which, estimator=kind, other_d=size)
        for which, of in (("top", top), ("random", random), ("bottom", random))
        for kind in ("trained", "masked")
        for size, value in of.items()
    ]
    found.append(row("subset-accuracy", majority, control="majority", other_layer="all"))
    found.append(row("minimal-subset", minimal, other_layer="linear-probe"))
    for pair, value in agreement.items():
        found.append(row("ranking-spearman", value, other_layer=pair))
        found.append(row("ranking-top-10", value, other_layer=pair))
        found.append(row("ranking-top-10", 0.1, other_layer=pair, control="chance"))
    if probe is not None:
        found.append(row("probe-accuracy", probe[0]))
        found.append(row("probe-accuracy", probe[1], control="random labels of speakers"))
    return tuple(found)


def tried_rows(
    name: str, tried: Mapping[str, tuple[float, float, float]], model: str = "m"
) -> tuple[Row, ...]:
    """Neurons, Jaccard index and chance of selections made with other settings."""

    def row(variant: str, measure: str, value: float, control: str = "") -> Row:
        return _row(property=name, model=model, layer="all", measure=measure, value=value,
                    estimator=variant, control=control)  # fmt: skip

    return tuple(
        found
        for variant, (neurons, jaccard, chance) in tried.items()
        for found in (
            row(variant, "neurons", neurons),
            row(variant, "jaccard-asked", jaccard),
            row(variant, "jaccard-asked", chance, "chance"),
        )
    )


def _row(**given: Any) -> Row:
    plain: dict[str, Any] = {
        "study": "made", "other_model": "", "other_layer": "", "unit": "frame", "ci_low": None,
        "ci_high": None, "n": 5000, "groups": 10, "d": WIDTH, "other_d": 2,
        "estimator": "published", "seed": 0, "control": "",
    }  # fmt: skip
    return Row(**{**plain, **given})


def _rows(one: Asked) -> list[Row]:
    found: list[Row] = []

    def add(layer: str, measure: str, value: float, group: str = "", **more: Any) -> None:
        found.append(
            _row(model=one.model, property=one.name, layer=layer, other_layer=group,
                 measure=measure, value=value, **more)
        )  # fmt: skip

    def banded(layer: str, value: float, null: Null | None, group: str = "") -> None:
        add(layer, "neurons", value, group)
        if null is not None:
            mean, low, high, p = null
            add(layer, "neurons", mean, group, ci_low=low, ci_high=high, control="permuted-labels")
            add(layer, "neurons-p", p, group)

    for at, (layer, groups) in enumerate(one.found.items()):
        null = None if one.total is None else one.layer
        banded(layer, sum(map(len, groups.values())), null)
        for group in one.groups:
            banded(layer, len(groups.get(group, ())), null, group)
        for sigma, value in one.sigma.items():
            add(layer, "neurons", value, estimator=f"sigma={sigma:g}")
        if one.tested is not None:
            add(layer, "neurons", one.tested if at == 0 else 0, estimator="tested")
            add(layer, "neurons", one.both if at == 0 else 0, estimator="published and tested")
        if one.halves is not None:
            value, low, high, chance = one.halves
            add(layer, "jaccard-halves", value, ci_low=low, ci_high=high)
            add(layer, "jaccard-halves", chance, control="chance")
        for stratum, (survive, expected) in one.survive.items():
            add(layer, "neurons-survive", survive if at == 0 else 0, stratum)
            add(layer, "neurons-survive", expected if at == 0 else 0, stratum, control="chance")
        for metric, value in one.silhouettes.items():
            add(layer, "silhouette", value, estimator=metric)
    banded("all", one.count, one.total)
    if one.tested is not None:
        add("all", "neurons", one.tested, estimator="tested")
    return found


def _model(spec: str, asked: tuple[Asked, ...]) -> dict[str, Any]:
    names = dict.fromkeys(layer for one in asked if one.model == spec for layer in one.found)
    return {
        "spec": spec,
        "family": "melhubert",
        "fingerprint": f"print-of-{spec}",
        "random": spec.startswith("random:"),
        "layers": [{"name": name, "width": WIDTH, "kind": "frame"} for name in names],
        "details": {"parameters": 1000},
    }


def _set(one: Asked, rule: str) -> dict[str, Any]:
    every = {
        layer: sorted({n for of in groups.values() for n in of})
        for layer, groups in one.found.items()
    }
    # A tested set is told apart by its rule alone.
    name = one.name if rule == "published" else f"{one.name} (tested)"
    return {
        "format": 1,
        "name": name,
        "model": one.model,
        "fingerprint": f"print-of-{one.model}",
        "widths": dict.fromkeys(one.found, WIDTH),
        "layers": every if rule == "published" else {layer: [0] for layer in every},
        "details": {"rule": rule, "units": 10},
    }


def _lines(one: Asked) -> list[dict[str, Any]]:
    """A line a neuron and group: neuron k of a group is used in (k + 1) thousandths of frames."""
    found = []
    for layer, groups in one.found.items():
        for group in one.groups:
            for neuron in range(WIDTH):
                line = {
                    "model": one.model,
                    "contrast": one.name,
                    "layer": layer,
                    "neuron": neuron,
                    "group": group,
                    "probability": (neuron + 1) / 1000,
                    "probability_elsewhere": 0.0005,
                    "selected": neuron in groups.get(group, ()),
                }
                if one.total is not None:
                    line["selected_by_chance"] = 0.25
                if one.tested is not None:
                    line |= {"auc": 1 - neuron / 200, "q_bh": 0.0001 if neuron < 2 else 0.4}
                found.append(line)
    return found
