"""Tensors on disk with a sum over every byte, in files that any safetensors reader opens.

The format is eight bytes with the length of a JSON header, the header, the numbers
(https://huggingface.co/docs/safetensors). The header's metadata hold a CRC-32 of the
whole file, taken with zeros in place of its own digits (:mod:`voxstrata.sums`).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from voxstrata.errors import ShapeError, StorageError
from voxstrata.sums import BLANK, KEY, DamagedError, not_as_written

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Types that states and stores may hold, as safetensors calls them."""

TYPES = {code: kind for kind, code in CODES.items()}

_BLOCK = 1 << 20  # summed while it is still in the cache of the core that read it


def write_tensors(
    file: BinaryIO,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors, one at a time, straight from their memory.

    The library's own writer holds up to two more copies (a state may fill a third of the memory),
    or hides the operating system's errors.

    Args:
        file: where; it must be able to go back.
        tensors: by name.
        metadata: texts kept in the header.
    """
    _write_parts(file, {name: [tensor] for name, tensor in tensors.items()}, metadata)


def write_rows(file: BinaryIO, name: str, parts: Sequence[torch.Tensor]) -> None:
    """Write one tensor given as its pieces along the first axis, without joining them first.

    Args:
        file: where; it must be able to go back.
        name: of the tensor.
        parts: [N_i, D], at least one, of one type and width.
    """
    _write_parts(file, {name: parts}, None)


def _write_parts(
    file: BinaryIO,
    tensors: Mapping[str, Sequence[torch.Tensor]],
    metadata: Mapping[str, str] | None,
) -> None:
    header: dict[str, Any] = {"__metadata__": {KEY: BLANK, **(metadata or {})}}
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
    head = len(text).to_bytes(8, "little") + text
    file.write(head)
    total = zlib.crc32(head)
    for parts in tensors.values():
        for part in parts:
            if part.numel():
                flat = part.detach().cpu().contiguous().reshape(-1)
                numbers = flat.view(torch.uint8).numpy().data
                for begin in range(0, len(numbers), _BLOCK):
                    block = numbers[begin : begin + _BLOCK]
                    total = zlib.crc32(block, total)
                    file.write(block)
    file.seek(_place(head))
    file.write(f"{total:08x}".encode())
    file.seek(0, os.SEEK_END)


def _place(head: bytes) -> int:
    """Where the digits of the sum are: first in the header, whatever else is in it."""
    label = f'"{KEY}": "'.encode()
    return head.index(label) + len(label)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a sealed file and its metadata, in one block of memory.

    Raises:
        DamagedError: its bytes are not those that were written.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        header, total = _header(file)
        held = bytearray(os.fstat(file.fileno()).st_size - file.tell())
        _check(header, _sum_into(file, memoryview(held), total))
    tensors = {}
    for name, info in header.entries.items():
        begin, end = info["data_offsets"]
        kind, count = TYPES[info["dtype"]], int(np.prod(info["shape"]))
        if end > begin:
            flat = torch.frombuffer(held, dtype=kind, count=count, offset=begin)
            tensors[name] = flat.reshape(info["shape"])
        else:
            tensors[name] = torch.empty(info["shape"], dtype=kind)
    return tensors, header.metadata


def read_into(path: Path, name: str, out: torch.Tensor, *, sealed: bool = True) -> None:
    """Read the one tensor of a file into memory that is there.

    Args:
        path: file of :func:`write_rows`.
        name: of the tensor.
        out: [N, D], contiguous, of the tensor's shape and type.
        sealed: the file must have a sum; older ones have none.

    Raises:
        DamagedError: its bytes are not those that were written.
        ShapeError: they are, but the shape or type is another.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        header, total = _header(file, sealed=sealed)
        info = header.entries.get(name, {})
        left = os.fstat(file.fileno()).st_size - file.tell()
        kind, shape = info.get("dtype"), info.get("shape")
        fits = [kind, shape] == [CODES[out.dtype], list(out.shape)]
        if fits and left == out.numel() * out.element_size():
            numbers = out.reshape(-1).view(torch.uint8).numpy().data if left else memoryview(b"")
            _check(header, _sum_into(file, numbers, total))
            return
        _check(header, _sum_over(file, total))
    raise ShapeError(
        f"{path} holds another tensor than asked for",
        got=f"{kind} {shape}, {left} bytes",
        expected=f"{CODES[out.dtype]} {list(out.shape)}",
    )


def verify(path: Path, *, sealed: bool = True) -> None:
    """Read a file once and hold it against its sum.

    Raises:
        DamagedError: its bytes are not those that were written.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        header, total = _header(file, sealed=sealed)
        _check(header, _sum_over(file, total))


def damaged(what: str, error: Exception, fix: str) -> StorageError:
    """The error of a file that cannot be trusted.

    Args:
        what: the file, "the shard PATH" say.
        error: what its reading raised.
        fix: the remedy.
    """
    return StorageError(f"{what} is missing or damaged", got=str(error), fix=fix)


class _Header:
    def __init__(self, entries: dict[str, Any], metadata: dict[str, str], total: str) -> None:
        self.entries, self.metadata, self.total = entries, metadata, total


def _header(file: Any, *, sealed: bool = True) -> tuple[_Header, int]:
    """The header as it stands, unproven, and the sum so far."""
    size = os.fstat(file.fileno()).st_size
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > size - 8:
        raise DamagedError(f"it has {size} bytes, fewer than its header takes")
    text = bytearray(length)
    _fill(file, memoryview(text))
    try:
        entries = json.loads(text)
        metadata = dict(entries.pop("__metadata__", {}))
        total = metadata.pop(KEY, "")
        if total:
            place = _place(bytes(text))
            text[place : place + len(BLANK)] = BLANK.encode()
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"its header cannot be read ({error})") from None
    if not total and sealed:
        raise DamagedError("its header holds no sum")
    return _Header(entries, metadata, total), zlib.crc32(text, zlib.crc32(first))


def _check(header: _Header, total: int) -> None:
    if header.total and header.total != f"{total:08x}":
        raise not_as_written(total, header.total)


def _fill(file: Any, into: memoryview) -> int:
    """Read until the block is full."""
    done = 0
    while done < len(into):
        count = file.readinto(into[done:])
        if not count:
            raise DamagedError(f"it ends {len(into) - done} bytes early")
        done += count
    return done


def _sum_into(file: Any, into: memoryview, total: int) -> int:
    for begin in range(0, len(into), _BLOCK):
        block = into[begin : begin + _BLOCK]
        _fill(file, block)
        total = zlib.crc32(block, total)
    return total


def _sum_over(file: Any, total: int) -> int:
    """The sum of what is left, none of it kept."""
    block = memoryview(bytearray(_BLOCK))
    while count := file.readinto(block):
        total = zlib.crc32(block[:count], total)
    return total
