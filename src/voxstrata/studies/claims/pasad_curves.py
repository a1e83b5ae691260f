"""Do property curves go with objective, modality and amount of data? (P2023, arXiv 2211.03929.)

One effect for each property of the paper: the mean distance of curves between groups less that
within groups, as a share of the mean distance (:mod:`voxstrata.studies.claims.curves`). Groups
are from :mod:`voxstrata.studies.model_facts`. Controls: the same of the untrained twins' curves,
which shows what architecture alone does, and memberships dealt anew among the models.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.words import counted, listing
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.curves import (
    LEAST,
    Floats,
    Shapes,
    Statistic,
    between_within,
    dealt,
    distances,
    over_models,
    separation,
    shapes,
)
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import far
from voxstrata.studies.model_facts import ModelFacts, facts_of, paper_models

PROPERTIES = (
    *("cca-intra", "cca-mel", "cca-phone", "cca-word", "cca-agwe", "cca-glove"),
    *("cca-semantic", "cca-syntactic", "mi-phone", "mi-word"),
)
"""Properties of the authors' scripts: each of them that was measured is an effect; others stand in
the table."""

OBJECTIVE, MODALITY, AMOUNT = "objective", "modality", "amount"
WORDS = {OBJECTIVE: "objectives", MODALITY: "modalities", AMOUNT: "amounts of data"}

PAPER = "arXiv 2211.03929, abstract and section 1"


def by_objective(evidence: Evidence) -> Claimed:
    """Curves of models trained for different objectives differ."""
    return _claimed(
        evidence,
        "curves-by-objective",
        "Property curves differ by pre-training objective",
        "Properties evolve across layers differently depending on the model, and the variations "
        f"relate to the pre-training objective ({PAPER}).",
        OBJECTIVE,
        _alone,
        "curves' distance between objectives less within, share of the mean distance",
    )


def by_modality(evidence: Evidence) -> Claimed:
    """Curves of models trained on audio alone and on audio with video differ."""
    claimed = _claimed(
        evidence,
        "curves-by-modality",
        "Property curves differ by modality of pre-training",
        "The models compared vary in input modality: audio alone, or audio with images or lips "
        f"({PAPER}). Which way their curves differ was not read in the paper; asked here is "
        "whether they do.",
        MODALITY,
        _alone,
        "curves' distance between modalities less within, share of the mean distance",
    )
    away = [one.title for one in paper_models() if not one.transformers]
    said = f"Of the eleven models of the paper, transformers cannot load {listing(away)}."
    return Claimed(
        claimed.name,
        claimed.title,
        claimed.paper,
        claimed.effects,
        (*claimed.found, said),
        {**claimed.tables, "Models of the paper": [_paper_line(one) for one in paper_models()]},
    )


def by_data(evidence: Evidence) -> Claimed:
    """The objective separates curves more than the amount of data does."""

    def more(apart: Floats, members: NDArray[np.str_]) -> Floats:
        return separation(apart, members[..., 0]) - separation(apart, members[..., 1])

    return _claimed(
        evidence,
        "curves-by-data",
        "Property curves go with the objective rather than with the amount of data",
        "The layer-wise trends relate to the pre-training objectives, despite differences in "
        f"training data ({PAPER}).",
        AMOUNT,
        more,
        "separation of curves by objective less that by amount of data, share of the mean distance",
    )


def _alone(apart: Floats, members: NDArray[np.str_]) -> Floats:
    """Separation by the only grouping."""
    return separation(apart, members[..., 0])


def _claimed(
    evidence: Evidence,
    name: str,
    title: str,
    paper: str,
    by: str,
    statistic: Statistic,
    what: str,
) -> Claimed:
    every, missing = shapes(evidence)
    known = {
        spec: facts
        for one in every
        for spec in one.by_model
        if (facts := facts_of(spec)) is not None
    }
    asked = [one for one in every if one.name in PROPERTIES]
    if not missing and not asked:
        missing = "none of the paper's properties was measured"
    effects, lines = [], []
    for one in every:
        mine = [spec for spec in one.by_model if spec in known]
        if one in asked:
            effects.append(_effect(evidence, one, mine, known, by, statistic, what))
        if len(mine) > 1:
            lines.append(_line(one, mine, known, by))
    if missing:
        effects = [Effect(what, math.nan, missing=missing)]
    tables: dict[str, list[dict[str, Any]]] = {}
    if lines:
        tables["Distance of curves (1 less correlation over depth)"] = lines
    if known:
        tables["Models and their groups"] = [
            {
                "model": evidence.label(spec),
                "objective": facts.objective,
                "modality": facts.modality,
                "hours": facts.hours,
                "group by hours": facts.amount,
                "source": f"{facts.source} ({facts.basis})",
            }
            for spec, facts in known.items()
        ]
    return Claimed(name, title, paper, tuple(effects), _found(evidence, every, known, by), tables)


def _effect(
    evidence: Evidence,
    one: Shapes,
    mine: Sequence[str],
    known: dict[str, ModelFacts],
    by: str,
    statistic: Statistic,
    what: str,
) -> Effect:
    said = f"{one.title}: {what}"
    groupings = (OBJECTIVE, AMOUNT) if by == AMOUNT else (by,)
    members = np.array([[_group(known[spec], each) for each in groupings] for spec in mine])
    if why := _too_few(mine, known, by):
        return Effect(said, math.nan, n=len(mine), unit="models", missing=why)
    apart = distances([one.by_model[spec] for spec in mine])
    found = over_models(statistic, apart, members)
    if not math.isfinite(found.value):
        why = "no two models of one objective" if by == AMOUNT else f"no two models of one {by}"
        return Effect(said, math.nan, n=len(mine), unit="models", missing=why)
    controls = {PERMUTATION: far(dealt(statistic, apart, members), found.value)}
    between = _between_twins(evidence, one, mine)
    notes = {}
    if between is not None:
        controls[TWIN] = float(statistic(between, members))
        if not math.isfinite(controls[TWIN]):
            notes[TWIN] = "too few of the twins are different networks"
    why = "" if found.has_interval else "too few models: without one of them a group is alone"
    return Effect(
        *(said, found.value, found.low, found.high, controls, len(mine), "models"),
        missing=why,
        notes=notes,
    )


def _between_twins(evidence: Evidence, one: Shapes, mine: Sequence[str]) -> Floats | None:
    """Distances of the curves of the models' twins, [M, M]; NaN for models that share one, whose
    distance is 0 by construction. ``None`` where a model has none."""
    twins = [evidence.twin_in(one.analyses[spec], spec) for spec in mine]
    curves = [one.by_model[twin] for twin in twins if twin is not None and twin in one.by_model]
    if len(curves) < len(mine):
        return None
    networks = np.array([evidence.twin_network(one.analyses[spec], spec) for spec in mine])
    apart = distances(curves)
    apart[networks[:, None] == networks[None]] = np.nan
    return apart


def _group(facts: ModelFacts, by: str) -> str:
    return {OBJECTIVE: facts.objective, MODALITY: facts.modality, AMOUNT: facts.amount}[by]


def _too_few(mine: Sequence[str], known: dict[str, ModelFacts], by: str) -> str:
    if len(mine) < LEAST:
        number = counted(len(mine), "model")
        return f"{number} of known {by} with a curve, and {LEAST} are needed"
    for each in (OBJECTIVE, AMOUNT) if by == AMOUNT else (by,):
        names = {_group(known[spec], each) for spec in mine}
        if len(names) < 2:
            called = "amount of data" if each == AMOUNT else each
            return f"all models are of one {called}: {listing(sorted(names))}"
    return ""


def _line(
    one: Shapes, mine: Sequence[str], known: dict[str, ModelFacts], by: str
) -> dict[str, Any]:
    apart = distances([one.by_model[spec] for spec in mine])
    line: dict[str, Any] = {"property": one.title, "models": len(mine)}
    for each in dict.fromkeys((by, OBJECTIVE)):
        between, within = between_within(apart, [_group(known[spec], each) for spec in mine])
        line[f"between {WORDS[each]}"] = float(between)
        line[f"within {WORDS[each]}"] = float(within)
    return line


def _found(
    evidence: Evidence, every: Sequence[Shapes], known: dict[str, ModelFacts], by: str
) -> tuple[str, ...]:
    said = []
    if known:
        sizes = Counter(_group(facts, by) for facts in known.values())
        held = listing([f"{name} ({number})" for name, number in sizes.items()])
        said.append(f"{counted(len(known), 'model')} by {by.replace('amount', 'hours')}: {held}.")
    for one in every:
        mine = [spec for spec in one.by_model if spec in known]
        if one.name not in PROPERTIES or len(mine) < LEAST:
            continue
        apart = distances([one.by_model[spec] for spec in mine])
        between, within = between_within(apart, [_group(known[spec], by) for spec in mine])
        if np.isfinite([between, within]).all():
            said.append(
                f"{one.title}: curves of different {WORDS[by]} are {between:.2f} apart, curves of "
                f"one {within:.2f} (0 is one shape, 1 unrelated)."
            )
    unknown = dict.fromkeys(
        spec
        for one in every
        for spec in one.by_model
        if spec not in known and not evidence.is_untrained(spec)
    )
    if unknown:
        names = listing([evidence.label(spec) for spec in unknown])
        said.append(f"Left out, since objective and data are not known here: {names}.")
    return tuple(said)


def _paper_line(one: ModelFacts) -> dict[str, Any]:
    return {
        "model": one.title,
        "hub id": one.id if one.transformers else "",
        "transformers can load it": "yes" if one.transformers else "no",
        "objective": one.objective,
        "modality": one.modality,
        "hours": one.hours,
        "data": one.data,
    }
