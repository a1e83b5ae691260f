"""What the opening says of a properties run."""

from __future__ import annotations

from typing import Any

from voxstrata.report import curve_words
from voxstrata.report.curve_view import JOB, PropertyCurves
from voxstrata.report.peaks import controls_at, peaks
from voxstrata.report.view import Model, View
from voxstrata.report.words import counted, listing

TOLD = 8
"""Properties with a sentence on the first screen; the others are folded away below it."""

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
    """One sentence a property, as the opening's template wants them: a few, and the rest."""
    if not view.curves:
        return []
    first = telling(view)
    says = [curve_words.lead(view, asked, asked.main) for asked in view.curves]
    more = [text for at, text in enumerate(says) if at not in first]
    about = "the best layer for each property"
    if more:
        about = f"the best layer for {len(first)} of {counted(len(says), 'property', 'properties')}"
    return [
        {
            "about": about,
            "says": [says[at] for at in first],
            "cautions": [],
            "more": more,
            "more_title": f"The best layer for the other {len(more)}",
        }
    ]


def telling(view: View, most: int = TOLD) -> list[int]:
    """Positions in ``View.curves`` of what is said first, in the order of the page.

    Every group of properties has its turn. Within a group come first those whose best layer is
    clear of its controls and of at least one other layer, then those clear of their controls.
    """
    if len(view.curves) <= most:
        return list(range(len(view.curves)))
    groups: dict[str, list[int]] = {}
    for at, asked in enumerate(view.curves):
        groups.setdefault(asked.group, []).append(at)
    turns = [
        (turn, _vague(view, view.curves[at]), at)
        for members in groups.values()
        for turn, at in enumerate(sorted(members, key=lambda at: _vague(view, view.curves[at])))
    ]
    # A turn that only vague curves could take goes to a later, clearer one of another group.
    order = sorted(turns, key=lambda item: (item[1] == _VAGUE, item[0], item[1], item[2]))
    return sorted(at for _, _, at in order[:most])


_VAGUE = 3


def _vague(view: View, asked: PropertyCurves) -> int:
    """0 for a curve with a peak that means something, 3 for one that says nothing."""
    order = peaks(view, asked.main)
    held = controls_at(asked.main, order[0]) if order else []
    if not order or any(beside.exceeded is False for beside in held):
        return _VAGUE
    layered = [top for top in order if top.rest]
    if not layered or not held or not asked.main.is_ranking:
        return 2
    return 1 if layered[0].is_flat or not order[0].rest else 0


def property_lead(view: View) -> str:
    """What the page is about, for a reader who comes to it without having run it."""
    if not view.curves:
        return ""
    return (
        "A speech model turns sound into numbers layer by layer. Each value here says how much of "
        "one thing (a sound, a phone, a word, the speaker) one layer holds. Beside it stands a "
        "control: what the same procedure gives where there is nothing to find."
    )


def property_absent(view: View) -> str:
    """What the opening says where there is nothing to draw."""
    if view.record.get("job") == JOB:
        return "These results hold no property of any layer."
    return "These results hold no similarity between layers."


def property_names(view: View) -> list[str]:
    """Groups of properties, for the line above the title."""
    return list(dict.fromkeys(asked.group for asked in view.curves))
