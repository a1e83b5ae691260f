"""What the clusters are: held against phones, classes, gender and speakers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from voxstrata.report.figure_meetings import drawn_matches, owner, shares, spoken_of
from voxstrata.report.inline import inline
from voxstrata.report.neuron_view import Match
from voxstrata.report.neuron_words import meeting_said
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import number


def neuron_matches(view: View) -> Section | None:
    """Heat maps of shares and a table of measures; nothing where nothing was clustered."""
    if not view.meetings:
        return None
    drawn = drawn_matches(view)
    figures = [
        inline(
            partial(shares, view, mine),
            f"Shares of known classes in each cluster of {clusters}",
            "Colours from 0 (dark) to 1 (bright), or to the share that the title names; a row adds "
            "up to 1.",
        )
        for clusters in dict.fromkeys(m.clusters for m in drawn)
        if (mine := [m for m in drawn if m.clusters == clusters])
    ]
    html = render(
        "sections/neuron_matches.html",
        says=[
            text for match in spoken_of(view) if (text := meeting_said(owner(view, match), match))
        ],
        figures=figures,
        rows=[_row(view, match) for match in view.meetings],
        wide=len(drawn) < len(spoken_of(view)),
        bare=any(not _has_interval(m) for m in view.meetings),
    )
    return Section("neurons-clusters", "What are the clusters?", "Clusters", html)


def _of_twin(view: View, match: Match) -> bool:
    return any(m.spec == match.spec and m.twin_of is not None for m in view.models)


def _has_interval(match: Match) -> bool:
    return any(math.isfinite(low) for _, low, _, _ in match.measures.values())


def _row(view: View, match: Match) -> dict[str, Any]:
    return {
        "clusters": match.clusters,
        "owner": owner(view, match),
        "layer": match.layer,
        "classes": match.classes,
        "unit": match.unit,
        "twin": _of_twin(view, match),
        "cells": [_cell(match, name) for name in ("purity", "inverse-purity", "nmi", "ari")],
    }


def _cell(match: Match, measure: str) -> dict[str, str]:
    if measure not in match.measures:
        return {"value": "", "interval": "", "chance": ""}
    value, low, high, chance = match.measures[measure]
    known = math.isfinite(low) and math.isfinite(high)
    return {
        "value": number(value),
        "interval": f"{number(low)} to {number(high)}" if known else "",
        "chance": number(chance) if math.isfinite(chance) else "",
    }
