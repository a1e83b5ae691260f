"""How many neurons tell groups apart, and how many would by chance: table and figures by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from voxstrata.report import neuron_words as words
from voxstrata.report.charts_neurons import count_chart
from voxstrata.report.figure_neurons import MANY, contrasts, shown_groups
from voxstrata.report.layer_picks import neurons_of
from voxstrata.report.neuron_view import Count, Selection, short_layers
from voxstrata.report.peaks import looks
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import capital

TOLD = 12
"""Sentences on the first screen; the others are folded away below it."""

PLAIN = {
    "speaker": "labels of speakers",
    "recording": "labels of recordings",
    "labels of whole speakers": "labels of recordings, those of a speaker together",
}
"""What was dealt anew, for the table."""


def neurons(view: View) -> Section | None:
    """Observed and null counts; nothing for results of another kind."""
    left_out = _left_out(view)
    if not words.is_neurons(view) or not (view.selections or left_out):
        return None
    panels: list[dict[str, Any]] = []
    parts = []
    for contrast in contrasts(view):
        mine = [s for s in words.trained(view) if s.contrast == contrast]
        shown = []
        for selection in mine:
            for group in ["", *shown_groups(selection)]:
                shown.append({"at": len(panels), "title": _title(view, selection, group, mine)})
                panels.append(_panel(view, selection, group))
        parts.append(
            {
                "name": contrast,
                "says": [
                    *(_says(view, mine[0]) if len(mine) == 1 else []),
                    *(" ".join(_says(view, s)) for s in mine if len(mine) > 1),
                    *filter(None, [words.easy_null_said(view, mine)]),
                ],
                "panels": shown,
                "many": max((len(s.groups) for s in mine), default=0)
                if any(len(s.groups) > MANY for s in mine)
                else 0,
            }
        )
    html = render(
        "sections/neurons.html",
        rule=words.rule_said(view),
        rows=[_row(view, s) for s in _in_order(view)],
        parts=parts,
        twins=any(words.twin_of(view, s) for s in view.selections),
        blind=[s.contrast for s in words.trained(view) if not s.total.has_null],
        left_out=left_out,
    )
    return Section(
        "neurons",
        "How many neurons tell groups apart, and how many by chance?",
        "Neurons",
        html,
        data={"panels": panels},
        specs={"neurons": count_chart()} if panels else {},
        scripts=("neurons.js",) if panels else (),
        shows=_beside(view) if panels else (),
        layers=tuple((panel["owner"], tuple(panel["layers"])) for panel in panels),
    )


def _beside(view: View) -> tuple[str, ...]:
    """What stands beside the counts and can be switched off: twins, and what chance gives."""
    found = {
        "twins": any(words.twin_of(view, s) for s in view.selections),
        "controls": any(s.total.has_null for s in view.selections),
    }
    return tuple(name for name, there in found.items() if there)


def neurons_findings(view: View) -> list[dict[str, Any]]:
    """A sentence a contrast and model, then tests and gender, as the opening's template wants."""
    if not words.is_neurons(view) or not view.selections:
        return []
    told = words.trained(view)
    if len(told) > 1:
        says = [
            " ".join(filter(None, [words.counts_said(view, s), words.twin_said(view, s)]))
            for s in told
        ]
        tests = words.all_tests_said(view, told)
    else:  # the first sentence of the page has told the counts
        says = [words.twin_said(view, s) for s in told]
        tests = " ".join(words.single_tests_said(s) for s in told)
    gender = [f"{_lead(view, s)}{text}" for s in told if (text := words.survivors_said(s))]
    says = [text for text in (*says, words.easy_null_said(view, told), tests) if text]
    every = [*says, *gender]
    first = every if len(every) <= TOLD else says[:TOLD]
    more = every[len(first) :]
    return [
        {
            "about": "what passes the published rule, and what chance gives",
            "says": first,
            "cautions": [],
            "more": more,
            "more_title": f"{len(more)} more sentences",
        }
    ]


def neurons_tiles(view: View) -> list[tuple[str, str]]:
    """Neurons looked at, and contrasts."""
    told = words.trained(view)
    models = {s.model: s.neurons for s in told}
    found = [(f"{sum(models.values()):,}", "neurons")] if models else []
    asked = len(contrasts(view))
    return [*found, (f"{asked:,}", "contrast" if asked == 1 else "contrasts")]


