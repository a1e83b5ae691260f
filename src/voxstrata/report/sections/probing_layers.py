"""Layer weights of learned sums, beside what each layer does alone and what it is missed for."""

from __future__ import annotations

from functools import partial
from typing import Any

from voxstrata.report.figure_layers import ACROSS, layer_pages, layer_panels, shown_models
from voxstrata.report.figure_weights import weight_maps
from voxstrata.report.inline import inline
from voxstrata.report.probing_view import is_probing
from voxstrata.report.probing_weights import SeedWeights, seed_weights, weighted
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.weight_words import readings


def probing_layers(view: View) -> Section | None:
    """Sentences, small multiples a model, heat maps; nothing where no layers were summed."""
    if not is_probing(view) or not weighted(view):
        return None
    seeds = seed_weights(view)
    html = render(
        "sections/probing_layers.html",
        models=[
            {
                "label": view.models[model].label,
                "says": readings(view, model),
                "figures": _panels(view, model, seeds),
            }
            for model in shown_models(view)
        ],
        maps=[
            inline(
                partial(weight_maps, view, model),
                f"Layer weights of {view.models[model].label} by task",
            )
            for model in weighted(view)
        ],
        across=ACROSS,
        seeds=seeds is not None,
    )
    return Section("probing-layers", "Which layers does the sum use, and which does it need?",
                   "Weights", html)  # fmt: skip


def _panels(view: View, model: int, seeds: SeedWeights | None) -> list[dict[str, Any]]:
    return [
        inline(
            partial(layer_panels, view, model, part, seeds),
            f"Layers of {view.models[model].label}: score alone, weight in the sum, loss without, "
            f"in {', '.join(str(task.get('title')) for task in part)}",
        )
        for part in layer_pages(view, model)
    ]
