"""Are there speaker neurons, and do they remain within one gender? (L2025, arXiv 2506.21712.)

Speaker neurons are those of the first of :data:`GROUPS` that was asked: in the paper, groups of
recordings by two clusters of i-vectors, within clusters of the model's states.

Above chance: share of all neurons that pass the published rule, less the mean share with labels
dealt anew. The interval is observed less the 97.5th and 2.5th percentile of these dealings: it is
about chance labels of the same recordings, not about other recordings.

Within one gender: neurons found again, for the same cluster of recordings, among the women alone
and among the men alone, less as many as random sets of the sizes found in the two genders would
share, as a share of the speaker neurons. (The table's own chance is of three random sets; but all
recordings include those of a gender, so only the two genders are independent.) The interval is the
jackknife over layers: the only parts that results hold. The permutation is the 97.5th percentile
of a Poisson number with the mean of the random sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.numerics.jackknife import jackknife
from voxstrata.report.neuron_view import EVERY, JOB, LEVEL, Count, Selection
from voxstrata.report.view import View
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number
from voxstrata.studies.claims.views import analysis_of, seen

if TYPE_CHECKING:
    import pandas as pd

SPEAKER = "speaker/"
GROUPS = ("ivector=", "vectors=", SPEAKER)
"""What tells speakers apart, by how contrasts begin; the first that was asked speaks."""

LAYERS = 3
"""Layers below which the jackknife over layers gives no interval."""


@dataclass(frozen=True)
class Asked:
    """A contrast of one model.

    Attributes:
        spec: the model.
        analysis: name of the analysis.
        selection: what was found.
        table: of the analysis.
    """

    spec: str
    analysis: str
    selection: Selection
    table: pd.DataFrame


def neurons_above_chance(evidence: Evidence) -> Claimed:
    """More neurons tell speakers apart than with labels dealt anew."""
    what = "neurons that tell speakers apart, observed less by chance, share of all neurons"
    mine, effects = _effects(evidence, what, _above)
    lines = [line for one in mine for line in _layer_lines(evidence, one)]
    return Claimed(
        "neurons-above-chance",
        "More neurons tell speakers apart than labels dealt anew would give",
        "Speaker neurons in every layer, 167 of 3072 on average, most in the first ones (arXiv "
        "2506.21712, numbers of the authors' figure script); what chance gives is not in them.",
        effects,
        tuple(_counted(evidence, one) for one in mine),
        {"Speaker neurons by layer": lines} if lines else {},
    )


def within_gender(evidence: Evidence) -> Claimed:
    """Speaker neurons are found again among women alone and among men alone."""
    what = "speaker neurons that remain within each gender, less by chance, share of all of them"
    mine, effects = _effects(evidence, what, _remaining)
    lines = [line for one in mine for line in _strata_lines(evidence, one)]
    return Claimed(
        "within-gender",
        "Speaker neurons remain within one gender",
        "Not asked by the paper (arXiv 2506.21712): its two clusters of i-vectors may be the two "
        "genders, so that its speaker neurons may be gender neurons.",
        effects,
        tuple(_survived(evidence, one) for one in mine),
        {"Found again within one gender": lines} if lines else {},
    )


def _effects(
    evidence: Evidence,
    what: str,
    effect: Callable[[Evidence, Asked, Sequence[Asked], str], Effect],
) -> tuple[list[Asked], tuple[Effect, ...]]:
    """Speaker contrasts of trained models, and the effect of each; one that says why there is none
    where there is none."""
    every, missing = _asked(evidence)
    mine = _trained(evidence, every)
    if not mine:
        return [], (Effect(what, math.nan, missing=missing),)
    return mine, tuple(effect(evidence, one, every, what) for one in mine)


def _asked(evidence: Evidence) -> tuple[list[Asked], str]:
    """Speaker contrasts of all models and twins: of each model the first kind that was asked."""
    found = seen(evidence, JOB)
    held: dict[str, tuple[int, Asked]] = {}
    for view in found.views:
        for one in view.selections:
            rank = next((i for i, g in enumerate(GROUPS) if one.contrast.startswith(g)), None)
            spec = view.models[one.model].spec
            if rank is not None and rank < held.get(spec, (len(GROUPS), None))[0]:
                table = _own(view, spec, one.contrast)
                held[spec] = rank, Asked(spec, analysis_of(view), one, table)
    missing = found.missing or "no contrast tells speakers (or clusters of i-vectors) apart"
    return [one for _, one in held.values()], missing


def _own(view: View, spec: str, contrast: str) -> pd.DataFrame:
    table = view.table
    return table[(table["model"] == spec) & (table["property"] == contrast)]


def _trained(evidence: Evidence, every: Sequence[Asked]) -> list[Asked]:
    return [one for one in every if not evidence.is_untrained(one.spec)]


def _twin(evidence: Evidence, one: Asked, every: Sequence[Asked]) -> Asked | None:
    spec = evidence.twin_in(one.analysis, one.spec)
    same = (other for other in every if other.spec == spec)
    return next((o for o in same if o.selection.contrast == one.selection.contrast), None)


def _above(evidence: Evidence, one: Asked, every: Sequence[Asked], what: str) -> Effect:
    said = f"{evidence.label(one.spec)}, {one.selection.contrast}: {what}"
    count, size = one.selection.total, one.selection.neurons
    if not (count.has_null and math.isfinite(count.observed) and size):
        return Effect(said, math.nan, missing="labels were not dealt anew")
    near = count.high if count.surplus > 0 else count.low
    controls = {PERMUTATION: (near - count.mean) / size}
    twin = _twin(evidence, one, every)
    if twin is not None and twin.selection.total.has_null and twin.selection.neurons:
        controls[TWIN] = twin.selection.total.surplus / twin.selection.neurons
    few = count.observed > count.high and count.p > LEVEL
    return Effect(
        said,
        count.surplus / size,
        (count.observed - count.high) / size,
        (count.observed - count.low) / size,
        controls,
        one.selection.units,
        "recordings or speakers",
        f"too few labels can be dealt for a p of {LEVEL:g} (it is {count.p:.2g})" if few else "",
    )


def _counted(evidence: Evidence, one: Asked) -> str:
    total = one.selection.total
    lead = (
        f"{evidence.label(one.spec)}: {total.observed:,.0f} of {one.selection.neurons:,} neurons "
        f"pass the rule for {one.selection.contrast}"
    )
    if not total.has_null:
        return f"{lead}; labels were not dealt anew."
    more = sum(count.verdict == "more" for count in one.selection.by_layer)
    return (
        f"{lead}; labels dealt anew give {total.mean:,.0f} ({total.low:,.0f} to "
        f"{total.high:,.0f}). Taken alone, {more} of {len(one.selection.by_layer)} layers have "
        "more than chance."
    )


def _layer_lines(evidence: Evidence, one: Asked) -> list[dict[str, Any]]:
    def line(layer: str, size: int, count: Count) -> dict[str, Any]:
        return {
            "model": evidence.label(one.spec),
            "layer": layer,
            "neurons": size,
            "observed": count.observed,
            "by chance": count.mean,
            "low": count.low,
            "high": count.high,
            "p": count.p,
        }

    held = one.selection
    parts = zip(held.layers, held.widths, held.by_layer, strict=True)
    return [line(*part) for part in parts] + [line("all", held.neurons, held.total)]


def _remaining(evidence: Evidence, one: Asked, every: Sequence[Asked], what: str) -> Effect:
    said = f"{evidence.label(one.spec)}, {one.selection.contrast}: {what}"
    if one.selection.contrast.startswith(SPEAKER):
        missing = "every speaker is of one gender: nothing can be found again in the other"
        return Effect(said, math.nan, missing=missing)
    counts = _survivors(one, EVERY)
    if not len(counts):
        missing = "the selection was not repeated within genders, or a gender holds one group only"
        return Effect(said, math.nan, missing=missing)
    found = share_above(counts)
    if not math.isfinite(found.value):
        return Effect(said, math.nan, missing="there are no speaker neurons that could remain")
    _, expected, whole = (float(x) for x in counts.sum(axis=0))
    controls = {PERMUTATION: (_reached(expected, found.value) - expected) / whole}
    twin = _twin(evidence, one, every)
    other = np.empty((0, 3)) if twin is None else _survivors(twin, EVERY)
    if len(other) and other[:, 2].sum() > 0:
        controls[TWIN] = share_above(other).value
    elif len(other):  # the twin has no speaker neurons, so that none remain
        controls[TWIN] = 0.0
    few = "" if found.has_interval else f"{len(counts)} layers, and {LAYERS} are needed"
    return Effect(said, found.value, found.low, found.high, controls, found.n, "layers", few)


def share_above(counts: NDArray[np.float64]) -> Number:
    """(found again - expected) / speaker neurons, all layers together, with its interval by the
    jackknife over layers.

    Args:
        counts: found again, expected, speaker neurons of each layer, [L, 3].
    """

    def share(rows: NDArray[np.float64]) -> float:
        again, expected, whole = rows.sum(axis=0)
        return float((again - expected) / whole) if whole > 0 else math.nan

    value, size = share(counts), len(counts)
    left = [share(np.delete(counts, out, axis=0)) for out in range(size)]
    if size < LAYERS or not np.isfinite([value, *left]).all():
        return Number(value, n=size)
    found = jackknife(value, left, np.ones(size))
    return Number(value, float(found.low), float(found.high), size)


def _reached(expected: float, value: float) -> float:
    """What a Poisson number reaches on the side of ``value``."""
    from scipy.stats import poisson

    return float(poisson.ppf(0.975 if value > 0 else 0.025, expected)) if expected > 0 else 0.0


def _survivors(one: Asked, stratum: str) -> NDArray[np.float64]:
    """Found again, expected by chance, and speaker neurons of each layer, [L, 3]; empty where the
    stratum was not asked.

    In every gender: with w, f and m neurons of a group (all recordings, women, men) among D, the
    table has the sum over groups of w f m / D^2. The sum of f m / D, which random sets of the two
    genders share, is at most that times D over the least w above 0.
    """
    rows = one.table[
        (one.table["measure"] == "neurons-survive") & (one.table["other_layer"] == stratum)
    ]
    held = {
        (str(layer), str(control)): float(value)
        for layer, control, value in rows[["layer", "control", "value"]].itertuples(index=False)
    }
    found = []
    for i, layer in enumerate(one.selection.layers):
        if (layer, "") not in held or (layer, "chance") not in held:
            continue
        by_chance = held[layer, "chance"]
        if stratum == EVERY and by_chance > 0:
            groups = [counts[i].observed for counts in one.selection.by_group.values()]
            least = min((w for w in groups if w > 0), default=math.nan)
            by_chance *= one.selection.widths[i] / least
        found.append((held[layer, ""], by_chance, one.selection.by_layer[i].observed))
    kept = [line for line in found if np.isfinite(line).all()]
    return np.array(kept, dtype=np.float64).reshape(-1, 3)


def _survived(evidence: Evidence, one: Asked) -> str:
    parts = []
    for stratum in one.selection.survive:
        counts = _survivors(one, stratum)
        if len(counts):
            again, expected, _ = counts.sum(axis=0)
            # One gender's recordings are among all of them: random sets are no chance for that.
            beside = f"each gender (chance {expected:,.1f})" if stratum == EVERY else stratum
            parts.append(f"{again:,.0f} in {beside}")
    total = one.selection.total.observed
    lead = f"{evidence.label(one.spec)}: of {total:,.0f} speaker neurons"
    if not parts:
        return f"{lead} it is not known how many are found again within one gender."
    return f"{lead} are found again: {'; '.join(parts)}."


def _strata_lines(evidence: Evidence, one: Asked) -> list[dict[str, Any]]:
    lines = []
    for stratum in one.selection.survive:
        counts = _survivors(one, stratum)
        if len(counts):
            again, expected, whole = (float(x) for x in counts.sum(axis=0))
            lines.append(
                {
                    "model": evidence.label(one.spec),
                    "gender": "each" if stratum == EVERY else stratum,
                    "speaker neurons": whole,
                    "found again": again,
                    "by chance": expected if stratum == EVERY else math.nan,
                }
            )
    return lines
