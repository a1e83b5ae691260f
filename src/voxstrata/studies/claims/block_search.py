"""Blocks of mutually similar layers in a similarity matrix, beyond what distance explains.

Layers beside each other are alike in any network, so every stretch of neighbours is more alike
within than to the rest. What makes a block is what remains when the similarity that layers at that
distance have on average is taken away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voxstrata.studies.claims.numbers import Number, weighted

Floats = NDArray[np.float64]

LEAST_SHARE, MOST_SHARE = 1 / 4, 2 / 3
"""A block has at least and at most these shares of the layers."""

LEAST_LAYERS = 4
"""Layers below which there is nothing to search."""

SHUFFLES = 1000
"""Matrices that the null draws."""


@dataclass(frozen=True)
class Block:
    """The stretch of layers that stands out most.

    Attributes:
        start, stop: positions of its first layer and of the one behind its last.
        inside, across: mean similarity within it, and of its layers to all others.
        excess: ``inside - across`` less the same of a matrix in which every cell is the mean over
            layers at its distance; with its interval.
    """

    start: int
    stop: int
    inside: float
    across: float
    excess: Number


def find_block(values: Floats, low: Floats, high: Floats, n: int = 0) -> Block:
    """The contiguous block with the greatest excess.

    Args:
        values, low, high: symmetric [L, L], cells and the ends of their intervals; diagonals are
            not used.
        n: groups behind the intervals.

    Returns:
        the first of equals. Its interval holds however cells depend on each other, but does not
        know of the search: that is what :func:`null_excesses` is for.
    """
    layers = len(values)
    weights = _weights(layers)
    excesses = weights.reshape(len(weights), -1) @ np.nan_to_num(values).ravel()
    at = int(np.argmax(excesses))
    start, stop = _blocks(layers)[at]
    inside = np.zeros(layers, dtype=bool)
    inside[start:stop] = True
    upper = np.triu(np.ones((layers, layers), dtype=bool), 1)
    within = upper & np.outer(inside, inside)
    return Block(
        start=start,
        stop=stop,
        inside=float(values[within].mean()),
        across=float(values[inside][:, ~inside].mean()),
        excess=weighted(values[upper], low[upper], high[upper], weights[at][upper], n),
    )


def null_excesses(values: Floats, *, draws: int = SHUFFLES, seed: int) -> Floats:
    """Greatest excess in matrices whose similarity depends on the distance of layers alone.

    Cells are shuffled along each diagonal, which keeps what every distance has. Cells beside each
    other are alike in real matrices, which the shuffled ones do not keep: the null is somewhat too
    easy.

    Args:
        values: symmetric [L, L].

    Returns:
        [draws].
    """
    layers = len(values)
    weights = _weights(layers)
    rng = np.random.default_rng(seed)
    found = np.zeros((draws, len(weights)))
    for apart in range(1, layers):
        cells = np.diagonal(values, apart)
        dealt = rng.permuted(np.tile(cells, (draws, 1)), axis=1)
        found += dealt @ np.diagonal(weights, apart, axis1=1, axis2=2).T
    greatest: Floats = found.max(axis=1)
    return greatest


@lru_cache(maxsize=32)
def _blocks(layers: int) -> tuple[tuple[int, int], ...]:
    least = max(2, math.ceil(LEAST_SHARE * layers))
    most = max(least, math.floor(MOST_SHARE * layers))
    return tuple(
        (start, start + size)
        for size in range(least, most + 1)
        for start in range(layers - size + 1)
    )


@lru_cache(maxsize=32)
def _weights(layers: int) -> Floats:
    """Weight of each cell above the diagonal in the excess of each block, [blocks, L, L]."""
    found = np.zeros((len(_blocks(layers)), layers, layers))
    upper = np.triu(np.ones((layers, layers), dtype=bool), 1)
    for weights, (start, stop) in zip(found, _blocks(layers), strict=True):
        inside = np.zeros(layers, dtype=bool)
        inside[start:stop] = True
        within = upper & np.outer(inside, inside)
        across = upper & (np.outer(inside, ~inside) | np.outer(~inside, inside))
        weights[within] = 1 / within.sum()
        weights[across] = -1 / across.sum()
        for apart in range(1, layers):
            rows = np.arange(layers - apart)
            weights[rows, rows + apart] -= weights[rows, rows + apart].mean()
    found.setflags(write=False)
    return found
