"""Which results of two folders belong together: analyses by name and seed, runs by their folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxstrata.errors import ResultsError, UsageError
from voxstrata.report.reading import mappings
from voxstrata.results import RECORD, TABLE, Results, load_results


@dataclass(frozen=True)
class Part:
    """Results of one folder, or of one inside it.

    Attributes:
        name: of the analysis (of a study), else of the folder; "" for a single run.
        seed: of the study that it was made with; ``None`` where the analysis names its own, and
            outside studies. A study's folders cannot tell: its first seed has the plain name.
        results: what it holds.
    """

    name: str
    seed: int | None
    results: Results

    @property
    def job(self) -> str:
        """The kind of run."""
        return str(self.results.record.get("job") or "unknown")


Shared = tuple[str, Part, Part]
"""What two parts are called in common, and both."""


def parts_of(folder: Path) -> list[Part]:
    """Results of a folder: itself, or, for a study, those inside it.

    Raises:
        ResultsError: there are none, or they are damaged.
    """
    if (folder / TABLE).exists() and (folder / RECORD).exists():
        own = load_results(folder)
        if own.record.get("job") != "study":
            return [Part("", None, own)]
        entries = mappings(own.record.get("analyses"))
        made = [entry for entry in entries if entry.get("folder") and not entry.get("failed")]
        found = [
            Part(
                str(entry.get("name") or entry["folder"]),
                entry.get("seed"),
                load_results(folder / str(entry["folder"])),
            )
            for entry in made
        ]
        return found or [Part("", None, own)]
    inside = sorted(path.parent for path in folder.glob(f"*/{TABLE}"))
    if not inside:
        raise ResultsError(
            f"{folder} holds no finished results",
            expected=f"the files {TABLE} and {RECORD} in it, or in folders inside it",
            fix="finish the run first (the same command resumes it), or check the path",
        )
    return [Part(path.name, None, load_results(path)) for path in inside]


def parts_together(first: Path, second: Path) -> tuple[list[Shared], list[tuple[str, str]]]:
    """Parts of two folders that are about the same.

    Parts of one analysis are matched by seed. Where they have no seed in common the first of each
    are: what another seed changes is a question too.

    Returns:
        the pairs; and what one folder alone has, or has of another kind, with the reason.

    Raises:
        ResultsError: a folder has no results, or damaged ones.
        UsageError: the results are of different kinds, or the folders share no part.
    """
    ours, theirs = parts_of(first), parts_of(second)
    single = [held[0].name == "" for held in (ours, theirs)]
    if single[0] != single[1]:
        one, several = (first, second) if single[0] else (second, first)
        raise UsageError(
            "a single run and a folder of several cannot be compared",
            got=f"{one} and {several}",
            expected="two results folders, or two studies",
            fix=f"name one of the folders inside {several}",
        )
    shared: list[Shared] = []
    alone: list[tuple[str, str]] = []
    for name in dict.fromkeys(part.name for part in (*ours, *theirs)):
        sides = [[part for part in held if part.name == name] for held in (ours, theirs)]
        seeded = max(map(len, sides)) > 1
        for a, b in _matched(*sides):
            called = f"{name}, seed {_seeds(a, b)}" if seeded else name
            if a is None or b is None:
                alone.append((called, f"only in {second if a is None else first}"))
            elif a.job == b.job:
                shared.append((called, a, b))
            elif name:
                alone.append((called, f"of different kinds ({a.job} and {b.job})"))
            else:
                raise UsageError(
                    "results of different kinds cannot be compared",
                    got=f"{first} ({a.job}) and {second} ({b.job})",
                    expected="two runs of the same command",
                )
    if not shared:
        raise UsageError(
            f"{first} and {second} have no part of the same name and kind",
            got=f"{_listed(ours)} and {_listed(theirs)}",
            expected="two runs of one study",
        )
    return shared, alone


def _matched(ours: Sequence[Part], theirs: Sequence[Part]) -> list[tuple[Part | None, Part | None]]:
    """Parts of one analysis side by side; ``None`` where a side has none of that seed."""
    left, right = ({part.seed: part for part in side} for side in (ours, theirs))
    if not set(left) & set(right) and ours and theirs:
        rest = [*((a, None) for a in ours[1:]), *((None, b) for b in theirs[1:])]
        return [(ours[0], theirs[0]), *rest]
    return [(left.get(seed), right.get(seed)) for seed in dict.fromkeys([*left, *right])]


def _seeds(*sides: Part | None) -> str:
    """ "0", or "0 against 2"."""
    seeds = [part.seed for part in sides if part is not None]
    return " against ".join(
        "of its own" if seed is None else str(seed) for seed in dict.fromkeys(seeds)
    )


def _listed(parts: Sequence[Part]) -> str:
    return ", ".join(dict.fromkeys(part.name for part in parts))
