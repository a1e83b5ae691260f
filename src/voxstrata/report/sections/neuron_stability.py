"""Whether the same neurons come out again, and how far their patterns separate the groups."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from voxstrata.report.figure_maps import maps
from voxstrata.report.figure_neurons import (
    has_halves,
    has_sigma,
    has_silhouettes,
    sigma_curves,
    silhouettes,
    split_halves,
)
from voxstrata.report.inline import inline
from voxstrata.report.neuron_sweep import Variant, read_maps, variants, variants_said
from voxstrata.report.neuron_view import Selection
from voxstrata.report.neuron_words import called, is_neurons, trained
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import number


def neuron_stability(view: View) -> Section | None:
    """Three figures, each where there is something to draw."""
    if not is_neurons(view):
        return None
    parts: list[dict[str, Any]] = []
    if has_halves(view):
        parts.append(_halves(view))
    if has_sigma(view):
        parts.append(_sigma(view))
    if any(tried for _, tried in _tried(view)):
        parts.append(_settings(view))
    if has_silhouettes(view):
        parts.append(_silhouettes(view))
    if not parts:
        return None
    html = render(
        "sections/neuron_stability.html", parts=[{"more": None, "rows": [], **p} for p in parts]
    )
    return Section("neurons-stability", "Do the same neurons come out again?", "Stability", html)


def _halves(view: View) -> dict[str, Any]:
    return {
        "title": "In two halves of the recordings",
        "text": "The selection is made in two random halves of the recordings (of the speakers, "
        "where labels belong to speakers), many times. The Jaccard index is the number of neurons "
        "found in both halves over those found in either: 1 if both give the same set, 0 if they "
        "share none. Grey dashes: two random sets of the same sizes. Being above them is not yet "
        "an effect of the groups: some neurons pass the rule more easily than others, whatever "
        "the labels are, and come out twice for that reason.",
        "says": [text for s in trained(view) if (text := _halves_said(view, s))],
        "figure": inline(
            partial(split_halves, view),
            "Jaccard index of both halves by layer, beside chance",
            "Lines: 2.5 to 97.5 % of the halvings.",
        ),
    }


def _halves_said(view: View, selection: Any) -> str:
    known = [h for h in selection.halves if math.isfinite(h.value)]
    if not known:
        return ""
    values, chances = [h.value for h in known], [h.chance for h in known]
    of = (
        f" of {view.models[selection.model].label}"
        if len({s.model for s in trained(view)}) > 1
        else ""
    )
    text = f"{selection.contrast}{of}: {number(min(values))} to {number(max(values))} over layers"
    known_chance = [c for c in chances if math.isfinite(c)]
    return (
        f"{text}; random sets {number(max(known_chance))} at most." if known_chance else f"{text}."
    )


def _sigma(view: View) -> dict[str, Any]:
    return {
        "title": "With another sigma",
        "text": "Sigma is the share of a group's rows in which its neurons must be more active "
        "than chance. Curves that fall steeply near the line, the sigma of this run, say that the "
        "number found is one of many that could have been reported. The curve may also rise: a "
        "neuron that leaves one group's set becomes another's own. Steps are where few rows "
        "make a group: with three rows, 0.7 to 1 ask for all of them. Chance depends on "
        "sigma as well and was computed for the line only.",
        "says": [],
        "figure": inline(partial(sigma_curves, view), "Neurons of all layers by sigma"),
    }


def _tried(view: View) -> list[tuple[Selection, list[Variant]]]:
    return [(s, variants(view, s)) for s in trained(view)]


def _settings(view: View) -> dict[str, Any]:
    held = _tried(view)
    return {
        "title": "With other settings",
        "text": "The same selection with another number of clusters, another seed of k-means, or "
        "another share of neurons that count as active, one change at a time. The Jaccard index "
        "with the set asked for is 1 if the set stays the same; beside it what two random sets of "
        "these sizes share.",
        "says": [text for s, tried in held if (text := variants_said(s, tried))],
        "figure": None,
        "rows": [
            {
                "contrast": s.contrast,
                "model": view.models[s.model].label,
                "name": one.name,
                "neurons": called(one.neurons),
                "jaccard": number(one.jaccard),
                "chance": number(one.chance),
            }
            for s, tried in held
            for one in tried
        ],
    }


def _silhouettes(view: View) -> dict[str, Any]:
    return {
        "title": "Do the patterns separate the groups?",
        "text": "A row (one phone said by one group, say) turns some neurons on and others not. "
        "The silhouette says whether rows are nearer to rows of their own group (towards 1) or of "
        "another (below 0); 0 is neither. It is found from the patterns as they are, with two "
        "distances. The published way first lays the rows out on a map of two dimensions; that map "
        "is not needed for the number, depends on the program that draws it, and can show "
        "a separation that the patterns do not have or hide one that they have.",
        "says": [],
        "figure": inline(
            partial(silhouettes, view), "Silhouette of the groups by layer, by three ways"
        ),
        "more": inline(
            partial(maps, view),
            "Rows of every condition as points in the plane",
            "The map (MDS) of up to four layers of every contrast, a point a row; beside the layer "
            "the silhouettes of the map and of the patterns themselves, Euclidean.",
        )
        if read_maps(view)
        else None,
    }
