"""Numbers over the layers of a model, as claims read them: in order of depth, more is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.report.curve_view import (
    JOB,
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    SCREEN,
    positions,
    relative,
)
from voxstrata.report.probing_view import SUM
from voxstrata.report.reading import mappings
from voxstrata.report.words import ESTIMATORS
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number, number_of
from voxstrata.studies.claims.scores import DEALT, Asked

if TYPE_CHECKING:
    import pandas as pd

DEALT_CURVES = (DEALT, "shuffled-rows")
"""Controls that deal labels, or rows of labels, anew."""


@dataclass(frozen=True)
class Curve:
    """Numbers of one model's layers.

    Attributes:
        layers: names, in order of depth.
        numbers: one a layer, turned so that more is better.
        analysis: name of the analysis they are from.
        lower: whether they were turned.
    """

    layers: tuple[str, ...]
    numbers: tuple[Number, ...]
    analysis: str = ""
    lower: bool = False

    @property
    def depths(self) -> list[float]:
        """0 for the first layer (of a Transformer the one called 0; its local encoder lies below
        0), 1 for the last."""
        return relative(positions(self.layers))

    def where(self, *, above: float = -math.inf, below: float = math.inf) -> list[Number]:
        """Numbers of the layers between two depths, both ends excluded."""
        pairs = zip(self.depths, self.numbers, strict=True)
        return [number for at, number in pairs if above < at < below]

    def at(self, layer: str) -> Number | None:
        """The number of one layer."""
        return dict(zip(self.layers, self.numbers, strict=True)).get(layer)

    @property
    def top(self) -> str:
        """The layer with the greatest number; the first of equals."""
        values = [number.value for number in self.numbers]
        return self.layers[int(np.argmax(values))]


@dataclass(frozen=True)
class Measured:
    """A property of one analysis.

    Attributes:
        analysis: name of the analysis.
        name, title, main, group: as its record has them.
    """

    analysis: str
    name: str
    title: str
    main: str
    group: str

    @property
    def lower(self) -> bool:
        """Whether less of the main measure is better."""
        return any(self.main == end or self.main.endswith(f"-{end}") for end in LOWER_IS_BETTER)

    @property
    def ranks(self) -> bool:
        """Whether more, or less, of it is better at all."""
        return self.main not in NEITHER_IS_BETTER


def measured(evidence: Evidence, name: str = "") -> list[Measured]:
    """A property (all properties if none is named) in every properties analysis that has it."""
    return [
        Measured(
            analysis=analysis,
            name=str(entry.get("name")),
            title=str(entry.get("title") or entry.get("name")),
            main=str(entry.get("main")),
            group=str(entry.get("group") or ""),
        )
        for analysis, record in evidence.records.items()
        if record.get("job") == JOB and analysis in evidence.tables
        for entry in mappings(record.get("properties"))
        if not name or entry.get("name") == name
    ]


def property_curve(
    evidence: Evidence, of: Measured, model: str, *, dealt: bool = False
) -> Curve | None:
    """A property's main measure over the layers of a model.

    Args:
        dealt: that of labels dealt anew instead.

    Returns:
        turned so that more is better; ``None`` where the model has no layer with a value.
    """
    table = evidence.tables[of.analysis]
    rows = table[
        (table["property"] == of.name) & (table["model"] == model) & (table["measure"] == of.main)
    ]
    rows = rows[_wanted(rows, dealt=dealt)]
    ranks = {name: i for i, name in enumerate(ESTIMATORS)}
    named = sorted(set(rows["estimator"]), key=lambda name: ranks.get(name, len(ranks)))
    rows = rows[rows["estimator"] == named[0]] if named else rows
    return _curve(evidence, of.analysis, model, rows, lower=of.lower)


def task_curve(evidence: Evidence, of: Asked, model: str, *, dealt: bool = False) -> Curve | None:
    """A task's main measure over heads on single layers: of heads trained at length where these
    cover as many layers as those that were trained shortly.

    Returns:
        turned so that more is better; ``None`` where there are no such heads.
    """
    table = evidence.tables[of.analysis]
    rows = table[
        (table["property"] == of.name)
        & (table["model"] == model)
        & (table["measure"] == of.main)
        & ~table["layer"].str.startswith(SUM)
    ]
    rows = rows[_wanted(rows, dealt=dealt)]
    short = rows["estimator"] == SCREEN
    rows = rows[short] if short.sum() > (~short).sum() else rows[~short]
    return _curve(evidence, of.analysis, model, rows, lower=of.lower)


def layer_order(evidence: Evidence, analysis: str, model: str, names: Sequence[str]) -> list[str]:
    """Layers in order of depth, as the run record lists them; others behind, in order."""
    for entry in mappings(evidence.records[analysis].get("models")):
        if entry.get("spec") == model:
            listed = [str(layer.get("name")) for layer in mappings(entry.get("layers"))]
            place = {name: i for i, name in reversed(list(enumerate(listed)))}
            return sorted(dict.fromkeys(names), key=lambda name: place.get(name, len(place)))
    return list(dict.fromkeys(names))


def _wanted(rows: pd.DataFrame, *, dealt: bool) -> pd.Series[bool]:
    return rows["control"].isin(DEALT_CURVES) if dealt else rows["control"] == ""


def _curve(
    evidence: Evidence, analysis: str, model: str, rows: pd.DataFrame, *, lower: bool
) -> Curve | None:
    held: dict[str, Number] = {}
    row: Mapping[Any, Any]
    for row in rows.to_dict("records"):
        found = number_of(row)
        if math.isfinite(found.value):
            held.setdefault(str(row["layer"]), found.turned if lower else found)
    if not held:
        return None
    names = layer_order(evidence, analysis, model, list(held))
    return Curve(tuple(names), tuple(held[name] for name in names), analysis, lower)
