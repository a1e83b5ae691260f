"""One heat map a model and a pair of models, large enough to read."""

from __future__ import annotations

from voxstrata.report.section import Section, render
from voxstrata.report.view import View


def pairs(view: View) -> Section | None:
    """Small multiples; drawn by the same script and chart as the big matrix."""
    if view.parts or not view.facets or len(view.layers) < 2:
        return None
    html = render("sections/pairs.html", several=len(view.models) > 1)
    return Section("pairs", "Model by model", "Pairs", html, scripts=("matrix.js",))
