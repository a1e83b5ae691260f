"""Layers of one model in every task: their scores, their weights in the sum, and what the sum
loses without them, one under the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from voxstrata.report import probing_words as words
from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.probing_view import (
    SUM,
    Task,
    Value,
    cell,
    is_lower,
    layer_scores,
    layer_values,
    sum_scores,
    tasks,
)
from voxstrata.report.probing_weights import (
    BY_NORM,
    LOST,
    WEIGHT,
    SeedWeights,
    weighted,
    weighted_tasks,
)
from voxstrata.report.view import View
from voxstrata.report.words import property_measure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 5
"""Tasks side by side in one figure; more of them make more figures."""

NAMED = 14
"""Layers of which every name is written; of more, every second, third, ..."""

OWN, TWIN, OTHER = COLOURS[0], "#8c8c8c", COLOURS[5]
KINDS = (WEIGHT, BY_NORM)


def layer_pages(view: View, model: int) -> list[tuple[Task, ...]]:
    """Tasks of one model cut into figures of about equal size."""
    spec = view.models[model].spec
    summed = [str(task.get("name")) for task in weighted_tasks(view, spec)]
    asked = [
        task
        for task in tasks(view)
        if str(task.get("name")) in summed or len(layer_scores(view, task, spec).values) > 1
    ]
    count = -(-len(asked) // ACROSS)
    size = -(-len(asked) // max(1, count))
    return [tuple(asked[i : i + size]) for i in range(0, len(asked), max(1, size))]


def shown_models(view: View) -> list[int]:
    """Models with a figure of their own: a twin stands in that of its model."""
    held = weighted(view)
    return [i for i in held if view.models[i].twin_of not in held]


def layer_panels(view: View, model: int, part: Sequence[Task], seeds: SeedWeights | None) -> Figure:
    """A column a task; rows: score of each layer alone, weight in the sum (raw, and times the norm
    of the layer's states), and what the sum loses without the layer.

    Args:
        view: a probing run.
        model: position in ``view.models``.
        part: tasks, at most :data:`ACROSS`.
        seeds: weights of every seed, drawn as dots; ``None`` where only means are known.
    """
    from matplotlib.figure import Figure

    spec = view.models[model].spec
    lost = any(layer_values(view, task, spec, LOST) for task in part)
    rows = 4 if lost else 3
    figure = Figure(figsize=(0.75 + 1.85 * len(part), 0.5 + 1.15 * rows), layout="constrained")
    grid = figure.subplots(rows, len(part), squeeze=False, sharex="col")
    for column, task in enumerate(part):
        names = layers_of(view, model, task)
        at = {name: i for i, name in enumerate(names)}
        score, *weights = (grid[row][column] for row in range(3))
        _scores(score, view, model, task, at)
        for axes, measure in zip(weights, KINDS, strict=True):
            _weights(axes, view, model, task, at, measure, seeds)
        if lost:
            _lost(grid[3][column], view, model, task, at)
        score.set_title(task_title(view, spec, task), fontsize=6.5, pad=3)
        _names(grid[-1][column], names)
        for row in range(rows):
            _tidy(grid[row][column])
    labels = ("score of the\nlayer alone", "weight\nin the sum", "weight\ntimes norm",
              "lost without\nthe layer")  # fmt: skip
    for row in range(rows):
        grid[row][0].set_ylabel(labels[row], fontsize=6.5)
    _legend(figure, view, model, seeds)
    settle(figure)
    return figure


def layers_of(view: View, model: int, task: Task) -> list[str]:
    """Layers of a model that a task has something about."""
    spec = view.models[model].spec
    known = {*layer_scores(view, task, spec).values, *layer_values(view, task, spec, WEIGHT)}
    return [x.name for x in view.layers if x.model == model and x.name in known]


def sides(view: View, model: int) -> list[tuple[str, str, bool]]:
    """Spec, colour and whether it is the model itself: its twin first, so that it lies below."""
    twin = view.models[model].twin
    found = [(view.models[model].spec, OWN, True)]
    return found if twin is None else [(view.models[twin].spec, TWIN, False), *found]


def _scores(axes: Axes, view: View, model: int, task: Task, at: Mapping[str, int]) -> None:
    """Scores of single layers with intervals; the sum as a line across; where layers were trained
    shortly, the one that was trained at length as a diamond."""
    by = words.scale(str(task.get("main")))
    for spec, colour, own in sides(view, model):
        held = {n: v for n, v in layer_scores(view, task, spec).values.items() if n in at}
        _curve(axes, held, at, by, colour, dashed=not own)
        whole = sum_scores(view, task, spec, SUM)
        if own and whole is not None and math.isfinite(whole.value):
            axes.axhline(by * whole.value, color=OTHER, linewidth=0.8, zorder=1.5)
            if whole.has_interval:
                axes.axhspan(by * whole.low, by * whole.high, color=OTHER, alpha=0.1, linewidth=0)
        found = cell(view, task, spec)
        if own and found and found.best[0] in at and layer_scores(view, task, spec).screened:
            name, best = found.best
            axes.scatter([at[name]], [by * best.value], marker="D", s=11, color=OWN, zorder=4)


def task_title(view: View, spec: str, task: Task) -> str:
    """The task, how its layers were scored, and which way is better."""
    title = shortened(str(task.get("title")), 26)
    if layer_scores(view, task, spec).screened:
        title += " (trained shortly)"
    main = property_measure(str(task.get("main")))
    return f"{title}\n{main} {'↓' if is_lower(task) else '↑'}"


def _curve(
    axes: Axes,
    held: Mapping[str, Value],
    at: Mapping[str, int],
    by: float,
    colour: str,
    *,
    dashed: bool,
) -> None:
    points = sorted((at[name], value) for name, value in held.items())
    x = [i for i, _ in points]
    low = [by * (v.low if v.has_interval else math.nan) for _, v in points]
    high = [by * (v.high if v.has_interval else math.nan) for _, v in points]
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, [by * v.value for _, v in points], color=colour, linewidth=0.9,
              linestyle=(0, (4, 2)) if dashed else "-", marker="o", markersize=1.8)  # fmt: skip


def _weights(
    axes: Axes,
    view: View,
    model: int,
    task: Task,
    at: Mapping[str, int],
    measure: str,
    seeds: SeedWeights | None,
) -> None:
    """Means as bars, seeds as dots, the twin's means as a dashed line, 1 / L dotted."""
    for spec, colour, own in sides(view, model):
        held = layer_values(view, task, spec, measure)
        points = sorted((at[name], value.value, name) for name, value in held.items() if name in at)
        x, y = [i for i, _, _ in points], [v for _, v, _ in points]
        if not own:
            axes.plot(x, y, color=colour, linewidth=0.8, linestyle=(0, (4, 2)), zorder=3)
            continue
        axes.bar(x, y, width=0.7, color=colour, alpha=0.28, linewidth=0)
        if points:
            axes.axhline(1 / len(points), color="#555555", linewidth=0.6, linestyle=(0, (1, 2)))
        dots = [(i, w) for i, _, name in points
                for w in (seeds.of(task, spec, measure, name) if seeds else [])]  # fmt: skip
        axes.scatter([i for i, _ in dots], [w for _, w in dots], s=3.5, color=colour, zorder=4)
    axes.set_ylim(bottom=0)
    if not axes.patches:
        _nothing(axes, "no sum")


def _lost(axes: Axes, view: View, model: int, task: Task, at: Mapping[str, int]) -> None:
    """What the sum loses without each layer, with intervals; above 0 the layer is missed."""
    by = words.scale(str(task.get("main")))
    axes.axhline(0, color="#555555", linewidth=0.6)
    held = layer_values(view, task, view.models[model].spec, LOST)
    for name, value in held.items():
        if name not in at:
            continue
        clear = value.has_interval and (value.low > 0 or value.high < 0)
        if value.has_interval:
            axes.vlines(at[name], by * value.low, by * value.high, color=OWN, linewidth=0.8)
        axes.scatter([at[name]], [by * value.value], s=9, zorder=3, linewidths=0.7,
                     facecolors=OWN if clear else "#ffffff", edgecolors=OWN)  # fmt: skip
    if not held:
        _nothing(axes, "not tried")


def _nothing(axes: Axes, why: str) -> None:
    """An empty panel says why it is empty."""
    for line in list(axes.lines):
        line.remove()
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center",
              fontsize=6, color="#555555")  # fmt: skip


