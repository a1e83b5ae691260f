"""What the soak test reads of a process (Linux, ``/proc``), and when it calls that flat."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

MARK = "VOXSTRATA_SOAK"
"""Environment variable by which every process that the test started is known, orphans too."""

MEMORY_LIMIT_MB = 60.0
"""Growth of resident memory in an hour that still counts as flat."""

WARM = 1 / 3
"""Share of the rounds in which caches fill and libraries are loaded; slopes are of the rest."""


@dataclass(frozen=True)
class Reading:
    """The process after a round.

    Attributes:
        minutes: since the start.
        rss_mb: resident memory.
        objects: objects that Python's collector knows.
        files: open file descriptors.
        threads: threads.
        processes: processes that the test started and that are still there.
        temporary: files in TMPDIR, unfinished files in the cache, shared memory of torch.
    """

    minutes: float
    rss_mb: float
    objects: int
    files: int
    threads: int
    processes: int
    temporary: int


def read(begun: float, temporary: Sequence[Path], cache: Path) -> Reading:
    """Read after a collection; processes that are about to end get ten seconds.

    Args:
        begun: start of the test, of ``time.monotonic``.
        temporary: folders that should be empty.
        cache: the cache folder, which should hold finished files alone.
    """
    gc.collect()
    deadline = time.monotonic() + 10.0
    while started() and time.monotonic() < deadline:
        time.sleep(0.2)
    loose = [path for folder in temporary for path in folder.rglob("*") if path.is_file()]
    loose += [path for end in ("*.tmp", "*.partial") for path in cache.rglob(end)]
    loose += Path("/dev/shm").glob(f"torch_{os.getpid()}_*")
    return Reading(
        minutes=round((time.monotonic() - begun) / 60, 2),
        rss_mb=round(_status("VmRSS") / 1024, 1),
        objects=len(gc.get_objects()),
        files=len(os.listdir("/proc/self/fd")) - 1,  # less the listing's own
        threads=_status("Threads"),
        processes=len(started()),
        temporary=len(loose),
    )


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


def started() -> list[int]:
    """Ids of the processes that carry this test's mark, without this one and without the one
    helper that Python's multiprocessing keeps for as long as its process lives."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            if b"multiprocessing.resource_tracker" in (entry / "cmdline").read_bytes():
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == os.getpid():
                    continue
        except OSError:  # it has ended, or is another user's
            continue
        found.append(int(entry.name))
    return found


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen slope: the median of the slopes between all pairs."""
    pairs = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[j] > times[i]
    ]
    return statistics.median(pairs) if pairs else 0.0


def verdict(readings: Sequence[Reading]) -> tuple[list[str], list[str]]:
    """What can be said of the readings.

    Memory and objects are flat where their slope after the warm-up is below the limit; files,
    threads and processes where no later reading is above the highest of the warm-up; nothing
    temporary may be left at all.

    Returns:
        lines for a reader, and those among them that say something is not flat.
    """
    warm = max(2, round(len(readings) * WARM))
    early, late = readings[:warm], readings[warm:]
    if len(late) < 3:
        line = f"{len(readings)} rounds are too few for a verdict (at least {warm + 3})"
        return [line], [line]
    hours = [r.minutes / 60 for r in late]
    lines: list[str] = []
    wrong: list[str] = []

    def say(text: str, flat: bool) -> None:
        lines.append(f"{'flat' if flat else 'NOT FLAT'}: {text}")
        if not flat:
            wrong.append(lines[-1])

    memory = slope(hours, [r.rss_mb for r in late])
    first, last = late[0].rss_mb, late[-1].rss_mb
    say(
        f"memory {memory:+.1f} MB an hour (limit {MEMORY_LIMIT_MB:.0f}); "
        f"{first:.0f} MB after the warm-up, {last:.0f} MB at the end",
        memory <= MEMORY_LIMIT_MB,
    )
    per_round = slope(range(len(late)), [float(r.objects) for r in late])
    limit = 0.0005 * late[0].objects
    say(f"Python objects {per_round:+.0f} a round (limit {limit:.0f})", per_round <= limit)
    of: dict[str, Callable[[Reading], int]] = {
        "open files": lambda r: r.files,
        "threads": lambda r: r.threads,
        "processes": lambda r: r.processes,
    }
    for name, value in of.items():
        before, after = max(map(value, early)), max(map(value, late))
        say(f"{name}: at most {before} in the warm-up, {after} later", after <= before)
    left = max(r.temporary for r in readings)
    say(f"temporary files left: at most {left} after a round", left == 0)
    return lines, wrong


def table(readings: Sequence[Reading]) -> str:
    """The readings as a Markdown table."""
    names = [field.name for field in fields(Reading)]
    lines = ["| round | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for number, reading in enumerate(readings, 1):
        values = " | ".join(str(value) for value in asdict(reading).values())
        lines.append(f"| {number} | {values} |")
    return "\n".join(lines)
