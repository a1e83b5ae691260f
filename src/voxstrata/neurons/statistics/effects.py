"""How large a group's effect on a neuron is: rates, log-odds, AUC, mutual information.

Two kinds of numbers: *frames* (log-odds, information) say how far activity tells the group,
*units* (AUC, mean difference) how far recordings or speakers of the group differ from the others.
Only units are independent, so only those are tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Floats, Ints, UnitCounts


@dataclass(frozen=True)
class Effects:
    """Effects of G groups on the D neurons of a layer, each group against the rest.

    Attributes:
        rate: [G, D], share of the group's frames in which the neuron is active.
        log_odds: [G, D], log odds ratio of active frames, natural logarithm, 0.5 added to each
            cell (Haldane 1956).
        auc: [G, D], probability that a unit of the group has a higher rate than one of the rest,
            ties half (Mann-Whitney).
        difference: [G, D], mean rate of the group's units minus that of the rest.
        information: [D], mutual information of active and group over frames, bits, plug-in: it is
            above 0 by about (G - 1) / (2 ln 2 frames) where there is no effect.
    """

    rate: Floats
    log_odds: Floats
    auc: Floats
    difference: Floats
    information: Floats


def unit_totals(counts: UnitCounts, layer: str, rows: Ints) -> tuple[Ints, Ints]:
    """Active frames [P, D] and frames [P] of each unit, over the rows that are not below 0."""
    used = np.flatnonzero(rows >= 0)
    C = len(counts.rows)
    total = sum(counts.active[layer][c::C].astype(np.int64) for c in used.tolist())
    active = np.asarray(total.todense(), dtype=np.int64)
    return active, np.asarray(counts.seen[:, used].sum(axis=1), dtype=np.int64)


def unit_rates(counts: UnitCounts, layer: str, rows: Ints, *, given_rows: bool = False) -> Floats:
    """Share of frames in which each neuron is active, by unit, [P, D]; 0 without frames.

    Args:
        counts: by unit.
        layer: which.
        rows: [C]; rows below 0 do not count.
        given_rows: subtract what the unit's rows let expect, sum_c n_pc P_c / n_p with P_c the
            activating probability of row c over all units (indirect standardisation): units then
            no longer differ only because they say other phones.
    """
    totals, frames = unit_totals(counts, layer, rows)
    active = totals.astype(np.float64)
    if given_rows:
        used = np.flatnonzero(rows >= 0)
        seen, block, C = counts.seen[:, used], counts.active[layer], len(counts.rows)
        by_row = [np.asarray(block[c::C].sum(axis=0), np.float64).reshape(-1) for c in used]
        chance = np.stack(by_row) / np.maximum(seen.sum(axis=0), 1)[:, None]
        active -= seen @ chance
    rates = active / np.maximum(frames, 1)[:, None]
    # What remains of a constant neuron is rounding, which ranks would take for an order.
    return np.asarray(rates.round(12) + 0.0)


def ranks(x: Floats) -> Floats:
    """Ranks of the units of each neuron, ties averaged, [P, D]."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=0), dtype=np.float64)


def area(rank: Floats, labels: Ints, groups: int) -> Floats:
    """AUC of each group against the rest from ranks, [G, D]; NaN for a group without a rest."""
    found = np.full((groups, rank.shape[1]), np.nan)
    for g in range(groups):
        mine = labels == g
        n, rest = int(mine.sum()), int((~mine).sum())
        if n and rest:
            found[g] = (rank[mine].sum(axis=0) - n * (n + 1) / 2) / (n * rest)
    return found


def mean_difference(x: Floats, labels: Ints, groups: int) -> Floats:
    """Mean of each group's units minus the mean of the rest, [G, D]; NaN without either."""
    found = np.full((groups, x.shape[1]), np.nan)
    for g in range(groups):
        mine = labels == g
        if mine.any() and not mine.all():
            found[g] = x[mine].mean(axis=0) - x[~mine].mean(axis=0)
    return found


def log_odds(active: Ints, seen: Ints) -> Floats:
    """Log odds ratio of each group against the rest, [G, D].

    Args:
        active: [G, D], frames in which neurons were active.
        seen: [G], frames.

    Raises:
        UsageError: more active frames than frames.

    Example:
        >>> log_odds(np.array([[3], [1]]), np.array([10, 20])).round(3).tolist()
        [[1.803], [-1.803]]
    """
    silent = seen[:, None] - active
    if (silent < 0).any() or (active < 0).any():
        raise UsageError("a neuron cannot be active in more frames than there are")
    a, b = active + 0.5, silent + 0.5
    c, d = active.sum(axis=0) - active + 0.5, silent.sum(axis=0) - silent + 0.5
    return np.asarray(np.log(a * d / (b * c)))


def information(active: Ints, seen: Ints) -> Floats:
    """Mutual information of activity and group over frames, bits, [D]: H(a) - H(a | group).

    Args:
        active: [G, D].
        seen: [G].
    """
    total = seen.sum()
    if not total:
        return np.zeros(active.shape[1])
    within = _entropy(active / np.maximum(seen, 1)[:, None])
    whole = _entropy(active.sum(axis=0) / total)
    return np.asarray(np.maximum(whole - (seen / total) @ within, 0.0))


def effects(
    counts: UnitCounts, layer: str, labels: Ints, groups: int, rows: Ints, rates: Floats
) -> Effects:
    """All effects of one layer.

    Args:
        counts: of units that have frames.
        layer: which.
        labels: [P], from 0.
        groups: G.
        rows: [C]; rows below 0 do not count.
        rates: of :func:`unit_rates`.
    """
    totals, frames = unit_totals(counts, layer, rows)
    member = (labels == np.arange(groups)[:, None]).astype(np.int64)
    active, seen = member @ totals, member @ frames
    return Effects(
        active / np.maximum(seen, 1)[:, None],
        log_odds(active, seen),
        area(ranks(rates), labels, groups),
        mean_difference(rates, labels, groups),
        information(active, seen),
    )


def _entropy(p: Floats) -> Floats:
    """Entropy of a binary variable, bits."""
    from scipy.special import entr

    return np.asarray((entr(p) + entr(1 - p)) / np.log(2))
