"""Do clusters match known classes? (L2025, arXiv 2506.21712, Figure 2.)

k-means clusters of a model's states against broad classes of phones, and clusters of i-vectors
against gender. What is tested is the adjusted Rand index (Hubert and Arabie 1985): labels dealt
anew give 0 on average by its definition, while NMI and purity are above 0 by chance; these stand
in the table, purity beside that of one single cluster.

Controls: labels dealt anew (0: not run, but known, since the index is so defined that they give 0
in the mean), and clusters that learned nothing: those of the untrained twin's
states against the same classes. i-vectors have no untrained twin; theirs is the best that clusters
of an untrained network's states or vectors do against gender.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from voxstrata.report.neuron_view import JOB, MATCHING, Match
from voxstrata.report.view import View
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.views import analysis_of, seen

STATES, VECTORS = re.compile(r"clusters=\d+"), re.compile(r"ivector=\d+")
"""Clusters of frames by the model's states, and of recordings by i-vectors (docs/neurons.md)."""

CLASSES, GENDER = "classes", "gender"

SPEAKERS = 8
"""Speakers below which two clusters that fit the genders prove nothing: of six, three and three,
one dealing of genders in ten fits as well."""


def clusters_match_classes(evidence: Evidence) -> Claimed:
    """Clusters of states are classes of phones, clusters of i-vectors are the genders."""
    found = seen(evidence, JOB)
    every = [match for view in found.views for match in view.meetings]
    mine = [m for m in every if not evidence.is_untrained(m.spec)]
    phones = [m for m in mine if STATES.match(m.clusters) and m.classes == CLASSES]
    voices = [m for m in mine if VECTORS.match(m.clusters) and m.classes == GENDER]
    places = {id(match): view for view in found.views for match in view.meetings}
    effects = [_effect(evidence, m, _twin_of(evidence, m, places[id(m)])) for m in _once(phones)]
    best = _best_untrained([m for m in every if evidence.is_untrained(m.spec)])
    effects += [_effect(evidence, m, best) for m in _once(voices)]
    if not phones:
        why = found.missing or "no clusters of states were held against classes of phones"
        effects.append(Effect("clusters of states and classes of phones", math.nan, missing=why))
    if not voices:
        why = found.missing or "no clusters of i-vectors were held against gender"
        effects.append(Effect("clusters of i-vectors and gender", math.nan, missing=why))
    lines = [_line(evidence, m, name) for m in every for name in MATCHING if name in m.measures]
    return Claimed(
        "clusters-match-classes",
        "Clusters of states match broad classes of phones, clusters of i-vectors match gender",
        "Three clusters of frames hold different classes of phones: one is 78 % vowels, one 57 % "
        "vowels and 27 % voiced consonants, one 46 % unvoiced and 33 % voiced consonants (arXiv "
        "2506.21712, numbers of the authors' figure script); recordings are grouped by two "
        "clusters of i-vectors, taken for speakers.",
        tuple(effects),
        tuple(_said(evidence, m) for m in _once([*phones, *voices])),
        {"Clusters against classes": lines} if lines else {},
    )


def _once(matches: Sequence[Match]) -> list[Match]:
    """The first of several matches of one clustering (a study may cluster in two analyses)."""
    held: dict[tuple[str, str, str], Match] = {}
    for match in matches:
        held.setdefault((match.spec, match.clusters, match.classes), match)
    return list(held.values())


def _ari(match: Match) -> tuple[float, float, float]:
    value, low, high, _ = match.measures.get("ari", (math.nan,) * 4)
    return value, low, high


def _twin_of(evidence: Evidence, match: Match, view: View) -> float:
    """That of the twin in the same analysis."""
    twin = evidence.twin_in(analysis_of(view), match.spec)
    asked = match.clusters, match.classes
    same = (m for m in view.meetings if (m.clusters, m.classes) == asked)
    return next((_ari(m)[0] for m in same if m.spec == twin), math.nan)


def _best_untrained(untrained: Sequence[Match]) -> float:
    held = [_ari(m)[0] for m in untrained if m.classes == GENDER]
    return max((v for v in held if math.isfinite(v)), default=math.nan)


def _effect(evidence: Evidence, match: Match, twin: float) -> Effect:
    value, low, high = _ari(match)
    missing = ""
    if match.classes == GENDER and match.units < SPEAKERS:
        missing = f"{match.units} speakers, and {SPEAKERS} are needed to tell gender from chance"
    return Effect(
        f"{_who(evidence, match)}: {match.clusters} against {match.classes}, adjusted Rand index",
        value,
        low,
        high,
        {PERMUTATION: 0.0, TWIN: twin},
        match.units,
        "speakers",
        missing,
    )


def _who(evidence: Evidence, match: Match) -> str:
    """The model; an extractor that the run trained for itself has no name but its folder's."""
    if VECTORS.match(match.clusters):
        return evidence.labels.get(match.spec, "i-vectors")
    layer = f", layer {match.layer}" if match.layer else ""
    return f"{evidence.label(match.spec)}{layer}"


def _said(evidence: Evidence, match: Match) -> str:
    parts = []
    for name, title in (("nmi", "NMI"), ("purity", "purity"), ("ari", "ARI")):
        value, low, high, chance = match.measures.get(name, (math.nan,) * 4)
        if not math.isfinite(value):
            continue
        ends = f", 95 %: {low:.2f} to {high:.2f}" if math.isfinite(low) else ""
        beside = f", one cluster alone {chance:.2f}" if math.isfinite(chance) else ""
        parts.append(f"{title} {value:.2f}{ends}{beside}")
    which = f"{_who(evidence, match)}: {match.clusters} against {match.classes}"
    return f"{which}: {'; '.join(parts) or 'no measure has a value'}."


def _line(evidence: Evidence, match: Match, name: str) -> dict[str, Any]:
    value, low, high, chance = match.measures[name]
    return {
        "model": _who(evidence, match),
        "clusters": match.clusters,
        "classes": match.classes,
        "measure": name,
        "value": value,
        "low": low,
        "high": high,
        "one cluster alone": chance,
        "speakers": match.units,
    }
