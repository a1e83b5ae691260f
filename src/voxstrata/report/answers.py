"""Where each model holds what, said in plain words: best layer, twin, plain features.

Every number is one of the table, and every "more" is one that the intervals bear out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.report.curve_view import Point, PropertyCurves, Variant
from voxstrata.report.peaks import Peak, controls_at, exceeds, overlaps, peak
from voxstrata.report.sides import asked_models, baselines
from voxstrata.report.view import View
from voxstrata.report.words import (
    capital,
    control_label,
    layer_called,
    listing,
    number,
    spread,
)

SUBJECTS = {
    "acoustic": "acoustic information",
    "phonetic": "phone information",
    "lexical": "word information",
    "semantic": "information on meaning",
    "speaker": "speaker information",
}
"""What the properties of a group tell about."""

FEW = 3
"""Layers named one by one; more are counted."""


@dataclass(frozen=True)
class Rival:
    """What a best layer is held against.

    Attributes:
        name: as sentences call it.
        point: its best value.
        layer: where that is; empty where there is a single layer.
        exceeded: whether the best layer is clear of it; ``None`` where neither has an interval.
        ahead: whether it is better than the best layer beyond their intervals.
    """

    name: str
    point: Point
    layer: str
    exceeded: bool | None
    ahead: bool


@dataclass(frozen=True)
class Held:
    """What one model holds of one property.

    Attributes:
        top: its best layer.
        control: the first control that the best layer is not clear of, with its value.
        twin: its untrained twin, if there is one.
        plain: plain features.
    """

    top: Peak
    control: tuple[str, float] | None
    twin: Rival | None
    plain: tuple[Rival, ...]

    @property
    def rises(self) -> bool:
        """Whether the best layer is clear of twin, plain features and controls."""
        rivals = [*([self.twin] if self.twin else []), *self.plain]
        return self.control is None and bool(rivals) and all(r.exceeded is True for r in rivals)


def held(view: View, variant: Variant, model: int) -> Held | None:
    """What ``model`` holds by one measure; ``None`` where no layer has a value."""
    top = peak(variant, model)
    if top is None:
        return None
    short = [b for b in controls_at(variant, top) if b.exceeded is False]
    twin = view.models[model].twin
    return Held(
        top=top,
        control=(control_label(short[0].control), short[0].point.value) if short else None,
        twin=_rival(view, variant, top, twin, "its untrained twin") if twin is not None else None,
        plain=tuple(
            rival
            for other in baselines(view)
            if (rival := _rival(view, variant, top, other, view.models[other].label)) is not None
        ),
    )


def _rival(view: View, variant: Variant, top: Peak, model: int, name: str) -> Rival | None:
    other = peak(variant, model)
    if other is None:
        return None
    better = variant.higher_is_better
    return Rival(
        name,
        other.point,
        view.layers[other.point.layer].name if other.rest else "",
        exceeds(top.point, other.point, higher=better),
        exceeds(other.point, top.point, higher=better) is True,
    )


def subject(asked: PropertyCurves) -> str:
    """What a property tells about ("phone information")."""
    return SUBJECTS.get(asked.group, asked.title)


def questions(view: View) -> list[list[PropertyCurves]]:
    """Properties by what they tell about; the first of each is spoken of first.

    Those of which neither high nor low is better are left out: they have no best layer.
    """
    found: dict[str, list[PropertyCurves]] = {}
    for asked in view.curves:
        if asked.main.is_ranking:
            found.setdefault(subject(asked), []).append(asked)
    return list(found.values())


def headline(view: View, asked: PropertyCurves) -> str:
    """In which models a property rises above twin and plain features, and in which it does not."""
    known = {m: h for m in asked_models(view) if (h := held(view, asked.main, m)) is not None}
    rivals = [r for h in known.values() for r in (h.twin, *h.plain) if r is not None]
    if not known or not rivals:
        return ""
    rising = [m for m, h in known.items() if h.rises]
    rest = [m for m in known if m not in rising]
    against = _against(list(known.values()))
    what = capital(subject(asked))
    if not rising:
        return f"{what} is not clear of {against} in any layer of {_labels(view, rest)}."
    named = [
        f"{view.models[m].label} ({_layer_name(view, known[m].top)}: "
        f"{number(known[m].top.point.value)})"
        for m in rising
    ]
    said = f"{what} rises clearly above {against} in {listing(named)}"
    return f"{said}; not in {_labels(view, rest)}." if rest else f"{said}."


def _against(found: Sequence[Held]) -> str:
    """ "the untrained twin and log-mel", as far as there are such."""
    names = ["the untrained twin"] if any(h.twin is not None for h in found) else []
    names += dict.fromkeys(r.name for h in found for r in h.plain)
    return listing(names)


def where(view: View, asked: PropertyCurves, model: int) -> str:
    """Where one model holds a property, and whether that is more than it would hold untrained."""
    found = held(view, asked.main, model)
    if found is None:
        return ""
    return f"{capital(subject(asked))} {_place(view, asked.main, found)}. {_verdict(found)}".strip()


def also(view: View, first: PropertyCurves, other: PropertyCurves, model: int) -> str:
    """Whether another property that tells about the same thing puts it into the same layer."""
    one, two = held(view, first.main, model), held(view, other.main, model)
    if one is None or two is None or not two.top.rest:
        return ""
    a, b = one.top, two.top
    near = {p.layer for p in (*a.tied, *a.unknown)} | {a.point.layer}
    near_two = {p.layer for p in (*b.tied, *b.unknown)} | {b.point.layer}
    value = spread(b.point.value, b.point.low, b.point.high)
    if a.point.layer == b.point.layer:
        said = f"By {other.title} it is highest in the same layer ({value})"
    elif b.point.layer in near or a.point.layer in near_two:
        said = (
            f"By {other.title} it is highest in {_layer_name(view, b)} ({value}; one of the two "
            "measures does not tell these layers apart)"
        )
    else:
        said = f"By {other.title} it is highest in {_layer_name(view, b)} instead ({value})"
    return f"{said}{_briefly(two)}."


def _place(view: View, variant: Variant, found: Held) -> str:
    top = found.top
    value = spread(top.point.value, top.point.low, top.point.high)
    most, least = ("highest", "lowest") if variant.higher_is_better else ("best", "worst")
    if not top.rest:
        return f"in its single layer here: {value}"
    said = f"is {most} in {_layer_name(view, top)} ({value}"
    if top.is_flat:
        return f"{said}), though no other layer is told apart from it"
    if top.tied:
        names = [view.layers[p.layer].name for p in top.tied]
        if len(names) > FEW:
            said += f"; {len(names)} of {len(top.rest)} other layers are not told apart from it"
        else:
            verb = "is" if len(names) == 1 else "are"
            noun = "layer" if len(names) == 1 else "layers"
            said += f"; {noun} {listing(names)} {verb} not told apart from it"
    pick = min if variant.higher_is_better else max
    low = pick(top.rest, key=lambda p: p.value)
    if overlaps(top.point, low) is False:
        layer = layer_called(view.layers[low.layer].name)
        return f"{said}) and {least} in {layer} ({number(low.value)})"
    return f"{said})"


def _briefly(found: Held) -> str:
    """ ", clear of its untrained twin (0.42) and log-mel (0.23)", or what it is not clear of."""
    rivals = [*([found.twin] if found.twin else []), *found.plain]
    short = [(r.name, r.point.value) for r in rivals if r.exceeded is not True]
    if found.control is not None:
        short.insert(0, found.control)
    if not rivals and not short:
        return ""
    named = short or [(r.name, r.point.value) for r in rivals]
    listed = listing([f"{name} ({number(value)})" for name, value in named])
    return f", {'not ' if short else ''}clear of {listed}"


def _verdict(found: Held) -> str:
    """What twin, plain features and controls say of a best layer."""
    if found.control is not None:
        name, value = found.control
        verb = "give" if name.endswith("s") else "gives"
        return (
            f"{capital(name)} {verb} {number(value)}, from which that is not told apart: nothing "
            "is shown to be there."
        )
    rivals = [*([found.twin] if found.twin else []), *found.plain]
    if not rivals:
        return ""
    shown = listing([_shown(r, first=i == 0) for i, r in enumerate(rivals)])
    return f"{capital(shown)}: {_conclusion(found)}."


def _shown(rival: Rival, *, first: bool) -> str:
    verb = "reaches " if first else ""
    layer = f" ({layer_called(rival.layer)})" if rival.layer else ""
    return f"{rival.name} {verb}{number(rival.point.value)}{layer}"


def _conclusion(found: Held) -> str:
    twin, plain = found.twin, found.plain
    over = [r for r in plain if r.exceeded is True]
    under = [r for r in plain if r.exceeded is not True]
    doubt = _doubt(under)
    if twin is None:
        return doubt if under else f"this layer holds more than {_names(over)}"
    if twin.exceeded is None:
        return "without intervals a difference by chance cannot be told from a real one"
    if twin.exceeded:
        if not plain:
            return "training added to what the architecture gives"
        if not under:
            return f"training added to what the architecture and {_names(over)} give"
        return f"training added to what the architecture gives, but {doubt}"
    more = (
        "the twin holds more: training took some away"
        if twin.ahead
        else "nothing shows that training added to what the twin holds"
    )
    return f"{more}; {doubt}" if under else more


def _doubt(under: Sequence[Rival]) -> str:
    """ "log-mel alone holds more", or that it is not told apart."""
    ahead = [r for r in under if r.ahead]
    if ahead:
        return f"{_names(ahead)} alone {'holds' if len(ahead) == 1 else 'hold'} more"
    if any(r.exceeded is None for r in under):
        return f"without intervals this layer cannot be told from {_names(under)}"
    return f"this layer is not told apart from {_names(under)}"


def _names(rivals: Sequence[Rival]) -> str:
    return listing([r.name for r in rivals])


def _labels(view: View, models: Sequence[int]) -> str:
    return listing([view.models[m].label for m in models], "or")


def _layer_name(view: View, top: Peak) -> str:
    return layer_called(view.layers[top.point.layer].name)
