"""Neurons ranked by several methods: what these agree on, and how few neurons are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.analysed import Analysed
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.passes import Counted
from voxstrata.neurons.prepare import Prepared
from voxstrata.neurons.rankings.agreement import agreement
from voxstrata.neurons.rankings.control import Selectivity, selectivity
from voxstrata.neurons.rankings.ranking import Labelled, labelled
from voxstrata.neurons.rankings.registry import RANKINGS
from voxstrata.neurons.rankings.subsets import SubsetCurve, subset_curve
from voxstrata.neurons.statistics.effects import unit_rates
from voxstrata.numerics.jackknife import assign_folds

if TYPE_CHECKING:
    import pandas as pd

FOLDS, MOST, SIZES = 5, 12, (1, 4, 16, 64, 256)
"""Folds of the probes; groups up to which neurons are ranked; numbers of neurons tried."""

ORDER = "linear-probe"
"""Ranking by which neurons are taken for the smallest set."""


@dataclass(frozen=True)
class Ranked:
    """One layer of one contrast.

    Attributes:
        model, contrast, layer: what was ranked.
        agreement: every pair of rankings.
        curve: accuracy by number of neurons.
        selectivity: accuracy against random labels of speakers; ``None`` where labels are theirs.
        units: recordings or speakers behind it.
    """

    model: str
    contrast: str
    layer: str
    agreement: pd.DataFrame
    curve: SubsetCurve
    selectivity: Selectivity | None
    units: int


def wanted(one: Analysed, prepared: Prepared) -> list[Contrast]:
    """Contrasts of a model whose neurons are ranked: trained models, groups of recordings."""
    if not prepared.config.rankings or one.model.details.get("random"):
        return []
    return [c for c in one.contrasts if c.labels is not None and len(c.groups) <= MOST]


def rank(
    prepared: Prepared,
    counted: Counted,
    notes: list[str],
    each: Callable[[str], None] = lambda _layer: None,
) -> Iterator[Ranked]:
    """Rank the neurons of every layer for every contrast of groups of recordings.

    Args:
        prepared, counted: the run.
        notes: told what could not be ranked.
        each: called when a layer is done.
    """
    if counted.means is None:
        return
    place = {str(name): i for i, name in enumerate(counted.means.index["utterance"])}
    first = 0
    for one, counts in zip(prepared.analysed, counted.counts, strict=True):
        for contrast in wanted(one, prepared):
            found = counts[contrast.rows.name]
            for number, info in enumerate(one.neurons):
                x = _means(counted.means.layer(first + number).numpy(), place, found, prepared)
                try:
                    yield _layer(one, contrast, found, info.name, x, prepared)
                except UsageError as error:
                    notes.append(f"{contrast.name}: neurons are not ranked, because {error.what}.")
                    each(info.name)
                    break
                each(info.name)
        first += len(one.neurons)


def _means(
    rows: NDArray[Any], place: dict[str, int], found: UnitCounts, prepared: Prepared
) -> NDArray[np.float64]:
    """Mean activation of each unit [P, D], recordings of a speaker alike; NaN without any."""
    sums = np.zeros((len(found.units), rows.shape[1]))
    seen = np.zeros(len(found.units))
    for name, at in prepared.unit_of.items():
        if name in place:
            sums[at] += rows[place[name]]
            seen[at] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / seen[:, None])


def _layer(
    one: Analysed,
    contrast: Contrast,
    found: UnitCounts,
    layer: str,
    x: NDArray[np.float64],
    prepared: Prepared,
) -> Ranked:
    assert contrast.labels is not None
    seed = prepared.config.seed
    labels = contrast.labels.units(found.units, prepared.members)
    kept = np.flatnonzero((labels >= 0) & np.isfinite(x[:, 0]))
    rows = np.zeros(len(found.rows), np.int64)
    data = labelled(
        x[kept],
        [contrast.groups[g] for g in labels[kept].tolist()],
        rates=unit_rates(found, layer, rows)[kept],
        frames=found.seen[kept].sum(axis=1),
        seed=seed,
    )
    fold = _folds(data, [found.units[int(i)] for i in kept], contrast, prepared)
    names = RANKINGS.names()
    scores = {name: RANKINGS.get(name).score(data) for name in names}
    D = x.shape[1]
    curve = subset_curve(
        data, RANKINGS.get(ORDER), fold, sizes=[*(n for n in SIZES if n < D), D], repeats=2
    )
    control = None
    speakers = _speakers([found.units[int(i)] for i in kept], prepared)
    if speakers is not None and contrast.labels.name != "speaker":
        # The control must be able to memorise speakers: their recordings go to several folds.
        spread = np.arange(len(kept)) % FOLDS
        try:
            control = selectivity(data.x, data.labels, speakers, spread, draws=3, seed=seed)
        except UsageError:
            control = None
    return Ranked(
        one.model.spec,
        contrast.name,
        layer,
        agreement(scores, seed=seed),
        curve,
        control,
        len(kept),
    )


def _speakers(units: list[str], prepared: Prepared) -> list[str] | None:
    of = dict(zip(prepared.units, prepared.speakers, strict=True))
    if prepared.by == "speaker" or any(of[unit] is None for unit in units):
        return None
    return [str(of[unit]) for unit in units]


def _folds(
    data: Labelled, units: list[str], contrast: Contrast, prepared: Prepared
) -> NDArray[np.int64]:
    """Speakers held out; recordings, where speakers are the groups."""
    assert contrast.labels is not None
    speakers = _speakers(units, prepared)
    groups = units if speakers is None or contrast.labels.name == "speaker" else speakers
    many = len(set(groups))
    if many < 2:
        raise UsageError("there is one speaker only", fix="use a corpus with several")
    folds = assign_folds(groups, min(FOLDS, many), prepared.config.seed, [1.0] * len(groups))
    found = np.array([folds[group] for group in groups], np.int64)
    for part in np.unique(found):
        if len(np.unique(data.labels[found != part])) < 2:
            raise UsageError("without some fold there is one group only")
    return found
