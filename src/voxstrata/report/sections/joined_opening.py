"""What the opening says on a page of several results folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxstrata.report import answers, resemblance
from voxstrata.report.probing_view import probing_parts
from voxstrata.report.probing_words import sum_or_layer
from voxstrata.report.sides import asked_models, baselines
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing

SYNTHETIC = (
    "The speech is synthetic (espeak-ng, made here). It is clear and regular, so phones and voices "
    "are easier to tell apart than in recordings: read where information lies and which model has "
    "more of it, not how much a model would have on real speech."
)


def joined_title(view: View) -> str:
    """The page's title."""
    count = counted(len(asked_models(view)), "speech model")
    parts = ["what each layer knows"] if view.curves else []
    parts += ["what heads make of it"] if probing_parts(view) else []
    parts += ["which layers are alike"] if view.facets else []
    return f"{count}: {listing(parts)}"


def joined_lead(view: View) -> str:
    """What stands on the page; empty for a single results folder."""
    if not view.parts:
        return ""
    said = f"Compared are {listing([view.models[m].label for m in asked_models(view)])}"
    plain = [view.models[m].label for m in baselines(view)]
    twins = sum(model.twin_of is not None for model in view.models)
    shared = twins < sum(model.twin is not None for model in view.models)
    beside = []
    if twins:
        about = "the network before training" + (", one for each shape" if shared else "")
        beside.append(f"{counted(twins, 'untrained twin')} ({about})")
    if plain:
        beside.append(f"{listing(plain)} (plain features of the sound, without a network)")
    if beside:
        said += f", beside {listing(beside)}"
    return (
        f"{said}. What a layer holds counts as learned where it is more than these give; two "
        "values count as different where their 95 % intervals do not overlap."
    )


def joined_notices(view: View) -> list[str]:
    """What the records say the reader must know, without what the page says itself."""
    told = view.record.get("notices")
    # Each part's sentence about untrained models names twins, which the page names as such.
    known = any(model.twin_of is not None for model in view.models)
    found = [
        str(text)
        for text in (told if isinstance(told, list) else [])
        if not (known and "randomly initialised" in str(text))
    ]
    blind = [model.label for model in view.models if model.random and model.twin_of is None]
    if blind and known:
        verb = "is" if len(blind) == 1 else "are"
        found.insert(0, f"{listing(blind)} {verb} randomly initialised: nothing was learned there.")
    if _is_synthetic(view.record.get("corpus")):
        found.insert(0, SYNTHETIC)
        heard = [model.label for model in view.models if _heard_synthetic(model.record)]
        if heard:
            found.insert(
                1,
                f"{listing(heard)} heard speech of the same synthesiser in training, which "
                "favours them here.",
            )
    return found


def joined_findings(view: View) -> list[dict[str, Any]]:
    """The answers in a sentence each, as the opening's template wants them."""
    if not view.parts:
        return []
    says = [answers.headline(view, asked[0]) for asked in answers.questions(view)]
    for facet in resemblance.main_facets(view)[:1]:
        found = resemblance.kinships(view, facet)
        says += [
            resemblance.most_alike(view, facet, found),
            resemblance.most_alike_beyond(view, facet, found),
        ]
    says += [sum_or_layer(part) for part in probing_parts(view)]
    says = [text for text in says if text]
    return [{"about": "what the numbers say", "says": says, "cautions": []}] if says else []


def _is_synthetic(corpus: object) -> bool:
    if not isinstance(corpus, Mapping):
        return False
    return str(corpus.get("spec", "")).split(":")[0].split(",")[0].strip() == "synthetic"


def _heard_synthetic(record: Mapping[str, Any]) -> bool:
    details = record.get("details")
    trained_on = details.get("trained_on") if isinstance(details, Mapping) else None
    names = trained_on if isinstance(trained_on, list) else []
    return any(_is_synthetic({"spec": name}) for name in names)
