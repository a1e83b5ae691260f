"""The Vega-Lite chart of one model's layers in one task; the page's script fills its data sets and
repeats it, one below the other, for scores, weights and losses.

Data sets: ``bands`` (low, high) and ``levels`` (y, colour, dash) across the figure, ``bars``
(layer, y), ``errors`` (layer, low, high, colour), ``curves`` (layer, y, series, colour, dash),
``dots`` (layer, y), ``spots`` (layer, y, colour, fill, shape, lines) for what is read by pointing.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from voxstrata.report.charts import line_patterns, literal, plain_spec, spot_layers

DASHES: dict[str, list[float]] = {"plain": [1, 0], "twin": [5, 4], "even": [1.5, 3]}
"""Line patterns: of the model and its sum, of the twin, and of equal weights."""


def layer_chart(colour: str, level: str) -> dict[str, Any]:
    """Bars, curves with intervals, dots and lines across, over layers.

    Args:
        colour: of the model's bars and dots.
        level: of bands across the figure.
    """
    # Layers come in order; the script gives the list of those on view as the domain.
    x = alt.X("layer:O", title=None, sort=None, axis=alt.Axis(labelOverlap=True))
    y = alt.Y("y:Q", title=None, axis=alt.Axis(tickCount=3))
    low = alt.Y("low:Q", title=None)
    own = literal(alt.Color)
    dash = line_patterns(DASHES)
    layers = [
        alt.Chart(alt.NamedData("bands"))
        .mark_rect(color=level, opacity=0.12)
        .encode(y=low, y2="high:Q"),
        alt.Chart(alt.NamedData("bars")).mark_bar(color=colour, opacity=0.3).encode(x=x, y=y),
        alt.Chart(alt.NamedData("levels"))
        .mark_rule(strokeWidth=1.2)
        .encode(y=y, color=own, strokeDash=dash),
        alt.Chart(alt.NamedData("errors"))
        .mark_rule(strokeWidth=1.3, opacity=0.6)
        .encode(x=x, y=low, y2="high:Q", color=own),
        alt.Chart(alt.NamedData("curves"))
        .mark_line(strokeWidth=1.6)
        .encode(x=x, y=y, detail="series:N", color=own, strokeDash=dash),
        alt.Chart(alt.NamedData("dots"))
        .mark_point(size=9, filled=True, opacity=0.9, color=colour)
        .encode(x=x, y=y),
        *spot_layers(x, y, reach=150, size=26, strokeWidth=1.3),
    ]
    return plain_spec(alt.layer(*layers))
