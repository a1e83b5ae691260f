"""The Vega-Lite chart of neurons by layer beside chance; the page's script fills its data sets.

Data sets: ``bands`` (layer, side, low, high), ``means`` (layer, side, mean), ``lines`` (layer,
side, y, colour, dash), ``dots`` (layer, side, y, colour, fill, lines). ``side`` puts a model and
its twin side by side.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from voxstrata.report.charts import hit_area, literal, plain_spec


def count_chart() -> dict[str, Any]:
    """What was found as dots, what dealt labels give as grey bars with their mean as a tick."""
    # Layers come in order; the script gives the whole list as the domain.
    x = alt.X("layer:O", title="layer", sort=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    side = alt.XOffset("side:O", scale=alt.Scale(domain=[]))
    low = alt.Y("low:Q", title="neurons", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1))
    colour = literal(alt.Color)
    layers = [
        alt.Chart(alt.NamedData("bands"))
        .mark_bar(color="#9a9a9a", opacity=0.45)
        .encode(x=x, xOffset=side, y=low, y2="high:Q"),
        alt.Chart(alt.NamedData("means"))
        .mark_tick(color="#7a7a7a", thickness=1.6, orient="horizontal")
        .encode(x=x, xOffset=side, y=alt.Y("mean:Q")),
        alt.Chart(alt.NamedData("dots"))
        .mark_point(size=48, strokeWidth=1.8, opacity=1)
        .encode(
            x=x, xOffset=side, y="y:Q", stroke=literal(alt.Stroke), fill=literal(alt.Fill, "fill"),
        ),
        alt.Chart(alt.NamedData("dots"))
        .mark_point(**hit_area(240))
        .encode(x=x, xOffset=side, y="y:Q", color=colour),
    ]  # fmt: skip
    return plain_spec(alt.layer(*layers))
