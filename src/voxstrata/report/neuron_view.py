"""What a neurons run found, arranged: counts beside their nulls, tests, stability, matches."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.report.reading import mappings

if TYPE_CHECKING:
    import pandas as pd

JOB = "neurons"

ALL = "all"
"""Layer of numbers about all layers together."""

EVERY = "every"
"""Stratum of neurons that are found in each stratum."""

LEVEL = 0.05
"""p up to which a number above its band is more than chance gives."""

PUBLISHED, TESTED, BOTH, SIGMA = "published", "tested", "published and tested", "sigma="
MATCHING = ("purity", "inverse-purity", "nmi", "ari")
SHARE = "share"

NAN = float("nan")

Held = Mapping[tuple[str, str, str, str, str], tuple[float, float, float]]
"""(layer, group, measure, estimator, control) to value and ends of its interval."""


@dataclass(frozen=True)
class Count:
    """An observed number beside what labels dealt anew give.

    Attributes:
        observed: neurons found.
        mean, low, high: of the dealings, with 2.5 and 97.5 %; NaN without a null.
        p: share of dealings with at least as many; NaN without a null.
    """

    observed: float
    mean: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN

    @property
    def has_null(self) -> bool:
        """Whether it can be held against chance."""
        return all(math.isfinite(x) for x in (self.mean, self.low, self.high))

    @property
    def verdict(self) -> str:
        """ "more" or "fewer" than nearly all dealings, "within" them, "unclear" or "unknown".

        "unclear" stands for a number above the band of dealings too few for p up to 0.05.
        """
        if not (self.has_null and math.isfinite(self.observed)):
            return "unknown"
        if self.observed > self.high:
            return "unclear" if self.p > LEVEL else "more"
        return "fewer" if self.observed < self.low else "within"

    @property
    def surplus(self) -> float:
        """Observed less the mean of the dealings."""
        return self.observed - self.mean


@dataclass(frozen=True)
class Half:
    """Jaccard index of the selections of both halves, with its spread over splits and chance."""

    value: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Selection:
    """One contrast of one model.

    Attributes:
        model: position in ``View.models``.
        contrast: name.
        groups: names.
        layers: names of the L layers, in order.
        widths: neurons of each layer.
        total: of all layers.
        by_layer: [L], neurons of any group.
        by_group: group to [L].
        tested: pairs of a neuron and a group that passed the test; NaN where there was none.
        both: neurons that passed the rule and the test; NaN where there was none.
        survive: stratum to (found again there, expected of sets drawn at random), all layers.
        sigma: (sigma, neurons of all layers), by sigma.
        halves: [L] or empty.
        silhouettes: metric to [L]; empty where there is none.
        moved: what was dealt anew: "speaker", "recording", "rows within each recording".
        draws: dealings.
        labellings: how many there are; NaN where it is not known or has no meaning.
        units: units behind the null.
    """

    model: int
    contrast: str
    groups: tuple[str, ...]
    layers: tuple[str, ...]
    widths: tuple[int, ...]
    total: Count
    by_layer: tuple[Count, ...]
    by_group: Mapping[str, tuple[Count, ...]]
    tested: float
    both: float
    survive: Mapping[str, tuple[float, float]]
    sigma: tuple[tuple[float, float], ...]
    halves: tuple[Half, ...]
    silhouettes: Mapping[str, tuple[float, ...]]
    moved: str
    draws: int
    labellings: float
    units: int

    @property
    def neurons(self) -> int:
        """Neurons looked at."""
        return sum(self.widths)


@dataclass(frozen=True)
class Match:
    """Clusters held against known classes.

    Attributes:
        spec, layer: whose vectors were clustered.
        clusters, classes: names of the two.
        unit: what was counted.
        units: units that the intervals draw again.
        measures: name to value, ends of the interval, and what needs no clustering.
        rows, columns: names of clusters and classes.
        share: [A][B], each cluster's rows by class; NaN where it is not known.
    """

    spec: str
    layer: str
    clusters: str
    classes: str
    unit: str
    units: int
    measures: Mapping[str, tuple[float, float, float, float]]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    share: tuple[tuple[float, ...], ...]


def neuron_rows(table: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """A row a model and layer whose neurons were looked at; none for results of another job."""
    if record.get("job") != JOB:
        return table.iloc[:0]
    rows = table[(table["measure"] == "neurons") & (table["other_layer"] == "")]
    return rows[(rows["layer"] != ALL) & (rows["control"] == "")]


def read_selections(
    table: pd.DataFrame, record: Mapping[str, Any], layers: Mapping[str, Sequence[tuple[str, int]]]
) -> tuple[Selection, ...]:
    """Every contrast of every model, contrasts in the order of the record.

    Args:
        table: the results.
        record: the run record.
        layers: model to its layers and their widths, models and layers in order.
    """
    if record.get("job") != JOB:
        return ()
    told = {
        (str(entry.get("model")), str(entry.get("name"))): entry
        for entry in mappings(record.get("contrasts"))
    }
    counted = table[(table["measure"] == "neurons") & table["model"].isin(list(layers))]
    present = list(dict.fromkeys(counted["property"]))
    order = list(dict.fromkeys(name for _, name in told if name in present))
    order += [name for name in present if name not in order]
    found = []
    parts = {
        (str(model), str(name)): part
        for (model, name), part in table[table["property"].isin(order)].groupby(
            ["model", "property"], sort=False
        )
    }
    for name in order:
        for at, spec in enumerate(layers):
            if (part := parts.get((spec, name))) is not None:
                entry = told.get((spec, name), {})
                found.append(_selection(at, name, part, layers[spec], entry))
    return tuple(found)


def _selection(
    model: int,
    name: str,
    part: pd.DataFrame,
    layers: Sequence[tuple[str, int]],
    entry: Mapping[str, Any],
) -> Selection:
    held: Held = {
        (str(layer), str(group), str(measure), str(how), str(control)): (value, low, high)
        for layer, group, measure, how, control, value, low, high in part[
            [
                "layer",
                "other_layer",
                "measure",
                "estimator",
                "control",
                "value",
                "ci_low",
                "ci_high",
            ]
        ].itertuples(index=False)
    }
    known = {layer for layer, *_ in held}
    mine = [(layer, width) for layer, width in layers if layer in known]
    names = tuple(layer for layer, _ in mine)
    seen = [g for (_, g, m, _, _) in held if g and m == "neurons"]
    groups = tuple(str(g) for g in entry.get("groups") or dict.fromkeys(seen))
    total = _count(held, ALL, "")
    by_layer = tuple(_count(held, layer, "") for layer in names)
    if not math.isfinite(total.observed):
        total = Count(sum(one.observed for one in by_layer))
    strata = dict.fromkeys(g for (_, g, m, _, _) in held if m == "neurons-survive")
    sigmas = sorted(
        {_number(how.removeprefix(SIGMA)) for (_, _, _, how, _) in held if how.startswith(SIGMA)}
    )
    halves = tuple(
        Half(
            *held.get((layer, "", "jaccard-halves", PUBLISHED, ""), (NAN, NAN, NAN)),
            _value(held, layer, "", "jaccard-halves", PUBLISHED, "chance"),
        )
        for layer in names
    )
    metrics = dict.fromkeys(how for (_, _, m, how, _) in held if m == "silhouette")
    return Selection(
        model=model,
        contrast=name,
        groups=groups,
        layers=names,
        widths=tuple(width for _, width in mine),
        total=total,
        by_layer=by_layer,
        by_group={g: tuple(_count(held, layer, g) for layer in names) for g in groups},
        tested=_value(held, ALL, "", "neurons", TESTED),
        both=_summed(held, names, "", "neurons", BOTH),
        survive={
            g: (
                _summed(held, names, g, "neurons-survive", PUBLISHED),
                _summed(held, names, g, "neurons-survive", PUBLISHED, "chance"),
            )
            for g in strata
        },
        sigma=tuple(
            (s, _summed(held, names, "", "neurons", f"{SIGMA}{s:g}"))
            for s in sigmas
            if math.isfinite(s)
        ),
        halves=halves if any(math.isfinite(half.value) for half in halves) else (),
        silhouettes={
            str(m): tuple(_value(held, layer, "", "silhouette", m) for layer in names)
            for m in metrics
        },
        moved=str(entry.get("moved") or "units"),
        draws=_whole(entry.get("draws")),
        labellings=_number(entry.get("labellings")),
        units=_whole(entry.get("units")),
    )


def read_matches(table: pd.DataFrame, record: Mapping[str, Any]) -> tuple[Match, ...]:
    """Every clustering against every set of classes, in the order of the table."""
    if record.get("job") != JOB:
        return ()
    rows = table[table["measure"].isin([*MATCHING, SHARE]) & table["property"].str.contains(" ~ ")]
    found = []
    for (spec, layer, name), part in rows.groupby(["model", "layer", "property"], sort=False):
        clusters, _, classes = str(name).partition(" ~ ")
        cells, measures = part[part["measure"] == SHARE], {}
        for measure in MATCHING:
            of = part[part["measure"] == measure]
            main, chance = of[of["control"] == ""], of[of["control"] == "chance"]
            if len(main):
                value, low, high = (float(main[c].iloc[0]) for c in ("value", "ci_low", "ci_high"))
                beside = float(chance["value"].iloc[0]) if len(chance) else NAN
                measures[measure] = (value, low, high, beside)
        down = tuple(str(c) for c in dict.fromkeys(cells["other_model"]))
        across = tuple(str(c) for c in dict.fromkeys(cells["other_layer"]))
        of_cell = {
            (str(a), str(b)): float(v)
            for a, b, v in cells[["other_model", "other_layer", "value"]].itertuples(index=False)
        }
        found.append(
            Match(
                spec=str(spec),
                layer=str(layer),
                clusters=clusters,
                classes=classes,
                unit=str(part["unit"].iloc[0]),
                units=int(part["groups"].iloc[0]),
                measures=measures,
                rows=down,
                columns=across,
                share=tuple(tuple(of_cell.get((a, b), NAN) for b in across) for a in down),
            )
        )
    return tuple(found)


def short_layers(names: Sequence[str]) -> tuple[str, list[str]]:
    """What the layers are called on an axis: its title and their short names.

    Example:
        >>> short_layers(["block.1.ffn.inner", "block.2.ffn.inner"])
        ('block', ['1', '2'])
        >>> short_layers(["conv", "block1"])
        ('layer', ['conv', 'block1'])
    """
    parts = [re.fullmatch(r"block\.(\d+)\.(.+)", name) for name in names]
    if names and all(parts) and len({part[2] for part in parts if part}) == 1:
        return "block", [part[1] for part in parts if part]
    return "layer", [name.removesuffix(".inner").removeprefix("block.") for name in names]


def _count(held: Held, layer: str, group: str) -> Count:
    null = held.get((layer, group, "neurons", PUBLISHED, "permuted-labels"), (NAN, NAN, NAN))
    return Count(
        _value(held, layer, group, "neurons", PUBLISHED),
        *null,
        p=_value(held, layer, group, "neurons-p", PUBLISHED),
    )


def _value(held: Held, layer: str, group: str, measure: str, how: str, control: str = "") -> float:
    return held.get((layer, group, measure, how, control), (NAN, NAN, NAN))[0]


def _summed(
    held: Held, layers: Sequence[str], group: str, measure: str, how: str, control: str = ""
) -> float:
    """The sum over layers that have the number; NaN where none has."""
    values = [_value(held, layer, group, measure, how, control) for layer in layers]
    known = [value for value in values if math.isfinite(value)]
    return sum(known) if known else NAN


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def _whole(value: Any) -> int:
    number = _number(value)
    return int(number) if math.isfinite(number) else 0
