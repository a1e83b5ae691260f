"""The sum against the best single layer, and properties against tasks, for print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.probing_claims import Link, claimed
from voxstrata.report.probing_view import Gain
from voxstrata.report.view import View
from voxstrata.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE, EVEN = COLOURS[2], COLOURS[5], "#8c8c8c"
LOOKS = {
    "better": (BETTER, "the sum is better"),
    "worse": (WORSE, "one layer is better"),
    "even": (EVEN, "not told apart"),
    "unknown": ("#c0c0c0", "no interval"),
}
"""Colour and name of every verdict."""

ACROSS = 3
"""Panels side by side."""


def sum_against_layer(view: View, held: Sequence[Gain]) -> Figure:
    """A panel a trained model, its untrained twin in it as hollow points: what the sum brings over
    the best single layer in each task, with the paired interval.

    Args:
        view: a probing run.
        held: at least one, of any models.
    """
    from matplotlib.figure import Figure

    owners = list(dict.fromkeys(_owner(view, gain) for gain in held))
    titles = list(dict.fromkeys(str(gain.task.get("title")) for gain in held))
    columns = min(ACROSS, len(owners))
    rows = -(-len(owners) // columns)
    size = (0.9 + 2.1 * columns, 0.55 + rows * (0.5 + 0.2 * len(titles)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for at, axes in enumerate(grid.flat):
        if at >= len(owners):
            axes.set_visible(False)
            continue
        mine = [gain for gain in held if _owner(view, gain) == owners[at]]
        _dots(axes, view, mine, titles)
        axes.set_title(view.models[owners[at]].label, fontsize=7, pad=3)
        if at + columns >= len(owners):
            axes.set_xlabel("sum less best layer (x 100)", fontsize=6.5)
            axes.tick_params(labelbottom=True)
    _verdicts(figure, view, held)
    settle(figure)
    return figure


def _owner(view: View, gain: Gain) -> int:
    """The model that a gain stands in the panel of."""
    twin_of = view.models[gain.model].twin_of
    return gain.model if twin_of is None else twin_of


def _dots(axes: Axes, view: View, mine: Sequence[Gain], titles: Sequence[str]) -> None:
    axes.axvline(0, color="#555555", linewidth=0.7)
    both = len({gain.model for gain in mine}) > 1
    for gain in mine:
        twin = view.models[gain.model].twin_of is not None
        y = titles.index(str(gain.task.get("title"))) + (0.17 if twin else -0.17) * both
        colour, more = LOOKS[gain.verdict][0], gain.more
        if more.has_interval:
            axes.hlines(y, 100 * more.low, 100 * more.high, color=colour, linewidth=1.1)
        if math.isfinite(more.value):
            axes.scatter([100 * more.value], [y], s=13, zorder=3, linewidths=0.9, edgecolors=colour,
                         facecolors="#ffffff" if twin else colour)  # fmt: skip
    axes.set_yticks(range(len(titles)), [shortened(t, 26) for t in titles])
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.tick_params(labelsize=6, width=0.4, length=2, pad=1.5)
    axes.grid(visible=True, axis="x", linewidth=0.3, color="#e4e4e4")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _verdicts(figure: Figure, view: View, held: Sequence[Gain]) -> None:
    from matplotlib.lines import Line2D

    used = {gain.verdict for gain in held}
    keys = [
        Line2D([], [], color=colour, marker="o", markersize=3, linewidth=1.1, label=label)
        for verdict, (colour, label) in LOOKS.items()
        if verdict in used
    ]
    if any(view.models[gain.model].twin_of is not None for gain in held):
        keys.append(Line2D([], [], color="#555555", marker="o", markersize=3, linestyle="none",
                           markerfacecolor="#ffffff", label="untrained twin"))  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncols=min(3, len(keys)), fontsize=6,
                  frameon=False, handlelength=2)  # fmt: skip


def link_maps(groups: Mapping[str, Sequence[Link]]) -> Figure:
    """A map a model: Spearman's correlation over its layers of each property with each task; the
    pairs of P2023's claim have a frame.

    Args:
        groups: links by the title of their map, at least one map with a known correlation.
    """
    from textwrap import wrap

    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    every = [link for held in groups.values() for link in held]
    properties = list(dict.fromkeys(link.asked.title for link in every))
    tasks = list(dict.fromkeys(str(link.task.get("title")) for link in every))
    columns = min(ACROSS, len(groups))
    rows = -(-len(groups) // columns)
    across = max(1.6, 0.3 + 0.36 * len(tasks))
    size = (1.9 + columns * across, 0.75 + rows * (0.5 + 0.2 * len(properties)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    image = None
    for at, axes in enumerate(grid.flat):
        if at >= len(groups):
            axes.set_visible(False)
            continue
        title, held = list(groups.items())[at]
        values = np.full((len(properties), len(tasks)), np.nan)
        framed = {id(link) for link in claimed(held)}
        for link in held:
            i = properties.index(link.asked.title)
            j = tasks.index(str(link.task.get("title")))
            values[i, j] = link.rho
            if id(link) in framed:
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, linewidth=1.2,
                                         edgecolor="#111111", zorder=3))  # fmt: skip
            if link.is_known:
                axes.text(j, i, _short(link.rho), ha="center", va="center", fontsize=5.5,
                          color="#ffffff" if abs(link.rho) > 0.65 else "#111111")  # fmt: skip
        axes.set_facecolor("#dcdcdc")
        image = axes.imshow(values, aspect="auto", cmap="RdBu", vmin=-1, vmax=1)
        axes.set_xticks(
            range(len(tasks)),
            [shortened(t, 26) for t in tasks],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
        axes.set_yticks(range(len(properties)), [shortened(p, 40) for p in properties])
        axes.tick_params(labelsize=6, width=0.4, length=2, pad=1.5)
        axes.set_title("\n".join(wrap(title, int(14 * across))), fontsize=6.5, pad=3)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.6, aspect=18, pad=0.02)
        bar.ax.tick_params(labelsize=5.5, width=0.4, length=2)
        bar.set_label("Spearman's ρ over layers", fontsize=6)
    settle(figure)
    return figure


def _short(rho: float) -> str:
    """ ".87", "−.20", "1"."""
    text = f"{abs(rho):.2f}"
    text = "1" if text == "1.00" else text.removeprefix("0")
    return f"−{text}" if rho < -0.004 else text
