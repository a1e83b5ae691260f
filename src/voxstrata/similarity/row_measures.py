"""Measures that need the rows themselves: a seeded sample of rows, all pairs of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from voxstrata.similarity.blocks import LayerRows
from voxstrata.similarity.registry import Measure
from voxstrata.similarity.terms import Array


@dataclass(frozen=True)
class RowValues:
    """Values of row measures; fields as in :class:`~voxstrata.similarity.evaluate.UnitValues`."""

    values: dict[str, Array]
    n: dict[str, int]
    sizes: dict[str, Array]


def sample_rows(folds: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Positions of the rows that enter, sorted, int64 [min(N, limit)].

    Every fold keeps its share, so that leaving a fold out leaves out the same part as elsewhere.

    Args:
        folds: fold of each row [N].
        limit: most rows.
        seed: seed of the draw.
    """
    total = len(folds)
    if total <= limit:
        return np.arange(total)
    rng = np.random.default_rng(seed)
    # One random key a row; within a fold the lowest keys stay.
    keys = rng.random(total)
    kept = []
    for fold in np.unique(folds):
        members = np.flatnonzero(folds == fold)
        share = int(np.floor(limit * len(members) / total))
        kept.append(members[np.argsort(keys[members], kind="stable")[:share]])
    return np.sort(np.concatenate(kept))


def evaluate_rows(
    rows: LayerRows,
    measures: Mapping[str, Measure],
    limit: int,
    seed: int,
    advance: Callable[[float], None] = lambda _amount: None,
) -> RowValues:
    """Row measures for all pairs of layers, with leave-one-fold-out replicates.

    Args:
        rows: a store, or rows in memory.
        measures: measures with ``needs == "rows"``.
        limit: most rows to use.
        seed: seed of the sample.
        advance: called with 1 / R after every pair of a replicate.

    Returns:
        values [R, L, L] by measure.
    """
    all_folds = rows.folds()
    chosen = sample_rows(all_folds, limit, seed)
    _, folds = np.unique(all_folds[chosen], return_inverse=True)
    sizes = np.bincount(folds).astype(np.float64)
    keep = [torch.ones(len(chosen), dtype=torch.bool)]
    if len(sizes) > 1:
        keep += [torch.from_numpy(folds != fold) for fold in range(len(sizes))]
    index = torch.from_numpy(chosen)
    layers = [rows.layer(position)[index].double() for position in range(len(rows.widths))]
    count = len(layers)
    values = {name: np.full((len(keep), count, count), np.nan) for name in measures}
    for name, measure in measures.items():
        # What a measure derives from one side (distances, kernels, neighbours) is made once, and
        # held for one replicate at a time: all of them would be n^2 numbers a layer and fold.
        for r, mask in enumerate(keep):
            ready = [measure.prepare(layer[mask]) for layer in layers]
            for i in range(count):
                for j in range(i, count):
                    there = measure.compare(ready[i], ready[j])
                    back = there if measure.symmetric else measure.compare(ready[j], ready[i])
                    values[name][r, j, i] = back
                    values[name][r, i, j] = there
                    advance(1 / len(keep))
    return RowValues(values, dict.fromkeys(measures, len(chosen)), dict.fromkeys(measures, sizes))
