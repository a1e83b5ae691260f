"""The fourth layer of the two ECAPA models differs most (A2024, Figures 2 and 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.report.words import interval, listing, number
from voxstrata.studies.claims.ashihara import PAPER
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import task_curve
from voxstrata.studies.claims.matrices import Matrix, likeness
from voxstrata.studies.claims.numbers import Number, less, lowest, spearman
from voxstrata.studies.claims.scores import asked, layer_losses

READINGS = {
    "block3": "block3, counting conv as the first layer",
    "mfa": "mfa, counting block1 as the first layer",
}
"""What "fourth layer" may mean. The paper's layers are not named in the sources at hand: conv,
block1, block2, block3, mfa makes block3 the fourth, block1 to mfa makes it mfa."""

FRAME_LAYERS = ("conv", "block1", "block2", "block3", "mfa")
TASKS = ("sid", "ks")
"""Tasks in which the layer is left out of the sum."""


@dataclass(frozen=True)
class Sames:
    """CKA of two models' layers of the same name.

    Attributes:
        matrix: all frame layers that both have, in the same order on both sides.
    """

    matrix: Matrix

    @property
    def numbers(self) -> list[Number]:
        """CKA of each layer with its namesake."""
        found = [self.matrix.at(name, name) for name in self.matrix.layers]
        return [one if one is not None else Number(math.nan) for one in found]


def fourth_layer(evidence: Evidence) -> Claimed:
    """The fourth layer differs most between the supervised and the DINO ECAPA model.

    Effect: the least CKA of the other frame layers with their namesakes, less that of the fourth
    layer; above 0 where the fourth is the least alike. Both readings have a verdict in the tables;
    that of the claim is of the reading with the greater effect. (Two tries are no second chance
    here: at most one layer can be the least alike.) Controls: the same of the twins; and 0, what it
    is at most in the mean where the recordings of one model are dealt anew to those of the other
    (:attr:`~voxstrata.studies.claims.matrices.Matrix.dealt`). To deal the names of layers would
    say nothing: that one layer of five is the least alike happens by chance once in five times.
    Tables: what leaving the layer out of the sum costs in SID and KS, and CKA beside the
    difference in SID by layer.
    """
    ones, others = evidence.role("supervised"), evidence.role("dino")
    what = "CKA of the other layers of supervised and DINO less that of the fourth"
    if not (ones and others):
        empty = [r for r, held in (("supervised", ones), ("dino", others)) if not held]
        missing = f"the study names no model as {listing(empty)}"
        return _claimed((Effect(what, math.nan, missing=missing),), [], {})
    one, other = ones[0], others[0]
    effects = {name: _effect(evidence, one, other, name) for name in READINGS}
    readings = [
        {
            "fourth layer read as": READINGS[name],
            "least CKA of the others less its own": effect.value,
            "low": effect.low,
            "high": effect.high,
            "untrained twin": effect.controls.get(TWIN, math.nan),
            "recordings dealt anew": effect.controls.get(PERMUTATION, math.nan),
            "verdict": effect.verdict,
            "because": effect.doubt,
        }
        for name, effect in effects.items()
    ]
    tables = {"Readings of the fourth layer": readings}
    beside = _beside(evidence, one, other)
    lost = _lost(evidence, (one, other))
    tables |= {"CKA of supervised and DINO beside SID, by layer": beside} if beside else {}
    tables |= {"What the sum loses without the layer": lost} if lost else {}
    # The reading that the verdict is of comes first.
    order = sorted(effects, key=lambda name: _size(effects[name]), reverse=True)
    said = [_reading(name, effects[name]) for name in order]
    best = effects[order[0]]
    return _claimed((best,), [*said, *_said(beside, lost)], tables)


def _size(effect: Effect) -> float:
    return effect.value if math.isfinite(effect.value) else -math.inf


def _claimed(
    effects: tuple[Effect, ...],
    found: Sequence[str],
    tables: dict[str, list[dict[str, Any]]],
) -> Claimed:
    return Claimed(
        name="fourth-layer",
        title="The fourth layer of supervised and DINO ECAPA differs most",
        paper=f"{PAPER}, Figures 2 and 4: of the layers of the two ECAPA-TDNN models, the fourth "
        "differs most.",
        effects=effects,
        found=tuple(found),
        tables=tables,
    )


def sames(evidence: Evidence, one: str, other: str) -> Sames | None:
    """CKA of the frame layers that two ECAPA models share by name; ``None`` where they were not
    compared."""
    found = likeness(evidence, one, other)
    if found is None:
        return None
    names = [name for name in FRAME_LAYERS if name in found.layers and name in found.others]
    return Sames(found.part(names, names)) if len(names) > 1 else None


def _effect(evidence: Evidence, one: str, other: str, reading: str) -> Effect:
    what = (
        f"least CKA of the other layers of {evidence.label(one)} and {evidence.label(other)} with "
        f"their namesakes, less that of the fourth (read as {READINGS[reading]})"
    )
    found = sames(evidence, one, other)
    if found is None:
        missing = (
            f"frame layers of {evidence.label(one)} and {evidence.label(other)} were not compared"
        )
        return Effect(what, math.nan, missing=missing)
    held = dict(zip(found.matrix.layers, found.numbers, strict=True))
    fourth = held.pop(reading, None)
    if fourth is None or not held:
        return Effect(what, math.nan, missing=f"the models have no layer {reading} here")
    more = less(lowest(list(held.values())), fourth)
    return Effect(
        what,
        more.value,
        more.low,
        more.high,
        {TWIN: _twin(evidence, found, (one, other), reading), PERMUTATION: found.matrix.dealt},
        more.n,
        "groups of recordings",
    )


def _twin(evidence: Evidence, of: Sames, models: Sequence[str], reading: str) -> float:
    twins = [evidence.twin_in(of.matrix.analysis, spec) for spec in models]
    if twins[0] is None or twins[1] is None:
        return math.nan
    if twins[0] == twins[1]:
        return 0.0  # one network: every layer is its own namesake
    found = sames(evidence, twins[0], twins[1])
    if found is None:
        return math.nan
    held = dict(zip(found.matrix.layers, (x.value for x in found.numbers), strict=True))
    fourth = held.pop(reading, math.nan)
    return min(held.values()) - fourth if held else math.nan


def _reading(name: str, effect: Effect) -> str:
    name = READINGS[name]
    if not math.isfinite(effect.value):
        return f"Read as {name}: cannot be told, because {effect.doubt}."
    doubt = f", because {effect.doubt}" if effect.doubt else ""
    return (
        f"Read as {name}: {effect.verdict}{doubt}. The least alike of the other layers is "
        f"{interval(effect.value, effect.low, effect.high)} more alike than it."
    )


def _beside(evidence: Evidence, one: str, other: str) -> list[dict[str, Any]]:
    """CKA of namesakes beside supervised less DINO in SID with heads on the single layers."""
    found = sames(evidence, one, other)
    sid = next(
        (
            pair
            for task in asked(evidence, "sid")
            if all(pair := [task_curve(evidence, task, model) for model in (one, other)])
        ),
        None,
    )
    if found is None:
        return []
    lines = []
    for name, cka in zip(found.matrix.layers, found.numbers, strict=True):
        line: dict[str, Any] = {"layer": name, "CKA": cka.value, "low": cka.low, "high": cka.high}
        numbers = [curve.at(name) if curve is not None else None for curve in sid or (None, None)]
        more = less(numbers[0], numbers[1]) if numbers[0] and numbers[1] else Number(math.nan)
        line |= {
            "SID, supervised less DINO": more.value,
            "SID low": more.low,
            "SID high": more.high,
        }
        lines.append(line)
    return lines


def _lost(evidence: Evidence, models: Sequence[str]) -> list[dict[str, Any]]:
    lines = []
    for model in models:
        for name in TASKS:
            for layer in ("block3", "mfa"):
                lost = layer_losses(evidence, name, model, layer)
                if lost is not None:
                    lines.append(
                        {
                            "model": evidence.label(model),
                            "task": name.upper(),
                            "without": layer,
                            "lost": lost.value,
                            "low": lost.low,
                            "high": lost.high,
                            "interval": lost.verdict,
                        }
                    )
    return lines


def _said(beside: Sequence[dict[str, Any]], lost: Sequence[dict[str, Any]]) -> list[str]:
    said = []
    known = [line for line in beside if math.isfinite(line["SID, supervised less DINO"])]
    if len(known) > 3:
        apart = [abs(line["SID, supervised less DINO"]) for line in known]
        rho = spearman([-line["CKA"] for line in known], apart).value
        if math.isfinite(rho):
            said.append(
                f"Over {len(known)} layers, less CKA and a greater difference in SID have a "
                f"Spearman correlation of {number(rho)}; layers are not independent, so it has no "
                "interval."
            )
    words = {
        "above 0": "loses",
        "below 0": "gains",
        "holds 0": "is not told apart from the whole sum",
        "no interval": "has no interval",
    }
    for line in lost:
        shown = interval(line["lost"], line["low"], line["high"])
        said.append(
            f"Without {line['without']} the sum of {line['model']} {words[line['interval']]} in "
            f"{line['task']} (loss {shown})."
        )
    return said
