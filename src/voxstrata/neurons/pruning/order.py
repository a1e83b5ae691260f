"""Which neurons or heads go: the lowest scores, layer by layer or over all layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError

K = TypeVar("K")
"""A layer's name, or a block's number."""

Floats = NDArray[np.float64]


def ascending(scores: Floats, barred: Collection[int] = ()) -> list[int]:
    """Indices from the lowest score to the highest; the earlier index first where scores tie.

    Args:
        scores: one a neuron.
        barred: indices that are left out.
    """
    out = set(barred)
    return [int(i) for i in np.argsort(scores, kind="stable") if int(i) not in out]


def lowest_of_each(
    scores: Mapping[K, Floats],
    counts: Mapping[K, int],
    protected: Mapping[K, Collection[int]] | None = None,
) -> dict[K, list[int]]:
    """The ``counts[k]`` lowest of each layer that are not protected, lowest first."""
    found = {}
    for key, values in scores.items():
        order = ascending(values, (protected or {}).get(key, ()))
        found[key] = order[: max(0, counts.get(key, 0))]
    return found


def lowest_of_all(
    scores: Mapping[K, Floats],
    count: int,
    protected: Mapping[K, Collection[int]] | None = None,
    keep: int = 1,
) -> dict[K, list[int]]:
    """The ``count`` lowest of all layers together; the best ``keep`` of each layer stay.

    Ties go to the earlier layer, then to the earlier index.

    Args:
        scores: by layer, comparable between layers.
        count: how many go in all.
        protected: indices that stay, besides.
        keep: how many of each layer stay at least.

    Raises:
        UsageError: so many cannot go.
    """
    pool = []
    for place, (key, values) in enumerate(scores.items()):
        barred = set((protected or {}).get(key, ()))
        free = ascending(values, barred)
        # Protected ones count among those that stay.
        movable = len(free) - max(0, keep - len(barred))
        pool += [(float(values[i]), place, i, key) for i in free[: max(0, movable)]]
    if count > len(pool):
        raise UsageError(
            "so many cannot be pruned",
            got=f"{count} to go",
            expected=f"at most {len(pool)}: the best {keep} of each layer and what is protected "
            "stay",
            fix="prune fewer, or protect fewer",
        )
    found: dict[K, list[int]] = {key: [] for key in scores}
    for _, _, index, key in sorted(pool, key=lambda one: one[:3])[:count]:
        found[key].append(index)
    return found
