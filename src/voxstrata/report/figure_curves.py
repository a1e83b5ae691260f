"""Properties over layers for print: a panel a property, for one or two columns of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voxstrata.report.curve_view import Curve, Point, PropertyCurves, Variant
from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.peaks import control_names, depths, in_order, looks, peak
from voxstrata.report.view import View
from voxstrata.report.words import control_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTHS = {"double": (7.0, 4, 20), "single": (3.4, 2, 10)}
"""Width in inches, panels side by side and panels a figure, for two columns of a page and for
one; what does not fit on a page is cut into parts."""

MARKERS = ("o", "s", "^", "D", "v", "P")
CONTROL_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 3)),
    (0, (1.5, 1.5)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (1, 3)),
    (0, (9, 3)),
    (0, (3, 1.5, 1, 1.5, 1, 1.5)),
)
GREY = "#8c8c8c"


def pages(view: View, width: str) -> list[tuple[PropertyCurves, ...]]:
    """Properties cut into figures of about equal size."""
    count = -(-len(view.curves) // WIDTHS[width][2])
    size = -(-len(view.curves) // max(1, count))
    return [view.curves[i : i + size] for i in range(0, len(view.curves), max(1, size))]


def curve_panels(view: View, part: Sequence[PropertyCurves], width: str) -> Figure:
    """Main measures of several properties as small multiples.

    Args:
        view: the results.
        part: which properties.
        width: "double" or "single" (column of a page).
    """
    from matplotlib.figure import Figure

    inches, columns, _ = WIDTHS[width]
    columns = min(columns, len(part))
    rows = -(-len(part) // columns)
    models, controls = _present(view, [asked.main for asked in part])
    keys = _keys(view, models, controls)
    across = 4 if width == "double" else 2
    height = 1.35 * rows + 0.25 + 0.16 * -(-len(keys) // across)
    figure = Figure(figsize=(inches, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for at, axes in enumerate(grid.flat):
        if at >= len(part):
            axes.set_visible(False)
            continue
        asked = part[at]
        _panel(axes, view, asked.main, small=True)
        axes.set_title(_wrapped(asked.title, 30 if width == "double" else 28), fontsize=6.5, pad=3)
        axes.set_ylabel(_wrapped(asked.main.axis, 26), fontsize=5.5, labelpad=2)
        if at + columns >= len(part):
            axes.set_xlabel(_across(view), fontsize=6, labelpad=1.5)
    _legend(figure, keys, across)
    settle(figure)
    return figure


def curve_panel(view: View, asked: PropertyCurves) -> Figure:
    """The main measure of one property, as wide as a column of a page."""
    from matplotlib.figure import Figure

    models, controls = _present(view, [asked.main])
    keys = _keys(view, models, controls)
    figure = Figure(figsize=(3.4, 2.2 + 0.16 * -(-len(keys) // 2)), layout="constrained")
    axes = figure.subplots()
    _panel(axes, view, asked.main, small=False)
    axes.set_title(_wrapped(asked.title, 56), fontsize=8, pad=4)
    axes.set_ylabel(_wrapped(asked.main.axis, 44), fontsize=7)
    axes.set_xlabel(_across(view), fontsize=7)
    _legend(figure, keys, 2)
    settle(figure)
    return figure


def is_relative(view: View) -> bool:
    """Whether layers are shown by relative depth: where models end at different numbers."""
    ends: dict[int, list[float]] = {}
    for layer, (at, _) in zip(view.layers, depths(view), strict=True):
        ends.setdefault(layer.model, []).append(at)
    return len({max(at) for at in ends.values() if len(at) > 1}) > 1


def _across(view: View) -> str:
    return "relative depth" if is_relative(view) else "layer"


def _panel(axes: Axes, view: View, variant: Variant, *, small: bool) -> None:
    """Controls below, then bands, lines, points and rings around peaks."""
    places = [share if is_relative(view) else at for at, share in depths(view)]
    kinds = looks(view)
    names = control_names(view)
    scale = 0.75 if small else 1.0
    for curve in variant.controls:
        dash = CONTROL_DASHES[names.index(curve.control) % len(CONTROL_DASHES)]
        axes.plot(
            [places[p.layer] for p in curve.points],
            [p.value for p in curve.points],
            color=GREY,
            linestyle=dash,
            linewidth=0.7 * scale,
            alpha=0.8,
            zorder=1.5,
        )
    for model in in_order(view):
        curve_ = variant.curve(model)
        if curve_ is None or not curve_.known:
            continue
        number, untrained = kinds[model]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % 6]
        _curve(axes, curve_, places, colour, marker, untrained=untrained, scale=scale)
        top = peak(variant, model)
        if top is not None and top.is_marked:
            axes.scatter(
                [places[top.point.layer]],
                [top.point.value],
                s=38 * scale,
                facecolors="none",
                edgecolors=colour,
                linewidths=0.9 * scale,
                zorder=4,
            )
    _bounds(axes, variant, places)
    axes.tick_params(labelsize=5.5 if small else 6.5, width=0.4, length=2, pad=1.5)
    axes.grid(visible=True, axis="y", linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _curve(
    axes: Axes,
    curve: Curve,
    places: Sequence[float],
    colour: str,
    marker: str,
    *,
    untrained: bool,
    scale: float,
) -> None:
    x = [places[p.layer] for p in curve.points]
    dash = (0, (4, 2)) if untrained else "-"
    if len(curve.known) == 1:
        only = curve.known[0]
        axes.axhline(only.value, color=colour, linewidth=0.8 * scale, linestyle=(0, (1, 2)))
        if only.has_interval:
            axes.vlines(places[only.layer], only.low, only.high, color=colour, linewidth=scale)
    else:
        low, high = ([_end(p, side) for p in curve.points] for side in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(
            x, [p.value for p in curve.points], color=colour, linestyle=dash, linewidth=1.1 * scale
        )
    axes.scatter(
        x, [p.value for p in curve.points], s=7 * scale**2, color=colour, marker=marker, zorder=3
    )


def _end(point: Point, side: str) -> float:
    """An end of the interval, NaN unless both are known: the band has a gap there."""
    return float(getattr(point, side)) if point.has_interval else float("nan")


def _bounds(axes: Axes, variant: Variant, places: Sequence[float]) -> None:
    """0 is always in view; a control far below the curves does not squeeze them."""
    from matplotlib.ticker import MaxNLocator

    curves = [p for c in variant.curves for p in c.known]
    beside = [p.value for c in variant.controls for p in c.known]
    values = [p.value for p in curves]
    values += [v for p in curves if p.has_interval for v in (p.low, p.high)]
    high = max([0.0, *values, *beside])
    lowest = min([0.0, *values])
    floor = min(lowest, max(min([0.0, *beside]), lowest - 0.25 * (high - lowest)))
    pad = 0.05 * (high - floor) or 0.05
    axes.set_ylim(floor - pad if floor < 0 else 0.0, high + pad if high > 0 else pad)
    across = [places[p.layer] for c in variant.curves for p in c.points]
    span = max(across) - min(across)
    margin = 0.04 * span if span > 0 else 0.5
    axes.set_xlim(min(across) - margin, max(across) + margin)
    whole = all(float(x).is_integer() for x in across)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole and span > 1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _present(view: View, variants: Sequence[Variant]) -> tuple[list[int], list[str]]:
    models = {c.model for v in variants for c in v.curves}
    controls = dict.fromkeys(c.control for v in variants for c in v.controls)
    return [m for m in in_order(view) if m in models], list(controls)


def _keys(view: View, models: Sequence[int], controls: Sequence[str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    kinds = looks(view)
    keys = []
    for model in models:
        number, untrained = kinds[model]
        keys.append(
            Line2D(
                [],
                [],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
                linestyle=_dash(view, model, untrained=untrained),
                markersize=2.6,
                linewidth=1.0,
                label=view.models[model].label,
            )
        )
    order = control_names(view)
    for name in controls:
        dash = CONTROL_DASHES[order.index(name) % len(CONTROL_DASHES)]
        keys.append(
            Line2D([], [], color=GREY, linestyle=dash, linewidth=0.8, label=control_label(name))
        )
    return keys


def _dash(view: View, model: int, *, untrained: bool) -> Any:
    """Dotted for a model of a single layer, as its reference line; dashed for an untrained one."""
    if sum(layer.model == model for layer in view.layers) == 1:
        return (0, (1, 2))
    return (0, (4, 2)) if untrained else "-"


def _legend(figure: Figure, keys: list[Line2D], across: int) -> None:
    figure.legend(
        handles=keys,
        loc="outside lower center",
        ncols=min(across, len(keys)),
        fontsize=6,
        frameon=False,
        handlelength=3,
        columnspacing=1.2,
    )


def _wrapped(text: str, width: int) -> str:
    """At most two lines; what does not fit ends in an ellipsis."""
    import textwrap

    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    if len(lines) <= 2:
        return "\n".join(lines)
    return "\n".join([lines[0], textwrap.shorten(" ".join(lines[1:]), width, placeholder="…")])
