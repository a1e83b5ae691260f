"""Labels of recordings by k-means of one vector each: i-vectors, or any model's embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.numerics.kmeans import assign, fit
from voxstrata.verification.embed import Embeddings
from voxstrata.verification.score import unit

STARTS = 10
"""k-means starts; the one with the least inertia is taken."""


def model_of(text: str) -> tuple[str, str | None]:
    """``MODEL`` and the layer behind an ``@``, of a condition that reads vectors."""
    name, at, layer = text.rpartition("@")
    return (name, layer) if at else (text, None)


def known_vectors(text: str, place: str, groups: int, most: int | None = None) -> None:
    """Refuse clusters of recordings that cannot be; no model is loaded.

    Args:
        text: of the condition.
        place: ``MODEL`` or ``MODEL@LAYER``; empty for i-vectors.
        groups: how many.
        most: recordings there are; ``None`` where it is not known.

    Raises:
        UsageError: ``vectors=`` without a model; fewer than two groups, or more than recordings.
        UnknownNameError, ModelError: no such model.
    """
    if text.startswith("vectors") and not place:
        raise UsageError(
            f"{text!r} does not say whose vectors",
            expected="for example vectors=2:ecapa-small-supervised",
        )
    if groups < 2 or (most is not None and groups > most):
        expected = "at least 2" if most is None else f"2 to {max(2, most)}"
        raise UsageError(f"{text}: groups of recordings", got=groups, expected=expected)
    if name := model_of(place)[0]:
        find_family(parse(name))


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
