"""Heat maps of layer weights, tasks against layers (as A2024, Figure 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voxstrata.report.figure_lines import settle
from voxstrata.report.probing_weights import BY_NORM, WEIGHT, weights
from voxstrata.report.view import View
from voxstrata.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def weight_maps(view: View, model: int) -> Figure:
    """Weights of one model's layers in every task: raw, and times the norm of the layer.

    Args:
        view: a probing run.
        model: position in ``view.models``; it has more than one layer.
    """
    from matplotlib.figure import Figure

    shown = view.models[model]
    names, layers, raw = weights(view, shown.spec, WEIGHT)
    _, _, brought = weights(view, shown.spec, BY_NORM)
    width = min(11.0, 1.6 + 0.62 * len(layers))
    tall = len(names) * 0.3 + 1.1
    figure = Figure(figsize=(width, 2 * tall), layout="constrained")
    for axes, values, title in zip(
        figure.subplots(2, 1), (raw, brought), ("softmax weight", "weight times norm"), strict=True
    ):
        top = max(float(np.nanmax(values)), 1e-9)
        axes.imshow(values, aspect="auto", cmap="viridis", vmin=0.0, vmax=top)
        axes.set_xticks(
            range(len(layers)),
            [shortened(n, 16) for n in layers],
            rotation=45 if len(layers) < 14 else 90,
        )
        axes.set_yticks(range(len(names)), [shortened(n, 26) for n in names])
        axes.set_title(f"{shown.label}: {title} (uniform {1 / len(layers):.2f})", fontsize=8)
        for i in range(len(names)):
            for j in range(len(layers)):
                value = values[i, j]
                if np.isfinite(value):
                    axes.text(
                        j,
                        i,
                        f"{value:.2f}".removeprefix("0"),
                        ha="center",
                        va="center",
                        fontsize=6,
                        color="black" if value > 0.6 * top else "white",
                    )
    settle(figure)
    return figure
