"""Every layer of every model against every other (A2024, Figures 3 to 5)."""

from __future__ import annotations

from voxstrata.report import sentences
from voxstrata.report.charts import matrix_chart
from voxstrata.report.layer_picks import offered
from voxstrata.report.section import Section, render
from voxstrata.report.sections.said import said
from voxstrata.report.view import Facet, View


def matrix(view: View) -> Section | None:
    """The big heat map with what it shows in words."""
    if not view.facets:
        return None

    def speak(facet: Facet) -> list[str]:
        models = view.models_of(facet)
        within = [sentences.within_range(view, facet, model) for model in models]
        return [sentences.cross_range(view, facet), *within]

    html = render(
        "sections/matrix.html",
        facets=said(view, speak, lambda facet: sentences.caveats(view, facet)),
        utterance_only=any(layer.kind == "utterance" for layer in view.layers),
        asymmetric=any(not facet.symmetric for facet in view.facets),
    )
    return Section(
        "matrix",
        "Every layer against every layer",
        "All layers",
        html,
        specs={"matrix": matrix_chart()},
        scripts=("matrix.js",),
        layers=offered(view),
    )
