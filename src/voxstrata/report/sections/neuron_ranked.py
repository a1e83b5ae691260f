"""How few neurons are enough, and whether the ways of ranking them agree."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from voxstrata.report.figure_ranked import (
    LAYERS,
    agreement_maps,
    by_contrast,
    some_layers,
    subset_curves,
)
from voxstrata.report.inline import inline
from voxstrata.report.neuron_ranked import (
    Ranked,
    enough_said,
    methods,
    read_ranked,
    selective_said,
)
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import number


def neuron_ranked(view: View) -> Section | None:
    """Curves, correlations and a table; nothing where neurons were not ranked."""
    found = read_ranked(view)
    if not found:
        return None
    parts = list(by_contrast(found).values())
    says = [
        text for part in parts for text in (enough_said(view, part), selective_said(part)) if text
    ]
    html = render(
        "sections/neuron_ranked.html",
        says=says,
        ranking=next((one.ranking for one in found if one.ranking), "a ranking"),
        curves=inline(partial(subset_curves, view, found), "Accuracy by number of neurons")
        if any(one.trained for one in found)
        else None,
        some=LAYERS if any(len(part) > len(some_layers(part)) for part in parts) else 0,
        maps=inline(partial(agreement_maps, view, found), "Correlation of every two rankings")
        if methods(found)
        else None,
        rows=[_row(view, one) for one in found],
    )
    return Section("neurons-ranked", "How few neurons are enough?", "Ranked", html)


def _row(view: View, one: Ranked) -> dict[str, Any]:
    def shown(value: float) -> str:
        return number(value) if math.isfinite(value) else ""

    known = math.isfinite(one.accuracy) and math.isfinite(one.control)
    return {
        "contrast": one.contrast,
        "model": view.models[one.model].label,
        "layer": one.layer,
        "full": shown(one.full),
        "guess": shown(one.guess),
        "minimal": f"{one.minimal:,.0f} of {one.width:,}" if math.isfinite(one.minimal) else "",
        "accuracy": shown(one.accuracy),
        "control": shown(one.control),
        "gap": number(one.accuracy - one.control) if known else "",
        "units": f"{one.units:,}",
    }
