"""Timing shared by the benchmarks: repeats, best and spread, one line a measurement; ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
    result: Any = None

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


def alternate(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Time several things in turns, after one run each that does not count.

    A change in the machine's load touches all of them alike, so ratios of one turn can be trusted
    where seconds cannot.
    """
    runs: dict[str, list[float]] = {name: [] for name in works}
    results: dict[str, Any] = {}
    for number in range(repeats + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            results[name] = work()
            if number:
                runs[name].append(time.perf_counter() - begun)
    return {name: Timing(name, tuple(found), results[name]) for name, found in runs.items()}


@dataclass(frozen=True)
class Ratio:
    """One line of the table of ratios.

    Attributes:
        name: what is measured.
        ours, alternative: median of either, in ``unit``.
        unit: of both, and of the floor.
        against: what the alternative is.
        ratio: median over turns of alternative by ours (above 1: ours is the faster).
        low, high: smallest and largest of the turns.
        n: turns.
        floor: what no code can go below, with the same machine; ``None`` where the alternative is
            the floor.
        floor_is: what it is.
        checked: how the numbers of both were compared, and what came of it.
    """

    name: str
    ours: float
    alternative: float
    unit: str
    against: str
    ratio: float
    low: float
    high: float
    n: int
    floor: float | None
    floor_is: str
    checked: str

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def ratio_of(
    name: str,
    ours: Timing,
    other: Timing,
    *,
    against: str,
    checked: str,
    floor: float | None = None,
    floor_is: str = "the alternative",
) -> Ratio:
    """The ratio of two things that were timed in turns."""
    each = [b / a for a, b in zip(ours.runs, other.runs, strict=True)]
    return Ratio(
        name,
        statistics.median(ours.runs),
        statistics.median(other.runs),
        "s",
        against,
        statistics.median(each),
        min(each),
        max(each),
        len(each),
        floor,
        floor_is,
        checked,
    )
