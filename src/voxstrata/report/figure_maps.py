"""Rows of conditions as points in the plane, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxstrata.report.figure_lines import COLOURS
from voxstrata.report.figure_neurons import MANY, Draw, flow
from voxstrata.report.neuron_sweep import read_maps
from voxstrata.report.neuron_view import short_layers
from voxstrata.report.view import View
from voxstrata.report.words import number, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = 4
"""Layers of a contrast that are drawn, evenly spaced."""

MARKERS = "os^vDPX*"


def maps(view: View) -> Figure:
    """Every row as a point, rows with like neurons near each other (MDS); groups by colour and
    marker. Beside the layer: silhouette of the map, and of the patterns themselves."""
    held = read_maps(view)
    several = len({selection.model for selection, _ in held}) > 1
    drawn: list[tuple[str, Draw]] = []
    for selection, layers in held:
        names = list(layers)
        if len(names) > LAYERS:
            names = [names[round(at * (len(names) - 1) / (LAYERS - 1))] for at in range(LAYERS)]
        for layer in names:

            def draw(
                axes: Axes,
                part: pd.DataFrame = layers[layer],
                groups: tuple[str, ...] = selection.groups,
            ) -> None:
                _points(axes, part, groups)

            at = selection.layers.index(layer)
            axis, short = short_layers(selection.layers)
            called = f"{axis} {short[at]}"
            values = [
                number(selection.silhouettes[name][at])
                for name in ("mds", "euclidean")
                if name in selection.silhouettes
            ]
            lead = view.models[selection.model].label if several else selection.contrast
            second = f"{selection.contrast}, {called}" if several else called
            told = f" ({', '.join(values)})" if values else ""
            drawn.append((f"{lead}\n{shortened(second, 30 - len(told))}{told}", draw))
    return flow(drawn, [])


def _points(axes: Axes, part: pd.DataFrame, groups: tuple[str, ...]) -> None:
    coloured = len(groups) <= MANY
    for at, group in enumerate(groups if coloured else ("",)):
        mine = part[part["group"] == group] if coloured else part
        colour = COLOURS[at % len(COLOURS)] if coloured else "#6b6b6b"
        axes.scatter(mine["x"], mine["y"], s=7, color=colour, linewidths=0, alpha=0.85,
                     marker=MARKERS[at % len(MARKERS)], label=shortened(group, 16))  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    if coloured:
        axes.legend(fontsize=4.5, frameon=False, loc="upper left", bbox_to_anchor=(0, 0),
                    ncols=2, handletextpad=0.1, columnspacing=0.6, borderpad=0)  # fmt: skip
