"""The row store: rows on disk, layer-major, readable by any safetensors reader.

Layout of a store folder::

    meta.json                            schema, dtype, layers in order, unit, fingerprints
    <nn>-<model>-<layer>/shard-00007.safetensors     one tensor ``rows`` [N, D]
    index/shard-00007.parquet            utterance, fold, first row, rows, (labels) of a shard
    index.parquet                        all shards, written when the pass ends

One layer of all recordings is one short list of sequential reads. A shard holds recordings
of one fold only. Files appear whole (temporary name, sync, rename); a shard exists once its
index file does, so resuming means writing the shards that are missing. Every file carries a sum
over its bytes (:mod:`voxstrata.streaming.sealed`), which is held against them whenever it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from voxstrata.errors import ShapeError, StorageError
from voxstrata.files import atomic_write, numbered, read_json, storage_errors
from voxstrata.numerics.threads import cores
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.sealed import damaged, read_into, verify, write_rows
from voxstrata.streaming.stack import StackLayer
from voxstrata.sums import (
    DamagedError,
    read_sealed_json,
    read_table,
    seal_table,
    write_sealed_json,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SCHEMA = 2
"""Of schema 1 are stores whose files have no sums."""

READERS = 4
"""Threads that read the shards of a layer."""

AFRESH = "run again with --overwrite always to compute it afresh"

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def _slug(position: int, layer: StackLayer) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", layer.key).strip("-.")[-80:]
    return f"{position:03d}-{text}"


class StoreReducer:
    """Writes the rows of a pass into a store.

    Args:
        folder: where; created.
        layers: the accepted layers of the stack, in order.
        dtype: "float32" (default), "float16", "bfloat16" or "float64".
        meta: JSON-like facts kept in ``meta.json`` (unit, fingerprints).
    """

    def __init__(
        self,
        folder: Path,
        layers: Sequence[StackLayer],
        *,
        dtype: str = "float32",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.dtype = dtype
        self._names = [_slug(i, layer) for i, layer in enumerate(layers)]
        self._rows: list[Rows] = []
        self._written = 0
        write_sealed_json(
            folder / "meta.json",
            {
                "schema": SCHEMA,
                "dtype": dtype,
                "layers": [
                    {"folder": name, "model": layer.name, **layer.describe()}
                    for name, layer in zip(self._names, layers, strict=True)
                ],
                **(meta or {}),
            },
        )

    def update(self, rows: Rows) -> None:
        """Hold the rows until the shard ends."""
        target = DTYPES[self.dtype]
        moved = [value.to("cpu", target) for value in rows.values]
        self._rows.append(
            Rows(rows.utterance, rows.fold, moved, rows.start_s, rows.end_s, rows.labels)
        )

    def end_shard(self, shard: int) -> None:
        """Write the shard: every layer's file, then the index that makes it count."""
        held, self._rows = self._rows, []

        def write(position: int) -> None:
            parts = [rows.values[position] for rows in held] or [torch.empty(0, 0)]
            path = self.folder / self._names[position] / f"shard-{shard:05d}.safetensors"
            with atomic_write(path) as file:
                write_rows(file, "rows", parts)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(len(self._names))))
        self._write_index(shard, held)
        self._written += 1

    def _write_index(self, shard: int, held: list[Rows]) -> None:
        import pandas as pd

        counts = [len(rows) for rows in held]
        first = np.cumsum([0, *counts])[:-1]
        frame = pd.DataFrame(
            {
                "shard": [shard] * len(held),
                "utterance": [rows.utterance for rows in held],
                "fold": [rows.fold for rows in held],
                "first_row": [int(row) for row in first],
                "rows": counts,
                "start_s": [rows.start_s for rows in held],
                "end_s": [rows.end_s for rows in held],
                "labels": [rows.labels if rows.labels is not None else [] for rows in held],
            }
            # A shard whose recordings were all skipped has no values to tell the types by.
        ).astype(dict.fromkeys(("shard", "fold", "first_row", "rows"), "int64"))
        _write_parquet(self.folder / "index" / f"shard-{shard:05d}.parquet", frame)

    def merge(self, other: StoreReducer) -> None:
        """Nothing to do: stores in one folder are merged by their shard files."""

    def finish(self) -> RowStore:
        """Write the joint index and open the store for reading."""
        import pandas as pd

        parts = numbered(self.folder / "index", "shard-*.parquet")
        frame = pd.concat([_read_index(part) for part in parts], ignore_index=True)
        _write_parquet(self.folder / "index.parquet", frame)
        return RowStore(self.folder)

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """Nothing: the shard files are the state."""
        return {}, {}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Forget rows of an unfinished shard."""
        self._rows = []

    def state_bytes(self) -> int:
        """Zero: shards are written once each, as they end."""
        return 0


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    import pyarrow as pa

    with atomic_write(path) as file:
        file.write(seal_table(pa.Table.from_pandas(frame, preserve_index=False)))


def _read_index(path: Path, *, sealed: bool = True) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = read_table(path, sealed=sealed).to_pandas()
    except (DamagedError, OSError) as error:
        raise damaged(f"the index {path}", error, AFRESH) from None
    return frame


class RowStore:
    """A finished store, open for reading.

    Args:
        folder: a store folder.

    Raises:
        StorageError: it is not a finished store, or its schema is unknown.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = folder / "meta.json"
        self.meta = read_json(about, AFRESH)
        schema = self.meta.get("schema") if isinstance(self.meta, dict) else None
        if schema not in (1, SCHEMA):
            raise StorageError(
                f"{folder} has an unknown schema", got=schema, expected=f"1 to {SCHEMA}", fix=AFRESH
            )
        self._sealed = schema > 1
        if self._sealed:
            self.meta = read_sealed_json(about, AFRESH)
        if not (folder / "index.parquet").exists():
            raise StorageError(f"the store {folder} is not finished", fix="run the pass again")
        index = _read_index(folder / "index.parquet", sealed=self._sealed)
        # By number, as rows are read below: older stores listed shard 100000 before shard 99999.
        self.index = index.sort_values("shard", kind="stable", ignore_index=True)
        self._shards = sorted(set(self.index["shard"]))

    @property
    def rows(self) -> int:
        """Number of rows N."""
        return int(self.index["rows"].sum())

    @property
    def widths(self) -> list[int]:
        """Width of each layer."""
        return [int(layer["width"]) for layer in self.meta["layers"]]

    def folds(self) -> NDArray[np.int64]:
        """Fold of each row [N], in storage order."""
        return np.repeat(
            self.index["fold"].to_numpy(np.int64), self.index["rows"].to_numpy(np.int64)
        )

    def labels(self) -> list[str]:
        """Label of each row, in storage order (empty for units without labels)."""
        return [label for labels in self.index["labels"] for label in labels]

    def layer(self, position: int) -> torch.Tensor:
        """All rows of one layer, [N, D], in the store's dtype.

        Raises:
            StorageError: a shard is missing, damaged, or has not the rows the index says.
        """
        info = self.meta["layers"][position]
        out = torch.empty(self.rows, info["width"], dtype=DTYPES[self.meta["dtype"]])
        counts = self.index.groupby("shard")["rows"].sum()
        ends = np.cumsum([int(counts[shard]) for shard in self._shards])

        def read(number: int) -> None:
            shard, stop = self._shards[number], int(ends[number])
            start = int(ends[number - 1]) if number else 0
            path = self.shard(position, shard)
            try:
                if stop > start:
                    read_into(path, "rows", out[start:stop], sealed=self._sealed)
                else:
                    verify(path, sealed=self._sealed)
            except (DamagedError, OSError) as error:
                raise damaged(f"the shard {path}", error, AFRESH) from None
            except ShapeError as error:
                raise StorageError(
                    f"the shard {path} does not fit its index",
                    got=error.got,
                    expected=error.expected,
                    fix=AFRESH,
                ) from None

        # Reading and summing let go of Python's lock; one thread alone is slower than the disk.
        readers = min(READERS, cores(), len(self._shards))
        if readers < 2:
            for number in range(len(self._shards)):
                read(number)
        else:
            with ThreadPoolExecutor(readers) as pool:
                list(pool.map(read, range(len(self._shards))))
        return out

    def shard(self, position: int, shard: int) -> Path:
        """File of one layer of one shard."""
        name = str(self.meta["layers"][position]["folder"])
        return self.folder / name / f"shard-{shard:05d}.safetensors"

    def verify(self, position: int, shard: int) -> None:
        """Hold a file against its sum, for those who then read parts of it.

        Raises:
            StorageError: it is missing or damaged.
        """
        path = self.shard(position, shard)
        try:
            verify(path, sealed=self._sealed)
        except (DamagedError, OSError) as error:
            raise damaged(f"the shard {path}", error, AFRESH) from None

    def remove(self) -> None:
        """Delete the store from disk."""
        import shutil

        with storage_errors(self.folder):
            shutil.rmtree(self.folder)
