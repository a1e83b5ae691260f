"""Timing shared by the benchmarks: repeats, best and spread, one line a measurement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs of one thing.

    Attributes:
        name: what was timed.
        runs: seconds of each run.
        result: what the last run returned.
    """

    name: str
    runs: tuple[float, ...]
    result: object = None

    @property
    def best(self) -> float:
        """Fastest run: the one least disturbed by other processes."""
        return min(self.runs)

    def line(self, against: Timing | None = None, note: str = "") -> str:
        """One line of a table; the ratio says how many times faster than ``against``."""
        ratio = f"{against.best / self.best:6.2f}x" if against else "      -"
        spread = f"{statistics.median(self.runs):9.3f} {max(self.runs):9.3f}"
        return f"{self.name:52s} {self.best:9.3f} {spread}  n={len(self.runs)} {ratio}  {note}"


HEADER = f"{'':52s} {'best s':>9s} {'median':>9s} {'worst':>9s}       ratio"


def measure(name: str, work: Callable[[], object], repeats: int, *, warm: bool = True) -> Timing:
    """Time ``work`` ``repeats`` times, after one run that does not count."""
    if warm:
        work()
    runs, result = [], None
    for _ in range(repeats):
        begun = time.perf_counter()
        result = work()
        runs.append(time.perf_counter() - begun)
    return Timing(name, tuple(runs), result)
