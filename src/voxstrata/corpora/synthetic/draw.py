"""Seeded draws that give the same values on every Python version and platform."""

from __future__ import annotations

import bisect
import functools
import itertools
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A stream of random choices named by its keys.

    Only ``random.Random.random`` is used: of Python's generator, its sequence alone is promised
    not to change between versions.

    Args:
        keys: what the stream is for (seed, "text", 17, ...); equal keys give equal draws.
    """

    def __init__(self, *keys: object) -> None:
        self._random = random.Random("/".join(map(str, keys))).random

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        return self._random()

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def integer(self, count: int) -> int:
        """Uniform in 0 .. count - 1."""
        return min(int(self._random() * count), count - 1)

    def one(self, items: Sequence[T]) -> T:
        """One item, all equally likely."""
        return items[self.integer(len(items))]

    def zipf(self, items: Sequence[T], exponent: float = 0.9, shift: float = 1.5) -> T:
        """One item with probability proportional to ``1 / (rank + shift) ** exponent``
        (Zipf's law in Mandelbrot's form), rank counted from 0."""
        cumulative = _zipf_cumulative(len(items), exponent, shift)
        return items[bisect.bisect_right(cumulative, self._random() * cumulative[-1])]

    def weighted(self, table: Sequence[tuple[T, float]]) -> T:
        """One item of (item, weight) pairs."""
        point = self._random() * sum(weight for _, weight in table)
        for item, weight in table:
            point -= weight
            if point < 0:
                return item
        return table[-1][0]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order (Fisher and Yates)."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.integer(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed


@functools.cache
def _zipf_cumulative(count: int, exponent: float, shift: float) -> list[float]:
    return list(itertools.accumulate((rank + shift) ** -exponent for rank in range(count)))
