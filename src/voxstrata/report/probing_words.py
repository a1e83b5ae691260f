"""What a probing run shows, said in words that its table bears out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from voxstrata.report.probing_view import (
    Gain,
    Task,
    TaskCell,
    Value,
    apart,
    beats,
    best_of,
    cell,
    clear_of,
    gains,
    is_lower,
    is_probing,
    ordered,
    tasks,
)
from voxstrata.report.sides import asked_models, baselines
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing, property_measure

UNSCALED = ("mtwv", "mindcf", "min-dcf")
"""Beginnings of measures that are not shown in %."""


@dataclass
class Standing:
    """How one model stands against something, by task.

    Attributes:
        clear: better, and told apart (paired, where the table has the difference).
        unsure: better, and not told apart (or there is no interval).
        behind: not better, with both scores in words.
    """

    clear: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)


def in_percent(measure: str) -> bool:
    """Whether a measure is shown in %."""
    return not measure.startswith(UNSCALED)


def scale(measure: str) -> float:
    """What a measure is multiplied with where it is shown."""
    return 100.0 if in_percent(measure) else 1.0


def figure(measure: str, value: float, *, signed: bool = False) -> str:
    """A score as the tables write it: 87.5 for 0.875; three decimals where it is no share."""
    shown, digits = scale(measure) * value, 1 if in_percent(measure) else 3
    text = f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def ends(measure: str, value: Value, *, signed: bool = False) -> str:
    """ "79.2 to 100.0"; empty where there is no interval."""
    if not value.has_interval:
        return ""
    low, high = (figure(measure, v, signed=signed) for v in (value.low, value.high))
    return f"{low} to {high}"


def measured(task: Task) -> str:
    """ "accuracy, % ↑": the main measure of a task, its scale, and which way is better."""
    main = str(task.get("main", ""))
    scale = ", %" if in_percent(main) else ""
    return f"{property_measure(main)}{scale} {'↓' if is_lower(task) else '↑'}"


def probing_title(view: View) -> str:
    """The page's title."""
    labels = [view.models[m].label for m in asked_models(view)]
    labels = labels or [view.models[m].label for m in baselines(view)]
    if len(labels) > 6:
        labels = [*labels[:5], f"{len(labels) - 5} more models"]
    return f"What heads learn from the layers of {listing(labels)}"


def probing_lead(_view: View) -> str:
    """What the page is about."""
    return (
        "A small head learns a task from frozen features of a model: from one layer, or from a "
        "learned sum of all layers. What it reaches on recordings it has not seen says what the "
        "layers hold in a form that is easy to use. Beside it stand the same network without "
        "training, plain features, and labels dealt at random."
    )


def probing_findings(view: View) -> list[dict[str, Any]]:
    """The first screen: what training brought, and whether the sum is worth it."""
    if not is_probing(view):
        return []
    says = [text for model in asked_models(view) if (text := stands(view, model))]
    says += [text for text in (winners(view), sum_or_layer(view)) if text]
    return [{"about": "what the scores say", "says": says, "cautions": []}] if says else []


def stands(view: View, model: int) -> str:
    """Tasks in which a model is clear of its untrained twin and of plain features, and those in
    which it is not."""
    against = _against(view, model)
    if not against:
        return ""
    held = [against_named(view, model, name, others) for name, others in against]
    names = [str(t.get("title")) for t in tasks(view) if cell(view, t, view.models[model].spec)]
    both = [name for name in names if all(name in one.clear for one in held)]
    rest = [name for name in names if name not in both]
    sides = listing([name for name, _ in against])
    label = view.models[model].label
    if not names:
        return ""
    if not both:
        return f"{label} is clear of {sides} in none of {counted(len(names), 'task')}."
    said = f"{label} is clear of {sides} in {listing(both)}"
    return f"{said}, not in {listing(rest)}." if rest else f"{said}."


