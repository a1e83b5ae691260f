"""The Vega-Lite chart of curves over layers; the page's script fills its data sets.

Colours and shapes are literals in the data, so that a model looks the same in every figure
whatever else is shown. Data sets: ``points`` (x, y, low, high, series, colour, shape, dash,
lines), ``controls`` (x, y, series, dash, lines), ``alone`` (y, colour) for models of a single
layer, ``peaks`` (x, y, colour).
"""

from __future__ import annotations

from typing import Any

import altair as alt

from voxstrata.report.charts import hit_area, line_patterns, literal, plain_spec

DASHES: dict[str, list[float]] = {
    "trained": [1, 0],
    "untrained": [5, 4],
    "control-0": [1, 0],
    "control-1": [6, 3],
    "control-2": [2, 2],
    "control-3": [8, 2, 2, 2],
    "control-4": [1, 4],
    "control-5": [12, 4],
    "control-6": [4, 2, 1, 2, 1, 2],
}
"""Line patterns: of models, and of controls by their order."""


def curve_chart() -> dict[str, Any]:
    """Curves with bands, controls, peaks and points that can be pointed at."""
    x = alt.X("x:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False, zero=False))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False))
    low = alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False))
    colour = literal(alt.Color)
    shape = literal(alt.Shape, "shape")
    dash = line_patterns(DASHES)
    points = alt.Chart(alt.NamedData("points"))
    controls = alt.Chart(alt.NamedData("controls"))
    hit = hit_area(170)
    layers = [
        alt.Chart(alt.NamedData("alone"))
        .mark_rule(strokeWidth=1.2, strokeDash=[1.5, 3], clip=True)
        .encode(y=y, color=colour),
        controls.mark_line(strokeWidth=1, opacity=0.75, clip=True).encode(
            x=x, y=y, detail="series:N", strokeDash=dash, color=alt.value("#8c8c8c")
        ),
        points.mark_area(opacity=0.15, clip=True).encode(
            x=x, y=low, y2="high:Q", detail="series:N", color=colour
        ),
        points.transform_filter("datum.single && isValid(datum.low)")
        .mark_rule(strokeWidth=1.6, clip=True)
        .encode(x=x, y=low, y2="high:Q", color=colour),
        points.mark_line(strokeWidth=1.9, clip=True).encode(
            x=x, y=y, detail="series:N", color=colour, strokeDash=dash
        ),
        points.mark_point(size=26, filled=True, opacity=1, clip=True).encode(
            x=x, y=y, color=colour, shape=shape
        ),
        alt.Chart(alt.NamedData("peaks"))
        .mark_point(size=150, strokeWidth=1.8, filled=False, opacity=1, shape="circle")
        .encode(x=x, y=y, color=colour),
        controls.mark_point(**hit, clip=True).encode(x=x, y=y),
        points.mark_point(**hit, clip=True).encode(x=x, y=y),
    ]
    return plain_spec(alt.layer(*layers))
