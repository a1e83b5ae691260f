"""Views from tables that users hand in: values by recording or by speaker.

A table (csv, tsv, parquet) has a column ``utterance`` (recording ids) or ``speaker``, and value
columns: numbers, or text for classes. A column of a csv or tsv file is one of numbers if every
cell is one, of classes if none is; a mixture is an error, since it is mostly a slip.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.errors import UsageError
from voxstrata.properties.property import TooFewError
from voxstrata.properties.views.reading import Columns, as_number, read_columns
from voxstrata.properties.views.tiers import (
    Grouping,
    RowView,
    choose_grouping,
    one_column_less,
    tier_view,
)
from voxstrata.registry import unknown_name

KEYS = ("utterance", "speaker")


@dataclass(frozen=True)
class ValueTable:
    """Values by recording or speaker.

    Attributes:
        file: name of the file.
        key: ``"utterance"`` or ``"speaker"``.
        index: row of each id.
        values: by column its values in order of rows: all numbers, or all text; ``None`` where a
            cell is empty.
    """

    file: str
    key: Grouping
    index: dict[str, int]
    values: dict[str, list[Any]]


def read_values(path: str | Path) -> ValueTable:
    """Read a table of values.

    A column ``utterance`` is the key if there is one, else ``speaker``; a column ``speaker`` beside
    the former is no value.

    Raises:
        UsageError: see :func:`read_columns`; no key column, no value column, an id that is
            missing or stands there twice, or a column that mixes kinds or holds a number that is
            not finite, with file, column and row.
    """
    table = read_columns(path, "a table of values by recording or speaker")
    named = {name.lower(): name for name in table.names}
    key: Grouping = "utterance" if "utterance" in named else "speaker"
    if key not in named:
        raise UsageError(
            f"{table.path} says not whose values they are",
            got=f"columns {', '.join(table.names)}",
            expected="a column 'utterance' or 'speaker'",
        )
    index: dict[str, int] = {}
    for i, cell in enumerate(table.cells[named[key]]):
        if cell is None:
            raise UsageError(f"{table.place(named[key], i)}: empty", expected="an id")
        if str(cell) in index:
            raise UsageError(
                f"{table.place(named[key], i)}: {str(cell)!r} stands there twice",
                got=f"also in row {table.lines[index[str(cell)]]}",
                expected=f"one row a {key}",
            )
        index[str(cell)] = i
    keys = {named[k] for k in KEYS if k in named}
    values = {name: _values(table, name) for name in table.names if name not in keys}
    if not values:
        raise UsageError(
            f"{table.path} has no column of values",
            got=f"columns {', '.join(table.names)}",
            expected=f"{key} and at least one more",
        )
    return ValueTable(table.path.name, key, index, values)


def _values(table: Columns, name: str) -> list[Any]:
    cells = table.cells[name]
    typed = table.path.name.lower().endswith(".parquet")
    found: list[Any] = []
    first: tuple[bool, int] | None = None
    for i, cell in enumerate(cells):
        if cell is None:
            found.append(None)
            continue
        text = isinstance(cell, str | bool)
        number = None if typed and text else as_number(cell)
        if number is None and not text:
            raise UsageError(
                f"{table.place(name, i)}: neither text nor a number",
                got=f"{cell!r} ({type(cell).__name__})",
            )
        if first is None:
            first = (number is not None, i)
        elif first[0] != (number is not None):
            raise UsageError(
                f"{table.place(name, i)}: numbers and text are mixed",
                got=f"{cell!r}, and {cells[first[1]]!r} in row {table.lines[first[1]]}",
                expected="numbers only, or text only; an empty cell where there is no value",
            )
        if number is not None and not math.isfinite(number):
            raise UsageError(
                f"{table.place(name, i)}: not finite",
                got=str(cell),
                expected="a finite number, or an empty cell where there is no value",
            )
        found.append(str(cell) if number is None else number)
    return found


def table_view(
    table: ValueTable,
    ids: Sequence[str],
    speakers: Sequence[Any] | None,
    column: str | None = None,
) -> RowView:
    """The view that a table gives of some rows.

    Args:
        table: the table.
        ids: recording of each row, [N].
        speakers: speaker of each row, [N], ``None`` where unknown.
        column: one column; all of them if not given. Numbers become one column of the view,
            standing as they are; text becomes one-hot columns less one.

    Raises:
        UnknownNameError: no such column.
        TooFewError: no row has values, or no column differs between rows.
    """
    if column is not None and column not in table.values:
        raise unknown_name(f"column of {table.file}", column, list(table.values))
    names = [column] if column is not None else list(table.values)
    keys = ids if table.key == "utterance" else (speakers or [None] * len(ids))
    rows = [None if k is None else table.index.get(str(k)) for k in keys]
    found = {name: [None if r is None else table.values[name][r] for r in rows] for name in names}
    absent = sum(row is None for row in rows)
    kept = [i for i in range(len(rows)) if all(values[i] is not None for values in found.values())]
    empty = len(rows) - absent - len(kept)
    if not kept:
        raise TooFewError(
            f"{table.file} has values for none of the recordings",
            got=f"{table.key}s such as {', '.join(list(table.index)[:3])}",
            expected=f"{table.key}s such as "
            + ", ".join(str(k) for k in list(dict.fromkeys(keys))[:3]),
        )
    notices = []
    if absent:
        notices.append(
            f"{table.file} has no row for the {table.key} of {absent} of {len(rows)} recordings; "
            "they are left out."
        )
    if empty:
        notices.append(f"{empty} recordings with an empty cell in {table.file} are left out.")
    if len(names) == 1:
        view = tier_view(found[names[0]], speakers, names[0], ids)
    else:
        view = _several(found, kept, speakers, ids, table.file)
    dropped = {**view.facts["dropped"], "not in the table": absent, "empty cell": empty}
    dropped.pop("no value", None)
    facts = {
        **view.facts,
        "file": table.file,
        "key": table.key,
        "columns": names,
        "dropped": {reason: n for reason, n in dropped.items() if n},
    }
    return dataclasses.replace(view, facts=facts, notices=(*notices, *view.notices))


def _several(
    found: dict[str, list[Any]],
    kept: list[int],
    speakers: Sequence[Any] | None,
    ids: Sequence[str],
    file: str,
) -> RowView:
    """Columns side by side; one that needs whole speakers in a fold decides for all."""
    here = [str(ids[i]) for i in kept]
    who = None if speakers is None else [speakers[i] for i in kept]
    parts, columns, constant = [], [], []
    groupings: dict[Grouping, str] = {}
    for name, given in found.items():
        values = [given[i] for i in kept]
        numeric = not isinstance(values[0], str)
        if len(set(values)) < 2:
            constant.append(name)
            continue
        if numeric:
            parts.append(np.array(values, dtype=np.float64)[:, None])
            columns.append(name)
        else:
            hot, classes = one_column_less(values)
            parts.append(hot)
            columns += [f"{name}={c}" for c in classes]
        grouping, reason = choose_grouping(values, who, here, name, numeric=numeric)
        groupings.setdefault(grouping, reason)
    if not parts:
        raise TooFewError(
            f"no column of {file} differs between the recordings",
            got=f"columns {', '.join(found)}",
        )
    chosen: Grouping = "speaker" if "speaker" in groupings else "utterance"
    notice = f"Columns of {file} that do not differ: {', '.join(constant)}."
    return RowView(
        np.array(kept, dtype=np.int64),
        np.hstack(parts),
        tuple(columns),
        None,
        chosen,
        groupings[chosen],
        {"kind": "columns", "dropped": {}},
        (notice,) if constant else (),
    )
