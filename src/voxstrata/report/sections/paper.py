"""Links to the figure files beside the page."""

from __future__ import annotations

from voxstrata.report.figures import ENDINGS, planned
from voxstrata.report.section import Section, render
from voxstrata.report.view import View


def paper(view: View) -> Section | None:
    """The list of files that :func:`voxstrata.report.figures.draw_figures` writes."""
    figures = planned(view)
    if view.parts or not figures:
        return None
    rows = [{"stem": f.stem, "kind": f.title, "label": f.label, "unit": f.unit} for f in figures]
    html = render("sections/paper.html", figures=rows, endings=ENDINGS)
    return Section("paper", "Figures for a paper", "Files", html)
