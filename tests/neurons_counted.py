"""Counts of neurons made from known probabilities: what a statistic must find is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from voxstrata.neurons.counts import UnitCounts


def counted(
    probability: NDArray[np.float64],
    seen: NDArray[np.int64],
    *,
    seed: int = 0,
    base: float | NDArray[np.float64] = 0.01,
    top: int | None = None,
    layers: Sequence[str] = ("block.1.ffn.inner",),
) -> UnitCounts:
    """Binomial counts; every layer drawn anew.

    Args:
        probability: [P, C, D], or what broadcasts to it.
        seen: [P, C].
        seed: of the draws.
        base, top: of every layer.
        layers: names.
    """
    P, C = seen.shape
    rng = np.random.default_rng(seed)
    D = np.shape(probability)[-1]
    active = {}
    for layer in layers:
        drawn = rng.binomial(seen[:, :, None], np.broadcast_to(probability, (P, C, D)))
        active[layer] = csr_array(drawn.reshape(P * C, D).astype(np.int32))
    return UnitCounts(
        "made",
        tuple(f"r{c}" for c in range(C)),
        tuple(f"u{p:03d}" for p in range(P)),
        seen,
        active,
        dict.fromkeys(layers, base),
        dict.fromkeys(layers, top),
    )
