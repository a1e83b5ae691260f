"""What layer weights say and do not say, in sentences that the table bears out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxstrata.report.probing_view import Task, Value, best_of, layer_scores, layer_values
from voxstrata.report.probing_weights import BY_NORM, LOST, WEIGHT, weighted_tasks
from voxstrata.report.view import View
from voxstrata.report.words import layer_called, listing

NEAR = 1.25
"""Times an equal share up to which a largest weight counts as hardly moved from the start."""

MANY = 40
"""Intervals at 95 % of which one lies above 0 by chance."""


def readings(view: View, model: int) -> list[str]:
    """Which layers have the largest weights, how far that agrees with what layers do alone, and
    which ones the sum needs."""
    spec = view.models[model].spec
    asked = weighted_tasks(view, spec)
    raw = {str(t.get("title")): layer_values(view, t, spec, WEIGHT) for t in asked}
    normed = {str(t.get("title")): layer_values(view, t, spec, BY_NORM) for t in asked}
    alone = {str(t.get("title")): _alone(view, t, spec) for t in asked}
    tops = {title: _top(values) for title, values in raw.items()}
    by_norm = {title: _top(values) for title, values in normed.items()}
    says = [f"The largest weight is that of {said}." if (said := _by_layer(tops)) else ""]
    if by_norm != tops and (said := _by_layer(by_norm)):
        says.append(f"Times the norm of its states, the largest is that of {said}.")
    if said := _by_layer(alone):
        says.append(f"Alone, the best score is that of {said}.")
    return [text for text in (*says, _unmoved(raw), _needed(view, spec, asked)) if text]


def _by_layer(chosen: Mapping[str, str | None]) -> str:
    """ "mfa in PR and ASR; embedding in SID": tasks by layer."""
    held: dict[str, list[str]] = {}
    for title, layer in chosen.items():
        if layer is not None:
            held.setdefault(layer, []).append(title)
    return "; ".join(f"{layer_called(layer)} in {listing(of)}" for layer, of in held.items())


def _unmoved(raw: Mapping[str, Mapping[str, Value]]) -> str:
    """That the weights hardly left their start, if so: there is little to read in them then."""
    shares = [
        max(value.value for value in values.values()) * len(values)
        for values in raw.values()
        if len(values) > 1
    ]
    if not shares or max(shares) > NEAR:
        return ""
    return (
        f"The weights hardly left their start, at which all are equal: the largest is "
        f"{max(shares):.2f} times an equal share. There is little to read in them."
    )


def _needed(view: View, spec: str, asked: Sequence[Task]) -> str:
    """Layers that the sum misses beyond the interval."""
    tried = {
        str(task.get("title")): lost
        for task in asked
        if (lost := layer_values(view, task, spec, LOST))
    }
    missed = {
        title: [layer_called(n) for n, v in lost.items() if v.has_interval and v.low > 0]
        for title, lost in tried.items()
    }
    if not tried:
        return ""
    named = [f"{listing(names)} in {title}" for title, names in missed.items() if names]
    if not named:
        return (
            "Trained without any one layer, the sum loses nothing that is told apart from 0: the "
            "others stand in for it."
        )
    said = f"The sum does worse, beyond the interval, when trained without {'; '.join(named)}"
    count = sum(v.has_interval for lost in tried.values() for v in lost.values())
    # One side of an interval at 95 % misses once in forty.
    if count < MANY:
        return f"{said}."
    return f"{said} (of {count} intervals, about {round(count / MANY)} would say so by chance)."


def _alone(view: View, task: Task, spec: str) -> str | None:
    """The layer that scores best alone, if there are several."""
    values = layer_scores(view, task, spec).values
    best = best_of(task, list(values.values()))
    if best is None or len(values) < 2:
        return None
    return next(name for name, value in values.items() if value is best)


def _top(values: Mapping[str, Value]) -> str | None:
    return max(values, key=lambda name: values[name].value) if values else None
