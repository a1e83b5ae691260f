"""Two results folders of the same kind side by side: what was done differently, and what differs.

Nothing is measured: numbers are matched by what they are about, and held against their intervals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ResultsError
from voxstrata.files import read_json
from voxstrata.report.compare_parts import parts_together
from voxstrata.report.reading import mappings
from voxstrata.results import TABLE, Results

if TYPE_CHECKING:
    import pandas as pd

ABOUT = (
    *("part", "model", "layer", "other_model", "other_layer", "property", "measure", "unit"),
    *("estimator", "control"),
)
"""Columns that say what a number is about; the seed is one more where a run has several."""

EQUAL, WITHIN, BEYOND, OPEN = "equal", "within", "beyond", "no interval"
FIRST, SECOND = "only in the first", "only in the second"
VERDICTS = (EQUAL, WITHIN, BEYOND, OPEN, FIRST, SECOND)
"""What can be said of a number: both the same; different, with intervals that meet (an interval on
one side is held against the other's value) or that share no point; different without any interval;
in one run only (what is not finite counts as no number, unless it is so in both)."""

SAME = 1e-12
"""Relative difference up to which two numbers are the same."""

ABSENT = "–"
"""Stands for a setting that a run does not have."""


@dataclass(frozen=True)
class Fact:
    """One thing that differs in how two runs were made.

    Attributes:
        part: which results, "" for a single folder.
        kind: "setting", "model", "corpus", "version" or "machine".
        name: of the setting, model, package, ...
        first, second: as text; :data:`ABSENT` where a run has none.
    """

    part: str
    kind: str
    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        first, second: their folders.
        parts: names of the results that both have ("" for single folders), with the seed where an
            analysis of a study has several.
        jobs: kind of each part.
        alone: parts that one folder alone has, or that are of different kinds, with the reason.
        facts: what differs in how they were made.
        table: a row a number: the columns of :data:`ABOUT`, ``seed`` and ``seed_second``, value,
            interval, n and groups of both (``value_first``, ...), ``difference`` (second less
            first) and ``verdict``, one of :data:`VERDICTS`.
        claims: of two studies: title of each claim with its verdict in both; :data:`ABSENT` where a
            study does not make it.
    """

    first: Path
    second: Path
    parts: tuple[str, ...]
    jobs: tuple[str, ...]
    alone: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    table: pd.DataFrame
    claims: tuple[tuple[str, str, str], ...] = ()

    def _repr_html_(self) -> str:
        from voxstrata.report.compare_words import beyond_said, facts_said, numbers_said
        from voxstrata.report.section import render

        said = [*numbers_said(self), beyond_said(self), *facts_said(self)]
        return render("compare_short.html", title=f"{self.first} and {self.second}", said=said)

    def count(self, verdict: str) -> int:
        """How many numbers have this verdict."""
        return int((self.table["verdict"] == verdict).sum())

    @property
    def shared(self) -> int:
        """How many numbers both runs have."""
        return len(self.table) - self.count(FIRST) - self.count(SECOND)


def compare_results(first: str | Path, second: str | Path) -> Comparison:
    """Compare two results folders of the same kind, or the same parts of two studies.

    Args:
        first, second: folders with ``results.parquet`` and ``run.json``, or folders of such
            folders (a study, a demo).

    Raises:
        ResultsError: a folder has no results, or damaged ones.
        UsageError: the results are of different kinds, or the folders share no part.
    """
    import pandas as pd

    shared, alone = parts_together(Path(first), Path(second))
    facts = [fact for name, a, b in shared for fact in facts_of(name, a.results, b.results)]
    tables = [matched(name, a.results, b.results) for name, a, b in shared]
    return Comparison(
        Path(first),
        Path(second),
        tuple(name for name, _, _ in shared),
        tuple(a.job for _, a, _ in shared),
        tuple(alone),
        tuple(dict.fromkeys(facts)),
        pd.concat(tables, ignore_index=True),
        _claims(Path(first), Path(second)),
    )


def _claims(first: Path, second: Path) -> tuple[tuple[str, str, str], ...]:
    """Verdicts of two studies, claim by claim; nothing where neither holds claims."""
    from voxstrata.report.study_view import CLAIMS

    held = []
    for folder in (first, second):
        path = folder / CLAIMS
        told = mappings(read_json(path)) if path.exists() else []
        held.append({str(c.get("title")): str(c.get("verdict")) for c in told})
    ours, theirs = held
    return tuple(
        (title, ours.get(title, ABSENT), theirs.get(title, ABSENT))
        for title in dict.fromkeys([*ours, *theirs])
    )


def matched(part: str, first: Results, second: Results) -> pd.DataFrame:
    """Numbers of two runs, matched by what they are about.

    Raises:
        ResultsError: a table has two numbers for one thing.
    """
    import numpy as np

    sides = [_keyed(part, run, symmetric(first) | symmetric(second)) for run in (first, second)]
    about = list(ABOUT)
    if any(side.duplicated(about).any() for side in sides):
        about.append("seed")  # a run of several seeds: each is a number of its own
    for side, run in zip(sides, (first, second), strict=True):
        if side.duplicated(about).any():
            raise ResultsError(
                f"{run.folder / TABLE} has two numbers for one thing",
                got=str(side[side.duplicated(about)][about].iloc[0].to_dict()),
            )
    held = ["value", "ci_low", "ci_high", "n", "groups", *({"seed"} - set(about))]
    both = sides[0][[*about, *held]].merge(
        sides[1][[*about, *held]],
        how="outer",
        on=about,
        suffixes=("_first", "_second"),
        sort=False,
        indicator=True,
    )
    if "seed" in about:
        both["seed_first"] = both["seed_second"] = both.pop("seed")
    a, b = both["value_first"].to_numpy(), both["value_second"].to_numpy()
    both["difference"] = b - a
    low, high = _ends(both, "first"), _ends(both, "second")
    apart = (low[0] > high[1]) | (high[0] > low[1])
    spanned = both[["ci_low_first", "ci_low_second"]].notna().any(axis=1).to_numpy()
    same = np.isclose(a, b, rtol=SAME, atol=0, equal_nan=True)
    one = [both["_merge"] == "left_only", both["_merge"] == "right_only"]
    valued = np.isfinite(a), np.isfinite(b)
    both["verdict"] = np.select(
        [
            *(side.to_numpy() for side in one),
            same,
            ~valued[1],  # a number that has become none, and the other way round
            ~valued[0],
            ~spanned,
            apart,
        ],
        [FIRST, SECOND, EQUAL, FIRST, SECOND, OPEN, BEYOND],
        default=WITHIN,
    )
    order = [*ABOUT, *(f"{name}_{side}" for name in ("value", "ci_low", "ci_high")
                       for side in ("first", "second")),
             "difference", "verdict",
             *(f"{name}_{side}" for name in ("n", "groups", "seed")
               for side in ("first", "second"))]  # fmt: skip
    for name in ("n", "groups", "seed"):
        for which in ("first", "second"):
            both[f"{name}_{which}"] = both[f"{name}_{which}"].astype("Int64")
    return both[order]


def symmetric(results: Results) -> set[str]:
    """Measures whose pairs may stand in either order, by the run's record."""
    return {
        str(entry.get("name"))
        for entry in mappings(results.record.get("measures"))
        if entry.get("symmetric")
    }


def _keyed(part: str, results: Results, unordered: set[str]) -> pd.DataFrame:
    """A run's table with the part, and with symmetric pairs in one order."""
    import numpy as np

    table = results.table.copy()
    table["part"] = part
    for name in ("value", "ci_low", "ci_high"):
        table[name] = table[name].astype("float64")
    sides = [["model", "layer"], ["other_model", "other_layer"]]
    one, other = (list(zip(*(table[c] for c in side), strict=True)) for side in sides)
    turn = np.array(
        [
            m in unordered and bool(b[0]) and b < a
            for m, a, b in zip(table["measure"], one, other, strict=True)
        ],
        dtype=bool,
    )
    if turn.any():
        columns = [*sides[0], *sides[1]]
        table.loc[turn, columns] = table.loc[turn, [*sides[1], *sides[0]]].to_numpy()
    return table


def _ends(both: pd.DataFrame, side: str) -> tuple[Any, Any]:
    """Ends of the intervals of a side; its values where it has none."""
    value = both[f"value_{side}"]
    known = both[f"ci_low_{side}"].notna() & both[f"ci_high_{side}"].notna()
    low = both[f"ci_low_{side}"].where(known, value)
    high = both[f"ci_high_{side}"].where(known, value)
    return low.to_numpy(), high.to_numpy()


def facts_of(part: str, first: Results, second: Results) -> list[Fact]:
    """What differs in settings, models, corpora, versions and machine."""
    found = []
    sides = {
        "setting": [_settings(r.record) for r in (first, second)],
        "model": [_models(r.record) for r in (first, second)],
        "corpus": [_corpus(r.record) for r in (first, second)],
        "version": [_flat(r.record.get("versions")) for r in (first, second)],
        "machine": [
            _flat(r.record.get("hardware")) | _flat({"device": r.record.get("device")})
            for r in (first, second)
        ],
    }
    for kind, (ours, theirs) in sides.items():
        for name in dict.fromkeys([*ours, *theirs]):
            a, b = ours.get(name, ABSENT), theirs.get(name, ABSENT)
            if a != b:
                found.append(Fact(part, kind, name, a, b))
    return found


def _settings(record: Mapping[str, Any]) -> dict[str, str]:
    """The configuration, and what stands beside it."""
    beside = {key: record[key] for key in ("seed", "folds", "group") if key in record}
    return _flat(beside) | _flat(record.get("config"))


def _models(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(model.get("spec")): f"fingerprint {model.get('fingerprint') or 'unknown'}"
        for model in mappings(record.get("models"))
    }


def _corpus(record: Mapping[str, Any]) -> dict[str, str]:
    corpus = record.get("corpus")
    if not isinstance(corpus, Mapping):
        return {}
    keys = ("spec", "name", "fingerprint", "utterances", "seconds", "speakers")
    return _flat({key: corpus[key] for key in keys if corpus.get(key) is not None})


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """A nested mapping as dotted names and JSON texts."""
    if isinstance(value, Mapping):
        return {
            key: text
            for inner, held in value.items()
            for key, text in _flat(held, f"{name}.{inner}" if name else str(inner)).items()
        }
    if value is None and not name:
        return {}
    return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
