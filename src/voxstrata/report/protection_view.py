"""What a protection run measured, arranged: scores by size, condition and seed, and their pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.report.neuron_view import NAN, Count
from voxstrata.report.probing_view import Value, apart
from voxstrata.report.reading import mappings
from voxstrata.report.words import property_measure, short_labels

if TYPE_CHECKING:
    from voxstrata.report.view import View

JOB = "protection"

WHOLE, PLAIN, PROTECTED = "unpruned", "plain", "protected"
RIVALS = ("none", "random")
"""Conditions that protection is held against."""

CONDITIONS = ("none", PROTECTED, "random")
"""Of pruned models, in the order of tables and legends."""

BY = {
    "l1": "by weight",
    "activation": "by activation",
    "taylor": "by Taylor score",
    "random": "at random",
}
"""How rows are chosen to go, by name of the score."""


@dataclass(frozen=True)
class Asked:
    """One task that every model was asked.

    Attributes:
        name: in the table.
        title: for reading.
        measure: registry name of the main measure.
        lower: whether less of it is better.
        notices: what the run says of it.
    """

    name: str
    title: str
    measure: str
    lower: bool
    notices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """ "SID (accuracy)"."""
        return f"{self.title} ({property_measure(self.measure)})"


@dataclass(frozen=True)
class Scored:
    """One model's score in a task.

    Attributes:
        condition: "none", "protected", "random", "unpruned" or "plain".
        keep: rows left of each feed-forward part; 0 for the last two.
        seed: of the run.
        score: with its interval.
        name: of plain features; empty for models.
        scoring: how it came about: the table's estimator.
    """

    condition: str
    keep: int
    seed: int
    score: Value
    name: str = ""
    scoring: str = ""


@dataclass(frozen=True)
class Gap:
    """Two models of one size and seed in one task.

    Attributes:
        keep: rows left.
        seed: of both.
        more: how much better the first is: above 0 where it is, for error rates too.
        verdict: "better", "worse", "even" or "unknown" (no interval).
        paired: the interval is of the difference; else the two scores' intervals were compared.
    """

    keep: int
    seed: int
    more: Value
    verdict: str
    paired: bool


def is_protection(view: View) -> bool:
    """Whether these are results of ``voxstrata protect``."""
    return view.record.get("job") == JOB


def tasks(view: View) -> list[Asked]:
    """What was asked of every model, in the order of the run."""
    if not is_protection(view):
        return []
    return [
        Asked(
            name=str(entry.get("name", "?")),
            title=str(entry.get("title") or entry.get("name", "?")),
            measure=str(entry.get("measure", "")),
            lower=entry.get("better") == "lower",
            notices=tuple(str(text) for text in entry.get("notices") or ()),
        )
        for entry in mappings(view.record.get("tasks"))
    ]


def scores(view: View, task: Asked) -> list[Scored]:
    """Every model's score, one a condition, size and seed; plain features one a name."""
    rows = _rows(view, task, task.measure)
    labels = _labels([str(row["model"]) for row in rows if row["layer"] == PLAIN])
    found: dict[tuple[str, int, int, str], Scored] = {}
    for row in rows:
        condition = str(row["layer"])
        if condition not in (*CONDITIONS, WHOLE, PLAIN):
            continue
        pruned = condition in CONDITIONS
        keep = _whole(row["other_layer"]) if pruned else 0
        seed = _whole(row["seed"]) if pruned else 0
        name = labels[str(row["model"])] if condition == PLAIN else ""
        one = Scored(condition, keep, seed, _value(row), name, str(row["estimator"]))
        found.setdefault((condition, keep, seed, name), one)
    order = (*CONDITIONS, WHOLE, PLAIN)
    return sorted(found.values(), key=lambda s: (s.keep, order.index(s.condition), s.seed))


def unpruned(found: Iterable[Scored]) -> Value | None:
    """The score of the model as it comes; ``None`` where there is none, or no number."""
    mine = (s.score for s in found if s.condition == WHOLE and math.isfinite(s.score.value))
    return next(mine, None)


def best_plain(task: Asked, found: Iterable[Scored]) -> Scored | None:
    """The best plain features; ``None`` without any."""
    plain = [s for s in found if s.condition == PLAIN and math.isfinite(s.score.value)]
    if not plain:
        return None
    return (min if task.lower else max)(plain, key=lambda s: s.score.value)


def says_little(task: Asked, found: Sequence[Scored]) -> Scored | None:
    """The plain features that the unpruned model is no better than; ``None`` if it is better."""
    whole, plain = unpruned(found), best_plain(task, found)
    if whole is None or plain is None:
        return None
    ahead = plain.score.value - whole.value
    return plain if (ahead <= 0 if task.lower else ahead >= 0) else None


def sizes(view: View, found: Iterable[Scored]) -> list[int]:
    """Rows left, of the models that have a score."""
    return sorted({s.keep for s in found if s.condition in CONDITIONS and s.keep > 0})


