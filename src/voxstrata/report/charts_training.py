"""The Vega-Lite chart of something over training steps; the page's script fills its data sets.

Data sets: ``raw`` (x, y, series, colour), ``smooth`` (the same), ``dots`` (the same),
``points`` (x, y, lines) for what is read by pointing.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from voxstrata.report.charts import hit_area, literal, plain_spec


def training_chart() -> dict[str, Any]:
    """As logged in a faint line, smoothed in a strong one; few points as dots."""
    x = alt.X("x:Q", title="step", scale=alt.Scale(nice=False, zero=False))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False))
    colour = literal(alt.Color)
    shared = {"x": x, "y": y, "color": colour}
    layers = [
        alt.Chart(alt.NamedData("raw"))
        .mark_line(strokeWidth=1, opacity=0.32)
        .encode(detail="series:N", **shared),
        alt.Chart(alt.NamedData("smooth"))
        .mark_line(strokeWidth=2)
        .encode(detail="series:N", **shared),
        alt.Chart(alt.NamedData("dots"))
        .mark_point(size=30, filled=True, opacity=1)
        .encode(**shared),
        alt.Chart(alt.NamedData("points")).mark_point(**hit_area(130)).encode(x=x, y=y),
    ]
    return plain_spec(alt.layer(*layers))
