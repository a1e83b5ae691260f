"""Vega-Lite charts without data: the page's scripts fill the named data sets in the browser.

Positions in a matrix are pixels computed by the script (gaps between models, thinned labels),
so its scales are ``None``; colours of text come from the page's theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import altair as alt

SCHEME = "viridis"
"""Perceptually uniform, readable in print and with colour-vision deficiencies."""


def matrix_chart() -> dict[str, Any]:
    """A heat map: data sets ``cells`` (x, x2, y, y2, v), ``texts`` (x, y, text, angle, align,
    weight), ``marks`` (x, y, tie) for best matches, ``cursor`` (x, x2, y, y2). All but the texts
    name their cell (i, j): what lies over a cell must not hide it from the pointer."""
    told = alt.TooltipContent("data")
    x = alt.X("x:Q", scale=None, axis=None)
    y = alt.Y("y:Q", scale=None, axis=None)
    colour = alt.condition(
        "isValid(datum.v)",
        alt.Color("v:Q", scale=alt.Scale(scheme=SCHEME, domain=[0, 1], clamp=True), legend=None),
        alt.value("#8f8f8f"),
    )
    cells = (
        alt.Chart(alt.NamedData("cells"))
        .mark_rect(tooltip=told)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=colour)
    )
    texts = [
        alt.Chart(alt.NamedData("texts"))
        .transform_filter(f"datum.kind === '{kind}'")
        .mark_text(align=align, baseline="middle", angle=angle, fontSize=size, fontWeight=weight)
        .encode(x=x, y=y, text="text:N")
        for kind, align, angle, size, weight in (
            ("row", "right", 0, 10, "normal"),
            ("column", "center", 0, 10, "normal"),
            ("column-turned", "right", 270, 10, "normal"),
            ("model-row", "right", 0, 12, "bold"),
            ("model-column", "left", 325, 12, "bold"),
        )
    ]
    values = (
        alt.Chart(alt.NamedData("cells"))
        .transform_filter("datum.text")
        .mark_text(baseline="middle", fontSize=10, dx=0, tooltip=told)
        .encode(
            x=alt.X("cx:Q", scale=None, axis=None),
            y=alt.Y("cy:Q", scale=None, axis=None),
            text="text:N",
            color=alt.condition("datum.light", alt.value("#111"), alt.value("#fff")),
        )
        .properties()
    )
    dots = (
        alt.Chart(alt.NamedData("marks"))
        .mark_point(size=26, strokeWidth=1.4, stroke="#fff", tooltip=told)
        .encode(
            x=x,
            y=y,
            fill=alt.condition("datum.tie === false", alt.value("#fff"), alt.value("transparent")),
        )
    )
    cursor = (
        alt.Chart(alt.NamedData("cursor"))
        .mark_rect(fillOpacity=0, stroke="#ff4d4d", strokeWidth=2, tooltip=told)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
    )
    return plain_spec(alt.layer(cells, values, dots, cursor, *texts))


def path_chart() -> dict[str, Any]:
    """Two panels over the relative depth of one model's layers: how similar the best match in
    each other model is, with its interval, and how deep in the other model it lies. Data set
    ``points`` (model, depth, value, low, high, other, tie, and what the tooltip shows)."""
    depth = alt.X(
        "depth:Q", title="relative depth of the layer", scale=alt.Scale(domain=[0, 1], nice=False)
    )
    colour = alt.Color("model:N", scale=alt.Scale(domain=[], range=[]), legend=None)
    value = alt.Y("value:Q", title="similarity of best match", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(alt.NamedData("points"))
    band = base.mark_area(opacity=0.16).encode(
        x=depth, y=alt.Y("low:Q", title="similarity of best match"), y2="high:Q", color=colour
    )
    line = base.mark_line(strokeWidth=2).encode(x=depth, y=value, color=colour)
    bars = (
        base.transform_filter("datum.alone")
        .mark_rule(strokeWidth=2)
        .encode(x=depth, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    )
    left = alt.layer(band, bars, line, _points(base, depth, value, colour))
    other = alt.Y("other:Q", title="relative depth of best match", scale=alt.Scale(domain=[0, 1]))
    diagonal = (
        alt.Chart(alt.NamedData("diagonal"))
        .mark_line(strokeDash=[4, 4], opacity=0.6)
        .encode(
            x=alt.X("depth:Q", title="relative depth of the layer"),
            y=alt.Y("other:Q"),
            color=alt.value("#8a8a8a"),
        )
    )
    steps = base.mark_line(strokeWidth=1.5, opacity=0.7).encode(x=depth, y=other, color=colour)
    right = alt.layer(diagonal, steps, _points(base, depth, other, colour))
    size = {"width": 440, "height": 230}
    return plain_spec(alt.hconcat(left.properties(**size), right.properties(**size), spacing=44))


def step_chart() -> dict[str, Any]:
    """Similarity of each layer with the next one over relative depth; data set ``points``."""
    depth = alt.X(
        "depth:Q", title="relative depth of the step", scale=alt.Scale(domain=[0, 1], nice=False)
    )
    colour = alt.Color("model:N", scale=alt.Scale(domain=[], range=[]), legend=None)
    value = alt.Y(
        "value:Q",
        title="similarity of layer l with l+1",
        scale=alt.Scale(zero=False, nice=True),
    )
    base = alt.Chart(alt.NamedData("points"))
    band = base.mark_area(opacity=0.16).encode(
        x=depth, y=alt.Y("low:Q", title="similarity of layer l with l+1"), y2="high:Q", color=colour
    )
    bars = (
        base.transform_filter("datum.alone")
        .mark_rule(strokeWidth=2)
        .encode(x=depth, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    )
    line = base.mark_line(strokeWidth=2).encode(x=depth, y=value, color=colour)
    chart = alt.layer(band, bars, line, _points(base, depth, value, colour))
    return plain_spec(chart.properties(width=860, height=300))


def _points(base: alt.Chart, x: alt.X, y: alt.Y, colour: alt.Color) -> alt.Chart:
    """Points: filled where the match is clear, hollow where the data do not tell."""
    return base.mark_point(size=46, strokeWidth=1.6, tooltip=alt.TooltipContent("data")).encode(
        x=x,
        y=y,
        color=colour,
        fill=alt.condition("datum.tie === true", alt.value("transparent"), colour),
    )


def literal(channel: Any, field: str = "colour") -> Any:
    """A channel whose values stand in the data as they are drawn: no scale, no legend.

    Args:
        channel: ``alt.Color``, ``alt.Stroke``, ``alt.Fill`` or ``alt.Shape``.
        field: where in the data.
    """
    return channel(f"{field}:N", scale=None, legend=None)


def line_patterns(patterns: Mapping[str, Sequence[float]]) -> alt.StrokeDash:
    """Line patterns by the names that the field ``dash`` of the data has."""
    scale = alt.Scale(domain=list(patterns), range=[list(one) for one in patterns.values()])
    return alt.StrokeDash("dash:N", scale=scale, legend=None)


def hit_area(size: float) -> dict[str, Any]:
    """The mark of points that are not seen but pointed at: easier to meet than those that are."""
    return {"size": size, "opacity": 0, "filled": True, "tooltip": alt.TooltipContent("data")}


def spot_layers(x: alt.X, y: alt.Y, *, reach: float, **mark: Any) -> list[alt.Chart]:
    """The data set ``spots`` (x, y, colour, fill, shape, lines): points, and what is pointed at.

    Args:
        x, y: where they lie.
        reach: size of what is pointed at.
        mark: size and strokes of the points.
    """
    spots = alt.Chart(alt.NamedData("spots"))
    drawn = spots.mark_point(opacity=1, **mark).encode(
        x=x,
        y=y,
        stroke=literal(alt.Stroke),
        fill=literal(alt.Fill, "fill"),
        shape=literal(alt.Shape, "shape"),
    )
    return [drawn, spots.mark_point(**hit_area(reach)).encode(x=x, y=y)]


def plain_spec(chart: Any) -> dict[str, Any]:
    """A chart as the page holds it: no schema address, no theme."""
    made = cast(dict[str, Any], chart.to_dict())
    for key in ("$schema", "config"):
        made.pop(key, None)
    return made
