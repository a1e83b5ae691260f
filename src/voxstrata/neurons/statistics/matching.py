"""How clusters match known classes: contingency, purity, NMI, ARI, with bootstrap intervals.

Frames of a recording are not independent, so what is drawn again are units: recordings, or their
speakers. Every measure is a function of the table of counts, and the tables of all draws are one
product of the draws and the tables of the units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.bootstrap import Interval, percentile_interval
from voxstrata.neurons.counts import Floats, Ints
from voxstrata.neurons.statistics.draws import Labels, check_draws, codes

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1000


def purity(tables: NDArray[Any]) -> Floats:
    """Share of rows in the commonest class of their cluster, tables [..., A, B] to [...]."""
    return np.asarray(tables.max(axis=-1).sum(axis=-1) / tables.sum(axis=(-2, -1)))


def inverse_purity(tables: NDArray[Any]) -> Floats:
    """Share of rows in the commonest cluster of their class."""
    return np.asarray(tables.max(axis=-2).sum(axis=-1) / tables.sum(axis=(-2, -1)))


def normalised_information(tables: NDArray[Any]) -> Floats:
    """NMI: mutual information over the arithmetic mean of both entropies.

    1 where there is one cluster and one class, as scikit-learn has it.
    """
    from scipy.special import entr

    p = tables / tables.sum(axis=(-2, -1), keepdims=True)
    a, b = entr(p.sum(axis=-1)).sum(axis=-1), entr(p.sum(axis=-2)).sum(axis=-1)
    joint = entr(p).sum(axis=(-2, -1))
    room = (a + b) / 2
    # An entropy that is rounding only is that of one cluster and one class.
    alone = room < 1e-14
    shared = np.maximum(a + b - joint, 0.0)
    return np.asarray(np.where(alone, 1.0, shared / np.where(alone, 1.0, room)))


def adjusted_rand(tables: NDArray[Any]) -> Floats:
    """ARI (Hubert and Arabie 1985): agreement of pairs, 0 by chance, 1 if identical."""

    def pairs(x: NDArray[Any]) -> Floats:
        return np.asarray(x * (x - 1.0) / 2)

    both = pairs(tables).sum(axis=(-2, -1))
    a, b = pairs(tables.sum(axis=-1)).sum(axis=-1), pairs(tables.sum(axis=-2)).sum(axis=-1)
    every = pairs(tables.sum(axis=(-2, -1)))
    expected = a * b / np.where(every > 0, every, 1.0)
    room = (a + b) / 2 - expected
    # Only all in one, or each alone, in both, leaves no room: these are identical.
    alone = np.abs(room) <= 1e-12 * np.maximum(a + b, 1.0)
    return np.asarray(np.where(alone, 1.0, (both - expected) / np.where(alone, 1.0, room)))


MEASURES: dict[str, Callable[[NDArray[Any]], Floats]] = {
    "purity": purity,
    "inverse_purity": inverse_purity,
    "nmi": normalised_information,
    "ari": adjusted_rand,
}
"""Measures of tables [..., clusters, classes] by name."""


@dataclass(frozen=True)
class Matching:
    """Clusters against classes.

    Attributes:
        clusters, classes: A and B names.
        table: [A, B], counts.
        share: [A, B], each cluster's rows by class; 0 in an empty cluster.
        share_low, share_high: [A, B], ends of its interval; NaN without interval.
        measures: by name, with percentile intervals.
        chance: purity and inverse purity of a single cluster or class: what needs no clustering.
        units: that were drawn again.
    """

    clusters: tuple[str, ...]
    classes: tuple[str, ...]
    table: Ints
    share: Floats
    share_low: Floats
    share_high: Floats
    measures: Mapping[str, Interval]
    chance: Mapping[str, float]
    units: int

    def contingency(self) -> pd.DataFrame:
        """Cluster, class, count, share, low, high: a row a cell."""
        import pandas as pd

        A, B = self.table.shape
        return pd.DataFrame(
            {
                "cluster": np.repeat(self.clusters, B),
                "class": np.tile(self.classes, A),
                "count": self.table.reshape(-1),
                "share": self.share.reshape(-1),
                "low": self.share_low.reshape(-1),
                "high": self.share_high.reshape(-1),
            }
        )


def unit_tables(cluster: Labels, label: Labels, unit: Labels, shape: tuple[int, int, int]) -> Ints:
    """How often each cluster meets each class in each unit, [U, A, B].

    Args:
        cluster, label, unit: numbers from 0 of each frame (or recording); a negative one leaves
            it out.
        shape: (U, A, B).

    Raises:
        ShapeError: the lists differ in length.
        UsageError: a number is too large.
    """
    given = [np.asarray(x, dtype=np.int64) for x in (unit, cluster, label)]
    if given[0].ndim != 1 or len({x.shape for x in given}) != 1:
        raise ShapeError(
            "units, clusters and classes of the same rows are needed",
            got=", ".join(str(x.shape) for x in given),
        )
    kept = np.all([x >= 0 for x in given], axis=0)
    u, a, b = (x[kept] for x in given)
    if any(x.max(initial=-1) >= size for x, size in zip((u, a, b), shape, strict=True)):
        raise UsageError("a unit, cluster or class is out of range", expected=f"below {shape}")
    flat = np.bincount((u * shape[1] + a) * shape[2] + b, minlength=int(np.prod(shape)))
    return np.asarray(flat.reshape(shape), dtype=np.int64)


def matching(
    counts: NDArray[np.integer],
    clusters: Sequence[str],
    classes: Sequence[str],
    *,
    together: Labels | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Matching:
    """Measures of a clustering against classes, with intervals over units.

    NMI of few units is too high, and higher in draws (which hold fewer different units): read its
    interval with the number of units. ARI is corrected for chance.

    Args:
        counts: [U, A, B], of each unit.
        clusters, classes: A and B names.
        together: [U], what is drawn as one (the speaker of each recording); units by default.
        draws: of the bootstrap.
        seed: of the draws.
        level: coverage aimed at.

    Raises:
        ShapeError: names do not fit the counts.
        UsageError: nothing was counted, or negative counts; fewer than one draw.
    """
    given = np.asarray(counts)
    if given.ndim != 3 or given.shape[1:] != (len(clusters), len(classes)):
        raise ShapeError(
            "counts of clusters and classes",
            got=given.shape,
            expected=f"(units, {len(clusters)}, {len(classes)})",
        )
    if not given.size or given.min() < 0 or not given.sum():
        raise UsageError("nothing was counted, or a count is negative", got=str(given.shape))
    check_draws(draws)
    if together is not None:
        member = codes(together, len(given), "what is drawn together")
        summed = np.zeros((member.max() + 1, *given.shape[1:]), dtype=np.int64)
        np.add.at(summed, member, given)
        given = summed
    # A unit that was never counted is no evidence of anything.
    given = given[given.sum(axis=(1, 2)) > 0]
    U = len(given)
    weights = np.random.default_rng(seed).multinomial(U, np.full(U, 1 / U), size=draws)
    tables = (weights.astype(np.float64) @ given.reshape(U, -1)).reshape(-1, *given.shape[1:])
    table = given.sum(axis=0)
    measures = {
        name: percentile_interval(float(measure(table)), measure(tables), level, speakers=U)
        for name, measure in MEASURES.items()
    }
    share = _shares(table)
    low = high = np.full(share.shape, np.nan)
    if U >= 3:
        with np.errstate(invalid="ignore"):
            drawn = np.where(tables.sum(axis=2, keepdims=True) > 0, _shares(tables), np.nan)
        filled = table.sum(axis=1) > 0
        low, high = np.full((2, *share.shape), np.nan)
        ends = np.nanquantile(drawn[:, filled], [(1 - level) / 2, (1 + level) / 2], axis=0)
        low[filled], high[filled] = ends
    total = table.sum()
    chance = {
        "purity": float(table.sum(axis=0).max() / total),
        "inverse_purity": float(table.sum(axis=1).max() / total),
    }
    return Matching(tuple(clusters), tuple(classes), table, share, low, high, measures, chance, U)


def _shares(tables: NDArray[Any]) -> Floats:
    total = tables.sum(axis=-1, keepdims=True)
    return np.asarray(tables / np.where(total > 0, total, 1))
