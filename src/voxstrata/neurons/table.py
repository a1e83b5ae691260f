"""From what was found to rows of the results table and lines of ``neurons.parquet``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from voxstrata.neurons.analysis import Found
from voxstrata.neurons.statistics.null import Band
from voxstrata.results import Row

ALL = "all"
"""Layer of numbers about all layers together."""


def rows_of(found: Found, study: str, seed: int) -> Iterator[Row]:
    """Numbers of one contrast of one model: property neurons, with their null."""
    null, counts = found.null, found.counts

    def row(layer: str, measure: str, value: float, **rest: Any) -> Row:
        low, high, control = rest.get("low"), rest.get("high"), rest.get("control", "")
        width = counts.active[layer].shape[1] if layer != ALL else found.neurons
        return Row(
            study=study,
            model=found.model,
            layer=layer,
            other_model="",
            other_layer=str(rest.get("group", "")),
            property=found.contrast,
            measure=measure,
            unit="frame",
            value=value,
            ci_low=low,
            ci_high=high,
            n=int(counts.seen.sum()),
            groups=found.units,
            d=width,
            other_d=len(counts.groups),
            estimator=rest.get("estimator", "published"),
            seed=seed,
            control=control,
        )

    def banded(layer: str, band: Band, group: str = "") -> Iterator[Row]:
        measure = "neurons"
        yield row(layer, measure, float(band.observed), group=group)
        yield row(
            layer, measure, band.mean, low=band.low, high=band.high, group=group,
            control="permuted-labels",
        )  # fmt: skip
        yield row(layer, "neurons-p", band.p, group=group)

    for layer in counts.active:
        if null is None:
            chosen = found.selected[layer]
            yield row(layer, "neurons", float(chosen.sum()))
            for g, group in enumerate(counts.groups):
                yield row(layer, "neurons", float(chosen[g].sum()), group=group)
            continue
        one = null.layers[layer]
        yield from banded(layer, one.total)
        for g, group in enumerate(counts.groups):
            yield from banded(layer, one.group(g), group)
    if null is not None:
        yield from banded(ALL, null.total())


def lines_of(found: Found) -> Iterator[dict[str, Any]]:
    """A line a neuron and group in which it was selected or tested."""
    for layer, chosen in found.selected.items():
        counts = found.counts
        probability = counts.probability(layer)
        for g, group in enumerate(counts.groups):
            mine = counts.rows_of(g)
            rest = np.flatnonzero((counts.group_of >= 0) & (counts.group_of != g))
            seen = counts.seen
            inside = _rate(counts.active[layer][mine], seen[mine])
            outside = _rate(counts.active[layer][rest], seen[rest])
            for neuron in np.flatnonzero(chosen[g]):
                yield {
                    "model": found.model,
                    "contrast": found.contrast,
                    "layer": layer,
                    "group": group,
                    "neuron": int(neuron),
                    "probability": float(inside[neuron]),
                    "probability elsewhere": float(outside[neuron]),
                    "least probability of a row": float(probability[mine, neuron].min()),
                    "chosen by chance": None
                    if found.null is None
                    else float(found.null.layers[layer].chosen[neuron])
                    / max(1, found.null.total().draws),
                }


def _rate(active: Any, seen: Any) -> Any:
    return active.sum(axis=0) / max(1, int(seen.sum()))
