"""The fourth layer of the two ECAPA models differs most (A2024, Figures 2 and 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.words import counted, interval, listing, number
from voxstrata.studies.claims.ashihara import PAPER, SEED
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import task_curve
from voxstrata.studies.claims.namesakes import FRAME_LAYERS, Sames, sames
from voxstrata.studies.claims.numbers import (
    NOTHING,
    PERCENTILE,
    Number,
    far,
    less,
    lowest,
    mean,
    spearman,
)
from voxstrata.studies.claims.scores import asked, layer_losses

READINGS = {
    "block3": "block3, counting conv as the first layer",
    "mfa": "mfa, counting block1 as the first layer",
}
"""What "fourth layer" may mean. The paper's layers are not named in the sources at hand: conv,
block1, block2, block3, mfa makes block3 the fourth, block1 to mfa makes it mfa."""

TASKS = ("sid", "ks")
"""Tasks in which the layer is left out of the sum."""

DEALS = 8000
"""Deals of layers' names: all of up to three pairs of models with five layers, else drawn ones."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Compared:
    """A supervised and a DINO model.

    Attributes:
        models: specs.
        layers: of the same name; ``None`` where they were not compared.
        twins: the same of their untrained twins; ``None`` where there are none.
        note: why there are no twins.
    """

    models: Pair
    layers: Sames | None
    twins: Sames | None
    note: str


def fourth_layer(evidence: Evidence) -> Claimed:
    """The fourth layer differs most between the supervised and the DINO ECAPA model.

    Two effects, one a reading: the least CKA of the other frame layers with their namesakes, less
    that of the fourth layer (above 0 where the fourth is the least alike), mean over pairs of
    models: the first supervised with the first DINO model, the second with the second. Controls:
    the same of the twins; and the 95th percentile where it is dealt anew, in each pair, which of
    its layers are called by the two names, of the greater of the two readings (the lesser, below
    0), so that two tries are no second chance. Of five layers one is always the least alike: one
    pair of models, or two, cannot exceed it.

    The verdict is of the readings that can be told, if these agree; it cannot be told if one is
    supported and the other is not. Tables: both readings; what leaving the layer out of the sum
    costs in SID and KS, and CKA beside the difference in SID by layer.
    """
    ones, others = evidence.role("supervised"), evidence.role("dino")
    if not (ones and others):
        what = "CKA of the other layers of supervised and DINO less that of the fourth"
        empty = [r for r, held in (("supervised", ones), ("dino", others)) if not held]
        missing = f"the study names no model as {listing(empty)}"
        return _claimed((Effect(what, math.nan, missing=missing),), [], {})
    pairs = [_compared(evidence, pair) for pair in zip(ones, others, strict=False)]
    effects = {name: _effect(evidence, pairs, name) for name in READINGS}
    tables = {"Readings of the fourth layer": [_line(*each) for each in effects.items()]}
    beside = {pair.models: lines for pair in pairs if (lines := _beside(evidence, pair))}
    lost = _lost(evidence, dict.fromkeys(model for pair in pairs for model in pair.models))
    if beside:
        every = [line for lines in beside.values() for line in lines]
        tables |= {"CKA of supervised and DINO beside SID, by layer": every}
    tables |= {"What the sum loses without the layer": lost} if lost else {}
    # The reading with the greater effect comes first.
    order = sorted(effects, key=lambda name: _size(effects[name]), reverse=True)
    said = [_reading(name, effects[name]) for name in order]
    said += filter(None, [_together(evidence, *each) for each in beside.items()])
    said += [_loss(line) for line in lost]
    return _claimed(agreed([effects[name] for name in order]), said, tables)


def agreed(readings: Sequence[Effect]) -> tuple[Effect, ...]:
    """What the verdict is of: the readings that can be told where these agree, one effect that
    says so where they do not, all where none can be told."""
    told = [effect for effect in readings if effect.verdict != "cannot tell"]
    if len({effect.verdict for effect in told}) < 2:
        return tuple(told or readings)
    each = "; ".join(f"{effect.what}: {effect.verdict}" for effect in told)
    what = "CKA of the other layers of supervised and DINO less that of the fourth"
    return (Effect(what, math.nan, missing=f"the two readings differ ({each})"),)


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


def _compared(evidence: Evidence, pair: Pair) -> Compared:
    layers = sames(evidence, *pair)
    if layers is None:
        return Compared(pair, None, None, "")
    twins, note = evidence.twins_apart(layers.matrix.analysis, pair, FRAME_LAYERS)
    return Compared(pair, layers, sames(evidence, *twins) if twins else None, note)


def _effect(evidence: Evidence, pairs: Sequence[Compared], reading: str) -> Effect:
    named = [f"{evidence.label(p.models[0])} and {evidence.label(p.models[1])}" for p in pairs]
    what = (
        f"least CKA of the other layers of {listing(named)} with their namesakes, less that of the "
        f"fourth (read as {READINGS[reading]})"
    )
    found: list[Sames] = []
    for pair, names in zip(pairs, named, strict=True):
        if pair.layers is None:
            return Effect(what, math.nan, missing=f"frame layers of {names} were not compared")
        if reading not in pair.layers.matrix.layers:
            return Effect(what, math.nan, missing=f"{names} have no layer {reading} here")
        found.append(pair.layers)
    whole = mean([_apart(held, reading) for held in found])
    twins = mean([_apart(p.twins, reading) if p.twins else NOTHING for p in pairs])
    return Effect(
        what,
        whole.value,
        whole.low,
        whole.high,
        {TWIN: twins.value, PERMUTATION: _chance(dealt_names(found), whole.value)},
        whole.n,
        "groups of recordings",
        notes={TWIN: next((p.note for p in pairs if p.note), ""), PERMUTATION: _few(found)},
    )


