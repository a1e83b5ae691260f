"""The tidy results table and the record of how it was made.

A results folder holds ``results.parquet`` (one long table, a row a number), the same as
``results.csv``, and ``run.json`` (everything needed to repeat the run). The columns are
documented in ``docs/results.md``; the schema number is stored in the parquet metadata and in
the record, and readers accept every number up to :data:`SCHEMA`.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ResultsError
from voxstrata.files import atomic_write, read_json, storage_errors, write_json
from voxstrata.sums import DamagedError, read_table, seal_table

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
"""Version of the results table and run record written by this release (2 added ``control``)."""

SHOWN = 10
"""Rows of the table that a notebook shows."""

TABLE, CSV, RECORD = "results.parquet", "results.csv", "run.json"


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        study: name of the run or study it belongs to.
        model, layer: what was measured.
        other_model, other_layer: what it was compared with; empty where there is none.
        property: property or task ("similarity", later "cca-phone", "SID", ...).
        measure: registry name of the measure, with variant ("cka", "pwcca-pasad", ...).
        unit: "frame", "phone", "word", "utterance".
        value: the number.
        ci_low, ci_high: ends of the 95 % interval; ``None`` where there is none.
        n: rows that entered.
        groups: independent groups (utterances or speakers) behind the interval.
        d, other_d: widths of the two sides.
        estimator: "debiased", "biased", "minibatch", "in-sample", ...
        seed: seed of whatever was random.
        control: "" for a number about the model, else which control it is ("shuffled-rows",
            "permuted-labels", "chance").
    """

    study: str
    model: str
    layer: str
    other_model: str
    other_layer: str
    property: str
    measure: str
    unit: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    groups: int
    d: int
    other_d: int
    estimator: str
    seed: int
    control: str = ""


def hardware() -> dict[str, Any]:
    """The machine, as far as it bears on numbers and speed."""
    import psutil

    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": psutil.cpu_count(logical=True) or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                facts["processor"] = line.partition(":")[2].strip()
                break
    return facts


def versions() -> dict[str, str]:
    """Versions of Python, voxstrata and the libraries whose code makes the numbers."""
    found = {"python": platform.python_version()}
    for name in ("voxstrata", "torch", "numpy", "scipy", "transformers", "lhotse", "soxr"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def empty_table() -> pd.DataFrame:
    """A results table without rows."""
    import pandas as pd

    return pd.DataFrame(columns=[f.name for f in fields(Row)])


def write_results(folder: Path, rows: Iterable[Row], record: Mapping[str, Any]) -> None:
    """Write table, csv and record; each file appears whole or not at all.

    Args:
        folder: results folder, created if absent.
        rows: the numbers.
        record: JSON-like facts about the run (config, fingerprints, seeds, wall time).

    Raises:
        StorageError: the folder cannot be written.
    """
    import pandas as pd
    import pyarrow as pa

    names = [f.name for f in fields(Row)]
    frame = pd.DataFrame([asdict(row) for row in rows], columns=names)
    for name in ("value", "ci_low", "ci_high"):
        frame[name] = frame[name].astype("float64")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"voxstrata_schema": str(SCHEMA).encode()}
    )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / TABLE) as file:
        file.write(seal_table(table))
    with atomic_write(folder / CSV) as file:
        file.write(frame.to_csv(index=False).encode("utf-8"))
    full = {
        "schema": SCHEMA,
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "hardware": hardware(),
        **record,
    }
    write_json(folder / RECORD, full)


@dataclass(frozen=True)
class Results:
    """A results folder, read.

    Attributes:
        table: the tidy table (columns of :class:`Row`).
        record: the run record.
        folder: where it lies.
    """

    table: pd.DataFrame
    record: dict[str, Any]
    folder: Path

    def _repr_html_(self) -> str:
        """What a notebook shows: what was run, on what, and the ends of the table; escaped."""
        from html import escape

        models = self.record.get("models")
        named = [
            m.get("spec")
            for m in (models if isinstance(models, list) else ())
            if isinstance(m, dict)
        ]
        corpus = self.record.get("corpus")
        known = corpus if isinstance(corpus, dict) else {}
        facts = {
            "folder": self.folder,
            "study": self.record.get("study"),
            "models": ", ".join(str(name) for name in named),
            "corpus": known.get("spec") or known.get("name"),
            "finished": self.record.get("finished"),
            "numbers": f"{len(self.table):,}",
        }
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(key)}</th>"
            f"<td style='text-align: left'>{escape(str(value))}</td></tr>"
            for key, value in facts.items()
            if value
        )
        notices = self.record.get("notices")
        told = notices if isinstance(notices, list) else []
        warned = "".join(f"<li>{escape(str(text))}</li>" for text in told)
        title = escape(f"Results of voxstrata {self.record.get('job') or ''}".strip())
        shown = self.table.loc[:, (self.table != "").any()]  # columns that say something
        ends = shown.to_html(index=False, escape=True, max_rows=SHOWN, na_rep="", border=0)
        return (
            f"<div><p><b>{title}</b></p><table>{rows}</table>"
            f"{f'<ul>{warned}</ul>' if warned else ''}{ends}</div>"
        )


def load_results(folder: str | Path) -> Results:
    """Read a results folder.

    Raises:
        ResultsError: it has no results, they are damaged, or their schema is newer than
            this release.
    """

    place = Path(folder)
    if not ((place / TABLE).exists() and (place / RECORD).exists()):
        raise ResultsError(
            f"{place} holds no finished results",
            expected=f"the files {TABLE} and {RECORD} in it",
            fix="finish the run first (the same command resumes it), or check the path",
        )
    try:
        table = read_table(place / TABLE, sealed=False)
    except (DamagedError, OSError) as error:
        raise ResultsError(
            f"{place / TABLE} is damaged",
            got=str(error),
            fix="run its command again with --overwrite always, or fetch the folder again",
        ) from None
    stated = (table.schema.metadata or {}).get(b"voxstrata_schema", b"0")
    schema = int(stated) if stated.isdigit() and len(stated) < 10 else 0
    if not 1 <= schema <= SCHEMA:
        raise ResultsError(
            f"{place / TABLE} has an unknown schema",
            got=schema,
            expected=f"1 to {SCHEMA}",
            fix="upgrade voxstrata",
        )
    frame = table.to_pandas()
    if "control" not in frame:  # schema 1 had no controls in its table
        frame["control"] = ""
    record = read_json(place / RECORD)
    if not isinstance(record, dict):
        raise ResultsError(
            f"{place / RECORD} is damaged", got=type(record).__name__, expected="a mapping"
        )
    return Results(frame, record, place)
