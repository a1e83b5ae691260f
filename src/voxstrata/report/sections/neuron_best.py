"""The strongest neurons of every contrast, as tables."""

from __future__ import annotations

import math
from typing import Any

from voxstrata.report.layer_picks import neurons_of
from voxstrata.report.neuron_best import MOST, Neuron, Strongest, strongest
from voxstrata.report.neuron_view import short_layers
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import counted, number

SMALL = 0.001
"""Below this a q value is called small."""


def neuron_best(view: View) -> Section | None:
    """A table a contrast and model; nothing where no neuron passed or the file is not here."""
    found = strongest(view)
    if not found:
        return None
    html = render(
        "sections/neuron_best.html",
        tables=[_table(view, one) for one in found],
        most=MOST,
        tested=any(one.by_auc for one in found),
        untested=any(not one.by_auc for one in found),
    )
    return Section("neurons-strongest", "Which neurons are the strongest?", "Strongest", html)


def _table(view: View, one: Strongest) -> dict[str, Any]:
    layers = [layer.name for layer in view.layers if layer.model == one.model]
    axis, names = short_layers(layers)
    short = dict(zip(layers, names, strict=True))
    shown, whole = len(one.neurons), counted(one.selected, "neuron")
    of = f"the first {shown} of {whole}" if shown < one.selected else whole
    return {
        "title": f"{one.contrast}, {view.models[one.model].label}: {of}",
        "axis": axis,
        "owner": neurons_of(view, one.model),
        "tested": one.by_auc,
        "rows": [_row(neuron, short) for neuron in one.neurons],
    }


def _row(one: Neuron, short: dict[str, str]) -> dict[str, str]:
    return {
        "layer": short.get(one.layer, one.layer),
        "neuron": str(one.neuron),
        "group": one.group,
        "inside": _share(one.inside),
        "outside": _share(one.outside),
        "auc": number(one.auc) if math.isfinite(one.auc) else "",
        "q": _q(one.q),
        "by_chance": _share(one.by_chance, 0),
    }


def _share(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else ""


def _q(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"< {SMALL}" if value < SMALL else f"{value:.3f}"
