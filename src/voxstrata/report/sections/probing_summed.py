"""Which layers enter the learned sum, from what was run (A2024, Figure 1)."""

from __future__ import annotations

from voxstrata.report.probing_view import is_probing, tasks
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import listing

WEIGHT = "layer-weight"


def probing_summed(view: View) -> Section | None:
    """A row a model, a column a layer; nothing where no layers were summed."""
    if not is_probing(view):
        return None
    titles = {str(task.get("name")): str(task.get("title")) for task in tasks(view)}
    weights = view.table[(view.table.measure == WEIGHT) & (view.table.control == "")]
    rows = []
    for position, model in enumerate(view.models):
        if model.twin_of is not None:
            continue
        mine = weights[weights.model == model.spec]
        summed = {
            str(task): frozenset(group.layer.astype(str))
            for task, group in mine.groupby("property", sort=False)
        }
        if not summed:
            continue
        kinds: dict[frozenset[str], list[str]] = {}
        for task, layers in summed.items():
            kinds.setdefault(layers, []).append(titles.get(task, task))
        rows.append(
            {
                "label": model.label,
                "layers": [
                    {
                        "name": layer.name,
                        "width": layer.width,
                        "in": [layer.name in layers for layers in kinds],
                    }
                    for layer in view.layers
                    if layer.model == position
                ],
                "sums": [listing(names) for names in kinds.values()],
            }
        )
    if not rows:
        return None
    html = render("sections/probing_summed.html", models=rows)
    return Section("probing-summed", "Which layers enter the sum?", "Summed layers", html)
