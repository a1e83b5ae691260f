"""The Vega-Lite chart of scores, or differences, by size; the page's script fills its data sets.

Data sets: ``bands`` (low, high) and ``levels`` (y, colour, dash) that go across, ``bars`` (x, low,
high, colour), ``means`` (x, y, series, colour), ``spots`` (x, y, colour, fill, shape, lines).
"""

from __future__ import annotations

from typing import Any

import altair as alt

from voxstrata.report.charts import line_patterns, literal, plain_spec, spot_layers

DASHES: dict[str, list[float]] = {"whole": [1, 0], "plain": [5, 4], "zero": [1, 0]}
"""Line patterns of what goes across."""


def protection_chart() -> dict[str, Any]:
    """Points with intervals, a line through their means, and what they are held against."""
    x = alt.X("x:Q", title="rows left", scale=alt.Scale(domain=[0, 1], nice=False, zero=False))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False, zero=False))
    low = alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False, zero=False))
    colour = literal(alt.Color)
    dash = line_patterns(DASHES)
    layers = [
        alt.Chart(alt.NamedData("bands"))
        .mark_rect(color="#8c8c8c", opacity=0.18, clip=True)
        .encode(y=low, y2="high:Q"),
        alt.Chart(alt.NamedData("levels"))
        .mark_rule(strokeWidth=1.4, clip=True)
        .encode(y=y, color=colour, strokeDash=dash),
        alt.Chart(alt.NamedData("bars"))
        .mark_rule(strokeWidth=1.5, opacity=0.75, clip=True)
        .encode(x=x, y=low, y2="high:Q", color=colour),
        alt.Chart(alt.NamedData("means"))
        .mark_line(strokeWidth=1.7, clip=True)
        .encode(x=x, y=y, detail="series:N", color=colour),
        *spot_layers(x, y, reach=190, size=44, strokeWidth=1.7, clip=True),
    ]
    return plain_spec(alt.layer(*layers))
