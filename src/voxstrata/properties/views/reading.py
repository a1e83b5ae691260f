"""Opening what users hand in: plain or gzipped bytes, and typed columns of a table.

Nothing here unpickles or evaluates; files that would need it are named and refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.errors import UsageError

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_BUFFER = 1 << 20


@contextmanager
def open_bytes(path: str | Path, what: str) -> Iterator[io.BufferedReader]:
    """Open a file, through gzip where its first bytes say so.

    Args:
        path: the file.
        what: what it should be, for messages ("word vectors").

    Raises:
        UsageError: missing, a folder, unreadable, empty, an archive, a pickle, or a damaged gzip.
    """
    place = Path(path).expanduser()
    try:
        with place.open("rb", buffering=0) as raw:
            start = raw.read(4)
            raw.seek(0)
            _refuse(place, start, what)
            if start[:2] == _GZIP:
                with gzip.open(raw) as unpacked:
                    yield io.BufferedReader(unpacked, _BUFFER)  # type: ignore[arg-type]
            else:
                yield io.BufferedReader(raw, _BUFFER)  # type: ignore[arg-type]
    except FileNotFoundError:
        raise UsageError(
            f"there is no file of {what} at {place}", got="no such file", fix="check the path"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(
            f"{place}: the gzip file is damaged or cut short", got=str(error), expected=what
        ) from None
    except OSError as error:
        raise UsageError(f"{place} cannot be read", got=str(error), expected=what) from None


def _refuse(place: Path, start: bytes, what: str) -> None:
    if not start:
        raise UsageError(f"{place} is empty", got="0 bytes", expected=what)
    if start == _ZIP:
        raise UsageError(
            f"{place} is a zip archive (zip, npz and PyTorch files are)",
            got="bytes 'PK'",
            expected=f"{what}, plain or gzip",
            fix="unpack it and give the file inside",
        )
    if start[0] == 0x80 and start[1:2] in b"\x02\x03\x04\x05":
        raise UsageError(
            f"{place} is a Python pickle, which is never opened: it could run any code",
            got="the first bytes of a pickle",
            expected=what,
            fix="write its content as text, one word and its numbers a line",
        )


@dataclass(frozen=True)
class Columns:
    """A table read from a file.

    Attributes:
        path: the file.
        names: column names, stripped, in order.
        cells: by column the values in order: text (csv, tsv; always stripped), or what parquet
            holds. ``None`` where a cell is empty.
        lines: number of each row in the file, for messages.
    """

    path: Path
    names: tuple[str, ...]
    cells: dict[str, list[Any]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.cells[self.names[0]])

    def place(self, column: str, index: int) -> str:
        """``FILE, column 'C', row N`` of an entry, as a person counts rows."""
        return f"{self.path}, column {column!r}, row {self.lines[index]}"


def read_columns(path: str | Path, what: str) -> Columns:
    """Read a csv, tsv or parquet table; csv and tsv may be gzipped.

    Rows are numbered as lines of a csv or tsv file (the header is row 1), from 1 in parquet.

    Raises:
        UsageError: unknown kind of file, no header or rows, a repeated or empty column name, or
            a row of another length.
    """
    place = Path(path).expanduser()
    kind = place.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        return _parquet(place, what)
    if kind not in ("csv", "tsv"):
        raise UsageError(
            f"{place} is no table that can be read",
            got=f"a name that ends in .{kind}" if kind else "a name without ending",
            expected=f"{what} as .csv, .tsv or .parquet",
        )
    with open_bytes(place, what) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        try:
            reader = csv.reader(text, delimiter="\t" if kind == "tsv" else ",", strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{place} is no {kind} in UTF-8", got=str(error)) from None
        finally:
            text.detach()
    if not rows:
        raise UsageError(f"{place} has no rows", expected=f"{what}: a header and rows")
    names = _names(place, rows[0][1])
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in rows[1:]:
        if len(row) != len(names):
            raise UsageError(
                f"{place}, row {number}: not as many cells as the header has",
                got=f"{len(row)} cells",
                expected=f"{len(names)}: {', '.join(names)}",
            )
        for name, cell in zip(names, row, strict=True):
            cells[name].append(cell.strip() or None)
    return _checked(Columns(place, names, cells, [number for number, _ in rows[1:]]), what)


def _parquet(place: Path, what: str) -> Columns:
    import pyarrow as pa
    from pyarrow import parquet

    with open_bytes(place, what):
        pass
    try:
        table = parquet.read_table(place)
        names = _names(place, table.column_names)
        columns = {
            name: table.column(i).to_pylist() for i, name in enumerate(names)
        }  # None is a missing value, NaN is a number that must be refused
    except (pa.ArrowException, OSError) as error:  # the latter: a damaged footer
        raise UsageError(f"{place} is no parquet table", got=str(error), expected=what) from None
    return _checked(Columns(place, names, columns, list(range(1, table.num_rows + 1))), what)


def _names(place: Path, given: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given)
    bad = [n for n in names if not n or names.count(n) > 1]
    if bad:
        raise UsageError(
            f"{place}: columns need names, each its own",
            got=", ".join(repr(n) for n in names),
            fix=f"rename {bad[0]!r}",
        )
    return names


def _checked(table: Columns, what: str) -> Columns:
    if not table.names or not len(table):
        raise UsageError(f"{table.path} has no rows", expected=f"{what}: a header and rows")
    return table


def as_number(cell: Any) -> float | None:
    """A cell as a number; ``None`` where it is none (text, truth values, empty)."""
    if isinstance(cell, bool) or cell is None:
        return None
    try:
        # float() also takes "1_000"; no file format means that.
        return None if isinstance(cell, str) and "_" in cell else float(cell)
    except (TypeError, ValueError):
        return None
