"""Knowing what is said and knowing who speaks do not go together over models (A2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.words import counted, interval, listing, number
from voxstrata.studies.claims.ashihara import PAPER, SEED
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number, far, orders, pairs_needed, spearman
from voxstrata.studies.claims.scores import CONTENT, SPEAKER, Asked, asked, score

BOUND = 0.5
"""Correlations smaller than this in size count as none."""

ORDERS = 5040
"""Orders of models that are tried: all of up to seven models."""

ROLES = (
    *("speech", "speaker", "wavlm", "hubert", "wavlm-base", "wavlm-base-plus", "wavlm-large"),
    *("dino", "supervised", "contrastive"),
)


@dataclass(frozen=True)
class Scores:
    """Scores of models in tasks, more is better.

    Attributes:
        models: specs of those that were asked every task.
        tasks: titles.
        content: which of the tasks are about what is said.
        values: [models, tasks].
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    content: tuple[bool, ...]
    values: NDArray[np.float64]

    def sides(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean rank in content tasks, and in speaker tasks, [models] each."""
        from scipy.stats import rankdata

        ranks = rankdata(self.values, axis=0)
        content = np.array(self.content, dtype=bool)
        return ranks[:, content].mean(axis=1), ranks[:, ~content].mean(axis=1)


def content_speaker_uncorrelated(evidence: Evidence) -> Claimed:
    """Content and speaker scores are uncorrelated over models.

    rho is Spearman's correlation, over models, of the mean rank in content tasks with the mean rank
    in speaker tasks, its interval that of
    :func:`~voxstrata.studies.claims.numbers.spearman`. An interval that merely holds 0 shows
    nothing, so the effect is 0.5 - |rho| with the interval that follows: above 0 where every
    correlation that the data allow is smaller than 0.5 in size, below 0 where every one is larger.
    Controls: the same of the untrained twins, and 0.5 less the 95th percentile of |rho| over orders
    of the models.
    """
    models = tuple(dict.fromkeys(spec for role in ROLES for spec in evidence.role(role)))
    held = scores_of(evidence, models)
    return Claimed(
        name="content-speaker-uncorrelated",
        title="Content and speaker scores are uncorrelated over models",
        paper=f"{PAPER}, abstract and Table 1: the capacity for content is somewhat unrelated to "
        "better speaker representation.",
        effects=(_effect(evidence, held),),
        found=_found(held),
        tables=_tables(evidence, held),
    )


def scores_of(evidence: Evidence, models: Sequence[str], *, twins: bool = False) -> Scores:
    """Scores of models in every task that all of them have.

    Models without a score in any content task, or in any speaker task, are left out.

    Args:
        twins: of their untrained twins instead; those that models share count once.
    """
    held: dict[str, tuple[Asked, dict[str, float]]] = {}
    for name in (*CONTENT, *SPEAKER):
        for task in asked(evidence, name):
            named = {spec: _meant(evidence, task, spec, twins=twins) for spec in models}
            first = dict.fromkeys(of for of in named.values() if of is not None)
            once = {next(s for s in models if named[s] == of): of for of in first}
            found = {spec: score(evidence, task, of) for spec, of in once.items()}
            values = {spec: one.value for spec, one in found.items() if one is not None}
            if values and (name not in held or len(values) > len(held[name][1])):
                held[name] = task, values
    both = [
        spec
        for spec in models
        if all(any(spec in held[n][1] for n in side if n in held) for side in (CONTENT, SPEAKER))
    ]
    names = [name for name in held if both and all(spec in held[name][1] for spec in both)]
    return Scores(
        models=tuple(both),
        tasks=tuple(held[name][0].title for name in names),
        content=tuple(name in CONTENT for name in names),
        values=np.array([[held[name][1][spec] for name in names] for spec in both]),
    )


def _meant(evidence: Evidence, task: Asked, spec: str, *, twins: bool) -> str | None:
    return evidence.twin_in(task.analysis, spec) if twins else spec


def _rho(held: Scores) -> Number:
    if len(held.models) < 3 or all(held.content) or not any(held.content):
        return Number(math.nan, n=len(held.models))
    return spearman(*held.sides())


def _effect(evidence: Evidence, held: Scores) -> Effect:
    what = f"{BOUND} less the size of the correlation of content and speaker scores over models"
    rho = _rho(held)
    if not math.isfinite(rho.value):
        return Effect(what, math.nan, missing=_missing(held))
    content, speaker = held.sides()
    null = np.abs(_standard(content)[orders(rho.n, ORDERS, SEED)] @ _standard(speaker))
    its = scores_of(evidence, held.models, twins=True)
    twin = _rho(its)
    few = 0 < len(its.models) < 3
    sizes = abs(rho.low), abs(rho.high)
    least = 0.0 if rho.low <= 0 <= rho.high else min(sizes)
    return Effect(
        what,
        BOUND - abs(rho.value),
        BOUND - max(sizes) if rho.has_interval else math.nan,
        BOUND - least if rho.has_interval else math.nan,
        {TWIN: BOUND - abs(twin.value), PERMUTATION: BOUND - far(null, 1)},
        rho.n,
        "models",
        notes={TWIN: f"{counted(len(its.models), 'different network')} among the twins"}
        if few
        else {},
    )


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks as a vector of length 1 around 0: the product of two is Spearman's correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    ranks = ranks - ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks), dtype=np.float64)


def _missing(held: Scores) -> str:
    if len(held.models) < 3:
        return f"only {counted(len(held.models), 'model')} with content and with speaker scores"
    if not held.tasks or all(held.content) or not any(held.content):
        return "no content task and speaker task that all models were asked"
    return "the models do not differ in their ranks"


def _found(held: Scores) -> tuple[str, ...]:
    rho = _rho(held)
    if not math.isfinite(rho.value):
        return ()
    said = [
        f"Over {rho.n} models, mean ranks in {listing(_titles(held, content=True))} and in "
        f"{listing(_titles(held, content=False))} have a Spearman correlation of "
        f"{interval(rho.value, rho.low, rho.high)}."
    ]
    least = pairs_needed(0.0, BOUND)
    now = pairs_needed(rho.value, BOUND)
    if least is not None and rho.n < least:
        more = (
            f"; at the correlation found, {now}"
            if now
            else f"; the one found, {number(rho.value)}, lies outside them"
        )
        said.append(
            f"To show a correlation to lie within ±{BOUND}, at least {least} models are needed "
            f"even if it is 0{more}."
        )
    return tuple(said)


def _titles(held: Scores, *, content: bool) -> list[str]:
    return [t for t, about in zip(held.tasks, held.content, strict=True) if about == content]


def _tables(evidence: Evidence, held: Scores) -> dict[str, list[dict[str, Any]]]:
    if len(held.models) < 3 or not held.tasks:
        return {}
    pairs = []
    for i, one in enumerate(held.tasks):
        for j, two in enumerate(held.tasks):
            if held.content[i] and not held.content[j]:
                rho = spearman(held.values[:, i], held.values[:, j])
                pairs.append(
                    {
                        "content task": one,
                        "speaker task": two,
                        "correlation": rho.value,
                        "low": rho.low,
                        "high": rho.high,
                        "models": rho.n,
                    }
                )
    content, speaker = held.sides() if pairs else (held.values[:, 0],) * 2
    ranks = [
        {
            "model": evidence.label(spec),
            "mean rank in content": float(content[i]),
            "mean rank in speaker": float(speaker[i]),
        }
        for i, spec in enumerate(held.models)
    ]
    return {"Mean ranks (more is better)": ranks, "Each pair of tasks": pairs} if pairs else {}
