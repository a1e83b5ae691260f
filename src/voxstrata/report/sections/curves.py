"""What each layer encodes: one figure a property, and all of them small on one view."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from voxstrata.report import curve_words
from voxstrata.report.charts_curves import curve_chart
from voxstrata.report.curve_view import PropertyCurves, Variant
from voxstrata.report.layer_picks import offered
from voxstrata.report.meanings import meanings
from voxstrata.report.pack_curves import pack_curves
from voxstrata.report.peaks import control_names, in_order
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import CONTROLS, counted

TOLD_MODELS = 8
"""Models described in a sentence each; the table of peaks has all."""


def curves(view: View) -> Section | None:
    """Curves of every property; nothing for results of another kind."""
    if not view.curves:
        return None
    places = {asked.key: at for at, asked in enumerate(view.curves)}
    groups = [
        {
            "name": name,
            "properties": [_property(view, asked, places[asked.key]) for asked in found],
        }
        for name, found in groupby(view.curves, key=lambda asked: asked.group)
    ]
    controls = [
        f"{label} ({about})" if about else label
        for label, about in (
            CONTROLS.get(name, (name.replace("-", " "), "")) for name in control_names(view)
        )
    ]
    html = render(
        "sections/curves.html",
        groups=groups,
        several=len(view.curves) > 1,
        twins=any(model.twin_of is not None for model in view.models),
        shared=sum(model.twin is not None for model in view.models)
        > sum(model.twin_of is not None for model in view.models),
        controls=controls,
        meanings=meanings(asked.main.measure for asked in view.curves),
    )
    return Section(
        "curves",
        "What does each layer encode?",
        "Curves",
        html,
        data=pack_curves(view),
        specs={"curves": curve_chart()},
        scripts=("curves.js",),
        bar=render("sections/curves_bar.html"),
        shows=_beside(view),
        layers=offered(view),
    )


def _beside(view: View) -> tuple[str, ...]:
    """What stands beside the curves of these results and can be switched off."""
    curves = [c for asked in view.curves for v in asked.variants for c in v.curves]
    found = {
        "twins": any(model.twin_of is not None for model in view.models),
        "controls": bool(control_names(view)),
        "intervals": any(point.has_interval for curve in curves for point in curve.points),
    }
    return tuple(name for name, there in found.items() if there)


def _property(view: View, asked: PropertyCurves, at: int) -> dict[str, Any]:
    models = [m for m in in_order(view) if view.models[m].twin_of is None]
    return {
        "at": at,
        "key": asked.key,
        "title": asked.title,
        "name": asked.name,
        "unit": asked.unit,
        "variants": [
            {
                "label": variant.label,
                "says": _says(view, variant, models),
                "cautions": curve_words.caveats(view, asked, variant),
            }
            for variant in asked.variants
        ],
        "draws": counted(len(asked.facts), "draw"),
        "facts": [
            json.dumps(facts, indent=2, ensure_ascii=False, default=str) for facts in asked.facts
        ],
    }


def _says(view: View, variant: Variant, models: list[int]) -> list[str]:
    """A sentence for each model, then whether the best one is told apart from the others."""
    each = [said for m in models if (said := curve_words.model_said(view, variant, m))]
    told = each[:TOLD_MODELS]
    if more := len(each) - len(told):
        told.append(f"{counted(more, 'more model')}: see the table of peaks.")
    return [text for text in (*told, curve_words.verdict(view, variant)) if text]
