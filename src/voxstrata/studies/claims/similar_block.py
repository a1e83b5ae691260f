"""A block of mutually similar layers in WavLM Large, not in Base or Base+ (A2024, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.words import counted, interval, number
from voxstrata.studies.claims.ashihara import PAPER, SEED
from voxstrata.studies.claims.block_search import (
    LEAST_LAYERS,
    Block,
    find_block,
    null_excesses,
)
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import measured, property_curve
from voxstrata.studies.claims.matrices import Matrix, likeness
from voxstrata.studies.claims.numbers import Number, far, less

SHARE = 0.5
"""A model has no such block if its excess is less than this share of WavLM Large's."""

UNIT = "groups of recordings"


@dataclass(frozen=True)
class Searched:
    """The block of one model beside what chance gives.

    Attributes:
        model: spec.
        layers: names.
        block: what was found.
        null: greatest excess in each shuffled matrix.
        twin: excess in the untrained twin's matrix; NaN without one.
        analysis: name of the analysis.
    """

    model: str
    layers: tuple[str, ...]
    block: Block
    null: NDArray[np.float64]
    twin: float
    analysis: str

    @property
    def members(self) -> tuple[str, ...]:
        """Layers of the block."""
        return self.layers[self.block.start : self.block.stop]


def similar_block(evidence: Evidence) -> Claimed:
    """A contiguous block of mutually similar layers in WavLM Large, none in Base and Base+.

    For Large the effect is the excess of its block
    (:class:`~voxstrata.studies.claims.block_search.Block`). That there is none in Base, or Base+,
    is the effect "half of Large's excess less the other's": above 0 where the other has less than
    half. Controls: the same of the untrained twins' matrices, and the 95th percentile of the same
    search in matrices shuffled along their diagonals.
    """
    large = [_search(evidence, spec) for spec in evidence.role("wavlm-large")]
    effects: list[Effect] = [] if large else [_unnamed("wavlm-large", "WavLM Large")]
    found: dict[str, Searched] = {}
    for one in large:
        effects.append(_exists(evidence, one))
        found |= {one.model: one} if isinstance(one, Searched) else {}
    for role, name in (("wavlm-base", "WavLM Base"), ("wavlm-base-plus", "WavLM Base+")):
        specs = evidence.role(role)
        effects += [] if specs else [_unnamed(role, name)]
        for spec in specs:
            other = _search(evidence, spec)
            effects += [_absent(evidence, one, other) for one in large]
            found |= {spec: other} if isinstance(other, Searched) else {}
    blocks = list(found.values())
    tables = {"The block that stands out most": [_line(evidence, one) for one in blocks]}
    for one in large:
        if isinstance(one, Searched) and (profile := _profile(evidence, one)):
            tables[f"Properties inside and outside the block of {evidence.label(one.model)}"] = (
                profile
            )
    return Claimed(
        name="similar-block",
        title="WavLM Large has a block of mutually similar layers, Base and Base+ have none",
        paper=f"{PAPER}, Figure 3: layers 13 to 22 of WavLM Large are similar to each other; no "
        "such block in Base and Base+.",
        effects=tuple(effects),
        found=tuple(_said(evidence, one) for one in blocks),
        tables=tables if blocks else {},
    )


def transformer_layers(names: Sequence[str]) -> list[str]:
    """Numbered layers, where there are at least two; else all."""
    numbered = [name for name in names if name.isascii() and name.isdigit()]
    return numbered if len(numbered) > 1 else list(names)


def _search(evidence: Evidence, spec: str) -> Searched | tuple[str, str]:
    """The block, or spec and why there is none."""
    matrix = _own(evidence, spec)
    if isinstance(matrix, str):
        return spec, matrix
    twin = evidence.twin_in(matrix.analysis, spec)
    return Searched(
        model=spec,
        layers=matrix.layers,
        block=find_block(matrix.values, matrix.low, matrix.high, matrix.n),
        null=null_excesses(matrix.values, seed=SEED),
        twin=_of_twin(evidence, twin),
        analysis=matrix.analysis,
    )


def _of_twin(evidence: Evidence, twin: str | None) -> float:
    its = _own(evidence, twin) if twin else ""
    if isinstance(its, str):
        return math.nan
    return find_block(its.values, its.low, its.high).excess.value


