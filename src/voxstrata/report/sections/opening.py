"""The opening: what was compared, how much of it, what to beware of, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxstrata.report import sentences
from voxstrata.report.neuron_words import is_neurons, neurons_lead, neurons_title
from voxstrata.report.probing_view import is_probing
from voxstrata.report.probing_words import probing_findings, probing_lead, probing_title
from voxstrata.report.protection_view import is_protection
from voxstrata.report.protection_words import (
    protection_findings,
    protection_lead,
    protection_title,
)
from voxstrata.report.section import Section, render
from voxstrata.report.sections.joined_opening import (
    joined_findings,
    joined_lead,
    joined_notices,
    joined_title,
)
from voxstrata.report.sections.neurons import neurons_findings, neurons_tiles
from voxstrata.report.sections.property_opening import (
    property_absent,
    property_findings,
    property_lead,
    property_names,
    property_title,
)
from voxstrata.report.sections.protection import protection_tiles
from voxstrata.report.sections.pruning import (
    is_pruning,
    pruning_findings,
    pruning_lead,
    pruning_tiles,
    pruning_title,
)
from voxstrata.report.sections.said import said
from voxstrata.report.sections.training import (
    training_findings,
    training_tiles,
    training_title,
)
from voxstrata.report.sections.verification import (
    is_verification,
    verification_findings,
    verification_title,
)
from voxstrata.report.training_view import is_training
from voxstrata.report.view import View
from voxstrata.report.words import counted, duration, listing


def title(view: View) -> str:
    """The page's title: the models, or a plain name where there are none."""
    if is_verification(view):
        return verification_title(view)
    if is_training(view):
        return training_title(view)
    if is_neurons(view):
        return neurons_title(view)
    if is_protection(view):
        return protection_title(view)
    if is_pruning(view):
        return pruning_title(view)
    if not view.models:
        return "Results"
    if view.parts:
        return joined_title(view)
    if is_probing(view):
        return probing_title(view)
    if view.curves:
        return property_title(view)
    labels = [model.label for model in view.models]
    if len(labels) > 6:
        labels = [*labels[:5], f"{len(labels) - 5} more models"]
    return f"{listing(labels)}, layer by layer"


def tiles(view: View) -> list[tuple[str, str]]:
    """Number and noun of what entered: models, layers, speech, speakers, rows."""
    found = (
        training_tiles(view)
        if is_training(view)
        else protection_tiles(view)
        if is_protection(view)
        else pruning_tiles(view)
        if is_pruning(view)
        else [
            (f"{len(view.models):,}", "model" if len(view.models) == 1 else "models"),
            (f"{len(view.layers):,}", "layer" if len(view.layers) == 1 else "layers"),
        ]
    )
    if is_neurons(view):
        found += neurons_tiles(view)
    if view.curves:
        asked = len(view.curves)
        nouns = ("task", "tasks") if is_probing(view) else ("property", "properties")
        found.append((f"{asked:,}", nouns[0] if asked == 1 else nouns[1]))
    corpus = view.record.get("corpus")
    if isinstance(corpus, Mapping):
        if isinstance(count := corpus.get("utterances"), int):
            found.append((f"{count:,}", "utterance" if count == 1 else "utterances"))
        if isinstance(seconds := corpus.get("seconds"), int | float):
            found.append((duration(float(seconds)), "of speech"))
        if isinstance(count := corpus.get("speakers"), int) and count > 0:
            found.append((f"{count:,}", "speaker" if count == 1 else "speakers"))
    for unit in dict.fromkeys(facet.unit for facet in view.facets):
        counts = [int(f.n[f.present].max()) for f in view.facets if f.unit == unit]
        most = max(counts)
        found.append((f"{most:,}", f"{unit} row" if most == 1 else f"{unit} rows (n)"))
    return found


def notices(view: View) -> list[str]:
    """What the record says the reader must know, and random models if it does not say it."""
    if view.parts:
        return joined_notices(view)
    told = view.record.get("notices")
    found = [str(text) for text in told] if isinstance(told, list) else []
    # A twin is there to be untrained; a random model that is nobody's twin may be a mistake.
    blind = [model.label for model in view.models if model.random and model.twin_of is None]
    if blind and not any("random" in text.lower() for text in found):
        verb = "is" if len(blind) == 1 else "are"
        found.insert(0, f"{listing(blind)} {verb} randomly initialised: nothing was learned there.")
    return found


def opening(view: View) -> Section:
    """The first screen."""
    corpus = view.record.get("corpus")
    corpus = corpus if isinstance(corpus, Mapping) else {}
    skipped = [
        (str(item.get("id", "?")), str(item.get("what", "")))
        for item in _list(corpus.get("skipped"))
        if isinstance(item, Mapping)
    ]
    measures = list(dict.fromkeys(facet.spoken for facet in view.facets))
    parts = [
        f"study {view.record['study']}" if view.record.get("study") else "",
        f"on {corpus.get('name') or corpus['spec']}" if corpus.get("spec") else "",
        listing(measures),
        ", ".join(property_names(view)),
    ]
    html = render(
        "sections/opening.html",
        title=title(view),
        kicker=" · ".join(part for part in parts if part),
        lead=joined_lead(view)
        or neurons_lead(view)
        or protection_lead(view)
        or pruning_lead(view)
        or (probing_lead(view) if is_probing(view) else property_lead(view)),
        notices=notices(view),
        tiles=tiles(view),
        findings=joined_findings(view)
        or said(view, lambda facet: sentences.findings(view, facet))
        or probing_findings(view)
        or property_findings(view)
        or verification_findings(view)
        or training_findings(view)
        or neurons_findings(view)
        or protection_findings(view)
        or pruning_findings(view),
        absent="These results hold no selection of neurons."
        if is_neurons(view)
        else property_absent(view),
        joined=bool(view.parts),
        skipped=skipped,
        skipped_title=f"{counted(len(skipped), 'recording')} skipped",
    )
    return Section("opening", "", "", html)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
