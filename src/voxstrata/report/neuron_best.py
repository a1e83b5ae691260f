"""Neurons by themselves: the strongest of each contrast, from ``neurons.parquet``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ResultsError
from voxstrata.report.neuron_view import JOB, NAN
from voxstrata.report.neuron_words import trained
from voxstrata.report.view import View

if TYPE_CHECKING:
    import pandas as pd

FILE = "neurons.parquet"

MOST = 50
"""Neurons listed on the page, of all contrasts together."""

NEEDED = ["model", "contrast", "layer", "neuron", "group", "probability", "probability_elsewhere"]
USED = ["selected", "selected_by_chance", "auc", "q_bh"]


@dataclass(frozen=True)
class Neuron:
    """One neuron and the group it is of.

    Attributes:
        layer, neuron, group: which.
        inside, outside: activating probability in the group's frames and in all others.
        auc: of the rates of recordings (or speakers), group against the rest; NaN without test.
        q: of the test (Benjamini-Hochberg); NaN without test.
        by_chance: share of dealings in which the neuron was selected for some group; NaN without.
    """

    layer: str
    neuron: int
    group: str
    inside: float
    outside: float
    auc: float
    q: float
    by_chance: float


@dataclass(frozen=True)
class Strongest:
    """The strongest neurons of one contrast of one model.

    Attributes:
        model: position in ``View.models``.
        contrast: name.
        neurons: the first of them.
        selected: how many pass the rule.
        by_auc: whether they are ordered by AUC, or else by the difference of probabilities.
    """

    model: int
    contrast: str
    neurons: tuple[Neuron, ...]
    selected: int
    by_auc: bool


def strongest(view: View) -> list[Strongest]:
    """Neurons that pass the rule, strongest first, of every trained model and contrast.

    Raises:
        ResultsError: the file is damaged or lacks columns.
    """
    path = view.folder / FILE
    told = trained(view)
    if view.record.get("job") != JOB or not path.exists() or not told:
        return []
    table = _read(view)
    each = max(3, MOST // len(told))
    found = []
    groups = {
        (str(model), str(name)): part
        for (model, name), part in table[table["selected"].astype(bool)].groupby(
            ["model", "contrast"], sort=False
        )
    }
    for selection in told:
        part = groups.get((view.models[selection.model].spec, selection.contrast))
        if part is None or not len(part):
            continue
        tested = bool(part["auc"].notna().any())
        gain = part["probability"] - part["probability_elsewhere"]
        ranked = part.assign(strength=part["auc"] if tested else gain, gain=gain).sort_values(
            ["strength", "gain"], ascending=False, kind="stable"
        )
        rows = ranked.head(each).to_dict("records")
        found.append(
            Strongest(
                selection.model,
                selection.contrast,
                tuple(_neuron({str(k): v for k, v in row.items()}) for row in rows),
                len(part),
                tested,
            )
        )
    return _cut(found)


def _cut(found: list[Strongest]) -> list[Strongest]:
    """No more than :data:`MOST` neurons, however many contrasts there are."""
    kept, room = [], MOST
    for one in found:
        if room > 0:
            shown = one.neurons[:room]
            room -= len(shown)
            kept.append(Strongest(one.model, one.contrast, shown, one.selected, one.by_auc))
    return kept


def _read(view: View) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_parquet(view.folder / FILE)
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{view.folder / FILE} cannot be read", got=str(error), fix="run the neurons job again"
        ) from error
    if missing := [name for name in [*NEEDED, "selected"] if name not in table]:
        raise ResultsError(
            f"{view.folder / FILE} lacks columns",
            got=f"no {', '.join(missing)}",
            fix="run the neurons job again",
        )
    return table.assign(**{name: math.nan for name in USED if name not in table})


def _neuron(row: Mapping[str, Any]) -> Neuron:
    def number(name: str) -> float:
        value = row[name]
        return NAN if value is None else float(value)

    return Neuron(
        str(row["layer"]),
        int(row["neuron"]),
        str(row["group"]),
        number("probability"),
        number("probability_elsewhere"),
        number("auc"),
        number("q_bh"),
        number("selected_by_chance"),
    )
