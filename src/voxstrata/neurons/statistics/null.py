"""How many neurons the published selection finds where there is nothing to find.

A row with few frames exceeds chance with a single active frame, and a share sigma of rows that
happens to hold in one group only is already a "property neuron". So the same selection is made with
labels dealt anew; what it then finds is what the observed number has to be held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Ints, UnitCounts
from voxstrata.neurons.selection import above, exclusive, share_above
from voxstrata.neurons.statistics.design import Design
from voxstrata.neurons.statistics.draws import (
    Labels,
    check_draws,
    codes,
    exchangeable,
    shuffled,
    whole_arrangements,
    whole_dealt,
)
from voxstrata.neurons.statistics.sweep import dealt_sets, group_sets

if TYPE_CHECKING:
    import pandas as pd

Bools = NDArray[np.bool_]

DRAWS = 200


@dataclass(frozen=True)
class Band:
    """An observed number beside its null.

    Attributes:
        observed: with the labels as they are.
        mean: over the draws.
        low, high: 2.5 and 97.5 % of the draws.
        p: (1 + draws with at least as many) / (1 + draws).
        draws: B.
    """

    observed: int
    mean: float
    low: float
    high: float
    p: float
    draws: int


def band(observed: int, draws: NDArray[np.integer]) -> Band:
    """Where an observed number lies among draws, [B].

    Example:
        >>> one = band(3, np.array([0, 1, 3, 5]))
        >>> one.mean, one.p
        (2.25, 0.6)
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    p = (1 + int((draws >= observed).sum())) / (1 + len(draws))
    return Band(int(observed), float(draws.mean()), float(low), float(high), p, len(draws))


@dataclass(frozen=True)
class LayerNull:
    """One layer.

    Attributes:
        found: [G, D], property neurons by group with the labels as they are.
        draws: [B, G], number of property neurons of each group in each draw.
        chosen: [G, D], draws in which each neuron was one of the group.
    """

    found: Bools
    draws: Ints
    chosen: Ints

    @property
    def total(self) -> Band:
        """Property neurons of any group."""
        return band(int(self.found.sum()), self.draws.sum(axis=1))

    def group(self, number: int) -> Band:
        """Property neurons of one group."""
        return band(int(self.found[number].sum()), self.draws[:, number])


@dataclass(frozen=True)
class Null:
    """Observed and null numbers of one selection.

    Attributes:
        groups: G names.
        layers: one result a layer; draw b is the same labelling in all of them.
        how: "units" (labels shuffled over units), "whole" (sets of labels dealt to speakers),
            "rows" (rows dealt anew within units) or "groups" (rows dealt to groups).
        units: how many units, speakers or rows were dealt.
        arrangements: different labellings there are; ``None`` for rows.
        sigma: of the selection.
        seed: of the draws.
    """

    groups: tuple[str, ...]
    layers: Mapping[str, LayerNull]
    how: str
    units: int
    arrangements: float | None
    sigma: float
    seed: int

    def total(self) -> Band:
        """Property neurons of all layers together."""
        observed = sum(int(one.found.sum()) for one in self.layers.values())
        return band(observed, np.sum([one.draws.sum(axis=1) for one in self.layers.values()], 0))

    def table(self) -> pd.DataFrame:
        """Layer, group ("all" for any), observed, mean, low, high, p, draws: a row a number."""
        import pandas as pd

        rows: list[dict[str, object]] = []
        for layer, one in self.layers.items():
            rows.append({"layer": layer, "group": "all", **vars(one.total)})
            for number, name in enumerate(self.groups):
                rows.append({"layer": layer, "group": name, **vars(one.group(number))})
        rows.append({"layer": "all", "group": "all", **vars(self.total())})
        return pd.DataFrame(rows)


