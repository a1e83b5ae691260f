"""Best matches and change from layer to layer, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.report.matches import Match, best_path, steps
from voxstrata.report.view import Facet, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#6a51a3",
    "#999933",
)
DASHES = ("-", "--", ":", "-.")


def look(model: int) -> tuple[str, Any]:
    """Colour and dash of a model, the same in every figure."""
    return COLOURS[model % len(COLOURS)], DASHES[model // len(COLOURS) % len(DASHES)]


def best_matches(view: View, facet: Facet) -> Figure:
    """One row a model: similarity of the best match in each other model, and its depth.

    Hollow points: the intervals of best match and runner-up overlap.
    """
    from matplotlib.figure import Figure

    models = view.models_of(facet)
    figure = Figure(figsize=(7.0, 0.6 + 1.7 * len(models)), layout="constrained")
    grid = figure.subplots(len(models), 2, sharex=True, sharey="col", squeeze=False)
    for model, (left, right) in zip(models, grid, strict=True):
        right.plot([0, 1], [0, 1], color="#999999", linewidth=0.7, linestyle=(0, (4, 3)))
        for other in models:
            if other != model:
                found = [m for m in best_path(view, facet, model, other) if m is not None]
                _path(left, right, view, facet, found, other)
        left.set_title(f"From {view.models[model].label}", fontsize=8, loc="left")
        left.set_ylabel(f"best {facet.label}", fontsize=7)
        right.set_ylabel("depth of best match", fontsize=7)
        right.set_ylim(-0.05, 1.05)
        for axes in (left, right):
            _tidy(axes)
    for axes in grid[-1]:
        axes.set_xlabel("relative depth of the layer", fontsize=7)
    _legend(figure, view, models)
    settle(figure)
    return figure


def layer_steps(view: View, facet: Facet) -> Figure:
    """Similarity of each layer with the next one of its model, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.0), layout="constrained")
    axes = figure.subplots()
    shown = []
    for model in view.models_of(facet):
        cells = [c for c in steps(view, facet, model) if np.isfinite(c.value)]
        if not cells:
            continue
        shown.append(model)
        colour, dash = look(model)
        depth = [
            (view.layer(facet, c.row).depth + view.layer(facet, c.column).depth) / 2 for c in cells
        ]
        _band(axes, depth, [c.low for c in cells], [c.high for c in cells], colour)
        axes.plot(
            depth, [c.value for c in cells], dash, color=colour, marker="o", ms=3, linewidth=1.1
        )
    axes.set_xlabel("relative depth of the step", fontsize=7)
    axes.set_ylabel(f"{facet.label} of layer l with l+1", fontsize=7)
    _tidy(axes)
    _legend(figure, view, shown)
    settle(figure)
    return figure


def settle(figure: Figure) -> None:
    """Lay out once, not once a format."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _path(
    left: Axes, right: Axes, view: View, facet: Facet, found: list[Match], other: int
) -> None:
    if not found:
        return
    colour, dash = look(other)
    depth = [view.layer(facet, m.best.row).depth for m in found]
    value = [m.best.value for m in found]
    reached = [view.layer(facet, m.best.column).depth for m in found]
    faces = ["white" if m.tie is True else colour for m in found]
    _band(left, depth, [m.best.low for m in found], [m.best.high for m in found], colour)
    for axes, heights in ((left, value), (right, reached)):
        axes.plot(depth, heights, dash, color=colour, linewidth=1.0)
        axes.scatter(depth, heights, s=11, c=faces, edgecolors=colour, linewidths=0.8, zorder=3)


def _band(axes: Axes, x: list[float], low: list[float], high: list[float], colour: str) -> None:
    if len(x) == 1:
        axes.vlines(x, low, high, color=colour, linewidth=1.0)
        return
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)


def _tidy(axes: Axes) -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(labelsize=6, width=0.5, length=2)
    axes.grid(visible=True, linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, view: View, models: list[int]) -> None:
    from matplotlib.lines import Line2D

    lines = []
    for model in models:
        colour, dash = look(model)
        label = view.models[model].label
        lines.append(Line2D([], [], color=colour, linestyle=dash, marker="o", ms=3, label=label))
    if lines:
        figure.legend(handles=lines, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
