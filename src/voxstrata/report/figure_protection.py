"""Scores by size with and without protection, and paired differences, for print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voxstrata.report.figure_lines import settle
from voxstrata.report.protection_panels import (
    Panel,
    Series,
    difference_panel,
    extent,
    score_panel,
)
from voxstrata.report.protection_view import Asked, tasks
from voxstrata.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {"circle": "o", "square": "s", "triangle-up": "^"}
INK, GREY = "#333333", "#8c8c8c"


def drawable(view: View) -> list[Asked]:
    """Tasks in which some pruned model has a score."""
    return [task for task in tasks(view) if score_panel(view, task) is not None]


def protection_panels(view: View, asked: Sequence[Asked]) -> Figure:
    """A row a task: scores by size (left), how much better protection is (right).

    Args:
        view: a protection run.
        asked: at least one of :func:`drawable`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 0.75 + 2.1 * len(asked)), layout="constrained")
    grid = figure.subplots(len(asked), 2, squeeze=False)
    keys: dict[str, Any] = {}
    for task, (left, right) in zip(asked, grid, strict=True):
        for axes, panel in ((left, score_panel(view, task)), (right, difference_panel(view, task))):
            if panel is None:
                axes.set_visible(False)
                continue
            keys.update(_draw(axes, panel))
        left.set_title(task.title, fontsize=7.5, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("rows left", fontsize=7)
    figure.legend(
        handles=list(keys.values()), labels=list(keys), loc="outside lower center", ncols=3,
        fontsize=6.5, frameon=False, handlelength=2,
    )  # fmt: skip
    settle(figure)
    return figure


def _draw(axes: Axes, panel: Panel) -> dict[str, Any]:
    """The panel; returns what stands in the legend."""
    from matplotlib.lines import Line2D

    keys: dict[str, Any] = {}
    if panel.whole is not None:
        if panel.whole.has_interval:
            axes.axhspan(panel.whole.low, panel.whole.high, color=GREY, alpha=0.18, linewidth=0)
        axes.axhline(panel.whole.value, color=INK, linewidth=1.0)
        keys["unpruned"] = Line2D([], [], color=INK, linewidth=1.0)
    if panel.plain is not None:
        axes.axhline(panel.plain[1], color=GREY, linewidth=0.9, linestyle=(0, (5, 4)))
        label = f"best plain features ({panel.plain[0]})"
        keys[label] = Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (5, 4)))
    if panel.kind == "differences":
        axes.axhline(0, color=INK, linewidth=0.8)
    for one in panel.series:
        _series(axes, one)
        label = one.label if panel.kind == "scores" else f"better {one.label}"
        keys[label] = Line2D([], [], color=one.colour, marker=MARKERS[one.marker], ms=3,
                             linewidth=1.1)  # fmt: skip
    axes.set_xlim(*panel.ends)
    axes.set_xticks(panel.ticks, [str(size) for size in panel.sizes])
    axes.set_ylim(*extent(panel))
    axes.set_ylabel(panel.title, fontsize=7)
    axes.tick_params(labelsize=6, width=0.5, length=2)
    axes.grid(visible=True, axis="y", linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return keys


def _series(axes: Axes, one: Series) -> None:
    if len(one.means) > 1:
        x, y = zip(*one.means, strict=True)
        axes.plot(x, y, color=one.colour, linewidth=1.1)
    for spot in one.spots:
        value = spot.value
        if value.has_interval:
            axes.vlines(spot.x, value.low, value.high, color=one.colour, linewidth=0.9, alpha=0.75)
        if math.isfinite(value.value):
            axes.scatter([spot.x], [value.value], s=12, marker=MARKERS[one.marker], zorder=3,
                         facecolors=one.colour if spot.clear else "#ffffff",
                         edgecolors=one.colour, linewidths=0.9)  # fmt: skip
