"""Curves of a training run, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.training_view import GROUPS, Panel, read_training
from voxstrata.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def groups(view: View) -> list[str]:
    """Groups of panels that the run has, in order."""
    present = {panel.group for panel in read_training(view).panels}
    return [name for name in GROUPS if name in present]


def training_curves(view: View, group: str) -> Figure:
    """All panels of a group, two a row: as logged in a faint line, smoothed in a strong one."""
    from matplotlib.figure import Figure

    panels = [panel for panel in read_training(view).panels if panel.group == group]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.5 * columns, 0.2 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    settle(figure)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for k, line in enumerate(panel.lines):
        colour = COLOURS[k % len(COLOURS)]
        if line.smooth is not line.values:
            axes.plot(line.steps, line.values, color=colour, linewidth=0.5, alpha=0.35)
        marker = "o" if line.few else ""
        axes.plot(
            line.steps, line.smooth, color=colour, linewidth=1.2, marker=marker, ms=2.5,
            label=line.label,
        )  # fmt: skip
    if panel.log:
        axes.set_yscale("log")
    if len(panel.lines) > 1:
        axes.legend(fontsize=6, frameon=False)
    axes.set_title(panel.title, fontsize=7, loc="left")
    axes.set_xlabel("step", fontsize=7)
    if panel.unit:
        axes.set_ylabel(panel.unit, fontsize=7)
    axes.tick_params(labelsize=6, width=0.5, length=2)
    axes.grid(visible=True, linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
