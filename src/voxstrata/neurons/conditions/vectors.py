"""Labels of recordings by k-means of one vector each: i-vectors, or any model's embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.numerics.kmeans import assign, fit
from voxstrata.verification.embed import Embeddings
from voxstrata.verification.score import unit

STARTS = 10
"""k-means starts; the one with the least inertia is taken."""


def vector_clusters(name: str, found: Embeddings, groups: int, seed: int = 0) -> Labels:
    """Cluster recordings: mean subtracted, length one, k-means.

    Args:
        name: of the labels ("ivector=2").
        found: a vector a recording.
        groups: G, at least 2.
        seed: of the first start.

    Raises:
        UsageError: fewer than two groups, or fewer recordings than groups.
        NumericsError: vectors that are all alike or not finite.
    """
    if groups < 2:
        raise UsageError(f"{name}: groups", got=groups, expected="at least 2")
    rows = found.vectors.astype(np.float64)
    directions = unit(rows, rows.mean(axis=0))
    fits = [fit(directions, groups, seed + i) for i in range(STARTS)]
    best = min(fits, key=lambda one: one.inertia)
    codes, _ = assign(directions, best.centres)
    order = np.argsort(-np.bincount(codes, minlength=groups), kind="stable")
    rank: NDArray[np.int64] = np.empty(groups, np.int64)
    rank[order] = np.arange(groups)  # the largest cluster is the first, whatever the start
    facts: dict[str, Any] = {
        "vectors": found.model,
        **found.extraction.describe(),
        "recordings": len(found.ids),
        "skipped": len(found.skipped),
        "sizes": np.bincount(rank[codes], minlength=groups).tolist(),
        "inertia": best.inertia,
    }
    return Labels(
        name,
        tuple(f"cluster {i + 1}" for i in range(groups)),
        {recording: int(rank[code]) for recording, code in zip(found.ids, codes, strict=True)},
        facts,
    )
