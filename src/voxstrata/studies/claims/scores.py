"""Probing scores as claims read them: turned so that more is better, paired where they can be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.report.curve_view import PROBING, SCREEN
from voxstrata.report.probing_view import OVER_OTHER, SUM, is_lower
from voxstrata.report.reading import mappings
from voxstrata.report.words import listing, property_measure
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import NOTHING, Number, less, mean, number_of

CONTENT = ("pr", "asr", "ic", "sf", "ks")
"""Tasks about what is said (A2024, Table 1; SUPERB's groups content and semantics)."""

SPEAKER = ("sid", "asv")
"""Tasks about who speaks."""

DEALT = "permuted-labels"
"""Control of probing: heads trained on labels dealt anew."""

COLUMNS = (
    *("layer", "other_model", "control", "estimator"),
    *("value", "ci_low", "ci_high", "groups"),
)

GROUPS = "groups of test recordings"
"""What intervals of probing draw again: speakers where they are known."""


@dataclass(frozen=True)
class Asked:
    """A task of one probing analysis.

    Attributes:
        analysis: name of the analysis.
        name, title, main: as its record has them.
        lower: whether less of the main measure is better.
        best: best single layer by ``task model``, chosen on dev.
    """

    analysis: str
    name: str
    title: str
    main: str
    lower: bool
    best: Mapping[str, Any]

    @property
    def said(self) -> str:
        """ "SID (accuracy)"."""
        turned = ", turned so that more is better" if self.lower else ""
        return f"{self.title} ({property_measure(self.main)}{turned})"


def asked(evidence: Evidence, name: str) -> list[Asked]:
    """A task in every probing analysis that has it, in order."""
    found = []
    for analysis, record in evidence.records.items():
        if record.get("job") != PROBING or analysis not in evidence.tables:
            continue
        for entry in mappings(record.get("properties")):
            if entry.get("name") == name:
                best = record.get("best")
                found.append(
                    Asked(
                        analysis=analysis,
                        name=name,
                        title=str(entry.get("title") or name),
                        main=str(entry.get("main")),
                        lower=is_lower(entry),
                        best=best if isinstance(best, Mapping) else {},
                    )
                )
    return found


def score(evidence: Evidence, task: Asked, model: str, control: str = "") -> Number | None:
    """What a model reaches in a task: with the learned sum of its layers, or with the layer that is
    best on dev where there is no sum.

    Args:
        control: "" for the score, :data:`DEALT` for that of labels dealt anew.

    Returns:
        turned so that more is better; ``None`` where the table has none.
    """
    rows = [r for r in _rows(evidence, task, model, task.main) if r["estimator"] != SCREEN]
    whole = any(r["layer"] == SUM and not r["control"] for r in rows)
    read = SUM if whole else task.best.get(f"{task.name} {model}")
    return _first(task, (r for r in rows if (r["layer"], r["control"]) == (read, control)))


def difference(evidence: Evidence, task: Asked, one: str, other: str) -> Number | None:
    """One model less another, turned so that more is better.

    The paired difference over the same test examples where the table has it (either way round);
    else two scores taken as independent, with a wider interval
    (:func:`~voxstrata.studies.claims.numbers.less`).
    """
    if one == other:
        return Number(0.0, 0.0, 0.0)
    if (found := paired(evidence, task, one, other)) is not None:
        return found
    held = score(evidence, task, one), score(evidence, task, other)
    return less(held[0], held[1]) if held[0] and held[1] else None


def paired(evidence: Evidence, task: Asked, one: str, other: str) -> Number | None:
    """One model less another over the same test examples, turned so that more is better; ``None``
    where the table has that difference neither way round."""
    for mine, its, sign in ((one, other, 1), (other, one, -1)):
        rows = _rows(evidence, task, mine, task.main + OVER_OTHER)
        found = _first(task, (r for r in rows if (r["other_model"], r["control"]) == (its, "")))
        if found is not None:
            return found if sign > 0 else found.turned
    return None


@dataclass(frozen=True)
class Sides:
    """Two groups of models, the first of which is held against the second."""

    one: str
    ones: tuple[str, ...]
    other: str
    others: tuple[str, ...]

    @property
    def missing(self) -> str:
        """Which side has no model; "" where both have one."""
        empty = [name for name, held in self._named if not held]
        return f"the study names no model as {listing(empty)}" if empty else ""

    @property
    def _named(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(self.one, self.ones), (self.other, self.others)]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every model of the first with every model of the second, none with itself."""
        return [(a, b) for a in self.ones for b in self.others if a != b]


def compared(evidence: Evidence, name: str, sides: Sides, sign: int = 1) -> Effect:
    """Mean difference between two groups of models in a task.

    The mean over all pairs of models of their difference; the interval takes the pairs as dependent
    (:func:`~voxstrata.studies.claims.numbers.mean`) and is about these models on other test
    recordings, not about other models. Controls: the same of the untrained twins, and of heads
    trained on labels dealt anew; NaN where one of the models has none, or two that are held against
    each other share a twin.

    Args:
        sign: -1 where the paper found the first group to be worse.
    """
    title = name.upper()
    if missing := sides.missing or ("" if sides.pairs else "both sides are the same model"):
        return Effect(title, math.nan, missing=missing)
    best: tuple[Asked, list[Number]] | None = None
    for task in asked(evidence, name):
        found = [difference(evidence, task, a, b) for a, b in sides.pairs]
        held = [x for x in found if x is not None]
        if held and (best is None or len(held) > len(best[1])):
            best = task, held
    if best is None:
        why = "was not asked" if not asked(evidence, name) else "has no score of both sides"
        return Effect(title, math.nan, missing=f"the task {name} {why}")
    task, held = best
    words = (sides.one, sides.other) if sign > 0 else (sides.other, sides.one)
    what = f"{task.said}, {words[0]} less {words[1]}"
    if len(held) < len(sides.pairs):
        missing = f"only {len(held)} of {len(sides.pairs)} pairs of models have scores"
        return Effect(what, math.nan, missing=missing)
    of = _signed(mean(held), sign)
    twins, note = _twins(evidence, task, sides)
    return Effect(
        what,
        of.value,
        of.low,
        of.high,
        {
            TWIN: _signed(twins, sign).value,
            PERMUTATION: _signed(_dealt(evidence, task, sides), sign).value,
        },
        of.n,
        GROUPS,
        notes={TWIN: note},
    )


def pair_table(evidence: Evidence, names: Sequence[str], sides: Sides) -> list[dict[str, Any]]:
    """A line for every task and pair of models: both scores as measured, the difference turned so
    that more is better."""
    lines = []
    for name in names:
        tasks = asked(evidence, name)
        for a, b in sides.pairs:
            # Several analyses may have asked both: the first speaks.
            of = ((task, difference(evidence, task, a, b)) for task in tasks)
            task, found = next(((t, x) for t, x in of if x is not None), (None, None))
            if task is not None and found is not None:
                both = [score(evidence, task, model) or NOTHING for model in (a, b)]
                turn = -1 if task.lower else 1
                lines.append(
                    {
                        "task": task.title,
                        "measure": property_measure(task.main),
                        "model": evidence.label(a),
                        "other model": evidence.label(b),
                        "score": turn * both[0].value,
                        "other score": turn * both[1].value,
                        "better by": found.value,
                        "low": found.low,
                        "high": found.high,
                        "interval": found.verdict,
                    }
                )
    return lines


def layer_losses(evidence: Evidence, name: str, model: str, layer: str) -> Number | None:
    """What the learned sum loses in a task without one layer (paired; more is a greater loss)."""
    for task in asked(evidence, name):
        for row in _rows(evidence, task, model, "lost-without-layer"):
            if row["layer"] == layer:
                return number_of(row)
    return None


def _twins(evidence: Evidence, task: Asked, sides: Sides) -> tuple[Number, str]:
    """The same of the twins; or nothing, and why."""
    found = []
    for pair in sides.pairs:
        twins, note = evidence.twins_apart(task.analysis, pair)
        its = difference(evidence, task, *twins) if twins else None
        if its is None:
            return NOTHING, note
        found.append(its)
    return mean(found), ""


def _dealt(evidence: Evidence, task: Asked, sides: Sides) -> Number:
    found = []
    for a, b in sides.pairs:
        one, other = (score(evidence, task, model, DEALT) for model in (a, b))
        if one is None or other is None:
            return NOTHING
        found.append(less(one, other))
    return mean(found)


def _signed(number: Number, sign: int) -> Number:
    return number if sign > 0 else number.turned


def _first(task: Asked, rows: Iterable[Mapping[Any, Any]]) -> Number | None:
    """The first row with a value, turned so that more is better."""
    for row in rows:
        if math.isfinite(row["value"]):
            found = number_of(row)
            return found.turned if task.lower else found
    return None


def _rows(evidence: Evidence, task: Asked, model: str, measure: str) -> list[Mapping[Any, Any]]:
    table = evidence.tables[task.analysis]
    held = table[
        (table["property"] == task.name) & (table["model"] == model) & (table["measure"] == measure)
    ]
    found: list[Mapping[Any, Any]] = [*held[list(COLUMNS)].to_dict("records")]
    return found