def _own(evidence: Evidence, spec: str) -> Matrix | str:
    """CKA of a model's numbered layers with each other, symmetric; or why there is none."""
    found = likeness(evidence, spec, spec)
    if found is None:
        return f"the layers of {evidence.label(spec)} were not compared by CKA"
    names = transformer_layers(found.layers)
    if len(names) < LEAST_LAYERS:
        return f"{evidence.label(spec)} has {counted(len(names), 'layer')} here, too few to search"
    both = found.part(names, names)
    if not np.isfinite(both.values[np.triu_indices(len(names), 1)]).all():
        return f"some layers of {evidence.label(spec)} were not compared with each other"
    return both


def _unnamed(role: str, name: str) -> Effect:
    return Effect(f"block in {name}", math.nan, missing=f"the study names no model as {role}")


def _exists(evidence: Evidence, one: Searched | tuple[str, str]) -> Effect:
    if not isinstance(one, Searched):
        return Effect(f"block in {evidence.label(one[0])}", math.nan, missing=one[1])
    excess = one.block.excess
    return Effect(
        f"CKA inside the block of {evidence.label(one.model)} less CKA of its layers to others, "
        "beyond what distance explains",
        excess.value,
        excess.low,
        excess.high,
        {TWIN: one.twin, PERMUTATION: far(one.null, excess.value)},
        excess.n,
        UNIT,
    )


def _absent(
    evidence: Evidence, large: Searched | tuple[str, str], other: Searched | tuple[str, str]
) -> Effect:
    names = [
        evidence.label(one.model if isinstance(one, Searched) else one[0]) for one in (large, other)
    ]
    what = f"half the excess of the block of {names[0]} less that of {names[1]}"
    if not isinstance(large, Searched):
        return Effect(what, math.nan, missing=large[1])
    if not isinstance(other, Searched):
        return Effect(what, math.nan, missing=other[1])
    more = less(_half(large.block.excess), other.block.excess)
    twin, note = SHARE * large.twin - other.twin, ""
    if large.analysis == other.analysis:
        twins, note = evidence.twins_apart(large.analysis, (large.model, other.model))
        its = [_of_twin(evidence, one) for one in twins] or [math.nan] * 2
        twin = SHARE * its[0] - its[1]
    return Effect(
        what,
        more.value,
        more.low,
        more.high,
        {
            TWIN: twin,
            PERMUTATION: far(SHARE * large.null - other.null, more.value),
        },
        more.n,
        UNIT,
        notes={TWIN: note},
    )


def _half(excess: Number) -> Number:
    return Number(SHARE * excess.value, SHARE * excess.low, SHARE * excess.high, excess.n)


def _said(evidence: Evidence, one: Searched) -> str:
    block = one.block
    excess = interval(block.excess.value, block.excess.low, block.excess.high)
    return (
        f"The stretch of {evidence.label(one.model)} that stands out most is "
        f"{one.members[0]} to {one.members[-1]} ({len(one.members)} of {len(one.layers)} layers): "
        f"mean CKA {number(block.inside)} inside and {number(block.across)} to other layers, "
        f"{excess} more than distance explains (95 % of shuffled matrices stay below "
        f"{number(far(one.null, 1))})."
    )


def _line(evidence: Evidence, one: Searched) -> dict[str, Any]:
    block = one.block
    return {
        "model": evidence.label(one.model),
        "from": one.members[0],
        "to": one.members[-1],
        "layers": len(one.members),
        "CKA inside": block.inside,
        "CKA to others": block.across,
        "excess": block.excess.value,
        "low": block.excess.low,
        "high": block.excess.high,
        "95 % of shuffled below": far(one.null, 1),
        "excess in untrained twin": one.twin,
    }


def _profile(evidence: Evidence, one: Searched) -> list[dict[str, Any]]:
    """Means of every property curve inside and outside the block."""
    lines = []
    for of in measured(evidence):
        curve = property_curve(evidence, of, one.model)
        if curve is None:
            continue
        held = dict(zip(curve.layers, curve.numbers, strict=True))
        turn = -1 if of.lower else 1
        inside = [turn * held[name].value for name in one.members if name in held]
        outside = [
            turn * held[name].value
            for name in one.layers
            if name in held and name not in one.members
        ]
        if inside and outside:
            lines.append(
                {
                    "property": of.title,
                    "measure": of.main,
                    "inside": float(np.mean(inside)),
                    "outside": float(np.mean(outside)),
                    "difference": float(np.mean(inside) - np.mean(outside)),
                    "layers inside": len(inside),
                    "layers outside": len(outside),
                }
            )
    return lines
