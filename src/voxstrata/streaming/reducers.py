"""Reducers: what an analysis keeps of the rows. Update, merge, finish; state on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from voxstrata.files import atomic_write
from voxstrata.streaming.sealed import damaged, read_tensors, write_tensors
from voxstrata.sums import DamagedError


@dataclass(frozen=True)
class Rows:
    """The rows of one recording, as reducers receive them.

    Attributes:
        utterance: id of the recording.
        fold: fold of the recording's group.
        values: for each layer of the stack a tensor [N, D].
        start_s, end_s: span of each row [N], seconds.
        labels: label of each row, or ``None``.
    """

    utterance: str
    fold: int
    values: list[torch.Tensor]
    start_s: list[float]
    end_s: list[float]
    labels: list[str] | None = None

    def __len__(self) -> int:
        return len(self.start_s)


class Reducer(Protocol):
    """Consumes rows and holds a sufficient statistic of them.

    The pass calls ``update`` for every recording in a fixed order, and ``end_shard`` after
    each shard, where all buffered rows must enter the statistic; ``state`` is only asked for
    right after that. Equal sequences of calls give equal bits.
    """

    def update(self, rows: Rows) -> None:
        """Take in the rows of one recording."""
        ...

    def end_shard(self, shard: int) -> None:
        """Finish shard ``shard``: flush buffers, write what belongs to the shard."""
        ...

    def merge(self, other: Any) -> None:
        """Add the statistic of another reducer of the same kind (other shards)."""
        ...

    def finish(self) -> Any:
        """The result."""
        ...

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """Tensors and JSON-like facts from which :meth:`restore` continues."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Continue from a state."""
        ...

    def state_bytes(self) -> int:
        """Rough size of the state, for plans."""
        ...


@runtime_checkable
class Anchored(Reducer, Protocol):
    """A reducer that settles something by its first rows, which those of other shards must share
    so that they can be merged."""

    def anchor(self) -> Reducer | None:
        """One that has settled the same and seen nothing; ``None`` before the first row."""
        ...


@runtime_checkable
class FoldWise(Reducer, Protocol):
    """A reducer that may keep rows from one shard of a fold to the next, and so can be merged
    exactly only with those of other folds.

    Attributes:
        whole_folds: says so.
    """

    whole_folds: bool


def save_state(path: Path, reducer: Reducer) -> None:
    """Write a reducer's state as safetensors with a sum over its bytes, atomically."""
    tensors, facts = reducer.state()
    with atomic_write(path) as file:
        write_tensors(file, tensors, {"facts": json.dumps(facts)})


def load_state(path: Path, reducer: Reducer) -> None:
    """Continue a reducer from :func:`save_state`'s file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        tensors, metadata = read_tensors(path)
    except (DamagedError, OSError) as error:
        raise damaged(
            f"the saved state {path}", error, "run again with --overwrite always to start afresh"
        ) from None
    reducer.restore(tensors, json.loads(metadata["facts"]))
