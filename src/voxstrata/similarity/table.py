"""From values by pair to rows of the tidy table."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from voxstrata.numerics.jackknife import jackknife
from voxstrata.results import Row
from voxstrata.similarity.prepare import Prepared, UnitJob
from voxstrata.similarity.sweep import UnitValues


def to_rows(
    prepared: Prepared, job: UnitJob, found: UnitValues, skipped: Collection[str] = ()
) -> Iterator[Row]:
    """One row a pair of layers and measure.

    Symmetric measures give one row an unordered pair (first layer first in stack order, a layer
    with itself included); others one row each way.

    Args:
        prepared: the run.
        job: the unit.
        found: its values.
        skipped: recordings that did not contribute; their groups do not count.
    """
    layers = [prepared.stack[position] for position in job.layers]
    config = prepared.config
    groups = len(
        {
            u.tiers.get("speaker") if config.group == "speaker" else u.id
            for u in prepared.corpus.utterances
            if u.id not in skipped
        }
    )
    for name, grid in found.values.items():
        measure = prepared.measures[name]
        low = high = np.full(grid.shape[1:], np.nan)
        if len(grid) > 2:
            interval = jackknife(grid[0], grid[1:], found.sizes[name], bounds=measure.range)
            low, high = interval.low, interval.high
        estimator = "minibatch" if job.plan.route == "minibatch" else measure.estimator
        for i, one in enumerate(layers):
            for j, two in enumerate(layers):
                if measure.symmetric and j < i:
                    continue
                yield Row(
                    study=config.study,
                    model=one.name,
                    layer=one.info.name,
                    other_model=two.name,
                    other_layer=two.info.name,
                    property="similarity",
                    measure=name,
                    unit=job.unit.name,
                    value=float(grid[0, i, j]),
                    ci_low=float(low[i, j]),
                    ci_high=float(high[i, j]),
                    n=found.n[name],
                    groups=groups,
                    d=one.width,
                    other_d=two.width,
                    estimator=estimator,
                    seed=config.seed,
                )
