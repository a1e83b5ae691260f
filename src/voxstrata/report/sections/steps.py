"""How much a model changes from each layer to the next."""

from __future__ import annotations

from typing import Any

from voxstrata.report import sentences
from voxstrata.report.charts import step_chart
from voxstrata.report.layer_picks import offered
from voxstrata.report.pack import pack_steps
from voxstrata.report.section import Section, render
from voxstrata.report.sections.said import beside, said
from voxstrata.report.view import Facet, View


def steps(view: View) -> Section | None:
    """The adjacency profile; nothing where no model has two layers."""
    data: dict[str, Any] = {"steps": [pack_steps(view, facet) for facet in view.facets]}
    if view.parts or not any(data["steps"]):
        return None

    def speak(facet: Facet) -> list[str]:
        return [sentences.neighbours(view, facet, model) for model in view.models_of(facet)]

    return Section(
        "steps",
        "How much does a model change from layer to layer?",
        "Layer to layer",
        render("sections/steps.html", facets=said(view, speak)),
        data=data,
        specs={"steps": step_chart()},
        scripts=("lines.js",),
        shows=beside(view),
        layers=offered(view),
    )
