"""What the report looks at: a results table turned into models, layers and square matrices.

Nothing is measured here. Rows are only put where they belong: a symmetric measure, which the
table stores once a pair, is mirrored; an asymmetric one is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ResultsError
from voxstrata.report.curve_view import PropertyCurves, property_rows, read_curves
from voxstrata.report.neuron_view import (
    Match,
    Selection,
    neuron_rows,
    read_matches,
    read_selections,
)
from voxstrata.report.reading import mappings, slug
from voxstrata.report.words import ESTIMATORS, base_measure, measure_label, short_labels
from voxstrata.results import Results

if TYPE_CHECKING:
    import pandas as pd

Matrix = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """One layer as the page shows it.

    Attributes:
        model: position of its model in :attr:`View.models`.
        name: layer name.
        width: dimensions D; 0 where the results do not say.
        kind: "frame" or "utterance".
        depth: 0 for the first compared layer of its model, 1 for the last (0 where the model
            has a single layer).
    """

    model: int
    name: str
    width: int
    kind: str
    depth: float


@dataclass(frozen=True)
class Model:
    """One compared model.

    Attributes:
        spec: the text it was named by; key of the table's ``model`` column.
        label: a short name, unique on the page.
        record: its entry in the run record; empty where the record has none.
        random: whether nothing was learned in it.
        twin_of: position of the trained model whose untrained twin it is, if any; of the first,
            where models of one shape share a twin.
        twin: position of its untrained twin, if it has one here.
    """

    spec: str
    label: str
    record: Mapping[str, Any] = field(default_factory=dict)
    random: bool = False
    twin_of: int | None = None
    twin: int | None = None


@dataclass(frozen=True)
class Facet:
    """All values of one measure, estimator and unit: one heat map.

    Attributes:
        key: identifies it in file names and in the page.
        measure, estimator, unit, study, seed: as in the table.
        label: "CKA, debiased", without the unit: for lists.
        spoken: "debiased CKA": for sentences.
        layers: positions in :attr:`View.layers` of the L layers present, in stack order.
        value, low, high: [L, L]; value and ends of the 95 % interval; NaN where there is none.
        present: [L, L]; whether the table has a row for the cell (its value may still be NaN).
        n, groups: [L, L]; rows and independent groups; 0 where there is no row.
        symmetric: whether both orders of a pair are the same number by definition.
        low_end, high_end: ends of the colour scale.
        closer_is_high: whether more means more alike; ``False`` for distances.
        about: the measure's entry in the run record; empty where it has none.
    """

    key: str
    measure: str
    estimator: str
    unit: str
    study: str
    seed: int
    label: str
    spoken: str
    layers: tuple[int, ...]
    value: Matrix
    low: Matrix
    high: Matrix
    present: NDArray[np.bool_]
    n: Counts
    groups: Counts
    symmetric: bool
    low_end: float
    high_end: float
    closer_is_high: bool
    about: Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """Everything a section may draw from.

    Attributes:
        models: in stack order.
        layers: of all models, in stack order.
        facets: similarity matrices; empty for results of another kind.
        record: the run record.
        table: the whole tidy table.
        folder: the results folder.
        curves: properties of layers; empty for results of another kind.
        parts: the views that were joined into this one; empty for a single results folder.
        selections: neurons that tell groups apart; empty for results of another kind.
        meetings: clusters against known classes; empty for results of another kind.
    """

    models: tuple[Model, ...]
    layers: tuple[Layer, ...]
    facets: tuple[Facet, ...]
    record: Mapping[str, Any]
    table: pd.DataFrame
    folder: Path
    curves: tuple[PropertyCurves, ...] = ()
    parts: tuple[View, ...] = ()
    selections: tuple[Selection, ...] = ()
    meetings: tuple[Match, ...] = ()

    def rows_of(self, facet: Facet, model: int) -> list[int]:
        """Rows (and columns) of ``facet`` that belong to ``model``, in order of depth."""
        return [i for i, at in enumerate(facet.layers) if self.layers[at].model == model]

    def models_of(self, facet: Facet) -> list[int]:
        """Models that have at least one layer in ``facet``, in stack order."""
        return sorted({self.layers[at].model for at in facet.layers})

    def layer(self, facet: Facet, row: int) -> Layer:
        """The layer of one row of ``facet``."""
        return self.layers[facet.layers[row]]

    def name(self, facet: Facet, row: int) -> str:
        """ "MODEL/LAYER" of one row of ``facet``."""
        layer = self.layer(facet, row)
        return f"{self.models[layer.model].label}/{layer.name}"


def read_view(results: Results) -> View:
    """Arrange a results folder for drawing.

    Args:
        results: as read by :func:`voxstrata.results.load_results`.

    Raises:
        ResultsError: the table lacks columns, or gives two values for one cell.
    """
    import pandas as pd

    table, record = results.table, results.record
    needed = {"model", "layer", "other_model", "other_layer", "property", "measure", "value"}
    if missing := sorted(needed - set(table.columns)):
        raise ResultsError(
            f"the table in {results.folder} lacks columns",
            got=f"no {', '.join(missing)}",
            expected="the columns of docs/results.md",
            fix="write it with voxstrata.results.write_results",
        )
    rows = table[(table["property"] == "similarity") & (table["other_model"] != "")]
    asked = property_rows(table, record)
    verified = record.get("job") == "verify"
    shown = table if verified else pd.concat([asked, neuron_rows(table, record)])
    models, layers = _stack(rows, shown, record)
    at = {(models[layer.model].spec, layer.name): i for i, layer in enumerate(layers)}
    facets = _facets(rows, at, record)
    place = {pair: (layers[i].model, i) for pair, i in at.items()}
    curves = read_curves(asked, record, place)
    own: dict[str, list[tuple[str, int]]] = {model.spec: [] for model in models}
    for layer in layers:
        own[models[layer.model].spec].append((layer.name, layer.width))
    return View(
        models,
        layers,
        facets,
        record,
        table,
        results.folder,
        curves,
        selections=read_selections(table, record, own),
        meetings=read_matches(table, record),
    )


def _stack(
    rows: pd.DataFrame, asked: pd.DataFrame, record: Mapping[str, Any]
) -> tuple[tuple[Model, ...], tuple[Layer, ...]]:
    """Models and layers in the order of the record; what only the table knows comes last."""
    widths: dict[tuple[str, str], int] = {}
    sides = (
        *((rows, "model", "layer", "d"), (rows, "other_model", "other_layer", "other_d")),
        (asked, "model", "layer", "d"),
    )
    for table, model, layer, across in sides:
        part = table[[model, layer, across]].drop_duplicates()
        for spec, name, d in part.itertuples(index=False):
            widths.setdefault((spec, name), int(d))
    told = {str(m.get("spec", m.get("name", ""))): m for m in mappings(record.get("models"))}
    used = dict.fromkeys(spec for spec, _ in widths)
    specs = [s for s in told if s in used] + [s for s in used if s not in told]
    labels = short_labels(specs)
    plain = tuple(
        Model(s, label, told.get(s, {}), bool(told.get(s, {}).get("random", False)))
        for s, label in zip(specs, labels, strict=True)
    )
    models = with_twins(plain, record.get("twins"))
    layers: list[Layer] = []
    for position, owner in enumerate(models):
        entries = {str(e.get("name")): e for e in mappings(owner.record.get("layers"))}
        mine = [name for spec, name in widths if spec == owner.spec]
        names = [n for n in entries if n in mine] + [n for n in mine if n not in entries]
        for i, name in enumerate(names):
            kind = str(entries.get(name, {}).get("kind", "frame"))
            depth = i / (len(names) - 1) if len(names) > 1 else 0.0
            width = widths[owner.spec, name]
            # A property may enter a layer reduced; the record knows the layer's own width.
            if len(asked) and isinstance(own := entries.get(name, {}).get("width"), int):
                width = own
            layers.append(Layer(position, name, width, kind, depth))
    return models, tuple(layers)


def with_twins(models: Sequence[Model], told: object) -> tuple[Model, ...]:
    """The models with their untrained twins marked.

    Args:
        models: in stack order.
        told: the record's ``twins``: spec of a trained model to spec of its twin.
    """
    at = {model.spec: i for i, model in enumerate(models)}
    pairs = told.items() if isinstance(told, Mapping) else ()
    twin = {
        at[str(model)]: at[str(other)]
        for model, other in pairs
        if str(model) in at and str(other) in at and model != other
    }
    first: dict[int, int] = {}
    for model in sorted(twin):
        first.setdefault(twin[model], model)
    return tuple(
        replace(model, twin_of=first.get(i), twin=twin.get(i)) for i, model in enumerate(models)
    )


def _facets(
    rows: pd.DataFrame, at: Mapping[tuple[str, str], int], record: Mapping[str, Any]
) -> tuple[Facet, ...]:
    keys = ["study", "measure", "estimator", "unit", "seed"]
    several = {key for key in ("study", "seed") if rows[key].nunique() > 1}
    abouts = list(mappings(record.get("measures")))
    order = list(dict.fromkeys(str(about.get("name")) for about in abouts))
    order += [m for m in rows["measure"].drop_duplicates() if m not in order]
    rank = {name: i for i, name in enumerate(ESTIMATORS)}
    units = list(rows["unit"].drop_duplicates())
    found: list[Facet] = []
    taken: set[str] = set()
    for values, part in rows.groupby(keys, sort=False, dropna=False):
        study, measure, estimator, unit = (str(text) for text in values[:4])
        seed = int(str(values[4]))
        extra = [f"{k} {v}" for k, v in (("study", study), ("seed", seed)) if k in several]
        key = slug([base_measure(measure, estimator), estimator, unit, *extra], taken)
        written = measure_label(measure, estimator)
        label = ", ".join([written, *filter(None, [estimator]), *extra])
        spoken = " ".join(filter(None, [estimator, written]))
        about = _about(abouts, measure, estimator)
        names = (key, label, spoken, study, measure, estimator, unit, seed)
        found.append(_facet(part, at, about, names))
    found.sort(
        key=lambda f: (
            order.index(f.measure),
            rank.get(f.estimator, len(rank)),
            units.index(f.unit),
        )
    )
    return tuple(found)


def _facet(
    part: pd.DataFrame,
    at: Mapping[tuple[str, str], int],
    about: Mapping[str, Any],
    names: tuple[str, str, str, str, str, str, str, int],
) -> Facet:
    key, label, spoken, study, measure, estimator, unit, seed = names
    rows = [at[pair] for pair in zip(part["model"], part["layer"], strict=True)]
    columns = [at[pair] for pair in zip(part["other_model"], part["other_layer"], strict=True)]
    layers = tuple(sorted({*rows, *columns}))
    place = {layer: i for i, layer in enumerate(layers)}
    i = np.array([place[r] for r in rows], dtype=np.int64)
    j = np.array([place[c] for c in columns], dtype=np.int64)
    size = len(layers)
    if len(np.unique(i * size + j)) < len(i):
        raise ResultsError(
            f"the table gives two values for one pair of layers ({measure}, {estimator}, {unit})",
            expected="one row a pair, measure, estimator, unit, study and seed",
            fix="remove the duplicate rows",
        )
    filled = np.zeros((size, size), dtype=np.bool_)
    filled[i, j] = True
    columns_of = {}
    for name in ("value", "ci_low", "ci_high"):
        columns_of[name] = np.full((size, size), np.nan)
        columns_of[name][i, j] = part[name].to_numpy(dtype=np.float64, na_value=np.nan)
    for name in ("n", "groups"):
        columns_of[name] = np.zeros((size, size), dtype=np.int64)
        columns_of[name][i, j] = part[name].to_numpy(dtype=np.int64)
    symmetric = _symmetric(columns_of["value"], filled, about)
    if symmetric:
        mirror = filled.T & ~filled
        for matrix in columns_of.values():
            matrix[mirror] = matrix.T[mirror]
        filled = filled | filled.T
    low_end, high_end = scale_ends(about.get("range"), columns_of["value"])
    return Facet(
        key=key,
        measure=measure,
        estimator=estimator,
        unit=unit,
        study=study,
        seed=int(seed),
        label=label,
        spoken=spoken,
        layers=layers,
        value=columns_of["value"],
        low=columns_of["ci_low"],
        high=columns_of["ci_high"],
        present=filled,
        n=columns_of["n"],
        groups=columns_of["groups"],
        symmetric=symmetric,
        low_end=low_end,
        high_end=high_end,
        closer_is_high=not (
            measure.endswith(("distance", "angle")) or about.get("higher_is_similar") is False
        ),
        about=about,
    )


def _symmetric(value: Matrix, filled: NDArray[np.bool_], about: Mapping[str, Any]) -> bool:
    """Whether a pair is stored once. What the record says of the measure comes first."""
    if isinstance(about.get("symmetric"), bool):
        return bool(about["symmetric"])
    both = filled & filled.T & ~np.eye(len(filled), dtype=np.bool_)
    return bool(np.array_equal(value[both], value.T[both], equal_nan=True))


def scale_ends(told: object, value: Matrix) -> tuple[float, float]:
    """Ends of the colour scale: 0 and 1 unless the measure's declared range says otherwise.

    A declared range below 0 (debiased CKA, R squared of a bad fit) does not move the lower end:
    such values are shown in the colour of 0 and counted in words, so that the colours of all
    measures bounded by 1 can be compared.

    Args:
        told: the record's ``range``: two numbers, either may be ``None``.
        value: [L, L], used only where the range has no upper end.
    """
    high: float | None = 1.0
    if isinstance(told, Sequence) and not isinstance(told, str) and len(told) == 2:
        high = float(told[1]) if isinstance(told[1], int | float) else None
    if high is None or not np.isfinite(high):
        finite = value[np.isfinite(value)]
        high = float(finite.max()) if finite.size else 1.0
    return 0.0, high if high > 0 else 1.0


def _about(abouts: Sequence[Mapping[str, Any]], measure: str, estimator: str) -> Mapping[str, Any]:
    mine = [about for about in abouts if about.get("name") == measure]
    exact = [about for about in mine if about.get("estimator") == estimator]
    return (exact or mine or [{}])[0]
