"""Scores of all models in all tasks for print: a panel a task, a line a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from voxstrata.report import probing_words as words
from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.peaks import looks
from voxstrata.report.probing_view import Task, TaskCell, cell, is_lower, tasks
from voxstrata.report.sides import is_baseline
from voxstrata.report.view import View
from voxstrata.report.words import property_measure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels side by side; more stand below."""

PLAIN = "#6b6b6b"


def task_scores(view: View) -> Figure:
    """The weighted sum (or best layer) of every model in every task, with 95 % intervals; twins
    hollow under their models; a tick where labels were dealt at random.

    Args:
        view: a probing run with at least one score.
    """
    from matplotlib.figure import Figure

    models = words.in_table(view)
    asked = [t for t in tasks(view) if any(cell(view, t, view.models[m].spec) for m in models)]
    columns = min(ACROSS, len(asked))
    rows = -(-len(asked) // columns)
    size = (1.7 + 1.55 * columns, 0.45 + rows * (0.5 + 0.17 * len(models)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for at, axes in enumerate(grid.flat):
        if at >= len(asked):
            axes.set_visible(False)
            continue
        _panel(axes, view, asked[at], models)
    _legend(figure, view, models)
    settle(figure)
    return figure


def _panel(axes: Axes, view: View, task: Task, models: list[int]) -> None:
    main = str(task.get("main"))
    kinds = looks(view)
    for y, model in enumerate(models):
        found = cell(view, task, view.models[model].spec)
        if found is None:
            continue
        number, untrained = kinds[model]
        plain = is_baseline(view.models[model])
        colour = PLAIN if plain else COLOURS[number % len(COLOURS)]
        _dot(axes, found, y, colour, words.scale(main), hollow=untrained, square=plain)
    axes.set_yticks(range(len(models)), [view.models[m].label for m in models])
    axes.set_ylim(len(models) - 0.4, -0.6)
    arrow = "← better" if is_lower(task) else "better →"
    unit = ", %" if words.in_percent(main) else ""
    axes.set_title(shortened(str(task.get("title")), 26), fontsize=7, pad=3)
    axes.set_xlabel(f"{property_measure(main)}{unit} ({arrow})", fontsize=5.5, labelpad=1.5)
    axes.tick_params(labelsize=6, width=0.4, length=2, pad=1.5)
    axes.grid(visible=True, axis="x", linewidth=0.3, color="#e4e4e4")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _dot(
    axes: Axes, found: TaskCell, y: int, colour: str, by: float, *, hollow: bool, square: bool
) -> None:
    value = found.whole
    if found.control is not None and math.isfinite(found.control):
        axes.plot([by * found.control] * 2, [y - 0.28, y + 0.28], color="#b0b0b0", linewidth=1.0)
    if value.has_interval:
        axes.hlines(y, by * value.low, by * value.high, color=colour, linewidth=1.0)
    if math.isfinite(value.value):
        axes.scatter([by * value.value], [y], s=14, zorder=3, linewidths=0.9, edgecolors=colour,
                     marker="s" if square else "o",
                     facecolors="#ffffff" if hollow else colour)  # fmt: skip


def _legend(figure: Figure, view: View, models: list[int]) -> None:
    from matplotlib.lines import Line2D

    kinds = looks(view)
    plain = [m for m in models if is_baseline(view.models[m])]
    looked = {
        "trained": any(not kinds[m][1] and m not in plain for m in models),
        "untrained": any(kinds[m][1] for m in models),
        "plain features": bool(plain),
    }
    keys = [
        Line2D([], [], color=PLAIN if name == "plain features" else COLOURS[0], linewidth=1,
               marker="s" if name == "plain features" else "o", markersize=3.5, label=name,
               markerfacecolor="#ffffff" if name == "untrained" else None)
        for name, there in looked.items() if there
    ]  # fmt: skip
    cells = (cell(view, task, view.models[m].spec) for task in tasks(view) for m in models)
    if any(found is not None and found.control is not None for found in cells):
        keys.append(Line2D([], [], color="#b0b0b0", marker="|", markersize=6, linestyle="none",
                           label="labels dealt at random"))  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", fontsize=6, frameon=False,
                  ncols=max(2, min(len(keys), int(figure.get_figwidth() / 1.3))))  # fmt: skip
