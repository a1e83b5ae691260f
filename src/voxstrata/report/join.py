"""One view of several results folders: models and layers that they share are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from voxstrata.errors import ResultsError, UsageError
from voxstrata.report.curve_view import GROUPS, Curve, PropertyCurves, Variant
from voxstrata.report.reading import mappings, slug
from voxstrata.report.view import Facet, Layer, Model, View, with_twins
from voxstrata.report.words import short_labels

JOINED = "joined"
"""The ``job`` of a record that stands for several."""

LISTS = ("notices", "left_out", "refused")
"""Entries of run records that are put one behind the other."""

Place = Mapping[tuple[int, int], int]
"""(part, position there) to position in the joined view."""

Item = TypeVar("Item")


def join_views(views: Sequence[View], folder: Path) -> View:
    """Several results folders as one view.

    Models are the same if they are named the same; their layers then are, too. Matrices and
    properties that several folders have are told apart by the name of the folder.

    Args:
        views: as given by :func:`voxstrata.report.view.read_view`, at least two.
        folder: where the page will lie.

    Raises:
        ResultsError: one name stands for different models.
        UsageError: a folder holds neither similarities nor properties nor tasks.
    """
    for view in views:
        if not (view.facets or view.curves):
            raise UsageError(
                f"{view.folder} cannot be joined with other results",
                got=f"results of {view.record.get('job') or 'an unknown job'}",
                expected="results of voxstrata similarity, properties or probe",
                fix="leave it out; it has a page of its own",
            )
    import pandas as pd

    names = part_names(views)
    models, model_at = _models(views)
    layers, layer_at = _layers(views, models, model_at)
    return View(
        models=models,
        layers=layers,
        facets=_facets(views, names, layer_at),
        record=_record(views),
        table=pd.concat([view.table for view in views], ignore_index=True),
        folder=folder,
        curves=_curves(views, names, model_at, layer_at),
        parts=tuple(views),
    )


def part_names(views: Sequence[View]) -> list[str]:
    """A name for each part: its folder's, numbered where two are called the same."""
    plain = [view.folder.resolve().name for view in views]
    return [
        f"{name} ({plain[:i].count(name) + 1})" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    ]


def _models(views: Sequence[View]) -> tuple[tuple[Model, ...], Place]:
    specs = _once(model.spec for view in views for model in view.models)
    records: dict[str, Mapping[str, Any]] = {}
    for view in views:
        for model in view.models:
            known = records.setdefault(model.spec, model.record)
            ours, theirs = known.get("fingerprint"), model.record.get("fingerprint")
            if ours and theirs and ours != theirs:
                raise ResultsError(
                    f"{model.spec} is not the same model in all folders",
                    got=f"fingerprints {str(ours)[:12]} and {str(theirs)[:12]} (in {view.folder})",
                    expected="one model for one name",
                    fix="run the older folder again, or draw the folders one by one",
                )
    random = {m.spec for view in views for m in view.models if m.random}
    twins: dict[str, str] = {}
    for view in views:
        twins |= {m.spec: view.models[m.twin].spec for m in view.models if m.twin is not None}
    labels = short_labels(specs)
    plain = [
        Model(spec, label, records[spec], spec in random)
        for spec, label in zip(specs, labels, strict=True)
    ]
    place = {
        (part, i): specs.index(model.spec)
        for part, view in enumerate(views)
        for i, model in enumerate(view.models)
    }
    return with_twins(plain, twins), place


def _layers(
    views: Sequence[View], models: Sequence[Model], model_at: Place
) -> tuple[tuple[Layer, ...], Place]:
    found: list[Layer] = []
    at: dict[tuple[int, str], int] = {}
    for position in range(len(models)):
        mine = [
            [layer for layer in view.layers if model_at[part, layer.model] == position]
            for part, view in enumerate(views)
        ]
        names = in_common_order([layer.name for layer in layers] for layers in mine)
        first = {layer.name: layer for layers in reversed(mine) for layer in layers}
        for i, name in enumerate(names):
            at[position, name] = len(found)
            depth = i / (len(names) - 1) if len(names) > 1 else 0.0
            found.append(replace(first[name], model=position, depth=depth))
    place = {
        (part, i): at[model_at[part, layer.model], layer.name]
        for part, view in enumerate(views)
        for i, layer in enumerate(view.layers)
    }
    return tuple(found), place


