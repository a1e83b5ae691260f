"""Whether the same neurons come out again: of other recordings, other seeds, another sigma or k."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Counts, Floats, Ints, UnitCounts
from voxstrata.neurons.selection import above, exclusive, share_above
from voxstrata.neurons.sets import NeuronSet
from voxstrata.neurons.statistics.design import Design
from voxstrata.neurons.statistics.draws import Labels, codes, exchangeable, halved
from voxstrata.neurons.statistics.sweep import group_sets

if TYPE_CHECKING:
    import pandas as pd

SPLITS = 50
SIGMAS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Halves:
    """One layer, selected in both halves of the units, S times.

    Attributes:
        jaccard: [S], neurons of both halves over neurons of either; the same neuron of another
            group is another. NaN where neither half has one.
        chance: [S], the same for neurons drawn at random, as many of each group.
        sizes: [S, 2], neurons of each half.
    """

    jaccard: Floats
    chance: Floats
    sizes: Ints

    def summary(self) -> dict[str, float]:
        """Mean, 2.5 and 97.5 % of the Jaccard index, its mean by chance, and the mean size."""
        known = self.jaccard[~np.isnan(self.jaccard)]
        found = {"jaccard": np.nan, "low": np.nan, "high": np.nan, "chance": np.nan}
        if len(known):
            low, high = np.quantile(known, [0.025, 0.975])
            found = {"jaccard": known.mean(), "low": low, "high": high}
            found["chance"] = self.chance[~np.isnan(self.jaccard)].mean()
        found["neurons"] = self.sizes.mean()
        return {k: float(v) for k, v in found.items()}


def split_halves(
    counts: UnitCounts,
    design: Design,
    *,
    splits: int = SPLITS,
    seed: int = 0,
    clusters: Labels | None = None,
    strata: Labels | None = None,
    together: Labels | None = None,
    each: Callable[[str], None] | None = None,
) -> dict[str, Halves]:
    """The selection in two halves of the units, many times.

    Every group (within every stratum) is halved by itself; units of a cluster stay together.

    Args:
        counts: by unit.
        design: what is selected.
        splits: S.
        seed: of the splits.
        clusters: [P], what stays together (the speaker of each recording).
        strata: [P], what is halved by itself.
        together: [P], what stays in one half though its units differ in label (speakers).
        each: called with the name of each layer when it is done.

    Returns:
        one result a layer; the splits are the same for all of them.

    Raises:
        UsageError: a group has one unit, so that a half would lack it; as
            :func:`~voxstrata.neurons.statistics.draws.exchangeable`.
    """
    P, G = len(counts.units), len(design.groups)
    if design.labels is None:
        pool, labels, stratum = counts, np.zeros(P, np.int64), codes(strata, P, "strata")
        if clusters is not None:
            together = codes(clusters, P, "clusters")
            pool = counts.merged(together, [str(n) for n in range(together.max() + 1)])
            labels = np.zeros(len(pool.units), np.int64)
            stratum = stratum[np.unique(together, return_index=True)[1]]
        smallest, of_units = len(labels), 1
    else:
        whole = together is not None
        units = exchangeable(
            counts, design.labels, G, clusters=clusters, strata=strata, whole=whole
        )
        pool, labels, stratum, of_units = units.counts, units.labels, units.strata, G
        sizes = np.bincount(labels)
        smallest = int(sizes[sizes > 0].min())
    if smallest < 2:
        raise UsageError(
            "a group of one unit cannot be halved",
            got=f"{len(labels)} units in {of_units} group(s)",
            fix="give recordings as units, or leave out groups with one unit",
        )
    if together is not None and design.labels is not None:
        who = codes(together, P, "what stays together")[design.labels >= 0]
        half = halved(np.zeros(int(who.max()) + 1, np.int64), splits, seed)[:, who]
    else:
        half = halved(labels, splits, seed, stratum)
    found = {}
    for layer in counts.layers:
        parts = []
        blocks = group_sets(pool, layer, labels * 2 + half, 2 * of_units, design.rows, design.sigma)
        for _, sets in blocks:
            s, _, H, D = sets.shape
            split = sets.reshape(s, of_units, 2, H, D).transpose(0, 2, 1, 3, 4)
            parts.append(_compared(exclusive(split.reshape(s, 2, of_units * H, D))))
        found[layer] = Halves(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        if each is not None:
            each(layer)
    return found


def halves_table(halves: Mapping[str, Halves]) -> pd.DataFrame:
    """Layer, jaccard, low, high, chance, neurons: a row a layer."""
    import pandas as pd

    return pd.DataFrame([{"layer": layer, **one.summary()} for layer, one in halves.items()])


def sigma_table(counts: Counts, sigmas: Sequence[float] = SIGMAS) -> pd.DataFrame:
    """Property neurons by sigma: layer, sigma, group ("all" for any), neurons.

    The number may rise with sigma: a neuron leaves one group's set and so becomes another's own.
    """
    import pandas as pd

    rows = []
    for layer in counts.active:
        over = above(counts, layer)
        for sigma in sigmas:
            own = exclusive(share_above(over, counts.group_of, len(counts.groups), sigma))
            numbers = own.sum(axis=1)
            for group, number in (
                ("all", numbers.sum()),
                *zip(counts.groups, numbers, strict=True),
            ):
                rows.append(
                    {"layer": layer, "sigma": sigma, "group": group, "neurons": int(number)}
                )
    return pd.DataFrame(rows)


def overlap(a: Sequence[int], b: Sequence[int], width: int) -> dict[str, float]:
    """Sizes, shared, Jaccard, and what two random sets of these sizes would share.

    Jaccard by chance is that of the expected number shared, n_a n_b / D. Both NaN for two empty
    sets.

    Example:
        >>> overlap([1, 2, 3], [2, 3, 4, 5], 12)["jaccard"]
        0.4
    """
    shared, expected = len(set(a) & set(b)), len(a) * len(b) / width
    return {
        "first": len(a),
        "second": len(b),
        "shared": shared,
        "expected": expected,
        "jaccard": float(_ratio(shared, len(a) + len(b))),
        "chance": float(_ratio(expected, len(a) + len(b))),
    }


def overlap_table(sets: Mapping[str, NeuronSet]) -> pd.DataFrame:
    """Every pair of sets (of other seeds, other methods) by layer.

    Returns:
        a, b, layer ("all" for all together), first, second, shared, expected, jaccard, chance.

    Raises:
        UsageError: fewer than two sets, or sets of different models.
    """
    import pandas as pd

    if len(sets) < 2:
        raise UsageError("at least two sets are needed to compare them", got=len(sets))
    rows = []
    for a, b in combinations(sets, 2):
        rows += [{"a": a, "b": b, **row} for row in _by_layer(sets[a], sets[b])]
    return pd.DataFrame(rows)


def sweep_table(
    selections: Sequence[tuple[Mapping[str, Any], NeuronSet]], reference: int = 0
) -> pd.DataFrame:
    """Selections made with other settings (k of k-means, top fraction, sigma) against one of them.

    Args:
        selections: settings and the set they gave.
        reference: which one the others are held against.

    Returns:
        the settings as columns, layer, neurons, and shared, expected, jaccard, chance with the
        reference: a row a selection and layer.

    Raises:
        UsageError: no such reference, or sets of different models.
    """
    import pandas as pd

    if not -len(selections) <= reference < len(selections):
        raise UsageError(
            "there is no such selection to compare with",
            got=reference,
            expected=f"0 to {len(selections) - 1}",
        )
    rows = []
    for settings, chosen in selections:
        for row in _by_layer(selections[reference][1], chosen):
            row.pop("first")
            rows.append(
                {**settings, "layer": row.pop("layer"), "neurons": row.pop("second"), **row}
            )
    return pd.DataFrame(rows)


def _by_layer(a: NeuronSet, b: NeuronSet) -> list[dict[str, Any]]:
    a.intersect(b)  # refuses sets of different models
    rows: list[dict[str, Any]] = [
        {"layer": layer, **overlap(a.of(layer), b.of(layer), width)}
        for layer, width in a.widths.items()
    ]
    total = {k: sum(row[k] for row in rows) for k in ("first", "second", "shared", "expected")}
    both = total["first"] + total["second"]
    total["jaccard"] = float(_ratio(total["shared"], both))
    total["chance"] = float(_ratio(total["expected"], both))
    return [*rows, {"layer": "all", **total}]


def _compared(sets: NDArray[np.bool_]) -> tuple[Floats, Floats, Ints]:
    """Jaccard, chance and sizes of two selections, [s, 2, G, D]."""
    sizes = sets.sum(axis=(2, 3))
    shared = (sets[:, 0] & sets[:, 1]).sum(axis=(1, 2))
    by_group = sets.sum(axis=3)
    expected = (by_group[:, 0] * by_group[:, 1]).sum(axis=1) / sets.shape[3]
    both = sizes.sum(axis=1)
    return _ratio(shared, both), _ratio(expected, both), sizes


def _ratio(shared: Any, both: Any) -> Any:
    """Shared over neurons of either, from the sum of both sizes; NaN without neurons."""
    either = np.asarray(both - shared, dtype=np.float64)
    return np.where(either > 0, shared / np.where(either > 0, either, 1.0), np.nan)