def behind(view: View, model: int) -> list[str]:
    """Where one model does not beat its untrained twin, and where not plain features: every task
    named, with both scores; and where it leads by less than the intervals tell."""
    label = view.models[model].label
    found = []
    for name, others in _against(view, model):
        held = against_named(view, model, name, others)
        parts = []
        if held.behind:
            parts.append(f"does not beat {name} in {listing(held.behind)}")
        if held.unsure:
            also = "also " if held.behind else ""
            parts.append(
                f"is {also}ahead of {name}, but not told apart from it, in {listing(held.unsure)}"
            )
        if parts:
            found.append(f"{label} {'; it '.join(parts)}.")
        elif held.clear:
            every = "every task" if len(held.clear) > 1 else held.clear[0]
            found.append(f"{label} is clear of {name} in {every}.")
    return found


def against_named(view: View, model: int, name: str, others: Sequence[int]) -> Standing:
    """One model against the best of several, task by task."""
    held = Standing()
    for task in tasks(view):
        mine = cell(view, task, view.models[model].spec)
        cells = {i: c for i in others if (c := cell(view, task, view.models[i].spec))}
        if mine is None or not cells:
            continue
        top = best_of(task, [c.whole for c in cells.values()])
        if top is None:
            continue
        title = str(task.get("title"))
        rival = next(i for i, c in cells.items() if c.whole is top)
        clear = all(clear_of(view, task, model, i) for i in cells)
        if not beats(task, mine.whole.value, top.value):
            said = _both(view, task, mine, top, rival if len(others) > 1 else None)
            if clear_of(view, task, model, rival) is False:
                said = f"{said.removesuffix(')')}; not told apart)"
            held.behind.append(said)
        elif clear:
            held.clear.append(title)
        else:
            held.unsure.append(title)
    return held


def winners(view: View) -> str:
    """Which trained model is best in which task, and where that is not certain."""
    models = asked_models(view)
    if len(models) < 2:
        return ""
    by_model: dict[int, list[str]] = {}
    for task in tasks(view):
        cells = {m: c for m in models if (c := cell(view, task, view.models[m].spec))}
        top = best_of(task, [c.whole for c in cells.values()])
        if top is None or len(cells) < 2:
            continue
        first = next(m for m, c in cells.items() if c.whole is top)
        clear = all(apart(top, c.whole) for m, c in cells.items() if m != first)
        title = str(task.get("title"))
        by_model.setdefault(first, []).append(title if clear else f"{title} (intervals overlap)")
    named = [f"{view.models[m].label} in {listing(of)}" for m, of in by_model.items()]
    return f"Best of the trained models: {'; '.join(named)}." if named else ""


def sum_or_layer(view: View) -> str:
    """How often the sum does better than the best single layer of trained models, in a sentence."""
    held = [gain for gain in gains(view) if view.models[gain.model].twin_of is None]
    return tally(held, "of trained models") if held else ""


def tally(held: Sequence[Gain], whose: str) -> str:
    """Counts of cells in which the sum does better, worse, or is not told apart."""
    count = {v: sum(g.verdict == v for g in held) for v in ("better", "worse", "even", "unknown")}
    parts = [
        f"better in {count['better']}",
        f"worse in {count['worse']}",
        f"not told apart in {count['even']}",
    ]
    if count["unknown"]:
        parts.append(f"without an interval in {count['unknown']}")
    cells = counted(len(held), "cell")
    return (
        f"Against the best single layer, the learned sum does {listing(parts)} of {cells} (task "
        f"and model, {whose})."
    )


def _against(view: View, model: int) -> list[tuple[str, list[int]]]:
    """Its twin, and plain features: what to call them, and which models they are."""
    twin = view.models[model].twin
    found = [("its untrained twin", [twin])] if twin is not None else []
    plain = [i for i in baselines(view) if i != model]
    if plain:
        labels = [view.models[i].label for i in plain]
        found.append((labels[0] if len(plain) == 1 else "plain features", plain))
    return found


def _both(view: View, task: Task, mine: TaskCell, top: Value, rival: int | None) -> str:
    """ "Gender (58.3 against 80.0 of mfcc; intervals overlap)"."""
    main = str(task.get("main"))
    said = f"{figure(main, mine.whole.value)} against {figure(main, top.value)}"
    if rival is not None:
        said += f" of {view.models[rival].label}"
    return f"{task.get('title')} ({said})"


def in_table(view: View) -> list[int]:
    """Models that have a score in some task, in the order of the table."""
    return [
        i
        for i in ordered(view)
        if any(cell(view, task, view.models[i].spec) for task in tasks(view))
    ]
