"""Which neurons several contrasts share, for print: UpSet figure, and Venn for two or three."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.neuron_sets import Chosen
from voxstrata.report.view import View
from voxstrata.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24
"""Regions that an UpSet figure shows, the largest."""

INK, FAINT = "#30343c", "#dadada"

CENTRES = {2: ((-0.55, 0.0), (0.55, 0.0)), 3: ((0.0, 0.6), (-0.55, -0.35), (0.55, -0.35))}
"""Circles of radius 1 of a Venn diagram."""

PLACES = {
    2: {(0,): (-1.0, 0.0), (1,): (1.0, 0.0), (0, 1): (0.0, 0.0)},
    3: {
        (0,): (0.0, 1.13),
        (1,): (-1.0, -0.65),
        (2,): (1.0, -0.65),
        (0, 1): (-0.57, 0.3),
        (0, 2): (0.57, 0.3),
        (1, 2): (0.0, -0.78),
        (0, 1, 2): (0.0, -0.03),
    },
}
"""Where the number of each region stands, by positions of its sets."""


def upset(view: View, chosen: Chosen) -> Figure:
    """Sizes of the regions as columns over a matrix of dots that says which sets they are in; sizes
    of the sets on the left (Lex et al. 2014)."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    regions = list(chosen.regions.items())[:MOST]
    names = list(chosen.sets)
    width = max(4.2, 2.9 + 0.28 * len(regions))
    figure = Figure(figsize=(width, 1.9 + 0.22 * len(names)), layout="constrained")
    left = 2.2 / (width - 2.2)
    grid = figure.subplots(
        2,
        2,
        sharex="col",
        gridspec_kw={"width_ratios": [left, 1], "height_ratios": [6, len(names)]},
    )
    (corner, columns), (sizes, dots) = grid
    corner.axis("off")
    corner.text(
        0, 1, shortened(view.models[chosen.model].label, 30), fontsize=8, va="top",
        transform=corner.transAxes,
    )  # fmt: skip
    x = range(len(regions))
    columns.bar(x, [size for _, size in regions], color=INK, width=0.6)
    for at, (_, size) in enumerate(regions):
        columns.text(at, size, f"{size:,}", ha="center", va="bottom", fontsize=6)
    columns.set_ylabel("neurons in exactly\nthese sets", fontsize=6.5)
    columns.tick_params(labelbottom=False, bottom=False)
    columns.margins(y=0.12)
    columns.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for row, name in enumerate(names):
        if row % 2 == 0:
            dots.axhspan(row - 0.5, row + 0.5, color="#f4f4f2", linewidth=0, zorder=0)
        dots.scatter(x, [row] * len(regions), s=14, color=FAINT, zorder=1)
        inside = [at for at, (region, _) in enumerate(regions) if name in region]
        dots.scatter(inside, [row] * len(inside), s=16, color=INK, zorder=3)
    for at, (region, _) in enumerate(regions):
        rows = [names.index(name) for name in region]
        dots.plot([at, at], [min(rows), max(rows)], color=INK, linewidth=1.1, zorder=2)
    dots.set_xlim(-0.6, len(regions) - 0.4)
    dots.set_ylim(len(names) - 0.5, -0.5)
    dots.axis("off")
    totals = [len(found) for found in chosen.sets.values()]
    sizes.barh(range(len(names)), totals, color=COLOURS[0], height=0.55)
    sizes.set_xlim(max(*totals, 1) * 1.45, 0)
    sizes.set_ylim(len(names) - 0.5, -0.5)
    for row, total in enumerate(totals):
        sizes.annotate(f"{total:,}", (total, row), (-2, 0), textcoords="offset points",
                       ha="right", va="center", fontsize=6)  # fmt: skip
    sizes.yaxis.tick_right()
    sizes.set_yticks(range(len(names)), [shortened(name, 26) for name in names], fontsize=6.5)
    sizes.tick_params(axis="both", length=0)
    sizes.set_xticks([])
    for axes in (columns, sizes):
        for side in ("top", "right", "left" if axes is sizes else "top", "bottom"):
            axes.spines[side].set_visible(False)
    columns.tick_params(axis="y", labelsize=6, width=0.5, length=2)
    settle(figure)
    return figure


def venn(view: View, chosen: Chosen) -> Figure:
    """Two or three equal circles with the number of neurons of every region written in it."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    names = list(chosen.sets)
    figure = Figure(figsize=(3.4, 3.2 if len(names) == 3 else 2.4), layout="constrained")
    axes: Axes = figure.subplots()
    for at, (name, centre) in enumerate(zip(names, CENTRES[len(names)], strict=True)):
        colour = COLOURS[at]
        axes.add_patch(Circle(centre, 1.0, facecolor=colour, alpha=0.16, linewidth=0))
        axes.add_patch(Circle(centre, 1.0, fill=False, edgecolor=colour, linewidth=1.0))
        above = centre[1] > 0 or len(names) == 2
        label = f"{shortened(name, 28)} ({len(chosen.sets[name]):,})"
        # The names of circles side by side stand on two lines.
        away = 1.35 if centre[0] > 0 else 1.1
        axes.text(
            centre[0] * 1.3, centre[1] + (away if above else -away), label, ha="center",
            va="bottom" if above else "top", fontsize=6.5, color=colour,
        )  # fmt: skip
    sizes = chosen.regions
    for members, (x, y) in PLACES[len(names)].items():
        size = sizes.get(tuple(names[at] for at in members), 0)
        axes.text(x, y, f"{size:,}", ha="center", va="center", fontsize=8)
    axes.set_title(shortened(view.models[chosen.model].label, 40), fontsize=8)
    axes.set_xlim(-2.3, 2.3)
    axes.set_ylim(-1.95 if len(names) == 3 else -1.1, 1.95 if len(names) == 3 else 1.65)
    axes.set_aspect("equal")
    axes.axis("off")
    settle(figure)
    return figure


def has_venn(chosen: Chosen) -> bool:
    """Whether there are two or three sets."""
    return len(chosen.sets) in CENTRES
