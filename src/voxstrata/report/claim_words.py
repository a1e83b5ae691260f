"""P2023's two claims about probing, in sentences that the numbers bear out."""

from __future__ import annotations

from collections.abc import Sequence

from voxstrata.report.probing_claims import LEAST, Link, is_exact, p_value
from voxstrata.report.probing_view import Gain
from voxstrata.report.probing_words import ends, figure, tally
from voxstrata.report.view import View
from voxstrata.report.words import capital, counted, layer_called, listing, number

VERDICTS = {
    "better": "is better in",
    "worse": "is worse in",
    "even": "is not told apart in",
    "unknown": "has no interval in",
}
"""How a sentence on a model's sum goes on, by verdict."""

TOLD = 4
"""Tasks of a model up to which a sentence gives their numbers."""

CHANCE = 0.05
"""Share of intervals at 95 % that miss by chance."""


def sum_against_layer(view: View, held: Sequence[Gain]) -> list[str]:
    """Counts over trained models and over twins, and what cells that are not told apart leave
    open."""
    trained = [gain for gain in held if view.models[gain.model].twin_of is None]
    twins = [gain for gain in held if view.models[gain.model].twin_of is not None]
    found = [tally(trained, "of trained models")] if trained else []
    if twins:
        found.append(tally(twins, "of untrained twins"))
    even = [gain for gain in trained if gain.verdict == "even"]
    if even:
        widest = max(even, key=lambda gain: max(-gain.more.low, gain.more.high))
        reach = max(-widest.more.low, widest.more.high)
        found.append(
            "Not told apart is not equal: the differences that these intervals allow reach "
            f"{figure(widest.measure, reach)} ({widest.task.get('title')}, "
            f"{view.models[widest.model].label})."
        )
    counted_ = [gain for gain in trained if gain.verdict != "unknown"]
    if len(counted_) >= 1 / CHANCE:
        found.append(
            f"Of {len(counted_)} intervals at 95 %, about {round(CHANCE * len(counted_))} would "
            "miss 0 by chance alone."
        )
    return found


def model_said(view: View, held: Sequence[Gain]) -> str:
    """One model: tasks in which its sum is better, worse, not told apart; with numbers where they
    are few (figure and table have them all)."""
    if not held:
        return ""
    label = view.models[held[0].model].label
    parts = []
    for verdict, said in VERDICTS.items():
        named = [_gain(gain, brief=len(held) > TOLD) for gain in held if gain.verdict == verdict]
        if named:
            parts.append(f"{said} {listing(named)}")
    return f"{label}: the sum {'; it '.join(parts)}."


def _gain(gain: Gain, *, brief: bool) -> str:
    """ "SID (+4.2 over mfa, −4.2 to +14.6)"; the name alone if brief."""
    if brief:
        return str(gain.task.get("title"))
    more = figure(gain.measure, gain.more.value, signed=True)
    spread = ends(gain.measure, gain.more, signed=True)
    beside = f", {spread}" if spread else ""
    return f"{gain.task.get('title')} ({more} over {layer_called(gain.layer)}{beside})"


def foretold(view: View, found: Sequence[Link]) -> list[str]:
    """Each claimed pair of property and task: its correlation in every model."""
    labels = {model.spec: model.label for model in view.models}
    twins = {model.spec for model in view.models if model.twin_of is not None}
    pairs: dict[tuple[str, str], list[Link]] = {}
    for link in found:
        pairs.setdefault((link.asked.title, str(link.task.get("title"))), []).append(link)
    says = []
    for (asked, task), held in pairs.items():
        known = [link for link in held if link.is_known]
        if not known:
            says.append(
                f"{capital(asked)} and {task}: no correlation, for want of layers (fewer than "
                f"{LEAST}) or of any variation over them."
            )
            continue
        # Trained models first: the claim is about them, twins show what needs no training.
        known.sort(key=lambda link: link.model in twins)
        named = [f"{number(link.rho)} in {labels[link.model]} ({_support(link)})" for link in known]
        says.append(f"{capital(asked)} and {task}: ρ = {listing(named)}.")
    return says


def _support(link: Link) -> str:
    """ "7 layers, p = 0.02, exact"."""
    value = p_value(link)
    p = "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
    said = f"{counted(len(link.layers), 'layer')}, {p}{'' if is_exact(link) else ' (drawn orders)'}"
    if link.screened:
        said += ", heads trained shortly"
    return said


def doubts(found: Sequence[Link]) -> list[str]:
    """What weakens correlations over layers."""
    says = [
        "Few layers, and neighbours are alike: the layers of a model are not independent, so p "
        "values, which take any order of layers for equally likely, are too small. A correlation "
        "over the layers of one model says nothing about other models."
    ]
    for side, said in (
        ("property", "layers do not differ beyond their intervals in the property"),
        ("task", "layers do not differ beyond their intervals in the task"),
    ):
        names = [
            f"{link.asked.title} with {link.task.get('title')} in {link.model}"
            for link in found
            if link.is_known and side in link.flat
        ]
        if names:
            shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
            says.append(f"The {said}, so that their order is noise in part: {listing(shown)}.")
    return says
