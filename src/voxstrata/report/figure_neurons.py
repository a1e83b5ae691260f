"""Neurons by layer beside chance, by sigma and by half; how far groups are apart; for print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from voxstrata.report.figure_lines import COLOURS, settle
from voxstrata.report.neuron_view import Count, Selection, short_layers
from voxstrata.report.neuron_words import trained, twin_of
from voxstrata.report.peaks import looks
from voxstrata.report.view import View
from voxstrata.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MANY = 8
"""Groups up to which each has a panel of its own."""

ACROSS = 4
"""Panels side by side."""

METRICS = {
    "euclidean": ("patterns, Euclidean", "-", "o"),
    "jaccard": ("patterns, Jaccard", "--", "s"),
    "mds": ("map of two dimensions (MDS)", ":", "^"),
}
"""How a silhouette was found: its name, line and marker."""

Draw = Callable[["Axes"], None]


def contrasts(view: View) -> list[str]:
    """Names, in order."""
    return list(dict.fromkeys(s.contrast for s in trained(view)))


def shown_groups(selection: Selection) -> list[str]:
    """Groups with a panel of their own; none where they are many or alone."""
    return list(selection.groups) if 1 < len(selection.groups) <= MANY else []


def has_halves(view: View) -> bool:
    """Whether halves were compared for a trained model."""
    return any(s.halves for s in trained(view))


def has_sigma(view: View) -> bool:
    """Whether the rule was tried with more than one sigma."""
    return any(len(s.sigma) > 1 for s in trained(view))


def has_silhouettes(view: View) -> bool:
    """Whether groups have several rows, so that a silhouette exists."""
    return any(
        math.isfinite(v) for s in view.selections for row in s.silhouettes.values() for v in row
    )


def layer_counts(view: View, contrast: str) -> Figure:
    """Neurons by layer: found (dots) beside 95 % of what dealt labels give (bars, mean as a tick);
    a panel for any group and one for each group; a row of panels a model."""
    drawn: list[tuple[str, Draw]] = []
    mine = [s for s in trained(view) if s.contrast == contrast]
    for selection in mine:
        twin = twin_of(view, selection)
        name = shortened(view.models[selection.model].label, 24)
        lead = f"{name}: " if len(mine) > 1 else ""
        every = [("any group", selection.by_layer, twin.by_layer if twin else None)]
        every += [
            (group, selection.by_group[group], twin.by_group.get(group) if twin else None)
            for group in shown_groups(selection)
        ]
        for title, own, other in every:

            def draw(
                axes: Axes,
                own: Sequence[Count] = own,
                other: Sequence[Count] | None = other,
                selection: Selection = selection,
            ) -> None:
                _counts(axes, view, selection, own, other)

            drawn.append((f"{lead}{title}", draw))
    keys = [
        key("found", marker="o"),
        key("found, untrained twin", marker="o", hollow=True),
        key("labels dealt anew: 95 % and mean", band=True),
    ]
    pairs = [twin_of(view, s) for s in mine]
    if not any(pairs):
        del keys[1]
    if not any(c.has_null for s in mine for c in s.by_layer):
        del keys[-1]
    return flow(drawn, keys, title=contrast)


def sigma_curves(view: View) -> Figure:
    """Neurons of all layers by the share of rows that the rule asks for."""
    used = _used_sigma(view)
    drawn: list[tuple[str, Draw]] = []
    for contrast in contrasts(view):
        lines = [s for s in view.selections if s.contrast == contrast and s.sigma]
        if lines:

            def draw(axes: Axes, lines: Sequence[Selection] = lines) -> None:
                if math.isfinite(used):
                    axes.axvline(used, color="#bbbbbb", linewidth=0.8)
                for one in lines:
                    x, y = zip(*one.sigma, strict=True)
                    _line(axes, view, one, x, y)
                highest = max((y for one in lines for _, y in one.sigma), default=0)
                axes.set_ylim(0, max(1.0, 1.08 * highest))
                axes.set_xlabel("sigma", fontsize=6)

            drawn.append((contrast, draw))
    return flow(drawn, _models(view))


def split_halves(view: View) -> Figure:
    """Jaccard index of the neurons found in two halves of the recordings, by layer."""
    drawn: list[tuple[str, Draw]] = []
    for contrast in contrasts(view):
        lines = [s for s in view.selections if s.contrast == contrast and s.halves]
        if lines:

            def draw(axes: Axes, lines: Sequence[Selection] = lines) -> None:
                for at, one in enumerate(lines):
                    shift = 0.16 * (at - (len(lines) - 1) / 2)
                    _halves(axes, view, one, shift)
                axes.set_ylim(0, 1)
                _layer_axis(axes, lines[0])

            drawn.append((contrast, draw))
    return flow(drawn, [*_models(view), key("random sets of these sizes", marker="_", grey=True)])


def silhouettes(view: View) -> Figure:
    """Silhouette of the groups' rows by layer, without projection and after one."""
    drawn: list[tuple[str, Draw]] = []
    for one in view.selections:
        if one.silhouettes:

            def draw(axes: Axes, one: Selection = one) -> None:
                axes.axhline(0, color="#bbbbbb", linewidth=0.8)
                for metric, values in one.silhouettes.items():
                    _, dash, marker = METRICS.get(metric, (metric, "-", "o"))
                    _line(axes, view, one, range(len(values)), values, dash, marker)
                _layer_axis(axes, one)

            name = shortened(view.models[one.model].label, 24)
            drawn.append((f"{one.contrast}\n{name}", draw))
    metrics = dict.fromkeys(m for s in view.selections for m in s.silhouettes)
    keys = []
    for metric in metrics:
        label, dash, marker = METRICS.get(metric, (metric, "-", "o"))
        keys.append(key(label, marker=marker, dash=dash, grey=True))
    return flow(drawn, keys)