def selection_null(
    counts: UnitCounts,
    design: Design,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    clusters: Labels | None = None,
    strata: Labels | None = None,
    together: Labels | None = None,
    each: Callable[[str], None] | None = None,
) -> Null:
    """The selection with labels as they are, and with labels dealt anew.

    Where units make the groups, their labels are shuffled: all units of a cluster together,
    within strata; or the sets of labels of whole speakers (``together``), where a speaker's units
    differ in label. Where rows are the groups (clusters, phones), the rows of each unit change
    names with each other, within the design's strata of rows; a row's frames and active frames
    move together. Where groups have several rows (classes of phones) and there are no strata of
    rows, rows stay whole and are dealt to groups of the same sizes.

    Cost of shuffled labels: non-zero counts x (G - 1) x B additions while units are recordings,
    and C x D x G x B comparisons (``docs/neurons/statistics.md`` has times).

    Args:
        counts: by unit.
        design: what is selected.
        draws: B.
        seed: of the draws.
        clusters: [P], what moves as one (the speaker of each recording). Where rows make the
            groups, rows are dealt within clusters instead of within units.
        strata: [P], within which labels are exchanged.
        together: [P], whose sets of labels are dealt as wholes (the speaker of each recording).
        each: called with the name of each layer when it is done.

    Raises:
        UsageError: clusters and together are given at once; see
            :func:`~voxstrata.neurons.statistics.draws.exchangeable`; fewer than one
            draw; strata where rows make the groups.

    Warns:
        VoxstrataWarning: too few labellings are possible for a small p value.
    """
    check_draws(draws)
    if clusters is not None and together is not None:
        raise UsageError("labels move by clusters or as wholes, not both")
    G = len(design.groups)
    layers: dict[str, LayerNull] = {}
    possible: float | None = None
    labels: Ints | None = None
    who = np.zeros(0, dtype=np.int64)
    if design.labels is None:
        if strata is not None:
            raise UsageError(
                "strata restrict which units change labels",
                got="groups that rows make: no unit has a label",
                fix="leave strata out",
            )
        pool = counts
        if clusters is not None and not _several(design):
            merged = codes(clusters, len(counts.units), "clusters")
            pool = counts.merged(merged, [str(n) for n in range(merged.max() + 1)])
    else:
        whole = together is not None
        units = exchangeable(
            counts, design.labels, G, clusters=clusters, strata=strata, whole=whole
        )
        possible, pool = units.arrangements(), units.counts
        if together is not None:
            who = codes(together, len(counts.units), "what moves together")[design.labels >= 0]
            possible = whole_arrangements(units.labels, who)
            dealt = whole_dealt(units.labels, who, draws, seed, units.strata)
        else:
            dealt = shuffled(units.labels, draws, seed, units.strata)
        labels = np.concatenate([units.labels[None], dealt])
    for layer in counts.layers:
        numbers, chosen = [], np.zeros((G, counts.width(layer)), dtype=np.int64)
        found: Bools | None = None
        for sets in _selections(pool, layer, design, labels, draws, seed):
            alone = exclusive(sets)
            if found is None:
                found, alone = alone[0], alone[1:]
            numbers.append(alone.sum(axis=-1))
            chosen += alone.sum(axis=0)
        assert found is not None
        layers[layer] = LayerNull(found, np.concatenate(numbers), chosen)
        if each is not None:
            each(layer)
    how = "units" if together is None else "whole"
    if design.labels is None:
        how = "groups" if _several(design) else "rows"
    dealt_units = len(pool.units)
    if together is not None:
        dealt_units = len(np.unique(who))
    elif how == "groups":
        dealt_units = int((design.rows >= 0).sum())
    return Null(design.groups, layers, how, dealt_units, possible, design.sigma, seed)


def _selections(
    pool: UnitCounts, layer: str, design: Design, labels: Ints | None, draws: int, seed: int
) -> Iterator[Bools]:
    """Group sets [b, G, D]: as observed first, then of every draw, in blocks."""
    G = len(design.groups)
    if labels is not None:
        for _, sets in group_sets(pool, layer, labels, G, design.rows, design.sigma):
            yield sets[:, :, 0]
        return
    if _several(design):
        yield from _dealt_groups(pool, layer, design, draws, seed)
        return
    everyone = np.zeros((1, len(pool.units)), dtype=np.int64)
    for _, sets in group_sets(pool, layer, everyone, 1, design.rows, design.sigma):
        yield _padded(sets[:, 0], G)
    blocks = dealt_sets(pool, layer, design.rows, design.sigma, draws, seed, design.row_strata)
    for _, sets in blocks:
        yield _padded(sets[:, 0], G)


def _several(design: Design) -> bool:
    """Whether rows are dealt to groups: some group has several, and no row is tied to others."""
    used = design.rows[design.rows >= 0]
    return design.labels is None and design.row_strata is None and len(np.unique(used)) < len(used)


def _dealt_groups(
    pool: UnitCounts, layer: str, design: Design, draws: int, seed: int
) -> Iterator[Bools]:
    """Group sets [b, G, D] of whole rows: as observed, then with rows dealt to the groups."""
    G = len(design.groups)
    over = above(pool.by_row(design.rows, design.groups), layer)
    yield share_above(over, design.rows, G, design.sigma)[None]
    rng = np.random.default_rng([seed, 5])
    used = np.flatnonzero(design.rows >= 0)
    for _ in range(draws):
        dealt = design.rows.copy()
        dealt[used] = rng.permutation(design.rows[used])
        yield share_above(over, dealt, G, design.sigma)[None]


def _padded(sets: Bools, groups: int) -> Bools:
    """Sets [b, H, D] with empty ones at the end, for groups that no row belongs to."""
    return np.pad(sets, [(0, 0), (0, groups - sets.shape[1]), (0, 0)])
