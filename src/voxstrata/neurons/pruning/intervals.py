"""When a network is pruned, and by how much each time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from voxstrata.errors import UsageError


def prune_interval(interval: int | Sequence[int], warm_up: int, steps: int) -> list[int]:
    """Training steps before which a network is pruned, as the published programs count them.

    Args:
        interval: steps between two prunings; or the steps themselves, counted from ``warm_up``.
        warm_up: training steps before the first.
        steps: how many prunings (a list has its own number).

    Returns:
        ``warm_up + interval * k``, or ``warm_up + interval[k]``.

    Raises:
        UsageError: the numbers do not grow, or are negative.
    """
    if isinstance(interval, int):
        found = [warm_up + interval * k for k in range(steps)]
    else:
        found = [warm_up + int(p) for p in interval]
    if warm_up < 0 or any(b <= a for a, b in itertools.pairwise(found)) or found[:1] < [0]:
        raise UsageError(
            "prunings must follow each other", got=str(found), expected="numbers that grow"
        )
    return found


def segments(prune_at: Sequence[int], total: int) -> list[int]:
    """Training steps before the first pruning, between two, and after the last.

    Args:
        prune_at: see :func:`prune_interval`.
        total: training steps in all.

    Raises:
        UsageError: the last pruning comes after the end.
    """
    if prune_at and prune_at[-1] > total:
        raise UsageError("the last pruning comes after the end", got=prune_at[-1], expected=total)
    edges = [0, *prune_at, total]
    return [b - a for a, b in itertools.pairwise(edges)]


def even_parts(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole numbers that differ by at most one, larger ones first.

    Raises:
        UsageError: there are fewer to go than parts.
    """
    if parts < 1 or total < parts:
        raise UsageError(
            "so few cannot go in so many steps", got=f"{total} in {parts} steps",
            expected="at least one a step", fix="take fewer steps",
        )  # fmt: skip
    return [total // parts + (k < total % parts) for k in range(parts)]
