"""What layer weights say and do not say, in sentences that the table bears out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxstrata.report.probing_view import Task, Value, best_of, layer_scores, layer_values
from voxstrata.report.probing_weights import BY_NORM, LOST, WEIGHT, weighted_tasks
from voxstrata.report.view import View
from voxstrata.report.words import layer_called, listing


def readings(view: View, model: int) -> list[str]:
    """How far the weights agree with what layers do alone and with what the sum needs."""
    spec = view.models[model].spec
    asked = weighted_tasks(view, spec)
    says = [_agreement(view, spec, asked)]
    says += [_largest(view, spec, task) for task in asked]
    says.append(_needed(view, spec, asked))
    return [text for text in says if text]


def _agreement(view: View, spec: str, asked: Sequence[Task]) -> str:
    """In how many tasks the layer with the largest weight is the best one alone."""
    known = same = 0
    for task in asked:
        scores = layer_scores(view, task, spec)
        best = _best(task, scores.values)
        if best is not None and len(scores.values) > 1:
            known += 1
            same += _top(layer_values(view, task, spec, WEIGHT)) == best
    if known < 2:
        return ""
    return f"The layer with the largest weight is the best one alone in {same} of {known} tasks."


def _largest(view: View, spec: str, task: Task) -> str:
    """Layer of the largest weight, raw and times norm, and the best one alone."""
    raw = layer_values(view, task, spec, WEIGHT)
    top, normed = _top(raw), _top(layer_values(view, task, spec, BY_NORM))
    if top is None:
        return ""
    share = raw[top].value * len(raw)
    said = (
        f"{task.get('title')}: the largest weight is that of {layer_called(top)} "
        f"({share:.2f} times an equal share)"
    )
    if normed is not None and normed != top:
        said += f", times norm that of {layer_called(normed)}"
    best = _best(task, layer_scores(view, task, spec).values)
    if best is None:
        return f"{said}."
    if best == top:
        return f"{said}; it is also the best alone."
    return f"{said}; the best alone is {layer_called(best)}."


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
    return f"The sum does worse, beyond the interval, when trained without {'; '.join(named)}."


def _top(values: Mapping[str, Value]) -> str | None:
    return max(values, key=lambda name: values[name].value) if values else None


def _best(task: Task, values: Mapping[str, Value]) -> str | None:
    best = best_of(task, list(values.values()))
    return None if best is None else next(name for name, v in values.items() if v is best)
