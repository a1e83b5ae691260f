"""The published rule: neurons active above chance in most rows of one group and of no other.

Lin et al. (arXiv 2409.05910, 2506.21712). A neuron is *above* in a row if its activating
probability there exceeds what chance gives. A group's neurons are above in at least a share
``sigma`` of the group's rows; property neurons are those of exactly one group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Counts, Floats

Bools = NDArray[np.bool_]

SIGMA = 0.8
"""Published share of rows."""

ROUNDING = 1e-9
"""Relative excess over chance that may be rounding: 3 frames of 30 at a rate of 0.1 are at chance,
though 30 times the float 0.1 may be a little less than 3."""


def by_chance(frames: NDArray[np.number], rate: float | Floats) -> Floats:
    """Active frames that are not above chance where chance is a measured rate.

    Args:
        frames: [..., 1], or one number.
        rate: one, or [D].
    """
    return np.asarray(frames * np.asarray(rate, np.float64) * (1 + ROUNDING))


def above(counts: Counts, layer: str) -> Bools:
    """Rows in which each neuron is active more often than by chance, [R, D].

    Strictly more often; where every frame has ``top`` active neurons, the comparison is between
    integers (``active * D > top * seen``), so that a neuron exactly at chance is never in. Rates
    of other rules are floats, and compared up to :data:`ROUNDING`.
    """
    active = counts.active[layer]
    top = counts.top[layer]
    if top is not None:
        return np.asarray(active * active.shape[1] > top * counts.seen[:, None])
    return np.asarray(active > by_chance(counts.seen[:, None], counts.base[layer]))


def group_neurons(counts: Counts, layer: str, sigma: float = SIGMA) -> Bools:
    """Neurons of each group, [G, D].

    Args:
        counts: of a condition.
        layer: which.
        sigma: least share of a group's rows; rows without a frame count as rows, as published.

    Raises:
        UsageError: sigma is not above 0 and up to 1.
    """
    return share_above(above(counts, layer), counts.group_of, len(counts.groups), sigma)


def share_above(over: Bools, group_of: NDArray[np.int64], groups: int, sigma: float) -> Bools:
    """:func:`group_neurons` of rows that are compared already.

    Args:
        over: [..., R, D].
        group_of: [R].
        groups: G.
        sigma: least share.

    Returns:
        [..., G, D]; a group without rows has no neurons.
    """
    if not 0 < sigma <= 1:
        raise UsageError("sigma is a share of rows", got=sigma, expected="above 0, up to 1")
    found = np.zeros((*over.shape[:-2], groups, over.shape[-1]), dtype=bool)
    for group in range(groups):
        rows = np.flatnonzero(group_of == group)
        if len(rows):
            # Divided as floats, as published: 12 / 15 >= 0.8 holds.
            found[..., group, :] = over[..., rows, :].sum(axis=-2) / len(rows) >= sigma
    return found


def property_neurons(counts: Counts, layer: str, sigma: float = SIGMA) -> Bools:
    """Property neurons by the group they are of, [G, D]: in that group's set and in no other's."""
    return exclusive(group_neurons(counts, layer, sigma))


def exclusive(members: Bools) -> Bools:
    """Members of exactly one group, [..., G, D]."""
    return np.asarray(members & (members.sum(axis=-2, keepdims=True) == 1))
