"""Facets as compact JSON for the page: 150 layers are 11,325 pairs, so every byte counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.layer_picks import owner
from voxstrata.report.matches import Match, best_path, steps
from voxstrata.report.view import Facet, View

SCALE = 10_000
"""Values travel as integers of 1/SCALE: four decimals."""

DIGITS = 5
"""Significant digits of values that are not of a facet: more than a figure shows."""


def pack_view(view: View) -> dict[str, Any]:
    """Everything the scripts share: models, layers, facets."""
    return {
        "models": [
            {
                "label": model.label,
                "spec": model.spec,
                "random": model.random,
                "owner": owner(view, at),
            }
            for at, model in enumerate(view.models)
        ],
        "layers": [
            [layer.model, layer.name, layer.width, int(layer.kind == "utterance"), layer.depth]
            for layer in view.layers
        ],
        "facets": [pack_facet(view, facet) for facet in view.facets],
    }


def pack_facet(view: View, facet: Facet) -> dict[str, Any]:
    """One facet. Cells are listed row by row; symmetric ones from the diagonal on.

    ``value``, ``below`` and ``above`` are integers of 1/SCALE (the last two: how far the ends of
    the interval lie from the value); ``null`` stands for "no value", and a value of ``false``
    for "not compared". ``n`` and ``groups`` are one number where all cells agree.
    """
    size = len(facet.layers)
    at = (
        np.triu_indices(size) if facet.symmetric else tuple(np.indices((size, size)).reshape(2, -1))
    )
    value, present = facet.value[at], facet.present[at]
    values: list[Any] = _integers(value)
    for i in np.flatnonzero(~present):
        values[int(i)] = False
    return {
        "key": facet.key,
        "label": facet.label,
        "unit": facet.unit,
        "estimator": facet.estimator,
        "symmetric": facet.symmetric,
        "closerIsHigh": facet.closer_is_high,
        "ends": [facet.low_end, facet.high_end],
        "layers": list(facet.layers),
        "value": values,
        "below": _integers(value - facet.low[at]),
        "above": _integers(facet.high[at] - value),
        "n": _counts(facet.n[at], present),
        "groups": _counts(facet.groups[at], present),
    }


def pack_paths(view: View, facet: Facet) -> list[dict[str, Any]]:
    """Best matches for every ordered pair of models of a facet."""
    models = view.models_of(facet)
    return [
        {
            "from": a,
            "to": b,
            "matches": [_match(m) for m in best_path(view, facet, a, b) if m is not None],
        }
        for a in models
        for b in models
        if a != b
    ]


def pack_steps(view: View, facet: Facet) -> list[dict[str, Any]]:
    """Similarity of neighbouring layers for every model with at least two."""
    packed = []
    for model in view.models_of(facet):
        cells = [c for c in steps(view, facet, model) if np.isfinite(c.value)]
        if cells:
            packed.append({"model": model, "cells": [[c.row, c.column] for c in cells]})
    return packed


def rounded(value: float) -> float | None:
    """A number with :data:`DIGITS` digits; ``None`` where there is none, as JSON has no NaN."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _match(found: Match) -> list[Any]:
    """[row, best column, runner-up column or null, tie (true, false, null), rivals]."""
    runner = found.runner.column if found.runner is not None else None
    return [found.best.row, found.best.column, runner, found.tie, found.rivals]


def _integers(values: NDArray[np.float64]) -> list[Any]:
    return [round(v * SCALE) if np.isfinite(v) else None for v in values.tolist()]


def _counts(values: NDArray[np.int64], present: NDArray[np.bool_]) -> int | list[int]:
    used = values[present]
    if used.size == 0:
        return 0
    return int(used[0]) if (used == used[0]).all() else [int(v) for v in values]
