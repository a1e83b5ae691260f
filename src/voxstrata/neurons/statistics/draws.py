"""Labels of units dealt anew, units halved: the random side of every test of neurons.

What is exchanged are *units* (recordings or speakers), never frames: frames of a recording depend
on each other, recordings of a speaker too. Where units are recordings and labels belong to
speakers, the recordings of a speaker are added up first, so that its label moves as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError, VoxstrataWarning
from voxstrata.neurons.counts import Ints, UnitCounts

Labels = Sequence[Any] | NDArray[Any]

FEW_ARRANGEMENTS = 20
"""With fewer different labellings than this, no p value can get below 0.05."""


@dataclass(frozen=True)
class Exchangeable:
    """Units that may change labels with each other.

    Attributes:
        counts: of P units (those without a label are gone).
        labels: [P], group of each unit, from 0.
        strata: [P], labels are exchanged only between units of the same number.
    """

    counts: UnitCounts
    labels: Ints
    strata: Ints

    def arrangements(self) -> float:
        """Number of different labellings that the shuffle can give, the observed one included.

        The product over strata of n! / (n_1! ... n_G!); infinite where it exceeds floats.
        """
        from scipy.special import gammaln

        total = 0.0
        for stratum in np.unique(self.strata):
            sizes = np.bincount(self.labels[self.strata == stratum])
            total += float(gammaln(sizes.sum() + 1) - gammaln(sizes + 1).sum())
        return round(exp(total)) if total < 34 else (exp(total) if total < 700 else float("inf"))


def exchangeable(
    counts: UnitCounts,
    labels: Labels,
    groups: int,
    *,
    clusters: Labels | None = None,
    strata: Labels | None = None,
    whole: bool = False,
) -> Exchangeable:
    """Units to be shuffled: clusters added up, units without a label left out.

    Args:
        counts: by unit.
        labels: [P], group of each unit; -1 leaves it out.
        groups: G.
        clusters: [P], what moves as one (the speaker of each recording); units by default.
        strata: [P], within which labels are exchanged (gender); all units by default.
        whole: labels will be dealt by :func:`whole_dealt`, not one by one.

    Raises:
        ShapeError: a list is not of one entry a unit.
        UsageError: fewer than two groups have units, or each has one; units of a cluster differ in
            label or stratum.

    Warns:
        VoxstrataWarning: so few labellings are possible that no p value gets below 0.05.
    """
    P = len(counts.units)
    given = _vector(labels, P, "labels").astype(np.int64)
    if given.min(initial=0) < -1 or given.max(initial=-1) >= groups:
        raise UsageError(
            "a unit's label is none of the groups",
            got=f"{given.min()} to {given.max()}",
            expected=f"-1 (left out) to {groups - 1}",
        )
    if len(np.unique(given[given >= 0])) < 2:
        raise UsageError(
            "labels can be shuffled only where at least two groups have units",
            got=f"{len(np.unique(given[given >= 0]))} group(s) among {P} units",
            fix="check that the labels belong to this corpus",
        )
    stratum = codes(strata, P, "strata")
    kept = np.flatnonzero(given >= 0)
    if clusters is None:
        chosen = counts if len(kept) == P else counts.only(kept)
        found = Exchangeable(chosen, given[kept], stratum[kept])
    else:
        given_clusters = _vector(clusters, P, "clusters")
        names, cluster = np.unique(given_clusters[kept], return_inverse=True)
        first = np.zeros(len(names), dtype=np.int64)
        first[cluster[::-1]] = kept[::-1]
        for what, values in (("label", given), ("stratum", stratum)):
            wrong = np.flatnonzero(values[kept] != values[first[cluster]])
            if len(wrong):
                raise UsageError(
                    f"the units of one cluster do not share one {what}",
                    got=f"cluster {given_clusters[kept[wrong[0]]]!r}",
                    expected=f"one {what} a cluster, so that it can move as one",
                    fix="leave clusters out where the label belongs to the recording",
                )
        where = np.full(P, -1, dtype=np.int64)
        where[kept] = cluster
        merged = counts.merged(where, [str(name) for name in names])
        found = Exchangeable(merged, given[first], stratum[first])
    if whole:
        return found
    if np.bincount(found.labels).max() == 1:
        raise UsageError(
            "every unit is a group of its own, so that shuffling labels changes nothing",
            got=f"{len(found.labels)} units in as many groups",
            fix="give recordings as units and no clusters, so that speakers can exchange them",
        )
    possible = found.arrangements()
    if possible < FEW_ARRANGEMENTS:
        warnings.warn(
            f"only {possible:.0f} labellings of {len(found.labels)} units are possible: "
            f"no p value can be below {1 / possible:.2g}",
            VoxstrataWarning,
            stacklevel=2,
        )
    return found


def shuffled(
    labels: Labels, draws: int, seed: int = 0, strata: Labels | None = None
) -> NDArray[np.int64]:
    """Labels dealt anew among units, [B, P]; units of label -1 keep it.

    Args:
        labels: [P].
        draws: B.
        seed: of the draws.
        strata: [P], within which labels are exchanged.

    Raises:
        UsageError: fewer than one draw.
    """
    given = np.asarray(labels, dtype=np.int64)
    check_draws(draws)
    stratum = codes(strata, len(given), "strata")
    rng = np.random.default_rng([seed, 0])
    found = np.tile(given, (draws, 1))
    for number in np.unique(stratum):
        where = np.flatnonzero((stratum == number) & (given >= 0))
        found[:, where] = rng.permuted(found[:, where], axis=1)
    return found


def whole_dealt(
    labels: Labels,
    together: Labels,
    draws: int,
    seed: int = 0,
    strata: Labels | None = None,
) -> NDArray[np.int64]:
    """Labels dealt anew as whole sets, [B, P]: each speaker gets another's, in a random order.

    Where labels differ within speakers, recordings cannot change labels one by one: those of a
    speaker are alike, and would be taken for independent evidence. Here the labels of one speaker's
    recordings go to those of another together. Where that one has more recordings, labels are
    repeated; where it has fewer, some are left out at random.

    Args:
        labels: [P], from 0.
        together: [P], whose labels move together (the speaker of each recording).
        draws: B.
        seed: of the draws.
        strata: [P], the same for all units of a speaker; speakers change labels within it.

    Raises:
        UsageError: fewer than one draw.
    """
    given = np.asarray(labels, dtype=np.int64)
    check_draws(draws)
    who = codes(together, len(given), "what moves together")
    stratum = codes(strata, len(given), "strata")
    rng = np.random.default_rng([seed, 3])
    members = [np.flatnonzero(who == s) for s in range(int(who.max()) + 1)]
    of = np.array([stratum[mine[0]] for mine in members])
    found = np.tile(given, (draws, 1))
    for row in found:
        for number in np.unique(of):
            speakers = np.flatnonzero(of == number)
            for one, other in zip(speakers, rng.permutation(speakers), strict=True):
                mine, theirs = members[one], given[members[other]]
                whole = np.tile(theirs, len(mine) // len(theirs))
                rest = rng.permutation(theirs)[: len(mine) - len(whole)]
                row[mine] = rng.permutation(np.concatenate([whole, rest]))
    return found


def whole_arrangements(labels: Ints, together: Ints) -> float:
    """Different ways to deal the sets of labels to speakers, those in one order counted once."""
    from scipy.special import gammaln

    kinds: dict[tuple[int, ...], int] = {}
    speakers = np.unique(together)
    for one in speakers:
        key = tuple(np.sort(labels[together == one]).tolist())
        kinds[key] = kinds.get(key, 0) + 1
    total = float(gammaln(len(speakers) + 1) - sum(gammaln(n + 1) for n in kinds.values()))
    return round(exp(total)) if total < 34 else (exp(total) if total < 700 else float("inf"))


def halved(
    labels: Labels, splits: int, seed: int = 0, strata: Labels | None = None
) -> NDArray[np.int64]:
    """Half (0 or 1) of each unit in each split, [S, P]; -1 where the label is -1.

    Every label (within every stratum) is halved by itself; of an odd number the unit that is over
    goes to either half.

    Args:
        labels: [P].
        splits: S.
        seed: of the splits.
        strata: [P].

    Raises:
        UsageError: fewer than one split.
    """
    given = np.asarray(labels, dtype=np.int64)
    check_draws(splits)
    stratum = codes(strata, len(given), "strata")
    rng = np.random.default_rng([seed, 1])
    found = np.full((splits, len(given)), -1, dtype=np.int64)
    for number in np.unique(stratum):
        for label in np.unique(given[given >= 0]):
            where = np.flatnonzero((stratum == number) & (given == label))
            deal = (np.arange(len(where)) + rng.integers(0, 2, (splits, 1))) % 2
            found[:, where] = rng.permuted(deal, axis=1)
    return found


def codes(values: Labels | None, length: int, what: str) -> Ints:
    """Numbers from 0 for labels of any type, [P]; all 0 where there are none.

    Raises:
        ShapeError: there is not one label a unit.
    """
    if values is None:
        return np.zeros(length, dtype=np.int64)
    found = np.unique(_vector(values, length, what), return_inverse=True)[1]
    return np.asarray(found, dtype=np.int64)


def check_draws(draws: int) -> None:
    """Refuse a number of draws below one."""
    if draws < 1:
        raise UsageError("at least one draw is needed", got=draws, expected="1 or more")


def _vector(values: Labels, length: int, what: str) -> NDArray[Any]:
    found = np.asarray(values)
    if found.shape != (length,):
        raise ShapeError(f"{what} of units", got=found.shape, expected=(length,))
    return found
