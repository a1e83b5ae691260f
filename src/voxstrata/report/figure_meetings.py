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

LETTER = 0.055
"""Inches that a letter of a class's name takes."""


def owner(view: View, match: Match) -> str:
    """Whose vectors were clustered, as the page calls it."""
    named = (model.label for model in view.models if model.spec == match.spec)
    # A model that a run trained lies in a folder called "model": its parent says more.
    folder, _, last = match.spec.replace("\\", "/").rstrip("/").rpartition("/")
    plain = f"{folder.rpartition('/')[2]}/{last}" if folder else short_labels([match.spec])[0]
    return next(named, plain)


def drawn_matches(view: View) -> list[Match]:
    """What has a heat map: not of too many clusters or classes."""
    return [m for m in spoken_of(view) if 0 < len(m.rows) <= MOST and 0 < len(m.columns) <= MOST]


def spoken_of(view: View) -> list[Match]:
    """Clusters that the contrasts are made of, of trained models; others stand in the table."""
    twins = {model.spec for model in view.models if model.twin_of is not None}
    own = [m for m in view.meetings if m.spec not in twins]
    asked = [m for m in own if any(m.clusters in s.contrast for s in view.selections)]
    return asked or own


def shares(view: View, matches: list[Match]) -> Figure:
    """Share of each cluster's rows (down) that are of each class (across); a row adds up to 1.

    Args:
        matches: of :func:`drawn_matches`, at least one.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    widths = [
        1.0 + (0.42 if len(m.columns) <= WRITTEN else 0.155) * len(m.columns) for m in matches
    ]
    width = min(7.2, max(3.4, *widths))
    letters = [max(len(shortened(name, 22)) for name in m.columns) * LETTER for m in matches]
    turned = [
        across > (width - 1.0) / len(m.columns) for across, m in zip(letters, matches, strict=True)
    ]
    heights = [
        0.5 + 0.17 * len(m.rows) + (across if upright else 0.12)
        for m, across, upright in zip(matches, letters, turned, strict=True)
    ]
    figure = Figure(figsize=(width, sum(heights) + 0.2), layout="constrained")
    grid = figure.subplots(
        len(matches),
        1,
        squeeze=False,
        gridspec_kw={"height_ratios": [len(m.rows) for m in matches]},
    )
    for axes, match, upright in zip(grid.flat, matches, turned, strict=True):
        share = np.array(match.share, dtype=np.float64)
        few = len(match.columns) <= WRITTEN
        # Of many classes each has a small share: colours then end at the largest one.
        brightest = 1.0 if few or not np.isfinite(share).any() else max(0.01, np.nanmax(share))
        axes.imshow(np.ma.masked_invalid(share), cmap=SCHEME, vmin=0, vmax=brightest, aspect="auto")
        axes.set_facecolor("#8f8f8f")
        names = [shortened(name, 22) for name in match.columns]
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axes.set_yticks(range(len(match.rows)), [shortened(name, 20) for name in match.rows])
        axes.tick_params(labelsize=6, length=0, pad=2)
        title = f"{match.clusters} of {owner(view, match)} against {match.classes}"
        told = "" if few else f" (brightest: {brightest:.2f})"
        axes.set_title(shortened(title, 64) + told, fontsize=7, loc="left")
        if not few:
            continue
        for (a, b), value in np.ndenumerate(share):
            if np.isfinite(value):
                dark = colormaps[SCHEME](value)[1] < 0.55
                axes.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=6,
                          color="#ffffff" if dark else "#111111")  # fmt: skip
    settle(figure)
    return figure