def _names(axes: Axes, names: Sequence[str]) -> None:
    names = [shortened(name, 16) for name in names]
    every = -(-len(names) // NAMED)
    at = range(0, len(names), every)
    plain = all(len(names[i]) <= 2 for i in at)
    axes.set_xticks(list(at), [names[i] for i in at], rotation=0 if plain else 60,
                    ha="center" if plain else "right", rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.6, len(names) - 0.4)


def _tidy(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    if len(axes.get_yticks()):
        axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=5.5, width=0.4, length=2, pad=1.5)
    axes.grid(visible=True, axis="y", linewidth=0.3, color="#e4e4e4")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, view: View, model: int, seeds: SeedWeights | None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Line2D | Patch] = [
        Line2D([], [], color=OWN, marker="o", markersize=2.5, linewidth=1,
               label=view.models[model].label),
    ]  # fmt: skip
    if (twin := view.models[model].twin) is not None:
        keys.append(Line2D([], [], color=TWIN, linestyle=(0, (4, 2)), linewidth=1,
                           label=view.models[twin].label))  # fmt: skip
    keys.append(Line2D([], [], color=OTHER, linewidth=1, label="weighted sum"))
    keys.append(Patch(color=OWN, alpha=0.28, label="mean weight"))
    if seeds is not None:
        keys.append(Line2D([], [], color=OWN, marker="o", markersize=2, linestyle="none",
                           label="each seed"))  # fmt: skip
    keys.append(Line2D([], [], color="#555555", linestyle=(0, (1, 2)), linewidth=0.8,
                       label="uniform"))  # fmt: skip
    across = max(2, min(len(keys), int(figure.get_figwidth() / 1.5)))
    figure.legend(handles=keys, loc="outside lower center", ncols=across, fontsize=6,
                  frameon=False, handlelength=2.4, columnspacing=1.2)  # fmt: skip