def _facets(views: Sequence[View], names: Sequence[str], layer_at: Place) -> tuple[Facet, ...]:
    told = [(f.label, f.unit) for view in views for f in view.facets]
    taken: set[str] = set()
    found = []
    for part, view in enumerate(views):
        for facet in view.facets:
            at = np.array([layer_at[part, i] for i in facet.layers])
            order = np.argsort(at)
            square = np.ix_(order, order)
            several = told.count((facet.label, facet.unit)) > 1
            beside = names[part] if several else ""
            found.append(
                replace(
                    facet,
                    key=slug([facet.key, beside], taken),
                    label=f"{facet.label}, {beside}" if several else facet.label,
                    spoken=f"{facet.spoken} ({beside})" if several else facet.spoken,
                    layers=tuple(int(i) for i in at[order]),
                    value=facet.value[square],
                    low=facet.low[square],
                    high=facet.high[square],
                    present=facet.present[square],
                    n=facet.n[square],
                    groups=facet.groups[square],
                )
            )
    return tuple(found)


def _curves(
    views: Sequence[View], names: Sequence[str], model_at: Place, layer_at: Place
) -> tuple[PropertyCurves, ...]:
    told = [asked.name for view in views for asked in view.curves]
    taken: set[str] = set()
    found = []
    for part, view in enumerate(views):
        for asked in view.curves:
            beside = names[part] if told.count(asked.name) > 1 else ""
            variants = [_variant(variant, part, model_at, layer_at) for variant in asked.variants]
            found.append(
                replace(
                    asked,
                    key=slug([asked.key, beside], taken),
                    title=f"{asked.title} ({beside})" if beside else asked.title,
                    variants=tuple(variants),
                )
            )
    order = [*GROUPS, *dict.fromkeys(p.group for p in found if p.group not in GROUPS)]
    return tuple(sorted(found, key=lambda p: order.index(p.group)))


def _variant(variant: Variant, part: int, model_at: Place, layer_at: Place) -> Variant:
    def moved(curves: Iterable[Curve]) -> tuple[Curve, ...]:
        made = [
            Curve(
                model_at[part, curve.model],
                curve.control,
                tuple(
                    sorted(
                        (replace(p, layer=layer_at[part, p.layer]) for p in curve.points),
                        key=lambda p: p.layer,
                    )
                ),
            )
            for curve in curves
        ]
        return tuple(sorted(made, key=lambda curve: curve.model))

    return replace(variant, curves=moved(variant.curves), controls=moved(variant.controls))


def _record(views: Sequence[View]) -> dict[str, Any]:
    """What the page's opening reads: the corpus if it is one, and all notices."""
    record: dict[str, Any] = {"job": JOINED}
    for key in LISTS:
        record[key] = _once(item for view in views for item in _list(view.record.get(key)))
    studies = _once(view.record.get("study") for view in views)
    if len(studies) == 1 and studies[0]:
        record["study"] = studies[0]
    corpora = [c for view in views for c in mappings([view.record.get("corpus")])]
    if len({_recordings(c) for c in corpora}) == 1:
        skipped = _once(item for c in corpora for item in _list(c.get("skipped")))
        record["corpus"] = {**corpora[0], "skipped": skipped}
    else:
        listed = ", ".join(dict.fromkeys(str(c.get("spec") or c.get("name")) for c in corpora))
        record["notices"].insert(
            0, f"These results come from different recordings: {listed or 'not recorded'}."
        )
    return record


def _recordings(corpus: Mapping[str, Any]) -> str:
    """What tells recordings apart. A run of several tasks lists the corpus of each: where that is
    one for all, the run is of that corpus."""
    details = corpus.get("details")
    each = details.get("corpora") if isinstance(details, Mapping) else None
    if isinstance(each, Mapping) and len(each) == 1:
        corpus = next(iter(mappings(list(each.values()))), corpus)
    return str(corpus.get("fingerprint") or corpus.get("spec"))


def in_common_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """All names of several lists, each once: what only a later list has stands behind the name
    that it follows there."""
    found: list[str] = []
    for names in lists:
        for i, name in enumerate(names):
            if name not in found:
                found.insert(found.index(names[i - 1]) + 1 if i else 0, name)
    return found


def _once(items: Iterable[Item]) -> list[Item]:
    found: list[Item] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
