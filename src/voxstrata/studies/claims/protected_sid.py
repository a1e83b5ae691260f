"""Does protecting speaker neurons keep SID while a model is pruned? (L2025, arXiv 2506.21712.)

For each size two effects: SID of the protected model less that of the model pruned by score
alone, and less that of the model in which other neurons were protected. Both turned so that more
is better and paired over test recordings where the run paired them. Several seeds are joined by
Rubin's rules (Rubin 1987, section 3.1): the spread between seeds enters the interval.

Controls of "less none": what protecting other neurons brings in against none (the permutation:
membership of the protected set dealt anew), and the same experiment on the untrained twin (do
neurons of a network that learned nothing keep as much?), which must be an analysis of its own
in the study; without it nothing can be told. (That of the shipped study is without tuning between
prunings: what protecting brings to a network that is not trained at all.)

"Less random" has the dealing anew on its other side already, so its permutation has it on both: the
difference of two draws of other neurons, which are known where there are two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from voxstrata.report.protection_tally import instead, tally
from voxstrata.report.protection_view import (
    JOB,
    PROTECTED,
    RIVALS,
    Asked,
    Gap,
    gaps,
    says_little,
    scores,
    tasks,
)
from voxstrata.report.view import View
from voxstrata.report.words import counted
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence, base_of
from voxstrata.studies.claims.numbers import NORMAL, Number, far
from voxstrata.studies.claims.views import seen

SID, PR = "sid", "pr"

WHAT = {"none": "protected less pruned by score alone", "random": "protected less others protected"}


def protection_keeps_sid(evidence: Evidence) -> Claimed:
    """Protected pruning keeps SID better than none, and than protecting other neurons."""
    found = seen(evidence, JOB)
    mine = [view for view in found.views if not evidence.is_untrained(_model(view))]
    effects = [effect for view in mine for effect in _effects(evidence, view, found.views)]
    if not effects:
        why = found.missing or "no run of protection is of a trained model"
        effects = [Effect(f"SID, {WHAT['none']}", math.nan, missing=why)]
    lines = [
        _line(evidence, view, task, rival, keep, held)
        for view in mine
        for task in tasks(view)
        for rival in RIVALS
        for keep, held in _by_size(gaps(view, task, PROTECTED, rival)).items()
    ]
    return Claimed(
        "protection-keeps-sid",
        "Protected pruning keeps SID better than none and than protecting other neurons",
        "Protecting speaker neurons while pruning keeps performance on speaker tasks (arXiv "
        "2506.21712; its tables were not read, and it is not known to hold protection against "
        "that of other neurons).",
        tuple(effects),
        tuple(said for view in mine for said in _said(evidence, view)),
        {"Protected models less others, more is better": lines} if lines else {},
    )


def _effects(evidence: Evidence, view: View, every: Sequence[View]) -> list[Effect]:
    who = evidence.label(_model(view))
    task = _task(view, SID)
    if task is None:
        return [Effect(f"{who}: SID, {WHAT['none']}", math.nan, missing="SID was not probed")]
    twin = _twin_view(evidence, view, every)
    found = []
    others = _by_size(gaps(view, task, "random", "none"))
    for rival in RIVALS:
        held = _by_size(gaps(view, task, PROTECTED, rival))
        if not held:
            missing = f"no protected model stands beside one of the condition {rival!r}"
            found.append(Effect(f"{who}: {task.label}, {WHAT[rival]}", math.nan, missing=missing))
        for keep, mine in held.items():
            number = joined(mine)
            controls, notes = {PERMUTATION: _mean(others, keep)}, {}
            if rival == "random":
                controls[PERMUTATION] = _redrawn(others.get(keep, []), number.value)
                notes[PERMUTATION] = "other neurons were drawn once; two seeds are needed"
                if math.isfinite(controls[PERMUTATION]):
                    notes = {}
            controls[TWIN] = _twin_value(twin, rival, keep)
            found.append(
                Effect(
                    f"{who}, {keep:,} rows left: {task.label}, {WHAT[rival]}",
                    number.value,
                    number.low,
                    number.high,
                    controls,
                    _speakers(view, task),
                    "groups of test recordings",
                    notes=notes,
                )
            )
    return found


def joined(held: Sequence[Gap]) -> Number:
    """Mean over seeds with its 95 % interval, by Rubin's rules with his degrees of freedom.

    Within is the mean of squared standard errors (a quarter of the interval's width, nearly),
    between the variance of seeds' values times (1 + 1/m).
    """
    from scipy.stats import t as student

    values = np.array([gap.more.value for gap in held])
    if len(held) == 1:
        more = held[0].more
        return Number(more.value, more.low, more.high, 1)
    widths = np.array([gap.more.high - gap.more.low for gap in held])
    m, value = len(held), float(values.mean())
    within = float(np.mean((widths / (2 * NORMAL)) ** 2))
    between = (1 + 1 / m) * float(values.var(ddof=1))
    if not math.isfinite(within):
        return Number(value, n=m)
    freedom = math.inf if between == 0 else (m - 1) * (1 + within / between) ** 2
    quantile = NORMAL if math.isinf(freedom) else float(student.ppf(0.975, freedom))
    half = quantile * math.sqrt(within + between)
    return Number(value, value - half, value + half, m)


def _model(view: View) -> str:
    """The model as the study names it; the record's own may be a trained copy."""
    config = view.record.get("config")
    return str(config.get("model", "")) if isinstance(config, Mapping) else ""


def _twin_view(evidence: Evidence, view: View, every: Sequence[View]) -> View | None:
    """The same experiment on the untrained twin, where the study has one."""
    spec = _model(view)
    known = evidence.names_of_twin(spec)
    for other in every:
        name = _model(other)
        if name in known or (evidence.is_untrained(name) and base_of(name) == base_of(spec)):
            return other
    return None


def _task(view: View, name: str) -> Asked | None:
    return next((task for task in tasks(view) if task.name == name), None)


def _by_size(held: Sequence[Gap]) -> dict[int, list[Gap]]:
    found: dict[int, list[Gap]] = {}
    for gap in held:
        found.setdefault(gap.keep, []).append(gap)
    return dict(sorted(found.items()))


def _redrawn(others: Sequence[Gap], value: float) -> float:
    """What one draw of other neurons brings over another, on the side of ``value``: of all pairs of
    seeds; NaN for one."""
    more = [gap.more.value for gap in others]
    return far([one - two for i, one in enumerate(more) for two in more[:i] + more[i + 1 :]], value)


def _mean(held: dict[int, list[Gap]], keep: int) -> float:
    mine = held.get(keep, [])
    return float(np.mean([gap.more.value for gap in mine])) if mine else math.nan


def _twin_value(twin: View | None, rival: str, keep: int) -> float:
    task = None if twin is None else _task(twin, SID)
    if twin is None or task is None:
        return math.nan
    return _mean(_by_size(gaps(twin, task, PROTECTED, rival)), keep)


def _speakers(view: View, task: Asked) -> int:
    rows = view.table[view.table["property"] == task.name]
    return int(rows["groups"].max()) if len(rows) else 0


def _said(evidence: Evidence, view: View) -> list[str]:
    said = []
    for name in (SID, PR):
        task = _task(view, name)
        if task is None:
            continue
        parts = []
        for rival in RIVALS:
            held = tally(view, task, rival)
            if held.gaps:
                other = "none" if rival == "none" else instead(view)
                parts.append(
                    f"{100 * held.mean:+.1f} points against {other} on average (better in "
                    f"{held.count('better')}, worse in {held.count('worse')} of "
                    f"{counted(held.known, 'comparison')} with interval)"
                )
        if parts:
            lead = f"{evidence.label(_model(view))}, {task.label}, + is better"
            said.append(f"{lead}: {'; '.join(parts)}.")
        if (plain := says_little(task, scores(view, task))) is not None:
            said.append(
                f"{task.title}: unpruned, the model is no better than {plain.name}, so that there "
                "is little to keep."
            )
    return said


def _line(
    evidence: Evidence, view: View, task: Asked, rival: str, keep: int, held: Sequence[Gap]
) -> dict[str, Any]:
    number = replace(joined(held), n=len(held))
    return {
        "model": evidence.label(_model(view)),
        "task": task.label,
        "rows left": keep,
        "against": "none" if rival == "none" else instead(view),
        "better by": number.value,
        "low": number.low,
        "high": number.high,
        "seeds": number.n,
        "paired": "yes" if all(gap.paired for gap in held) else "no",
    }
