"""Clusters against known classes, for print: a heat map of shares for each pair of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voxstrata.report.charts import SCHEME
from voxstrata.report.figure_lines import settle
from voxstrata.report.neuron_view import Match
from voxstrata.report.view import View
from voxstrata.report.words import short_labels, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60
"""Clusters and classes up to which they are drawn."""

WRITTEN = 12
"""Classes up to which every share is written into its cell."""


def owner(view: View, match: Match) -> str:
    """Whose vectors were clustered, as the page calls it."""
    named = (model.label for model in view.models if model.spec == match.spec)
    return next(named, short_labels([match.spec])[0])


def drawn_matches(view: View) -> list[Match]:
    """What has a heat map: not of untrained twins, not of too many clusters or classes."""
    twins = {model.spec for model in view.models if model.twin_of is not None}
    return [
        m
        for m in view.meetings
        if m.spec not in twins and 0 < len(m.rows) <= MOST and 0 < len(m.columns) <= MOST
    ]


def shares(view: View, matches: list[Match]) -> Figure:
    """Share of each cluster's rows (down) that are of each class (across); a row adds up to 1.

    Args:
        matches: of :func:`drawn_matches`, at least one.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    heights = [0.62 + 0.17 * len(m.rows) for m in matches]
    widths = [
        1.0 + (0.42 if len(m.columns) <= WRITTEN else 0.155) * len(m.columns) for m in matches
    ]
    size = (min(7.2, max(3.4, *widths)), sum(heights) + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(matches), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, match in zip(grid.flat, matches, strict=True):
        share = np.array(match.share, dtype=np.float64)
        axes.imshow(np.ma.masked_invalid(share), cmap=SCHEME, vmin=0, vmax=1, aspect="auto")
        axes.set_facecolor("#8f8f8f")
        turned = len(match.columns) > WRITTEN or max(map(len, match.columns)) > 9
        names = [shortened(name, 22) for name in match.columns]
        few = len(names) <= WRITTEN
        if turned and few:
            axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        else:
            axes.set_xticks(range(len(names)), names, rotation=90 if turned else 0)
        axes.set_yticks(range(len(match.rows)), [shortened(name, 20) for name in match.rows])
        axes.tick_params(labelsize=6, length=0, pad=2)
        title = f"{match.clusters} of {owner(view, match)} against {match.classes}"
        axes.set_title(shortened(title, 70), fontsize=7, loc="left")
        if few:
            for (a, b), value in np.ndenumerate(share):
                if np.isfinite(value):
                    dark = colormaps[SCHEME](value)[1] < 0.55
                    axes.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=6,
                              color="#ffffff" if dark else "#111111")  # fmt: skip
    settle(figure)
    return figure