def gaps(view: View, task: Asked, one: str, other: str) -> list[Gap]:
    """A condition less another (or less the unpruned model), by size and seed.

    The paired differences of the table where it has them; where the task has none, differences
    of the scores, told apart if the scores' intervals share no point.
    """
    found: dict[tuple[int, int], Gap] = {}
    for row in _rows(view, task, f"{task.measure}-over-{other}"):
        keep, seed = _whole(row["other_layer"]), _whole(row["seed"])
        if row["layer"] != one:
            continue
        more = _value(row)
        more = more.turned if task.lower else more
        if math.isfinite(more.value):
            found.setdefault((keep, seed), Gap(keep, seed, more, _verdict(more), paired=True))
    if not found:
        found = _unpaired(task, scores(view, task), one, other)
    gathered = [found[key] for key in sorted(found)]
    if len({g.seed for g in gathered}) > 1 and _seedless(view, (one, other)):
        first = min(g.seed for g in gathered)
        gathered = [g for g in gathered if g.seed == first]
    return gathered


def copies(view: View, condition: str) -> bool:
    """Whether the seeds of a condition are one and the same model: nothing in it was drawn or
    trained, and all its scores agree, so that counting them twice would say more than is known."""
    config = view.record.get("config")
    if condition == WHOLE:
        return True
    if condition == "random" or not isinstance(config, Mapping):
        return False
    if config.get("tune") is not None or config.get("score") != "l1":
        return False
    for task in tasks(view):
        by_size: dict[int, set[float]] = {}
        for s in scores(view, task):
            if s.condition == condition:
                by_size.setdefault(s.keep, set()).add(s.score.value)
        if any(len(values) > 1 for values in by_size.values()):
            return False
    return True


def protected_count(view: View) -> float:
    """How many neurons were protected, over all layers; NaN where it is not known."""
    held = view.record.get("protected")
    counts = [_number(n) for n in held.values()] if isinstance(held, Mapping) else []
    known = [n for n in counts if math.isfinite(n)]
    return sum(known) if known else NAN


def found_counts(view: View) -> dict[str, Count]:
    """Neurons that pass the published rule, and by chance: by layer, "all" for all together.

    Where a record holds no p, the least that its dealings could give stands in, so that a number
    above very few dealings is not called more than chance.
    """
    held, config = view.record.get("neurons"), view.record.get("config")
    draws = _number(config.get("draws")) if isinstance(config, Mapping) else NAN
    found = {}
    for layer, entry in held.items() if isinstance(held, Mapping) else ():
        if isinstance(entry, Mapping):
            observed, mean, low, high, p = (
                _number(entry.get(key)) for key in ("observed", "null", "low", "high", "p")
            )
            p = p if math.isfinite(p) else 1 / (1 + draws)
            found[str(layer)] = Count(observed, mean, low, high, p)
    return found


def rows_differ(view: View) -> dict[tuple[str, int, int], int]:
    """(condition, rows left, seed) to rows that the model without protection has not."""
    found: dict[tuple[str, int, int], int] = {}
    for entry in mappings(view.record.get("rows_differ")):
        key = (str(entry.get("condition")), _whole(entry.get("keep")), _whole(entry.get("seed")))
        if math.isfinite(number := _number(entry.get("rows"))):
            found.setdefault(key, int(number))
    return found


def costs(view: View) -> dict[tuple[str, int, int], Mapping[str, Any]]:
    """(condition, rows left, seed) to what the model costs; ("unpruned", 0, 0) as it comes."""
    found: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for entry in mappings(view.record.get("costs")):
        key = (str(entry.get("condition")), _whole(entry.get("keep")), _whole(entry.get("seed")))
        found.setdefault(key, entry)
    return found


def _unpaired(
    task: Asked, found: Iterable[Scored], one: str, other: str
) -> dict[tuple[int, int], Gap]:
    by = {(s.condition, s.keep, s.seed): s.score for s in found if s.condition != PLAIN}
    made = {}
    for (condition, keep, seed), mine in by.items():
        its = by.get((WHOLE, 0, 0) if other == WHOLE else (other, keep, seed))
        if condition != one or its is None:
            continue
        less = mine.value - its.value
        if not math.isfinite(less):
            continue
        less = -less if task.lower else less
        clear = apart(mine, its)
        verdict = "unknown" if clear is None else "even"
        if clear:
            verdict = "better" if less > 0 else "worse"
        made[keep, seed] = Gap(keep, seed, Value(less, NAN, NAN), verdict, paired=False)
    return made


def _verdict(more: Value) -> str:
    if not more.has_interval:
        return "unknown"
    return "better" if more.low > 0 else "worse" if more.high < 0 else "even"


def _seedless(view: View, conditions: Sequence[str]) -> bool:
    return all(copies(view, condition) for condition in conditions)


def _rows(view: View, task: Asked, measure: str) -> list[Mapping[Any, Any]]:
    table = view.table
    mine = table[
        (table["property"] == task.name)
        & (table["measure"] == measure)
        & (table["control"].fillna("") == "")
    ]
    return list(mine.to_dict("records"))


def _labels(specs: Sequence[str]) -> dict[str, str]:
    names = list(dict.fromkeys(specs))
    return dict(zip(names, short_labels(names), strict=True))


def _value(row: Mapping[Any, Any]) -> Value:
    return Value(*(_number(row[key]) for key in ("value", "ci_low", "ci_high")))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def _whole(value: Any) -> int:
    number = _number(value)
    return int(number) if math.isfinite(number) else 0
