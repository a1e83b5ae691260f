"""What curves show, said in words that the table bears out.

Where intervals overlap, or a control is not exceeded, the sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxstrata.report.curve_view import ON_TEST, SCREEN, Point, PropertyCurves, Variant
from voxstrata.report.peaks import (
    Beside,
    Peak,
    controls_at,
    exceeds,
    overlaps,
    peak,
    peaks,
    twin_of,
)
from voxstrata.report.view import View
from voxstrata.report.words import capital, control_label, counted, listing, number, spread

FEW_GROUPS = 10
"""Independent groups below which an interval is itself uncertain."""

FEW_TIES = 6
"""Ties up to this number are named; more are counted."""

SELECTION = {
    SCREEN: "These heads were trained shortly, to choose the layer: they rank the layers, and "
    "longer training does better.",
    ON_TEST: "Something was chosen on the test part, as the published rules do: these values "
    "flatter.",
}
"""What the way of choosing says about values, by estimator."""


def lead(view: View, asked: PropertyCurves, variant: Variant) -> str:
    """Where the best model peaks, its twin and controls, and whether other models are told apart
    from it."""
    order = peaks(view, variant)
    if not order:
        return f"{capital(asked.title)}: no layer has a value."
    said = _where(view, f"{capital(asked.title)} ", variant, order[0])
    said += _beside(view, variant, order[0])
    return " ".join(filter(None, [f"{said}.", _rivals(view, order)]))


def _rivals(view: View, order: Sequence[Peak]) -> str:
    """In few words, which models are not told apart from the first."""
    best, others = order[0], order[1:]
    rivals = [o for o in others if overlaps(best.point, o.point) is not False]
    if not others:
        return ""
    if not rivals:
        return "Its interval overlaps no other model's peak."
    if len(rivals) == len(others) > 1:
        return "No other model is told apart from it."
    return f"{_names(view, rivals)} {_are(len(rivals))} not told apart from it."


def verdict(view: View, variant: Variant) -> str:
    """Whether the best model is told apart from the others; empty with fewer than two."""
    order = peaks(view, variant)
    if len(order) < 2:
        return ""
    best, others = order[0], order[1:]
    name = view.models[best.model].label
    rivals = [o for o in others if overlaps(best.point, o.point) is True]
    unknown = [o for o in others if overlaps(best.point, o.point) is None]
    if rivals:
        return (
            f"{_peaks_of(view, rivals)} not told apart from that of {name} (intervals overlap), so "
            f"the data do not say which model is {_most(variant)}."
        )
    if unknown:
        return f"Without intervals, the lead of {name} over {_names(view, unknown)} is not certain."
    second = others[0]
    return (
        f"The peak of {name} is clear of every other model's; next is "
        f"{view.models[second.model].label} ({number(second.point.value)}, layer "
        f"{_layer(view, second.point)})."
    )


def model_said(view: View, variant: Variant, model: int) -> str:
    """Where one model peaks, what that is told apart from, its twin and controls."""
    top = peak(variant, model)
    label = view.models[model].label
    if top is None:
        return f"{label}: no layer has a value." if variant.curve(model) else ""
    said = _where(view, "", variant, top, subject=label)
    return said + _ties(view, top) + _beside(view, variant, top) + "."


def caveats(view: View, asked: PropertyCurves, variant: Variant) -> list[str]:
    """What weakens the numbers of one measure, most serious first."""
    points = [p for curve in variant.curves for p in curve.points]
    known = [p for p in points if p.has_value]
    found = []
    if not variant.is_ranking:
        found.append(
            "Neither high nor low is better in itself; marked layers are those with the highest "
            "value."
        )
    elif not variant.higher_is_better:
        found.append("Lower is better here; peaks are the lowest values.")
    if variant.estimator in SELECTION:
        found.append(SELECTION[variant.estimator])
    if unclear := _not_exceeded(view, variant):
        found.append(unclear)
    # Selectivity has its control taken off already.
    if known and not variant.controls and not variant.measure.endswith("selectivity"):
        found.append("There is no control to hold these values against.")
    lacking = sum(not p.has_interval for p in known)
    if lacking and lacking == len(known):
        found.append("No value has an interval, so differences cannot be told from chance.")
    elif lacking:
        found.append(f"{lacking:,} of {counted(len(known), 'value')} have no interval.")
    if missing := len(points) - len(known):
        verb = "gives" if missing == 1 else "give"
        found.append(f"{counted(missing, 'layer')} {verb} no finite value (a gap in the curve).")
    fewest = min((p.groups for p in known if p.has_interval and p.groups > 0), default=0)
    if 0 < fewest < FEW_GROUPS:
        found.append(f"The intervals rest on {counted(fewest, 'independent group')} only.")
    return [*asked.notices, *reduced(asked), *found]


def reduced(asked: PropertyCurves) -> list[str]:
    """What a small scale made smaller than published, from the facts of the draws."""
    found: dict[str, str] = {}
    for facts in asked.facts:
        changes = facts.get("reduced")
        if not isinstance(changes, Mapping):
            continue
        for what, sizes in changes.items():
            if isinstance(sizes, Mapping):
                used, published = _plain(sizes.get("used")), _plain(sizes.get("published"))
                said = f"{str(what).replace('_', ' ')}: {used} instead of {published}"
                found.setdefault(said, said)
    if not found:
        return []
    return [
        f"Reduced to fit this corpus. {capital('; '.join(found))}. Values are not comparable with "
        "published ones."
    ]


def _not_exceeded(view: View, variant: Variant) -> str:
    """Models whose peak is not above a control."""
    found = []
    for top in peaks(view, variant):
        if any(beside.exceeded is False for beside in controls_at(variant, top)):
            found.append(view.models[top.model].label)
    if not found:
        return ""
    one = len(found) == 1
    return (
        f"The best {'layer' if one else 'layers'} of {listing(_some(found))} {_are(len(found))} "
        f"not clear of {'its' if one else 'their'} control: by this measure, nothing is shown to "
        "be encoded there."
    )


def _where(
    view: View, opening: str, variant: Variant, top: Peak, subject: str | None = None
) -> str:
    """ "peaks at layer 9 of X (0.71, 0.69 to 0.73)", as far as the intervals allow "peaks"."""
    label = view.models[top.model].label
    value = spread(top.point.value, top.point.low, top.point.high)
    layer = _layer(view, top.point)
    if not top.rest:
        if subject is not None:
            return f"{label} has a single layer here, {layer} ({value})"
        first = f"{_most(variant)} in" if len(variant.curves) > 1 else "scored in"
        return f"{opening}is {first} {label}, which has a single layer here ({value})"
    if top.is_flat:
        verb = f"is {_most(variant)}"
    else:
        ranked = variant.higher_is_better and variant.is_ranking
        verb = "peaks" if ranked else f"is {_most(variant)}"
    if subject is not None:
        return f"{subject} {verb} at layer {layer} ({value})"
    return f"{opening}{verb} at layer {layer} of {label} ({value})"


def _ties(view: View, top: Peak) -> str:
    if not top.rest:
        return ""
    if len(top.unknown) == len(top.rest):
        return "; without intervals, its lead over the other layers is not certain"
    if top.is_flat:
        if len(top.rest) == 1:
            return "; the interval of the other layer overlaps its own, so no peak is certain"
        return "; the intervals of all other layers overlap its own, so no peak is certain"
    if not top.tied:
        return "; no other layer's interval overlaps its own"
    if len(top.tied) > FEW_TIES:
        return (
            f"; the intervals of {len(top.tied)} of the {len(top.rest)} other layers overlap its "
            "own, so the peak may be any of them"
        )
    names = listing([_layer(view, p) for p in top.tied])
    if len(top.tied) == 1:
        return f"; layer {names} is not told apart from it (intervals overlap)"
    return f"; layers {names} are not told apart from it (intervals overlap)"


def _beside(view: View, variant: Variant, top: Peak) -> str:
    """Twin and controls: "; its untrained twin reaches 0.40 at layer 2, shuffled rows 0.08"."""
    parts = []
    twin = twin_of(view, top.model)
    other = peak(variant, twin) if twin is not None else None
    if other is not None:
        doubt = ""
        ahead = exceeds(top.point, other.point, higher=variant.higher_is_better)
        if ahead is False and variant.is_ranking:
            doubt = ", from which it is not told apart"
            if overlaps(top.point, other.point) is not True:
                doubt = ", which is better"
        where = f" at layer {_layer(view, other.point)}" if other.rest else ""
        parts.append(f"its untrained twin reaches {number(other.point.value)}{where}{doubt}")
    held = controls_at(variant, top)
    clear = [b for b in held if b.exceeded is not False]
    short = [b for b in held if b.exceeded is False]
    if clear:
        named = [f"{control_label(b.control)} {number(b.point.value)}" for b in clear]
        # "reaches 0.40 at layer 2, shuffled rows 0.08" needs no verb of its own.
        parts.append(listing(named) if parts else _gives(clear))
    said = "; " + ", ".join(parts) if parts else ""
    higher = variant.higher_is_better
    for b in short:
        ahead = top.point.value > b.point.value if higher else top.point.value < b.point.value
        worse = "not above" if higher else "no better than"
        said += (
            f"; {control_label(b.control)} {_give(b)} {number(b.point.value)}, so the value is "
            f"{'not told apart from' if ahead else worse} its control"
        )
    return said


def _gives(held: Sequence[Beside]) -> str:
    return listing([f"{control_label(b.control)} {_give(b)} {number(b.point.value)}" for b in held])


def _give(held: Beside) -> str:
    return "give" if control_label(held.control).endswith("s") else "gives"


def _peaks_of(view: View, tops: Sequence[Peak]) -> str:
    """ "The peaks of A (0.70, layer 8) and B (0.69, layer 9) are"."""
    named = _some(
        [
            f"{view.models[t.model].label} ({number(t.point.value)}, layer {_layer(view, t.point)})"
            for t in tops
        ]
    )
    return f"The peak{'s' if len(tops) > 1 else ''} of {listing(named)} {_are(len(tops))}"


def _names(view: View, tops: Sequence[Peak]) -> str:
    return listing(_some([view.models[t.model].label for t in tops]))


def _some(names: Sequence[str]) -> list[str]:
    """The first few names, and how many more there are."""
    if len(names) <= 4:
        return list(names)
    return [*names[:3], f"{len(names) - 3} more models"]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _most(variant: Variant) -> str:
    return "highest" if variant.higher_is_better else "lowest"


def _layer(view: View, point: Point) -> str:
    return view.layers[point.layer].name


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
