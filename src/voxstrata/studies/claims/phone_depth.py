"""Where phones are best told apart: early in ECAPA, in the upper half of speech SSL (A2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from voxstrata.report.words import counted, interval, layer_called
from voxstrata.studies.claims.ashihara import PAPER
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import Curve, measured, property_curve, task_curve
from voxstrata.studies.claims.numbers import Number, greatest, less, mean
from voxstrata.studies.claims.scores import asked

Half = Literal["early", "upper"]

WHOLE = ("pool", "embedding")
"""Layers of one vector a recording, in which phones have no place."""


@dataclass(frozen=True)
class Source:
    """Something that says how well a layer tells phones apart.

    Attributes:
        title: in words.
        name: what was not run, where it was not.
        curve: of a model, or of labels dealt anew in it.
    """

    title: str
    name: str
    curve: Callable[[Evidence, str, bool], Curve | None]


def _of_property(name: str) -> Callable[[Evidence, str, bool], Curve | None]:
    def read(evidence: Evidence, model: str, dealt: bool) -> Curve | None:
        found = (
            property_curve(evidence, of, model, dealt=dealt) for of in measured(evidence, name)
        )
        return next((curve for curve in found if curve is not None), None)

    return read


def _of_pr(evidence: Evidence, model: str, dealt: bool) -> Curve | None:
    found = (task_curve(evidence, task, model, dealt=dealt) for task in asked(evidence, "pr"))
    return next((curve for curve in found if curve is not None), None)


SOURCES = (
    Source("phone identity (CCA)", "the property cca-phone", _of_property("cca-phone")),
    Source("PR by layer", "the task pr on single layers", _of_pr),
    Source(
        "share of variance by phone",
        "the property variance-shares",
        _of_property("variance-shares"),
    ),
)


def phone_depth(evidence: Evidence) -> Claimed:
    """Phone information peaks in ECAPA's early layers and in the upper half of speech SSL.

    Three sources (:data:`SOURCES`), two groups of models. The effect of a source in a group is the
    mean over models of: the best layer of the claimed half less the best of all other layers
    (:func:`contrast`). Controls: the same of the twins, and of labels dealt anew.
    """
    groups: tuple[tuple[str, str, Half], ...] = (
        ("speaker", "early layers of ECAPA models", "early"),
        ("speech", "upper half of speech SSL models", "upper"),
    )
    effects, found, table = [], [], []
    for source in SOURCES:
        for role, words, half in groups:
            effects.append(_effect(evidence, source, role, words, half))
            for model in evidence.role(role):
                curve = _frames(source.curve(evidence, model, False))
                if curve is not None and len(curve.layers) > 1:
                    found.append(_peak(evidence, source, model, curve))
                    table.append(_line(evidence, source, model, curve, half))
    return Claimed(
        name="phone-depth",
        title="Phones peak early in ECAPA and in the upper half of speech SSL",
        paper=f"{PAPER}: phone information is highest in early layers of ECAPA-TDNN and in the "
        "upper half of speech SSL models.",
        effects=tuple(effects),
        found=tuple(found),
        tables={"Where phones are best told apart": table} if table else {},
    )


def contrast(curve: Curve, half: Half) -> Number:
    """Best layer of the claimed half less the best of all others.

    A layer in the very middle counts among the others. Both sides are taken as independent, and
    the ends of each best are the greatest of its layers' ends.

    Args:
        half: "early" (relative depth under 0.5) or "upper" (over 0.5).

    Returns:
        NaN where one side has no layer.
    """
    inside = [at < 0.5 if half == "early" else at > 0.5 for at in curve.depths]
    mine = [x for x, here in zip(curve.numbers, inside, strict=True) if here]
    rest = [x for x, here in zip(curve.numbers, inside, strict=True) if not here]
    return less(greatest(mine), greatest(rest))


def _effect(evidence: Evidence, source: Source, role: str, words: str, half: Half) -> Effect:
    what = f"{source.title}: best layer among the {words} less the best of the others"
    models = evidence.role(role)
    if not models:
        return Effect(what, math.nan, missing=f"the study names no model as {role}")
    held = {spec: _contrast(evidence, source, spec, half) for spec in models}
    known = {spec: found for spec, found in held.items() if found is not None}
    if not known:
        return Effect(what, math.nan, missing=f"{source.name} was not measured of these models")
    if len(known) < len(held):
        what += f" ({len(known)} of {len(held)} models)"
    whole = mean(list(known.values()))
    twins = [(_twin(evidence, source, spec), False) for spec in known]
    dealt = [(spec, True) for spec in known]
    return Effect(
        what,
        whole.value,
        whole.low,
        whole.high,
        {
            TWIN: _control(evidence, source, twins, half),
            PERMUTATION: _control(evidence, source, dealt, half),
        },
        whole.n,
        "groups behind the curves",
    )


def _contrast(
    evidence: Evidence, source: Source, spec: str, half: Half, *, dealt: bool = False
) -> Number | None:
    curve = _frames(source.curve(evidence, spec, dealt))
    if curve is None or len(curve.layers) < 2:
        return None
    found = contrast(curve, half)
    return found if math.isfinite(found.value) else None


def _control(
    evidence: Evidence, source: Source, of: Sequence[tuple[str | None, bool]], half: Half
) -> float:
    """Mean over models; NaN where one of them has no such curve."""
    found = [
        _contrast(evidence, source, spec, half, dealt=dealt) if spec else None for spec, dealt in of
    ]
    return mean([one if one is not None else Number(math.nan) for one in found]).value


def _twin(evidence: Evidence, source: Source, spec: str) -> str | None:
    curve = source.curve(evidence, spec, False)
    return evidence.twin_in(curve.analysis, spec) if curve is not None else None


def _frames(curve: Curve | None) -> Curve | None:
    """Without layers of one vector a recording."""
    if curve is None:
        return None
    kept = [i for i, name in enumerate(curve.layers) if name not in WHOLE]
    if not kept:
        return None
    numbers = tuple(curve.numbers[i] for i in kept)
    return replace(curve, layers=tuple(curve.layers[i] for i in kept), numbers=numbers)


def _peak(evidence: Evidence, source: Source, model: str, curve: Curve) -> str:
    top = curve.at(curve.top)
    assert top is not None
    rivals = sum(x.high >= top.low for x in curve.numbers if x is not top)
    tied = f"; {counted(rivals, 'other layer')} not told apart from it" if rivals else ""
    shown = top.turned if curve.lower else top
    return (
        f"{source.title} is best in {layer_called(curve.top)} of {evidence.label(model)} "
        f"({interval(shown.value, shown.low, shown.high)}{tied})."
    )


def _line(
    evidence: Evidence, source: Source, model: str, curve: Curve, half: Half
) -> dict[str, Any]:
    found = contrast(curve, half)
    return {
        "source": source.title,
        "model": evidence.label(model),
        "claimed half": half,
        "best layer": curve.top,
        "relative depth": curve.depths[curve.layers.index(curve.top)],
        "best inside less best outside": found.value,
        "low": found.low,
        "high": found.high,
    }