def flow(drawn: Sequence[tuple[str, Draw]], keys: Sequence[Line2D], title: str = "") -> Figure:
    """Panels side by side, in rows."""
    from matplotlib.figure import Figure

    across = min(ACROSS, max(1, len(drawn)))
    down = max(1, -(-len(drawn) // across))
    figure = Figure(
        figsize=(max(3.4, 0.3 + 1.72 * across), 0.45 + 1.55 * down), layout="constrained"
    )
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.remove()
    for axes, (name, draw) in zip(grid.flat, drawn, strict=False):
        draw(axes)
        axes.set_title("\n".join(shortened(t, 30) for t in name.split("\n")), fontsize=6.5, pad=3)
        axes.tick_params(labelsize=5.5, width=0.4, length=2, pad=1.5)
        axes.grid(visible=True, axis="y", linewidth=0.3, color="#e4e4e4")
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if title:
        figure.suptitle(shortened(title, 60), fontsize=7.5)
    if keys:
        figure.legend(handles=list(keys), loc="outside lower center", fontsize=6, frameon=False,
                      ncols=max(1, min(len(keys), across)))  # fmt: skip
    settle(figure)
    return figure


def _counts(
    axes: Axes, view: View, one: Selection, own: Sequence[Count], other: Sequence[Count] | None
) -> None:
    from matplotlib.ticker import MaxNLocator

    colour = _look(view, one)[0]
    sides = [(own, False, 0.0 if other is None else -0.2)]
    if other is not None:
        sides.append((other, True, 0.2))
    half = 0.3 if other is None else 0.16
    for counts, hollow, shift in sides:
        for at, count in enumerate(counts):
            middle = at + shift
            ends = [middle - half, middle + half]
            if count.has_null:
                axes.fill_between(ends, [count.low] * 2, [count.high] * 2,
                                  color="#bdbdbd", alpha=0.7, linewidth=0)  # fmt: skip
                axes.plot(ends, [count.mean] * 2, color="#6b6b6b", linewidth=0.9)
        x = [at + shift for at in range(len(counts))]
        y = [count.observed for count in counts]
        axes.plot(x, y, color=colour, linewidth=0.5, alpha=0.6, linestyle="--" if hollow else "-")
        axes.scatter(x, y, s=11, zorder=3, linewidths=0.8, edgecolors=colour,
                     facecolors="#ffffff" if hollow else colour)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _layer_axis(axes, one)


def _halves(axes: Axes, view: View, one: Selection, shift: float) -> None:
    colour, hollow = _look(view, one)
    for at, half in enumerate(one.halves):
        x = at + shift
        if math.isfinite(half.chance):
            axes.plot([x - 0.07, x + 0.07], [half.chance] * 2, color="#8a8a8a", linewidth=1.2)
        if math.isfinite(half.low) and math.isfinite(half.high):
            axes.vlines(x, half.low, half.high, color=colour, linewidth=0.8)
        if math.isfinite(half.value):
            axes.scatter([x], [half.value], s=10, zorder=3, linewidths=0.8, edgecolors=colour,
                         facecolors="#ffffff" if hollow else colour)  # fmt: skip


def _line(
    axes: Axes,
    view: View,
    one: Selection,
    x: Sequence[float],
    y: Sequence[float],
    dash: str | None = None,
    marker: str = "o",
) -> None:
    colour, hollow = _look(view, one)
    face = "#ffffff" if hollow else colour
    axes.plot(x, y, dash or ("--" if hollow else "-"), color=colour, linewidth=0.9, marker=marker,
              ms=2.6, markerfacecolor=face, markeredgewidth=0.7)  # fmt: skip


def _layer_axis(axes: Axes, one: Selection) -> None:
    title, names = short_layers(one.layers)
    step = max(1, -(-len(names) // 12))
    places = range(0, len(names), step)
    turned = max((len(name) for name in names), default=0) > 3
    axes.set_xticks(list(places), [shortened(names[at], 12) for at in places])
    axes.tick_params(axis="x", rotation=90 if turned else 0)
    axes.set_xlim(-0.6, max(0, len(names) - 1) + 0.6)
    axes.set_xlabel(title, fontsize=6, labelpad=1.5)


def _look(view: View, one: Selection) -> tuple[str, bool]:
    """Colour, which a twin shares with its model, and whether it is drawn hollow."""
    number, untrained = looks(view)[one.model]
    return COLOURS[number % len(COLOURS)], untrained


def _models(view: View) -> list[Line2D]:
    found = []
    for at in dict.fromkeys(s.model for s in view.selections):
        one = next(s for s in view.selections if s.model == at)
        colour, hollow = _look(view, one)
        label = shortened(view.models[at].label, 30)
        found.append(key(label, marker="o", hollow=hollow, colour=colour,
                          dash="--" if hollow else "-"))  # fmt: skip
    return found


def key(
    label: str,
    *,
    marker: str = "",
    dash: Any = "",
    hollow: bool = False,
    band: bool = False,
    grey: bool = False,
    colour: str = COLOURS[0],
) -> Line2D:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    shade = "#6b6b6b" if grey else colour
    if band:
        return Line2D([], [], color="#bdbdbd", linewidth=5, label=label)
    return Line2D([], [], color=shade, marker=marker or None, markersize=3.5, label=label,
                  linestyle=dash or "none", linewidth=1,
                  markerfacecolor="#ffffff" if hollow else shade)  # fmt: skip


def _used_sigma(view: View) -> float:
    config = view.record.get("config")
    sigma = config.get("sigma") if isinstance(config, dict) else None
    return float(sigma) if isinstance(sigma, int | float) else math.nan
