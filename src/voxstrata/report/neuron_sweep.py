"""The selection made with other settings, and rows of conditions as points in the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxstrata.errors import ResultsError
from voxstrata.report.neuron_view import ALL, JOB, NAN, Selection
from voxstrata.report.neuron_words import trained
from voxstrata.report.view import View
from voxstrata.report.words import number

if TYPE_CHECKING:
    import pandas as pd

MEASURE, FILE = "jaccard-asked", "patterns.parquet"


@dataclass(frozen=True)
class Variant:
    """A selection with one setting changed.

    Attributes:
        name: the setting ("clusters=5", "seed=1000", "top=0.02").
        neurons: of all layers.
        jaccard: shared with the selection asked for, over neurons of either.
        chance: the same of random sets of these sizes.
    """

    name: str
    neurons: float
    jaccard: float
    chance: float


def variants(view: View, selection: Selection) -> list[Variant]:
    """What was tried beside one selection, in the order of the table."""
    table = view.table
    rows = table[
        (table["model"] == view.models[selection.model].spec)
        & (table["property"] == selection.contrast)
        & (table["layer"] == ALL)
        & (table["other_layer"] == "")
    ]
    names = dict.fromkeys(str(name) for name in rows[rows["measure"] == MEASURE]["estimator"])

    def value(name: str, measure: str, control: str = "") -> float:
        mine = rows[
            (rows["estimator"] == name)
            & (rows["measure"] == measure)
            & (rows["control"] == control)
        ]["value"]
        return float(mine.iloc[0]) if len(mine) else NAN

    return [
        Variant(name, value(name, "neurons"), value(name, MEASURE), value(name, MEASURE, "chance"))
        for name in names
    ]


def variants_said(selection: Selection, found: list[Variant]) -> str:
    """How much of the selection depends on settings; empty where none were tried."""
    known = [one for one in found if math.isfinite(one.jaccard)]
    if not known:
        return ""
    low = min(known, key=lambda one: one.jaccard)
    high = max(known, key=lambda one: one.jaccard)
    sizes = [one.neurons for one in known if math.isfinite(one.neurons)]
    text = f"{selection.contrast}: "
    if sizes:
        text += f"{min(sizes):,.0f} to {max(sizes):,.0f} neurons instead of "
        text += f"{selection.total.observed:,.0f}; "
    return (
        f"{text}Jaccard index with the set asked for {number(low.jaccard)} ({low.name}) to "
        f"{number(high.jaccard)} ({high.name})."
    )


def read_maps(view: View) -> list[tuple[Selection, dict[str, pd.DataFrame]]]:
    """Rows of trained models in the plane: selection, and layer to row, group, x, y.

    Raises:
        ResultsError: the file is damaged or lacks columns.
    """
    import pandas as pd

    path = view.folder / FILE
    if view.record.get("job") != JOB or not path.exists():
        return []
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{path} cannot be read", got=str(error), fix="run the neurons job again"
        ) from error
    needed = ("model", "contrast", "layer", "row", "group", "x", "y")
    if missing := [name for name in needed if name not in table]:
        raise ResultsError(
            f"{path} lacks columns",
            got=f"no {', '.join(missing)}",
            fix="run the neurons job again",
        )
    found = []
    for selection in trained(view):
        spec = view.models[selection.model].spec
        mine = table[(table["model"] == spec) & (table["contrast"] == selection.contrast)]
        layers = {
            layer: part for layer in selection.layers if len(part := mine[mine["layer"] == layer])
        }
        if layers:
            found.append((selection, layers))
    return found
