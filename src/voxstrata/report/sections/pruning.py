"""What a pruning run left of a model: sizes and costs before and after, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from voxstrata.report.neuron_words import called
from voxstrata.report.reading import mappings
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing, short_label

JOB = "prune"

COSTS = (
    ("parameters", "parameters", 1.0, ",.0f"),
    ("parameters that are not zero", "nonzero", 1.0, ",.0f"),
    ("billion operations a second of audio", "flops", 1e-9, ".3g"),
    ("milliseconds a second of audio", "latency_s", 1e3, ".3g"),
)
"""What is told, its key in the record, what it is multiplied with, and how it is written."""

MEASURED = {
    "parameters": "All numbers of the model that training could change.",
    "operations": "Floating-point operations of a second of audio, estimated from the widths.",
    "milliseconds": "From waveform to the last layer, median of the repeats, both models in turns.",
}
"""What the numbers are, for the section on the run."""

GONE = {"rows": "neurons", "heads": "heads"}


def is_pruning(view: View) -> bool:
    """Whether these are results of ``voxstrata prune``."""
    return view.record.get("job") == JOB


def pruning(view: View) -> Section | None:
    """Tables of costs, layers and steps; nothing for results of another kind."""
    if not is_pruning(view):
        return None
    pruned = view.record.get("pruned")
    html = render(
        "sections/pruning.html",
        folder=pruned.get("folder") if isinstance(pruned, Mapping) else None,
        costs=_costs(view),
        layers=_sizes(view, "neurons", "feed_forward"),
        blocks=_sizes(view, "heads", "heads"),
        protected=bool(_protected(view)),
        steps=[_step(entry) for entry in mappings(view.record.get("steps"))],
    )
    return Section("pruning", "What is left of the model?", "Pruning", html)


def pruning_title(view: View) -> str:
    """The page's title."""
    return f"{_label(view)}, pruned"


def pruning_tiles(view: View) -> list[tuple[str, str]]:
    """What is left of everything, in %."""
    found = []
    for noun, key in (("parameters", "nonzero"), ("operations", "flops"), ("time", "latency_s")):
        before, after = (_number(view, side, key) for side in ("before", "after"))
        if before > 0 and math.isfinite(after):
            found.append((f"{100 * after / before:.0f} %", f"of the {noun} left"))
    return found


def pruning_lead(view: View) -> str:
    """What was done and what it saved; empty for results of another kind."""
    if not is_pruning(view):
        return ""
    config = _mapping(view.record.get("config"))
    what, score = str(config.get("what", "")), config.get("score")
    by = f", chosen by the score {score}" if what in GONE and score else ""
    done = {
        "rows": f"Neurons of the feed-forward parts of {_label(view)} went{by}",
        "heads": f"Attention heads of {_label(view)} went{by}",
        "weights": f"The smallest weights of {_label(view)} were set to zero",
        "low-rank": f"Linear maps of {_label(view)} became products of two thinner ones",
        "layers": f"The first blocks of {_label(view)} were kept",
    }.get(what, f"{_label(view)} was pruned")
    summary = view.record.get("summary")
    return f"{done}: {summary}." if summary else f"{done}."


def pruning_findings(view: View) -> list[dict[str, Any]]:
    """What stayed protected, and whether the model was trained on."""
    if not is_pruning(view):
        return []
    says = []
    if held := _protected(view):
        number = sum(held.values())
        noun = "neuron was" if number == 1 else "neurons were"
        says.append(
            f"{called(number)} {noun} protected, in {counted(len(held), 'layer')}, and stayed "
            "whatever their score."
        )
    tuned = [_finite(entry.get("tuned")) for entry in mappings(view.record.get("steps"))]
    steps = sum(n for n in tuned if math.isfinite(n))
    says.append(
        f"After pruning it was trained on for {counted(int(steps), 'step')} in all."
        if steps
        else "It was not trained on: what is lost may come back in training."
    )
    says.append(
        "What the smaller model still knows is not measured here: voxstrata probe, verify and "
        "properties take its folder as a model."
    )
    return [{"about": "what was done", "says": says, "cautions": []}]


def _costs(view: View) -> list[dict[str, str]]:
    rows = []
    for name, key, scale, form in COSTS:
        before, after = (_number(view, side, key) for side in ("before", "after"))
        if math.isfinite(before) or math.isfinite(after):
            ratio = after / before if before > 0 else math.nan
            rows.append(
                {
                    "name": name,
                    "before": format(scale * before, form) if math.isfinite(before) else "",
                    "after": format(scale * after, form) if math.isfinite(after) else "",
                    "ratio": f"{100 * ratio:.1f} %" if math.isfinite(ratio) else "",
                }
            )
    return rows


def _sizes(view: View, measure: str, key: str) -> list[dict[str, str]]:
    """Sizes before and after, by layer; a layer that is gone has none after."""
    names = [str(n) for n in view.table[view.table["measure"] == measure]["layer"]]
    before, after = (
        [_finite(n) for n in _list(_mapping(view.record.get(side)).get(key))]
        for side in ("before", "after")
    )
    # The table lists the layers of the model as it came, then those of the pruned one.
    own = dict(zip(names, before, strict=False))
    left = dict(zip(names[len(before) :], after, strict=False))
    held = _protected(view)
    return [
        {
            "layer": name,
            "before": called(number),
            "after": called(left[name]) if name in left else "gone",
            "protected": called(held[name]) if name in held else "",
        }
        for name, number in own.items()
    ]


def _step(entry: Mapping[str, Any]) -> dict[str, str]:
    """A step in words: what went, or how long it was trained."""
    cost = _mapping(entry.get("cost"))
    removed = entry.get("removed")
    what = str(entry.get("what", ""))
    done = ""
    if isinstance(removed, Mapping):
        counts = [len(gone) for gone in removed.values() if isinstance(gone, Sequence)]
        done = f"{sum(counts):,} {GONE.get(what, what)} went from {counted(len(counts), 'layer')}"
    elif isinstance(trained := entry.get("tuned"), int):
        done = f"trained on for {counted(trained, 'step')}"
    elif what:
        done = f"{what}: {_amount(entry.get('amount'))}"
    parameters, flops = _finite(cost.get("parameters")), _finite(cost.get("flops"))
    valid = entry.get("valid")
    scores = [
        f"{str(name).replace('_', ' ')} {float(value):.3f}"
        for name, value in (valid.items() if isinstance(valid, Mapping) else ())
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    return {
        "step": str(entry.get("step", "")),
        "done": done,
        "parameters": f"{parameters:,.0f}" if math.isfinite(parameters) else "",
        "flops": f"{flops / 1e9:.3g}" if math.isfinite(flops) else "",
        "scores": listing(scores),
    }


def _amount(amount: Any) -> str:
    if isinstance(amount, Mapping):
        return ", ".join(f"{name} {value}" for name, value in amount.items())
    if isinstance(amount, list | tuple):
        return ", ".join(map(str, amount))
    return str(amount)


def _label(view: View) -> str:
    spec = _mapping(view.record.get("model")).get("spec")
    return short_label(str(spec)) if spec else "A model"


def _protected(view: View) -> dict[str, float]:
    held = _mapping(view.record.get("protected"))
    found = {str(layer): _finite(number) for layer, number in held.items()}
    return {layer: number for layer, number in found.items() if math.isfinite(number)}


def _number(view: View, side: str, key: str) -> float:
    return _finite(_mapping(view.record.get(side)).get(key))


def _finite(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
