"""Which neurons several contrasts share: UpSet figures, Venn diagrams, pairs of sets."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

from voxstrata.report.figure_sets import MOST, has_venn, upset, venn
from voxstrata.report.inline import inline
from voxstrata.report.neuron_sets import Chosen, drawable
from voxstrata.report.neuron_words import called
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing


def neuron_sets(view: View) -> Section | None:
    """Figures and tables; nothing for fewer than two contrasts or without the files of sets."""
    found = drawable(view)
    if not found:
        return None
    models = [
        {
            "name": view.models[chosen.model].label,
            "says": _says(chosen),
            "figures": _figures(view, chosen),
            "pairs": _pairs(chosen),
        }
        for chosen in found
    ]
    html = render("sections/neuron_sets.html", models=models)
    return Section("neurons-shared", "Do contrasts share neurons?", "Shared", html)


def _says(chosen: Chosen) -> str:
    regions = chosen.regions
    every, several = sum(regions.values()), sum(n for of, n in regions.items() if len(of) > 1)
    text = f"{counted(every, 'neuron')} in at least one set, {several:,} of them in more than one"
    if len(regions) > MOST:
        left = sum(list(regions.values())[MOST:])
        text += (
            f"; the figure shows the {MOST} largest of {len(regions)} regions, and "
            f"{counted(left, 'neuron')} are in the others"
        )
    return f"{text}."


def _figures(view: View, chosen: Chosen) -> list[dict[str, str]]:
    name = view.models[chosen.model].label
    told = "; ".join(f"{listing(of)} {n:,}" for of, n in list(chosen.regions.items())[:8])
    figures = [
        inline(
            partial(upset, view, chosen),
            f"Neurons of {name} by the sets they are in: {told}",
        )
    ]
    if has_venn(chosen):
        figures.append(
            inline(
                partial(venn, view, chosen),
                f"The same regions of {name} as a Venn diagram",
                "Circles are of one size: read the numbers, not the areas.",
            )
        )
    return figures


def _pairs(chosen: Chosen) -> list[dict[str, Any]]:
    rows = []
    for one, other in combinations([name for name, of in chosen.sets.items() if of], 2):
        shared, expected = chosen.overlap(one, other)
        rows.append(
            {"one": one, "other": other, "shared": f"{shared:,}", "expected": called(expected)}
        )
    return rows
