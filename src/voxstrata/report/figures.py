"""Figures for a paper: PDF, SVG and PNG of every heat map and of the best matches.

The same table gives the same bytes: no dates, no random identifiers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.files import atomic_write
from voxstrata.report.view import Facet, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

ENDINGS = ("pdf", "svg", "png")
"""Formats that every figure is written in."""

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "voxstrata",
    "text.parse_math": False,
    "axes.unicode_minus": True,
}
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {},
}


@dataclass(frozen=True)
class Planned:
    """One figure that will be drawn.

    Attributes:
        stem: file name without ending.
        title: what kind of figure it is.
        label: measure and estimator it shows.
        unit: unit it shows.
        draw: makes it.
    """

    stem: str
    title: str
    label: str
    unit: str
    draw: Callable[[View], Figure]


def planned(view: View) -> list[Planned]:
    """Every figure that :func:`draw_figures` will write for these results."""
    from voxstrata.report.figure_heatmap import heatmap
    from voxstrata.report.figure_lines import best_matches, layer_steps

    found: list[Planned] = []

    def add(stem: str, title: str, facet: Facet, draw: Callable[..., Figure]) -> None:
        found.append(Planned(stem, title, facet.label, facet.unit, partial(draw, facet=facet)))

    for facet in view.facets:
        add(facet.key, "all layers", facet, heatmap)
        if len(view.models_of(facet)) > 1:
            add(f"{facet.key}-matches", "best matches", facet, best_matches)
        if any(len(view.rows_of(facet, m)) > 1 for m in view.models_of(facet)):
            add(f"{facet.key}-steps", "layer to layer", facet, layer_steps)
    found += [*_probing(view), *_curves(view), *_verification(view), *_training(view)]
    return [*found, *_neurons(view), *_protection(view)]


def _curves(view: View) -> list[Planned]:
    """All properties for both widths of a page, then one file a property."""
    from voxstrata.report.figure_curves import WIDTHS, curve_panel, curve_panels, pages

    found: list[Planned] = []
    if len(view.curves) > 1:
        for width in WIDTHS:
            parts = pages(view, width)
            for number, part in enumerate(parts, 1):
                which = f"-{number}" if len(parts) > 1 else ""
                title = f"all properties, {width} column" + (f", part {number}" if which else "")
                units = ", ".join(dict.fromkeys(asked.unit for asked in part))
                draw = partial(curve_panels, part=part, width=width)
                found.append(
                    Planned(f"properties-{width}{which}", title, "main measures", units, draw)
                )
    for asked in view.curves:
        draw = partial(curve_panel, asked=asked)
        found.append(
            Planned(f"property-{asked.key}", asked.title, asked.main.label, asked.unit, draw)
        )
    return found


def _probing(view: View) -> list[Planned]:
    """The sum against single layers; of each model its layers in every task, and its weights."""
    from voxstrata.report.figure_claims import sum_against_layer
    from voxstrata.report.figure_layers import layer_pages, layer_panels, shown_models
    from voxstrata.report.figure_tasks import task_scores
    from voxstrata.report.figure_weights import weight_maps
    from voxstrata.report.probing_view import gains, is_probing
    from voxstrata.report.probing_weights import seed_weights, weighted
    from voxstrata.report.probing_words import in_table
    from voxstrata.report.reading import slug

    if not is_probing(view):
        return []
    found: list[Planned] = []
    if in_table(view):
        found.append(
            Planned("probing-tasks", "models and tasks", "main measures", "task", task_scores)
        )
    if held := gains(view):
        found.append(
            Planned("probing-sum", "the sum against the best single layer", "main measures", "task",
                    partial(sum_against_layer, held=held))
        )  # fmt: skip
    seeds, taken = seed_weights(view), set[str]()
    keys = {model: slug([view.models[model].label], taken) for model in weighted(view)}
    for model in shown_models(view):
        parts = layer_pages(view, model)
        for number, part in enumerate(parts, 1):
            which = f"-{number}" if len(parts) > 1 else ""
            draw = partial(layer_panels, model=model, part=part, seeds=seeds)
            title = f"layers of {view.models[model].label}" + (f", part {number}" if which else "")
            stem = f"probing-layers-{keys[model]}{which}"
            found.append(Planned(stem, title, "score, weights, loss without", "layer", draw))
    for model, key in keys.items():
        title = f"weights of {view.models[model].label}"
        draw = partial(weight_maps, model=model)
        found.append(Planned(f"probing-weights-{key}", title, "weights", "layer", draw))
    return found


def _verification(view: View) -> list[Planned]:
    """DET curves and score histograms of a verification run, one of each a way of scoring."""
    from voxstrata.report.figure_verification import det_plot, histograms, scorings

    kinds = (("det", "DET curves", det_plot), ("scores", "score histograms", histograms))
    return [
        Planned(f"{stem}-{name}", title, name, "trial", partial(draw, scoring=name))
        for name in scorings(view)
        for stem, title, draw in kinds
    ]


def _training(view: View) -> list[Planned]:
    """Curves of a training run, a file a group of them."""
    from voxstrata.report.figure_training import groups, training_curves

    return [
        Planned(f"training-{number}", f"training curves, {name.lower()}", "as logged", "step",
                partial(training_curves, group=name))
        for number, name in enumerate(groups(view), 1)
    ]  # fmt: skip


def _neurons(view: View) -> list[Planned]:
    """Counts by layer, a file a contrast; shared neurons, a file a model; stability; clusters."""
    from voxstrata.report.figure_maps import maps
    from voxstrata.report.figure_meetings import drawn_matches, shares
    from voxstrata.report.figure_neurons import (
        contrasts,
        has_halves,
        has_sigma,
        has_silhouettes,
        layer_counts,
        sigma_curves,
        silhouettes,
        split_halves,
    )
    from voxstrata.report.figure_ranked import agreement_maps, subset_curves
    from voxstrata.report.figure_sets import has_venn, upset, venn
    from voxstrata.report.neuron_ranked import methods, read_ranked
    from voxstrata.report.neuron_sets import drawable
    from voxstrata.report.neuron_sweep import read_maps
    from voxstrata.report.neuron_words import is_neurons
    from voxstrata.report.reading import slug

    if not is_neurons(view):
        return []
    found: list[Planned] = []
    taken = set[str]()

    def add(name: str, title: str, label: str, draw: Callable[[View], Figure]) -> None:
        found.append(Planned(slug(["neurons", *name.split()], taken), title, label, "frame", draw))

    for name in contrasts(view):
        draw = partial(layer_counts, contrast=name)
        add(f"counts {name}", f"neurons of {name}", "found and by chance", draw)
    for chosen in drawable(view):
        model = view.models[chosen.model].label
        add(f"shared {model}", f"sets of {model}", "neurons", partial(upset, chosen=chosen))
        if has_venn(chosen):
            add(f"venn {model}", f"sets of {model}", "neurons", partial(venn, chosen=chosen))
    kinds = (
        ("halves", "two halves of the recordings", "Jaccard index", has_halves, split_halves),
        ("sigma", "the rule with another sigma", "neurons", has_sigma, sigma_curves),
        ("silhouettes", "how far groups are apart", "silhouette", has_silhouettes, silhouettes),
    )
    for stem, title, label, there, draw_it in kinds:
        if there(view):
            add(stem, title, label, draw_it)
    if read_maps(view):
        add("maps", "rows in the plane", "MDS of patterns", maps)
    if ranked := read_ranked(view):
        if any(one.trained for one in ranked):
            draw = partial(subset_curves, found=ranked)
            add("subsets", "how few neurons are enough", "accuracy", draw)
        if methods(ranked):
            draw = partial(agreement_maps, found=ranked)
            add("rankings", "what rankings agree on", "Spearman's ρ", draw)
    drawn = drawn_matches(view)
    for clusters in dict.fromkeys(m.clusters for m in drawn):
        mine = [m for m in drawn if m.clusters == clusters]
        draw = partial(shares, matches=mine)
        add(f"clusters {clusters}", f"what {clusters} are", "shares of classes", draw)
    return found


def _protection(view: View) -> list[Planned]:
    """A protection run: all tasks as one figure, and one figure a task."""
    from voxstrata.report.figure_protection import drawable, protection_panels
    from voxstrata.report.reading import slug

    asked, taken = drawable(view), {"protection"}
    parts = [("protection", "all tasks", asked)] if len(asked) > 1 else []
    parts += [(slug(["protection", one.name], taken), one.title, [one]) for one in asked]
    return [
        Planned(stem, title, "scores and paired differences", "size",
                partial(protection_panels, asked=part))
        for stem, title, part in parts
    ]  # fmt: skip


def draw_figures(view: View, folder: Path) -> list[Path]:
    """Write all figures in all formats.

    Args:
        view: the results.
        folder: created if absent.

    Returns:
        the files written.

    Raises:
        StorageError: the folder cannot be written.
    """
    from matplotlib import style

    written: list[Path] = []
    with style.context(["default", STYLE]):
        for plan in planned(view):
            figure = plan.draw(view)
            box = drawn_box(figure)
            for ending in ENDINGS:
                path = folder / f"{plan.stem}.{ending}"
                with atomic_write(path) as file:
                    file.write(encoded(figure, ending, box))
                written.append(path)
    return written


def encoded(figure: Figure, ending: str, box: Bbox) -> bytes:
    """A figure as the bytes of a file; to be called in the style it was drawn in.

    Args:
        figure: drawn.
        ending: one of :data:`ENDINGS`.
        box: what is kept of it, from :func:`drawn_box`.
    """
    buffer = io.BytesIO()
    with drawn_once(figure):
        figure.savefig(buffer, format=ending, dpi=300, metadata=_METADATA[ending], bbox_inches=box)
    return buffer.getvalue()


@contextmanager
def drawn_once(figure: Figure) -> Iterator[None]:
    """``savefig`` draws everything twice, the first time with a renderer that does nothing, so that
    layouts settle. Ours have settled: the first time is left out, a third of the work."""
    from matplotlib.backend_bases import RendererBase

    draw = figure.draw

    def drawn(renderer: Any) -> None:
        # Matplotlib's idle methods name what they stand for.
        if getattr(renderer.draw_path, "__wrapped__", None) is not RendererBase.draw_path:
            draw(renderer)

    vars(figure)["draw"] = drawn
    try:
        yield
    finally:
        del vars(figure)["draw"]


def drawn_box(figure: Figure) -> Bbox:
    """What is drawn, in inches, with a small margin; found once for all formats."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure.get_tightbbox().padded(0.05)
