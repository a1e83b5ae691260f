"""What sums over files cost: candidates on memory, and reading a shard with and without its sum.

    OMP_NUM_THREADS=1 python benchmarks/sums.py [FOLDER]

The file is in the page cache, so that "read" is the memory's rate: what a disk adds comes on top of
both. Processor time, which other processes on the machine disturb less than time on the wall.
Repeats alternate; median, least and most.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from voxstrata.streaming.sealed import read_into, write_rows

ROWS, WIDTH, REPEATS = 65_536, 1024, 9


def main(folder: Path) -> None:
    """Print the table."""
    rows = torch.randn(ROWS, WIDTH)
    numbers = rows.reshape(-1).view(torch.uint8).numpy().data
    out, path = torch.empty_like(rows), folder / "rows.safetensors"
    into = out.reshape(-1).view(torch.uint8).numpy().data
    with path.open("wb") as file:
        write_rows(file, "rows", [rows])

    def plain() -> None:
        with path.open("rb", buffering=0) as file:
            file.seek(path.stat().st_size - len(numbers))
            done = 0
            while done < len(into):
                done += file.readinto(into[done : done + (1 << 20)])

    def sealed() -> None:
        read_into(path, "rows", out)

    ways: dict[str, Callable[[], object]] = {
        "zlib.crc32": lambda: zlib.crc32(numbers),
        "hashlib.sha256": lambda: hashlib.sha256(numbers).digest(),
        "hashlib.blake2b": lambda: hashlib.blake2b(numbers).digest(),
        "read, plain": plain,
        "read, with its sum": sealed,
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS + 1):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            took[name].append(time.process_time() - begun)
    assert torch.equal(out, rows)
    path.unlink()
    size = len(numbers) / 1e9
    print(f"| what (n = {REPEATS}, {size:.2f} GB) | GB/s | least | most |\n|---|---|---|---|")
    for name, times in took.items():
        rates = sorted(size / one for one in times[1:])  # the first faults pages in
        print(f"| {name} | {statistics.median(rates):.2f} | {rates[0]:.2f} | {rates[-1]:.2f} |")
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
