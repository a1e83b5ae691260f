"""Reducers: what an analysis keeps of the rows. Update, merge, finish; state on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import torch

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
"""Types that states and stores may hold, as safetensors calls them."""


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


def write_tensors(
    file: BinaryIO,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors in the safetensors format, one at a time, straight from their memory.

    The format is eight bytes with the length of a JSON header, the header, the numbers
    (https://huggingface.co/docs/safetensors). The library's own writer holds up to two more copies
    (a state may fill a third of the memory), or hides the operating system's errors.
    """
    _write_parts(file, {name: [tensor] for name, tensor in tensors.items()}, metadata)


def write_rows(file: BinaryIO, name: str, parts: Sequence[torch.Tensor]) -> None:
    """Write one tensor given as its pieces along the first axis, without joining them first.

    Args:
        file: where.
        name: of the tensor.
        parts: [N_i, D], at least one, of one type and width.
    """
    _write_parts(file, {name: parts}, None)


def _write_parts(
    file: BinaryIO,
    tensors: Mapping[str, Sequence[torch.Tensor]],
    metadata: Mapping[str, str] | None,
) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, parts in tensors.items():
        first = parts[0]
        begin, end = end, end + sum(part.numel() * part.element_size() for part in parts)
        shape = list(first.shape)
        if len(parts) > 1:
            shape[0] = sum(len(part) for part in parts)
        header[name] = {
            "dtype": CODES[first.dtype],
            "shape": shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for parts in tensors.values():
        for part in parts:
            if part.numel():
                flat = part.detach().cpu().contiguous().reshape(-1)
                file.write(flat.view(torch.uint8).numpy().data)


def save_state(path: Path, reducer: Reducer) -> None:
    """Write a reducer's state as safetensors, atomically."""
    from voxstrata.files import atomic_write

    tensors, facts = reducer.state()
    with atomic_write(path) as file:
        write_tensors(file, tensors, {"facts": json.dumps(facts)})


def load_state(path: Path, reducer: Reducer) -> None:
    """Continue a reducer from :func:`save_state`'s file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    from voxstrata.errors import StorageError

    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise StorageError(
            f"the saved state {path} is missing or damaged",
            got=str(error),
            fix="run again with --overwrite always to start afresh",
        ) from None
    reducer.restore(tensors, facts)
