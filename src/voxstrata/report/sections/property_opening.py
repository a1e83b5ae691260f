"""What the opening says of a properties run."""

from __future__ import annotations

from typing import Any

from voxstrata.report import curve_words
from voxstrata.report.curve_view import JOB
from voxstrata.report.view import Model, View
from voxstrata.report.words import listing

TOLD = 24
"""Properties with a sentence in the opening."""

TITLED = 6
"""Models named in the title."""


def trained(view: View) -> list[Model]:
    """Models that are nobody's twin."""
    return [model for model in view.models if model.twin_of is None]


def property_title(view: View) -> str:
    """The page's title: the models, without their twins."""
    labels = [model.label for model in trained(view)]
    if len(labels) > TITLED:
        labels = [*labels[: TITLED - 1], f"{len(labels) - TITLED + 1} more models"]
    return f"What the layers of {listing(labels)} encode"


def property_findings(view: View) -> list[dict[str, Any]]:
    """One sentence a property, as the opening's template wants them."""
    if not view.curves:
        return []
    says = [curve_words.lead(view, asked, asked.main) for asked in view.curves]
    if (more := len(says) - TOLD) > 0:
        says = [*says[:TOLD], f"{more} more below."]
    return [{"about": "the best layer for each property", "says": says, "cautions": []}]


def property_absent(view: View) -> str:
    """What the opening says where there is nothing to draw."""
    if view.record.get("job") == JOB:
        return "These results hold no property of any layer."
    return "These results hold no similarity between layers."


def property_names(view: View) -> list[str]:
    """Groups of properties, for the line above the title."""
    return list(dict.fromkeys(asked.group for asked in view.curves))
