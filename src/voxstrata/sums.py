"""Files with a sum over their bytes: a flipped bit or a cut is told, never computed with.

The sum is a CRC-32 (``zlib``): it tells any flipped bit, any run of up to 32 wrong bits, and misses
other damage once in four thousand million. It is no signature: whoever may write a file may write
its sum as well. What it costs stands in ``docs/reliability.md``. Tensors:
:mod:`voxstrata.streaming.sealed`.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import StorageError
from voxstrata.files import read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KEY = "crc32"
BLANK = "00000000"

_LABEL = f"{KEY}=".encode()


class DamagedError(ValueError):
    """What is wrong with a file; its reader makes a :class:`StorageError` with a remedy of it."""


def not_as_written(found: int, stands: str) -> DamagedError:
    """The error of bytes whose sum is another than the one that stands in their file."""
    return DamagedError(
        f"its bytes are not those that were written: their CRC-32 is {found:08x}, "
        f"and {stands} stands in it"
    )


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON atomically, with a sum over what it says (not over white space)."""
    told = json.loads(json.dumps(value, allow_nan=False))  # keys as texts, as they come back
    write_json(path, {**told, KEY: _sum_of(told)})


def read_sealed_json(path: Path, fix: str) -> dict[str, Any]:
    """Read what :func:`write_sealed_json` wrote.

    Args:
        path: the file.
        fix: the remedy where it is damaged.

    Raises:
        StorageError: the file is missing or damaged.
    """
    value = read_json(path, fix)
    stands = value.pop(KEY, None) if isinstance(value, dict) else None
    if stands is None or not _is_sum_of(stands, value):
        raise StorageError(
            f"{path} is damaged",
            got="no sum of its contents" if stands is None else "contents that are not their sum's",
            expected="what was written",
            fix=fix,
        )
    return dict(value)


def _is_sum_of(stands: Any, value: Any) -> bool:
    try:
        return bool(stands == _sum_of(value))
    except ValueError:  # numbers that are none in JSON: nothing of ours writes them
        return False


def _sum_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def seal_table(table: pa.Table) -> bytearray:
    """A table as the bytes of a parquet file, a sum among the texts of its footer."""
    import pyarrow.parquet as pq

    known = table.schema.metadata or {}
    marked = table.replace_schema_metadata({**known, KEY.encode(): _LABEL + BLANK.encode()})
    packed = io.BytesIO()
    pq.write_table(marked, packed)
    held = bytearray(packed.getbuffer())
    place = held.rindex(_LABEL) + len(_LABEL)
    held[place : place + len(BLANK)] = f"{zlib.crc32(held):08x}".encode()
    return held


def read_table(path: Path, *, sealed: bool = True) -> pa.Table:
    """A table as :func:`seal_table` made it.

    Args:
        path: the file.
        sealed: it must have a sum; tables of older versions have none.

    Raises:
        DamagedError: its bytes are not those that were written.
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = bytearray(path.read_bytes())
    place = held.rfind(_LABEL) + len(_LABEL)
    if place >= len(_LABEL):
        stands = held[place : place + len(BLANK)].decode("latin-1")
        held[place : place + len(BLANK)] = BLANK.encode()
        found = zlib.crc32(held)
        if stands != f"{found:08x}":
            raise not_as_written(found, stands)
    elif sealed:
        raise DamagedError("it holds no sum of its bytes")
    try:
        table = pq.read_table(io.BytesIO(held))
        # What older files without a sum hold may be anything: reading all of it shows.
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(str(error).splitlines()[0] if str(error) else repr(error)) from None
    known = {k: v for k, v in (table.schema.metadata or {}).items() if k != KEY.encode()}
    return table.replace_schema_metadata(known)


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an ``.npz`` file, each held against the CRC-32 that the archive keeps of it.

    NumPy reads no more of a member than its header asks for, so a flipped bit in a shape passes
    unseen there.

    Raises:
        DamagedError: the file is damaged, or holds objects.
        OSError: it cannot be read.
    """
    import numpy as np

    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                member = io.BytesIO(archive.read(name))
                array = np.lib.format.read_array(member, allow_pickle=False)
                found[name.removesuffix(".npy")] = array
    except _OF_ARCHIVES as error:
        raise DamagedError(str(error) or type(error).__name__) from None
    return found


def sum_of_file(path: Path) -> int:
    """CRC-32 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    total, block = 0, memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            total = zlib.crc32(block[:count], total)
    return total


def verify_archive(path: Path) -> None:
    """Hold every member of a zip archive (a checkpoint of torch, say) against its CRC-32.

    Raises:
        DamagedError: the archive is damaged.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except _OF_ARCHIVES as error:
        raise DamagedError(str(error) or type(error).__name__) from None
    if wrong is not None:
        raise DamagedError(f"its member {wrong} has not the CRC-32 it was written with")


# A flipped bit may also ask for a password, a compression that there is none of, or more bytes.
_OF_ARCHIVES = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
)
