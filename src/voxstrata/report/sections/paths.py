"""Best-matching layers of every ordered pair of models."""

from __future__ import annotations

from typing import Any

from voxstrata.report import sentences
from voxstrata.report.charts import path_chart
from voxstrata.report.layer_picks import offered
from voxstrata.report.pack import pack_paths
from voxstrata.report.section import Section, render
from voxstrata.report.sections.said import beside, said
from voxstrata.report.sides import asked_models
from voxstrata.report.view import Facet, View


def paths(view: View) -> Section | None:
    """Line charts and tables; nothing where there is one model only."""
    if not view.facets or len(view.models) < 2:
        return None
    # A joined page is about some of its models; the others have theirs in the full results.
    shown = asked_models(view) if view.parts else range(len(view.models))
    html = render(
        "sections/paths.html",
        models=[
            {"label": view.models[at].label, "at": at, "facets": said(view, _speaker(view, at))}
            for at in shown
        ],
    )
    data: dict[str, Any] = {"paths": [pack_paths(view, facet) for facet in view.facets]}
    return Section(
        "paths",
        "Which layer of another model is nearest?",
        "Best matches",
        html,
        data=data,
        specs={"paths": path_chart()},
        scripts=("lines.js",),
        shows=beside(view),
        layers=offered(view),
    )


def _speaker(view: View, model: int) -> Any:
    def speak(facet: Facet) -> list[str]:
        if not view.rows_of(facet, model):
            return []
        others = [other for other in view.models_of(facet) if other != model]
        return [
            sentences.favourite(view, facet, model),
            *(sentences.path(view, facet, model, other) for other in others),
        ]

    return speak
