"""Layer weights of learned sums, beside what each layer does alone and what it is missed for."""

from __future__ import annotations

from typing import Any

from voxstrata.report.charts import matrix_chart
from voxstrata.report.charts_weights import layer_chart
from voxstrata.report.figure_layers import OTHER, OWN, TWIN, layer_pages, shown_models
from voxstrata.report.layer_picks import Offer
from voxstrata.report.pack_weights import pack_map, pack_panel
from voxstrata.report.probing_view import is_probing
from voxstrata.report.probing_weights import BY_NORM, WEIGHT, seed_weights, weighted
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.weight_words import readings


def probing_layers(view: View) -> Section | None:
    """Sentences, small multiples a model, heat maps; nothing where no layers were summed."""
    if not is_probing(view) or not weighted(view):
        return None
    seeds = seed_weights(view)
    models: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []
    for model in shown_models(view):
        tasks = [task for part in layer_pages(view, model) for task in part]
        packed = [p for task in tasks if (p := pack_panel(view, model, task, seeds))["parts"]]
        numbered = [{"at": len(panels) + k, **panel} for k, panel in enumerate(packed)]
        label = view.models[model].label
        models.append({"label": label, "says": readings(view, model), "panels": numbered})
        panels += packed
    maps = [
        pack_map(view, model, measure) for model in weighted(view) for measure in (WEIGHT, BY_NORM)
    ]
    keys = _keys(panels, seeds is not None)
    html = render(
        "sections/probing_layers.html",
        models=models,
        maps=maps,
        seeds=seeds is not None,
    )
    offers: list[Offer] = [(str(one["owner"]), tuple(one["layers"])) for one in (*panels, *maps)]
    return Section(
        "probing-layers",
        "Which layers does the sum use, and which does it need?",
        "Weights",
        html,
        data={"panels": panels, "maps": maps, "keys": keys},
        specs={"probing-layers": layer_chart(OWN, OTHER), "weight-map": matrix_chart()},
        scripts=("weights.js",),
        shows=_beside(panels),
        layers=tuple(offers),
    )


def _beside(panels: list[dict[str, Any]]) -> tuple[str, ...]:
    """What stands beside scores and weights and can be switched off."""
    spots = [spot for panel in panels for part in panel["parts"] for spot in part["spots"]]
    found = {
        "twins": any(spot["twin"] for spot in spots),
        "intervals": any(spot["low"] is not None for spot in spots),
    }
    return tuple(name for name, there in found.items() if there)


def _keys(panels: list[dict[str, Any]], seeds: bool) -> list[dict[str, Any]]:
    """The legend that all panels share."""
    keys = [{"label": "the model", "colour": OWN, "width": 2, "dash": ""}]
    if "twins" in _beside(panels):
        keys.append({"label": "its untrained twin", "colour": TWIN, "width": 2, "dash": "5 4"})
    keys.append({"label": "weighted sum", "colour": OTHER, "width": 2, "dash": ""})
    dots = ", dots: single seeds" if seeds else ""
    keys.append({"label": f"bars: mean weights{dots}", "colour": OWN, "width": 0, "dash": ""})
    return [*keys, {"label": "all equal", "colour": "#6b6b6b", "width": 1.2, "dash": "1.5 3"}]