def _apart(of: Sames, reading: str) -> Number:
    """The least CKA of the other layers less that of one; NaN where it is not there."""
    held = dict(zip(of.matrix.layers, of.numbers, strict=True))
    own = held.pop(reading, NOTHING)
    return less(lowest(list(held.values())), own)


def dealt_names(found: Sequence[Sames]) -> NDArray[np.float64]:
    """Both readings with names dealt anew: in each pair of models two of its layers are called the
    fourth in one reading and in the other.

    Returns:
        means over pairs, [deals, 2]: all deals, or :data:`DEALS` that are drawn.
    """
    parts = []
    for held in found:
        own = np.array([_apart(held, name).value for name in held.matrix.layers])
        parts.append(np.array(list(permutations(own, 2))))
    sizes = [len(part) for part in parts]
    if math.prod(sizes) <= DEALS:
        picks = np.array(list(product(*map(range, sizes))))
    else:
        rng = np.random.default_rng(SEED)
        picks = np.stack([rng.integers(size, size=DEALS) for size in sizes], axis=1)
    dealt = [part[picks[:, i]] for i, part in enumerate(parts)]
    return np.asarray(np.mean(dealt, axis=0))


def _chance(dealt: NDArray[np.float64], value: float) -> float:
    return far(dealt.min(axis=1) if value < 0 else dealt.max(axis=1), value)


def _few(found: Sequence[Sames]) -> str:
    """Why names that are dealt anew do as much in any case, where pairs of models are too few."""
    layers = min(len(held.matrix.layers) for held in found)
    # One of two names falls on the least alike layer of every pair.
    pairs = 1
    while 2 / layers**pairs > 1 - PERCENTILE:
        pairs += 1
    if len(found) >= pairs:
        return ""
    return (
        f"one of {layers} layers is the least alike in any case; {counted(pairs, 'pair')} of "
        f"models are needed, and there {'is' if len(found) == 1 else 'are'} {len(found)}"
    )


def _line(name: str, effect: Effect) -> dict[str, Any]:
    return {
        "fourth layer read as": READINGS[name],
        "least CKA of the others less its own": effect.value,
        "low": effect.low,
        "high": effect.high,
        "untrained twin": effect.controls.get(TWIN, math.nan),
        "names dealt anew": effect.controls.get(PERMUTATION, math.nan),
        "verdict": effect.verdict,
        "because": effect.doubt,
    }


def _reading(name: str, effect: Effect) -> str:
    name = READINGS[name]
    if not math.isfinite(effect.value):
        return f"Read as {name}: cannot be told, because {effect.doubt}."
    doubt = f", because {effect.doubt}" if effect.doubt else ""
    return (
        f"Read as {name}: {effect.verdict}{doubt}. The least alike of the other layers is "
        f"{interval(effect.value, effect.low, effect.high)} more alike than it."
    )


def _beside(evidence: Evidence, pair: Compared) -> list[dict[str, Any]]:
    """CKA of namesakes beside supervised less DINO in SID with heads on the single layers."""
    (one, other), found = pair.models, pair.layers
    sid = next(
        (
            both
            for task in asked(evidence, "sid")
            if all(both := [task_curve(evidence, task, model) for model in (one, other)])
        ),
        None,
    )
    if found is None:
        return []
    lines = []
    for name, cka in zip(found.matrix.layers, found.numbers, strict=True):
        numbers = [curve.at(name) if curve is not None else None for curve in sid or (None, None)]
        more = less(numbers[0], numbers[1]) if numbers[0] and numbers[1] else Number(math.nan)
        lines.append(
            {
                "supervised": evidence.label(one),
                "DINO": evidence.label(other),
                "layer": name,
                "CKA": cka.value,
                "low": cka.low,
                "high": cka.high,
                "SID, supervised less DINO": more.value,
                "SID low": more.low,
                "SID high": more.high,
            }
        )
    return lines


def _lost(evidence: Evidence, models: Mapping[str, None]) -> list[dict[str, Any]]:
    lines = []
    for model in models:
        for name in TASKS:
            for layer in READINGS:
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


def _together(evidence: Evidence, pair: Pair, beside: Sequence[dict[str, Any]]) -> str:
    known = [line for line in beside if math.isfinite(line["SID, supervised less DINO"])]
    if len(known) <= 3:
        return ""
    apart = [abs(line["SID, supervised less DINO"]) for line in known]
    rho = spearman([-line["CKA"] for line in known], apart).value
    if not math.isfinite(rho):
        return ""
    return (
        f"Over {len(known)} layers of {evidence.label(pair[0])} and {evidence.label(pair[1])}, "
        f"less CKA and a greater difference in SID have a Spearman correlation of {number(rho)}; "
        "layers are not independent, so it has no interval."
    )


def _loss(line: dict[str, Any]) -> str:
    words = {
        "above 0": "loses",
        "below 0": "gains",
        "holds 0": "is not told apart from the whole sum",
        "no interval": "has no interval",
    }
    shown = interval(line["lost"], line["low"], line["high"])
    return (
        f"Without {line['without']} the sum of {line['model']} {words[line['interval']]} in "
        f"{line['task']} (loss {shown})."
    )
