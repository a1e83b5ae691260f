"""Rows with too few frames to say anything, and the neurons that hang on them.

A row of n frames holds a neuron above chance as soon as one frame does if n < D / tau: for the top
31 of 3072, below 100 frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Counts
from voxstrata.neurons.selection import ROUNDING, above, share_above


@dataclass(frozen=True)
class ThinRow:
    """A row with few frames.

    Attributes:
        row, group: names.
        seen: frames.
    """

    row: str
    group: str
    seen: int


@dataclass(frozen=True)
class Verdict:
    """What can be said of a selection whatever the thin rows would have held.

    Attributes:
        sure: [G, D], property neurons of the group in any case.
        undetermined: [G, D], property neurons or not, as the thin rows fall out.
        changed: [G, D], property neurons as published that are not sure.
    """

    sure: NDArray[np.bool_]
    undetermined: NDArray[np.bool_]
    changed: NDArray[np.bool_]


def least_frames(counts: Counts, layer: str) -> int:
    """The fewest frames in which a single active one is not above chance.

    Where chance differs by neuron, of the neuron with the least that is above 0.

    Example:
        with the top 31 of 3072, 100.
    """
    top = counts.top[layer]
    if top is not None:
        return -(-int(counts.active[layer].shape[1]) // top)
    base = np.asarray(counts.base[layer], dtype=np.float64)
    known = base[base > 0]
    return _needed(float(known.min())) if known.size else 1


def frames_needed(counts: Counts) -> int:
    """The fewest frames in which, in any layer, a single active one is not above chance.

    Where chance differs by neuron, of a neuron at the layer's mean rate: the rarest neuron of a
    corpus would call every row thin.

    Args:
        counts: of a selection.

    Example:
        with the top 31 of 3072, 100: in 99 frames a single active one is above chance.
    """
    needed = [1]
    for layer in counts.active:
        if counts.top[layer] is not None:
            needed.append(least_frames(counts, layer))
        elif (rate := float(np.mean(counts.base[layer]))) > 0:
            needed.append(_needed(rate))
    return max(needed)


def _needed(rate: float) -> int:
    return ceil(1 / (rate * (1 + ROUNDING)))


def thin_rows(counts: Counts, least: int) -> list[ThinRow]:
    """Rows of groups with fewer frames than ``least``, fewest first; unseen ones too.

    Raises:
        UsageError: ``least`` is below 1.
    """
    _check(least)
    found = [
        ThinRow(name, counts.groups[group], int(seen))
        for name, seen, group in zip(counts.rows, counts.seen, counts.group_of, strict=True)
        if group >= 0 and seen < least
    ]
    return sorted(found, key=lambda one: (one.seen, one.row))


def verdict(counts: Counts, layer: str, least: int, sigma: float) -> Verdict:
    """Neurons whose selection depends on thin rows.

    A neuron is surely in a group's set if it would be with no thin row above chance, and surely
    out if it would not be with all of them; it is a property neuron for sure if it is surely in
    one set and surely out of all others.

    Args:
        counts: of a selection.
        layer: which.
        least: frames from which a row counts as measured.
        sigma: least share of rows.

    Raises:
        UsageError: ``least`` is below 1, or sigma is no share.
    """
    _check(least)
    over = above(counts, layer)
    thin = (counts.seen < least)[:, None]
    G = len(counts.groups)
    published, low, high = (
        share_above(rows, counts.group_of, G, sigma) for rows in (over, over & ~thin, over | thin)
    )
    elsewhere = low.sum(axis=0) - low > 0
    maybe_elsewhere = high.sum(axis=0) - high > 0
    sure = low & ~maybe_elsewhere
    possible = high & ~elsewhere
    alone = published & (published.sum(axis=0) == 1)
    return Verdict(sure, possible & ~sure, alone & ~sure)


def _check(least: int) -> None:
    if least < 1:
        raise UsageError("frames that a row needs", got=least, expected="1 or more")
