"""P2023's two claims: one layer against the sum, and whether properties foretell tasks."""

from __future__ import annotations

from functools import partial
from typing import Any

from voxstrata.report import claim_words
from voxstrata.report.figure_claims import link_maps, sum_against_layer
from voxstrata.report.inline import inline
from voxstrata.report.join import part_names
from voxstrata.report.probing_claims import (
    Link,
    by_model,
    claimed,
    has_both,
    is_exact,
    links,
    p_value,
)
from voxstrata.report.probing_view import Gain, cell, gains, ordered, probing_parts, tasks
from voxstrata.report.probing_words import ends, figure
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import number


def probing_claims(view: View) -> Section | None:
    """The two questions; nothing for a page without a probing run that has sums or properties."""
    parts = probing_parts(view)
    runs = [run for part in parts if (run := _run(view, part)) is not None]
    both = has_both(view)
    if not runs and not both:
        return None
    html = render(
        "sections/probing_claims.html",
        runs=runs,
        joined=bool(view.parts),
        both=both,
        foretold=_foretold(view) if both else None,
    )
    return Section("probing-claims", "Does one layer do as well as the sum?", "One layer", html)


def _run(view: View, part: View) -> dict[str, Any] | None:
    """One probing run: the sum against the best layer."""
    held = gains(part)
    if not held:
        return None
    drawn = inline(
        partial(sum_against_layer, part, held),
        "What the sum brings over the best single layer, by task and model, with intervals",
        "Points: the score of the sum less that of the best single layer, which was chosen on dev, "
        "both tested on the same recordings. Turned so that right of 0 the sum is better, for "
        "error rates too. Lines: paired 95 % intervals.",
    )
    several = len(probing_parts(view)) > 1
    names = dict(zip(map(id, view.parts), part_names(view.parts), strict=True))
    models = [i for i in ordered(part) if any(gain.model == i for gain in held)]
    return {
        "name": names[id(part)] if several else "",
        "says": claim_words.sum_against_layer(part, held),
        "models": [
            claim_words.model_said(part, [g for g in held if g.model == i])
            for i in models
            if part.models[i].twin_of is None
        ],
        "figure": drawn,
        "tasks": [str(task.get("title")) for task in tasks(part)],
        "rows": [_row(part, i, held) for i in models],
    }


def _row(view: View, model: int, held: list[Gain]) -> dict[str, Any]:
    shown = view.models[model]
    cells: list[dict[str, str] | None] = []
    for task in tasks(view):
        found = cell(view, task, shown.spec)
        gain = next((g for g in held if g.model == model and g.task is task), None)
        if found is None or gain is None:
            cells.append(None)
            continue
        main = str(task.get("main"))
        cells.append(
            {
                "sum": figure(main, found.whole.value),
                "layer": found.best[0],
                "best": figure(main, found.best[1].value),
                "more": figure(gain.measure, gain.more.value, signed=True),
                "interval": ends(gain.measure, gain.more, signed=True),
                "verdict": gain.verdict,
            }
        )
    return {"model": shown.label, "twin": shown.twin_of is not None, "cells": cells}


def _foretold(view: View) -> dict[str, Any]:
    """Properties against tasks."""
    found = links(view)
    picked = claimed(found)
    labels = {model.spec: model.label for model in view.models}
    twins = {model.spec for model in view.models if model.twin_of is not None}
    groups = {
        f"{labels[spec]} ({beside})" if beside else labels[spec]: held
        for (spec, beside), held in by_model(found).items()
        if any(link.is_known for link in held)
    }
    drawn = None
    if groups:
        drawn = inline(
            partial(link_maps, groups),
            "Rank correlation over layers of each property with each task, a map a model",
            "Spearman's correlation over the layers of a model between a property and the score of "
            "a head on each layer alone; blue: layers with more of the property do the task better "
            "(error rates and distances are turned round). Framed: the pairs that the claim is "
            "about. Grey: no correlation, for want of layers or of variation. With so many pairs, "
            "some are high by chance.",
        )
    return {
        "says": claim_words.foretold(view, picked),
        "doubts": claim_words.doubts(picked) if any(link.is_known for link in picked) else [],
        "figure": drawn,
        "rows": [_link_row(link, labels[link.model], link.model in twins) for link in picked],
        "shared": bool(found),
    }


def _link_row(link: Link, label: str, twin: bool) -> dict[str, str]:
    p = p_value(link) if link.is_known else None
    return {
        "property": link.asked.title,
        "task": str(link.task.get("title")) + (" (trained shortly)" if link.screened else ""),
        "model": f"{label} (untrained)" if twin else label,
        "beside": link.beside,
        "rho": number(link.rho) if link.is_known else "",
        "n": str(len(link.layers)),
        "p": "" if p is None else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        "how": "" if p is None else ("all orders" if is_exact(link) else "drawn orders"),
        "layers": ", ".join(link.layers),
    }
