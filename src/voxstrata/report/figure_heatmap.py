"""The heat map of all layers of all models, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.report.charts import SCHEME
from voxstrata.report.view import Facet, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINT = 1 / 72
TICK_PITCH = 7.0 * POINT
"""Inches between layer names, at least: they are set at 6 points."""

NAME_PITCH = 10 * POINT
"""Inches between model names, at least."""


def side_in(size: int) -> float:
    """Inches along one side of a matrix of ``size`` layers: legible, but no wider than a page
    until 75 layers, then growing to at most 10 inches."""
    return float(np.clip(size * TICK_PITCH, 2.2, 7.2 if size <= 75 else min(10.0, size * 0.07 + 2)))


def kept_ticks(size: int, pitch_in: float, starts: list[int]) -> list[int]:
    """Rows that get a name: all where there is room, else every k-th of each model.

    Args:
        size: rows.
        pitch_in: inches between neighbouring rows.
        starts: first row of each model.
    """
    every = max(1, int(np.ceil(TICK_PITCH / pitch_in - 1e-9)))
    kept: list[int] = []
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        # A model's first layer takes precedence over the last of the model before.
        if kept and start - kept[-1] < every and kept[-1] not in starts:
            kept.pop()
        for row in range(start, end, every):
            if not kept or row - kept[-1] >= every:
                kept.append(row)
    return kept


def heatmap(view: View, facet: Facet) -> Figure:
    """All layers against all layers; white lines part the models, grey is "no value".

    An asterisk marks layers that give one vector an utterance.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    size = len(facet.layers)
    side = side_in(size)
    # The margins are cut to what is drawn when the figure is saved.
    width, height = side + 4, side + 4
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((2.5 / width, 1.2 / height, side / width, side / height))
    image = axes.imshow(
        np.ma.masked_invalid(facet.value),
        cmap=colormaps[SCHEME].with_extremes(bad="#b0b0b0"),
        vmin=facet.low_end,
        vmax=facet.high_end,
        interpolation="nearest",
        aspect="equal",
    )
    owners = [view.layer(facet, row).model for row in range(size)]
    starts = [row for row in range(size) if row == 0 or owners[row] != owners[row - 1]]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="white", linewidth=1.4)
        axes.axvline(start - 0.5, color="white", linewidth=1.4)
    _name_layers(axes, view, facet, kept_ticks(size, side / size, starts))
    _name_models(axes, view, facet, starts, side / size)
    bar_axes = figure.add_axes(
        ((2.5 + side + 0.12) / width, 1.2 / height, 0.11 / width, min(side, 2.2) / height)
    )
    bar = figure.colorbar(image, cax=bar_axes)
    bar.set_label(f"{facet.label}, {facet.unit}", fontsize=7)
    bar.ax.tick_params(labelsize=6, width=0.5, length=2)
    bar.ax.spines["outline"].set_linewidth(0.5)
    return figure


def _label(view: View, facet: Facet, row: int) -> str:
    layer = view.layer(facet, row)
    return f"{layer.name}*" if layer.kind == "utterance" else layer.name


def _name_layers(axes: Axes, view: View, facet: Facet, rows: list[int]) -> None:
    labels = [_label(view, facet, row) for row in rows]
    turned = any(len(label) > 2 for label in labels)
    axes.set_xticks(rows, labels, fontsize=6, rotation=90 if turned else 0)
    axes.set_yticks(rows, labels, fontsize=6)
    axes.tick_params(length=1.5, width=0.4, pad=1.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _name_models(axes: Axes, view: View, facet: Facet, starts: list[int], pitch: float) -> None:
    """Model names left of their layers' names and slanted above the columns.

    Where models are so thin that names would meet, they are pushed apart.

    Args:
        starts: first row of each model.
        pitch: inches between neighbouring rows.
    """
    size = len(facet.layers)
    last = -np.inf
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        place = max((start + end - 1) / 2, last + NAME_PITCH / pitch)
        last = place
        name = view.models[view.layer(facet, start).model].label
        ticks = max(len(_label(view, facet, row)) for row in range(start, end)) * 0.058 + 0.1
        style: dict[str, Any] = {"fontsize": 7, "fontweight": "bold", "clip_on": False}
        axes.text(-0.5 - ticks / pitch, place, name, ha="right", va="center", **style)
        axes.text(
            place,
            -0.5 - 0.05 / pitch,
            name,
            ha="left",
            va="bottom",
            rotation=60,
            rotation_mode="anchor",
            **style,
        )