def _lead(view: View, selection: Selection) -> str:
    several = len({s.model for s in words.trained(view)}) > 1
    of = f" of {view.models[selection.model].label}" if several else ""
    return f"{selection.contrast}{of}: " if len(words.trained(view)) > 1 else ""


def _says(view: View, selection: Selection) -> list[str]:
    texts = (
        capital(words.counts_said(view, selection).removeprefix(f"{selection.contrast}: ")),
        words.twin_said(view, selection),
        words.single_tests_said(selection),
        words.survivors_said(selection),
    )
    return [text for text in texts if text]


def _in_order(view: View) -> list[Selection]:
    """Contrast by contrast, each model with its twin behind it."""
    found = []
    for contrast in contrasts(view):
        for s in words.trained(view):
            if s.contrast == contrast:
                found += [one for one in (s, words.twin_of(view, s)) if one is not None]
    return found


def _row(view: View, selection: Selection) -> dict[str, Any]:
    count, model = selection.total, view.models[selection.model]
    return {
        "contrast": selection.contrast,
        "model": model.label,
        "twin": model.twin_of is not None,
        "groups": f"{len(selection.groups):,}",
        "found": words.called(count.observed),
        "chance": words.chance(count) if count.has_null else "not known",
        "surplus": _signed(count.surplus) if count.has_null else "",
        "p": f"{count.p:.3f}" if math.isfinite(count.p) else "",
        "more": count.verdict == "more",
        "tested": words.called(selection.tested) if math.isfinite(selection.tested) else "",
        "dealt": PLAIN.get(selection.moved, selection.moved) if count.has_null else "",
        "units": f"{selection.units:,}" if count.has_null else "",
    }


def _signed(value: float) -> str:
    text = words.called(abs(round(value)))
    return f"+{text}" if round(value) > 0 else f"−{text}" if round(value) < 0 else "0"


def _title(view: View, selection: Selection, group: str, mine: Sequence[Selection]) -> str:
    of = f"{view.models[selection.model].label}: " if len(mine) > 1 else ""
    return f"{of}{group or 'any group'}"


def _panel(view: View, selection: Selection, group: str) -> dict[str, Any]:
    """A panel as the script draws it; no value is NaN."""
    axis, names = short_layers(selection.layers)
    twin = words.twin_of(view, selection)
    sides: list[dict[str, Any]] = [
        {
            "colour": looks(view)[one.model][0],
            "hollow": one is twin,
            "found": [
                _packed(view, one, layer, group, count)
                for layer, count in zip(
                    selection.layers, _counts(one, group, selection), strict=True
                )
            ],
        }
        for one in (selection, twin)
        if one is not None
    ]
    shown = (v for side in sides for f in side["found"] for v in (f["y"], f["high"]) if v)
    top = max([1.0, *shown])
    return {
        "owner": neurons_of(view, selection.model),
        "axis": axis,
        "layers": names,
        "turned": max((len(name) for name in names), default=0) > 3,
        "sides": sides,
        "top": top,
    }


def _counts(one: Selection, group: str, as_in: Selection) -> list[Count]:
    """Counts in the layers of the model, whatever its twin has."""
    counts: Sequence[Count] = one.by_group.get(group, ()) if group else one.by_layer
    of: Mapping[str, Count] = dict(zip(one.layers, counts, strict=False))
    return [of.get(layer, Count(math.nan)) for layer in as_in.layers]


def _packed(view: View, one: Selection, layer: str, group: str, count: Count) -> dict[str, Any]:
    lines = [
        f"{view.models[one.model].label}, {layer}",
        group or "any group",
        f"{words.called(count.observed)} found",
    ]
    if count.has_null:
        p = words.p_value(count.p)
        lines.append(f"{words.chance(count)} with labels dealt anew{', ' + p if p else ''}")
    return {
        "y": count.observed if math.isfinite(count.observed) else None,
        "mean": round(count.mean, 3) if count.has_null else None,
        "low": round(count.low, 3) if count.has_null else None,
        "high": round(count.high, 3) if count.has_null else None,
        "lines": lines,
    }


def _left_out(view: View) -> list[tuple[str, str]]:
    told = view.record.get("left_out")
    items = told if isinstance(told, list) else []
    return [
        (str(item.get("name", "?")), str(item.get("reason", "")))
        for item in items
        if isinstance(item, Mapping)
    ]
