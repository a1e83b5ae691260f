"""What was run and how, so that somebody else can run it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from voxstrata.report.neuron_words import INTERVALS as NEURONS
from voxstrata.report.neuron_words import MEASURED, is_neurons
from voxstrata.report.protection_view import is_protection
from voxstrata.report.protection_words import INTERVALS as PROTECTION
from voxstrata.report.protection_words import MEASURED as PROTECTED
from voxstrata.report.section import Section, render
from voxstrata.report.sections.pruning import MEASURED as PRUNED
from voxstrata.report.sections.pruning import is_pruning
from voxstrata.report.sections.verification import INTERVALS as VERIFICATION
from voxstrata.report.sections.verification import is_verification
from voxstrata.report.training_view import is_training
from voxstrata.report.view import Model, View
from voxstrata.report.words import ESTIMATORS, counted, duration, listing, measure_label, size

INTERVALS = (
    "Intervals are 95 % intervals from leaving out one fold of whole groups (utterances or "
    "speakers) at a time, so that frames of one utterance are never treated as independent. Two "
    "overlapping intervals are reported as undecided, which is cautious: values from the same "
    "recordings move together."
)

DRAWS = (
    "Intervals are 95 % intervals from the standard error within a draw of rows (whole groups "
    "left out at a time) and from the spread of draws, where there are several. Two overlapping "
    "intervals are reported as not told apart, which is cautious: values from the same "
    "recordings move together."
)

NEEDS = {
    "terms": "Computed exactly from sums over rows, collected in one pass.",
    "moments": "Computed exactly from means and covariances, collected in one pass.",
    "rows": "Computed from the rows themselves; from a seeded sample where they are many.",
}
PLAN = (
    *("unit", "route", "reason", "rows", "width", "layers", "groups", "folds"),
    *("memory_bytes", "disk_bytes"),
)
"""What the page shows of the plan; the record has the rest."""

CORPUS_FIRST = ("name", "spec", "utterances", "seconds", "speakers", "skipped", "fingerprint")


def run(view: View) -> Section | None:
    """Command, models, corpus, route, measures, settings, citation; what is absent is left out.

    A page of several results folders has none: it says where theirs are.
    """
    if view.parts:
        return None
    record = view.record
    plan = [line for line in _list(record.get("plan")) if isinstance(line, Mapping)]
    heads = [key for key in PLAN if any(key in line for line in plan)]
    versions = record.get("versions")
    html = render(
        "sections/run.html",
        command=_command(record.get("command")),
        rows=counted(len(view.table), "row"),
        models=_models(view),
        corpus=_corpus(record.get("corpus")),
        plan_heads=[head.removesuffix("_bytes").replace("_", " ") for head in heads],
        plan=[[_quantity(head, line.get(head)) for head in heads] for line in plan],
        measures=[*_measures(view), *_properties(view), *_neurons(view)],
        intervals=_intervals(view),
        properties=bool(view.curves),
        verification=is_verification(view),
        training=is_training(view),
        neurons=is_neurons(view) or is_protection(view),
        pruning=is_pruning(view),
        config=_pretty(record.get("config")),
        machine=_machine(record),
        version=versions.get("voxstrata", "") if isinstance(versions, Mapping) else "",
    )
    return Section("run", "What was run, and how", "Run", html)


def _intervals(view: View) -> str:
    if is_training(view) or is_pruning(view):
        return ""
    if is_verification(view):
        return VERIFICATION
    if is_neurons(view):
        return NEURONS
    if is_protection(view):
        return PROTECTION
    return DRAWS if view.curves and not view.facets else INTERVALS


def _ordered(keys: Iterable[str], first: Sequence[str]) -> list[str]:
    """The keys people look for first, then the others by name."""
    rank = {key: i for i, key in enumerate(first)}
    return sorted(keys, key=lambda key: (rank.get(key, len(rank)), key))


def _command(value: Any) -> str:
    import shlex

    if isinstance(value, list):
        return shlex.join(str(part) for part in value)
    return str(value) if value else ""


def _models(view: View) -> list[dict[str, str]]:
    rows = []
    for at, model in enumerate(view.models):
        layers = [layer for layer in view.layers if layer.model == at]
        details = model.record.get("details")
        parameters = details.get("parameters") if isinstance(details, Mapping) else None
        widths = dict.fromkeys(layer.width for layer in layers if layer.width)
        rows.append(
            {
                "label": model.label,
                "spec": model.spec,
                "family": _text(model.record.get("family")),
                "layers": f"{len(layers)}: {', '.join(layer.name for layer in layers)}",
                "widths": ", ".join(f"{width:,}" for width in widths) or "not recorded",
                "parameters": f"{parameters:,}" if isinstance(parameters, int) else "not recorded",
                "weights": _weights(model, parameters),
                "fingerprint": _text(model.record.get("fingerprint")),
            }
        )
    return rows


def _weights(model: Model, parameters: Any) -> str:
    if model.random:
        return "random"
    if not model.record:
        return "not recorded"
    return "none" if parameters == 0 else "as named"


def _corpus(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return []
    found = []
    for key in _ordered(map(str, value), CORPUS_FIRST):
        item = value[key]
        if key == "skipped":
            found.append(("skipped", counted(len(_list(item)), "recording")))
        elif key == "seconds" and isinstance(item, int | float):
            found.append(("duration", f"{duration(float(item))} ({item:,.1f} s)"))
        elif key == "details" and isinstance(item, Mapping):
            found += [(str(k).replace("_", " "), _text(v)) for k, v in item.items()]
        else:
            found.append((str(key).replace("_", " "), _text(item)))
    return [(key, text) for key, text in found if text]


def _measures(view: View) -> list[tuple[str, list[str]]]:
    """Each measure and estimator in words, with its source."""
    found: dict[str, list[str]] = {}
    for facet in view.facets:
        key = measure_label(facet.measure, facet.estimator)
        if facet.estimator:
            key += f", {facet.estimator}"
        if key in found:
            continue
        about = facet.about
        texts = [str(about[part]) for part in ("summary", "reference") if about.get(part)]
        if words := ESTIMATORS.get(facet.estimator):
            texts.insert(min(1, len(texts)), words)
        if words := NEEDS.get(str(about.get("needs"))):
            texts.append(words)
        found[key] = texts or ["Not described in the run record."]
    return list(found.items())


def _properties(view: View) -> list[tuple[str, list[str]]]:
    """Each property: its name, its unit and what was measured."""
    found = []
    for asked in view.curves:
        labels = listing([variant.label for variant in asked.variants])
        rows = max((p.n for v in asked.variants for c in v.curves for p in c.points), default=0)
        drawn = f"{counted(len(asked.facts), 'draw')} of up to" if asked.facts else "up to"
        texts = [f"{asked.name}: {labels}; {drawn} {counted(rows, f'{asked.unit} row')}."]
        found.append((asked.title, texts))
    return found


def _neurons(view: View) -> list[tuple[str, list[str]]]:
    """What is counted of neurons, and how; what is measured of pruned and protected models."""
    kinds = ((is_neurons, MEASURED), (is_protection, PROTECTED), (is_pruning, PRUNED))
    told = next((texts for asked, texts in kinds if asked(view)), {})
    return [(name, [text]) for name, text in told.items()]


def _machine(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if isinstance(wall := record.get("wall_s"), int | float):
        found.append(("wall time", duration(float(wall))))
    if record.get("finished"):
        found.append(("finished", str(record["finished"])))
    for key in ("group", "folds", "device"):
        if record.get(key):
            found.append((key, _text(record[key])))
    for key in ("hardware", "versions"):
        part = record.get(key)
        if isinstance(part, Mapping):
            found += [(str(k).replace("_", " "), _text(v)) for k, v in part.items()]
    return found


def _pretty(value: Any) -> str:
    if value in (None, {}, []):
        return "not recorded"
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)


def _quantity(key: str, value: Any) -> str:
    """A number of a plan with its unit."""
    if key.endswith("_bytes") and isinstance(value, int | float):
        return size(float(value))
    return _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
