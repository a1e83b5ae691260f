"""How few neurons are enough, and what rankings agree on, for print."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.figure_neurons import Draw, flow, key
from voxstrata.report.neuron_ranked import WHICH, Ranked, mean_agreement, methods
from voxstrata.report.view import View
from voxstrata.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = 4
"""Layers of a contrast that are drawn, evenly spaced; the table has all."""

LOOK = {"top": (COLOURS[0], "o"), "random": ("#6b6b6b", "s"), "bottom": (COLOURS[5], "^")}
"""Colour and marker of the neurons that are taken first."""


def some_layers(found: list[Ranked]) -> list[Ranked]:
    """First, last, and some between."""
    if len(found) <= LAYERS:
        return found
    return [found[round(at * (len(found) - 1) / (LAYERS - 1))] for at in range(LAYERS)]


def by_contrast(found: list[Ranked]) -> dict[tuple[int, str], list[Ranked]]:
    """Layers of every model and contrast."""
    parts: dict[tuple[int, str], list[Ranked]] = {}
    for one in found:
        parts.setdefault((one.model, one.contrast), []).append(one)
    return parts


def subset_curves(view: View, found: list[Ranked]) -> Figure:
    """Accuracy by number of neurons: the top ones of a ranking, random ones, the bottom ones;
    trained anew (lines) and masked (dots)."""
    several = len({one.model for one in found}) > 1
    drawn: list[tuple[str, Draw]] = []
    for (model, contrast), layers in by_contrast(found).items():
        for one in some_layers(layers):
            if not one.trained:
                continue

            def draw(axes: Axes, one: Ranked = one) -> None:
                _curves(axes, one)

            lead = f"{contrast}, {view.models[model].label}" if several else contrast
            drawn.append((f"{lead}\n{one.layer}", draw))
    keys = [key(f"{name} neurons", marker=LOOK[name][1], dash="-", colour=LOOK[name][0])
            for name in WHICH]  # fmt: skip
    keys.append(key("the others masked", marker="o", grey=True, hollow=True, dash=":"))
    keys.append(key("guessing", dash="--", grey=True))
    return flow(drawn, keys)


def agreement_maps(view: View, found: list[Ranked]) -> Figure:
    """Spearman's correlation of every two rankings, mean over layers, a map a contrast."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    names = methods(found)
    parts = [part for part in by_contrast(found).values() if methods(part)]
    several = len({one.model for one in found}) > 1
    across = min(3, len(parts))
    down = -(-len(parts) // across)
    figure = Figure(figsize=(max(3.4, 1.0 + 2.1 * across), 0.9 + 1.9 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(parts) :]:
        axes.remove()
    for axes, part in zip(grid.flat, parts, strict=False):
        values = np.array(
            [[1.0 if a == b else mean_agreement(part, a, b) for b in names] for a in names]
        )
        axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", vmin=-1, vmax=1)
        axes.set_facecolor("#8f8f8f")
        for (a, b), value in np.ndenumerate(values):
            if a != b and math.isfinite(value):
                light = 0.25 < colormaps["RdBu"]((value + 1) / 2)[1] < 0.6 and abs(value) > 0.5
                axes.text(b, a, f"{value:.2f}".replace("-", "−"), ha="center", va="center",
                          fontsize=5.5, color="#ffffff" if light else "#111111")  # fmt: skip
        axes.set_xticks(range(len(names)), [shortened(n, 24) for n in names], rotation=90)
        axes.set_yticks(range(len(names)), [shortened(n, 24) for n in names])
        axes.tick_params(labelsize=6, length=0, pad=2)
        title = part[0].contrast
        if several:
            title += f", {view.models[part[0].model].label}"
        axes.set_title(shortened(title, 34), fontsize=7)
    settle(figure)
    return figure


def _curves(axes: Axes, one: Ranked) -> None:
    if math.isfinite(one.guess):
        axes.axhline(one.guess, color="#6b6b6b", linewidth=0.8, linestyle="--")
    for which, (colour, marker) in LOOK.items():
        if points := one.trained.get(which):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, "-", color=colour, linewidth=1.0, marker=marker, ms=2.8)
        if points := one.masked.get(which):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, ":", color=colour, linewidth=0.6, marker=marker, ms=2.4,
                      markerfacecolor="#ffffff", markeredgewidth=0.6)  # fmt: skip
    axes.set_xscale("log", base=2)
    sizes = sorted({size for points in one.trained.values() for size, _ in points})
    axes.set_xticks(sizes, [f"{size}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("neurons", fontsize=6, labelpad=1.5)
