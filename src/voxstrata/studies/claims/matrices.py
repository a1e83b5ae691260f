"""Similarity of layers as claims read it: matrices of one model with itself or with another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import layer_order
from voxstrata.studies.claims.numbers import Number

if TYPE_CHECKING:
    import pandas as pd

JOB = "similarity"
UNITS = ("frame", "phone", "word", "utterance")
"""Units in the order in which claims about frame layers prefer them."""


@dataclass(frozen=True)
class Matrix:
    """Similarity of the layers of two models.

    Attributes:
        layers, others: names, in order of depth.
        values, low, high: [layers, others]; NaN where the table has none.
        n: groups behind the intervals.
        unit: what was compared.
        analysis: name of the analysis.
    """

    layers: tuple[str, ...]
    others: tuple[str, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int
    unit: str
    analysis: str

    def at(self, layer: str, other: str) -> Number | None:
        """The similarity of two layers by name."""
        if layer not in self.layers or other not in self.others:
            return None
        i, j = self.layers.index(layer), self.others.index(other)
        value, low, high = (float(part[i, j]) for part in (self.values, self.low, self.high))
        return Number(value, low, high, self.n) if np.isfinite(value) else None

    def part(self, layers: Sequence[str], others: Sequence[str]) -> Matrix:
        """The part of some layers, in the order they are named."""
        rows = [self.layers.index(name) for name in layers]
        columns = [self.others.index(name) for name in others]
        cut = np.ix_(rows, columns)
        return replace(
            self,
            layers=tuple(layers),
            others=tuple(others),
            values=self.values[cut],
            low=self.low[cut],
            high=self.high[cut],
        )


def likeness(
    evidence: Evidence, model: str, other: str, units: Sequence[str] = UNITS
) -> Matrix | None:
    """Linear CKA of every layer of a model with every layer of another (or of itself).

    Args:
        units: those that will do, best first.

    Returns:
        the matrix by the debiased estimate, or by another kind of CKA where only that was run;
        ``None`` where the two models were not compared in one of the units.
    """
    for unit in units:
        for analysis, record in evidence.records.items():
            if record.get("job") != JOB or analysis not in evidence.tables:
                continue
            table = evidence.tables[analysis]
            rows = table[
                (table["property"] == JOB)
                & (table["control"] == "")
                & (table["unit"] == unit)
                & table["measure"].str.startswith("cka")
            ]
            found = _matrix(evidence, analysis, rows, model, other, unit)
            if found is not None:
                return found
    return None


def _matrix(
    evidence: Evidence, analysis: str, rows: pd.DataFrame, model: str, other: str, unit: str
) -> Matrix | None:
    forward = rows[(rows["model"] == model) & (rows["other_model"] == other)]
    back = rows[(rows["model"] == other) & (rows["other_model"] == model)]
    measures = sorted({*forward["measure"], *back["measure"]}, key=lambda name: name != "cka")
    if not measures:
        return None
    forward, back = (part[part["measure"] == measures[0]] for part in (forward, back))
    layers = layer_order(evidence, analysis, model, [*forward["layer"], *back["other_layer"]])
    others = layer_order(evidence, analysis, other, [*forward["other_layer"], *back["layer"]])
    held = np.full((3, len(layers), len(others)), np.nan)
    place = {name: i for i, name in enumerate(layers)}
    its_place = {name: i for i, name in enumerate(others)}
    for part, mine, its in ((forward, "layer", "other_layer"), (back, "other_layer", "layer")):
        numbers = part[["value", "ci_low", "ci_high"]].to_numpy(dtype=np.float64)
        for one, two, triple in zip(part[mine], part[its], numbers, strict=True):
            held[:, place[one], its_place[two]] = triple
    return Matrix(
        layers=tuple(layers),
        others=tuple(others),
        values=held[0],
        low=held[1],
        high=held[2],
        n=int(min([*forward["groups"], *back["groups"]])),
        unit=unit,
        analysis=analysis,
    )
