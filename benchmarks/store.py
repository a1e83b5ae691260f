"""Writing and reading the row store against the same bytes in plain files.

    python benchmarks/store.py [--layers 13] [--rows 20000] [--width 768] [--repeats 5] [--dir DIR]

The alternative is the least that could be done: one file a layer, the array written as it lies and
synced to the disk, and read back into an array that is there. The store also cuts shards, writes an
index, syncs every file, sums it, and checks the sum when it is read. Reading is from the system's
cache on both sides: no disk is timed there, only what is done beyond copying.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _timing import HEADER, alternate

from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.types import FrameGrid, LayerInfo

RECORDING = 250
"""Rows of a recording (5 s of 20 ms frames)."""

SHARD = 12
"""Recordings of a shard (60 s)."""


class Setting:
    """Rows in memory, and both ways to keep them.

    Args:
        layers, rows, width: of the stack.
        folder: on the disk that is asked about.
    """

    def __init__(self, layers: int, rows: int, width: int, folder: Path) -> None:
        maker = torch.Generator().manual_seed(0)
        self.rows = rows // RECORDING * RECORDING
        self.values = [torch.randn(self.rows, width, generator=maker) for _ in range(layers)]
        self.bytes = 4 * layers * self.rows * width
        grid = FrameGrid(320, 400)
        infos = [LayerInfo(str(i), width, "frame", grid) for i in range(layers)]
        self.stack = [StackLayer(0, "made-up", info) for info in infos]
        self.folder = folder

    def store(self) -> RowStore:
        """A new store with all rows."""
        place = self.folder / "store"
        shutil.rmtree(place, ignore_errors=True)
        reducer = StoreReducer(place, self.stack, meta={})
        for number, begin in enumerate(range(0, self.rows, RECORDING)):
            held = [x[begin : begin + RECORDING] for x in self.values]
            times = 0.02 * np.arange(RECORDING)
            reducer.update(Rows(f"r{number:05d}", 0, held, times, times + 0.025))
            if number % SHARD == SHARD - 1:
                reducer.end_shard(number // SHARD)
        reducer.end_shard(self.rows // RECORDING // SHARD)
        return reducer.finish()

    def plain(self) -> None:
        """The same bytes in one file a layer."""
        for i, x in enumerate(self.values):
            with open(self.folder / f"plain-{i}", "wb", buffering=0) as file:
                view = memoryview(x.numpy()).cast("B")
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())

    def read_store(self) -> list[torch.Tensor]:
        """All layers of the store."""
        store = RowStore(self.folder / "store")
        return [store.layer(i) for i in range(len(self.values))]

    def read_plain(self) -> list[torch.Tensor]:
        """All layers of the plain files."""
        found = []
        for i, x in enumerate(self.values):
            out = torch.empty_like(x)
            with open(self.folder / f"plain-{i}", "rb", buffering=0) as file:
                view = memoryview(out.numpy()).cast("B")
                while view and (got := file.readinto(view)):
                    view = view[got:]
            found.append(out)
        return found

    def same(self) -> bool:
        """Whether both give back what was put in, bit for bit."""
        return all(
            torch.equal(x, a) and torch.equal(x, b)
            for x, a, b in zip(self.values, self.read_store(), self.read_plain(), strict=True)
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=None, help="where to write (the temporary)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as name:
        setting = Setting(given.layers, given.rows, given.width, Path(name))
        print(f"{setting.bytes / 1e6:.0f} MB in {given.layers} layers")
        print(HEADER)
        turns: list[dict[str, Callable[[], object]]] = [
            {"plain files, synced": setting.plain, "store, written": setting.store},
            {"plain files, read": setting.read_plain, "store, read": setting.read_store},
        ]
        for works in turns:
            found = alternate(works, given.repeats)
            plain = next(iter(found.values()))
            for timing in found.values():
                rate = setting.bytes / timing.best / 1e9
                print(timing.line(plain, f"{rate:.2f} GB/s"))
        if not setting.same():
            raise SystemExit("what is read is not what was written")


if __name__ == "__main__":
    main()
