"""What differs between two runs, in sentences made from counts."""

from __future__ import annotations

from voxstrata.report.compare import (
    BEYOND,
    EQUAL,
    FIRST,
    OPEN,
    SECOND,
    WITHIN,
    Comparison,
    Fact,
)
from voxstrata.report.words import counted, listing

NAMED = 6
"""Settings, models, ... that are named in a sentence; the table has all."""

KINDS = {
    "setting": ("setting differs", "settings differ", "The settings are the same."),
    "model": ("model differs", "models differ", "The models are the same."),
    "corpus": (
        "fact about the corpus differs",
        "facts about the corpus differ",
        "The corpus is the same.",
    ),
    "version": ("version differs", "versions differ", "The versions are the same."),
    "machine": (
        "fact about the machine differs",
        "facts about the machine differ",
        "The machine is the same.",
    ),
}


def compare_title(found: Comparison) -> str:
    """The page's title."""
    return f"{found.first} and {found.second}, compared"


def numbers_said(found: Comparison) -> list[str]:
    """How many numbers are the same, and how many are not."""
    if not len(found.table):
        return ["Neither run has a number."]
    said = []
    if not found.shared:
        said.append("No number is in both runs.")
    elif found.count(EQUAL) == found.shared:
        said.append(f"All {counted(found.shared, 'number')} that both runs have are equal.")
    else:
        said.append(
            f"Of {counted(found.shared, 'number')} that both runs have, "
            f"{found.count(EQUAL):,} {_are(found.count(EQUAL))} equal, "
            f"{found.count(WITHIN):,} {_differ(found.count(WITHIN))} with intervals that meet, and "
            f"{found.count(BEYOND):,} {_differ(found.count(BEYOND))} beyond their intervals."
        )
        if n := found.count(OPEN):
            said.append(f"{counted(n, 'more number')} {_differ(n)} without an interval to tell by.")
    for verdict, folder in ((FIRST, found.first), (SECOND, found.second)):
        if n := found.count(verdict):
            said.append(f"{counted(n, 'number')} {_are(n)} only in {folder}.")
    return said


def facts_said(found: Comparison) -> list[str]:
    """What differs in how the runs were made, a sentence a kind."""
    said = []
    for kind, (one, many, none) in KINDS.items():
        names = list(dict.fromkeys(_name(fact) for fact in found.facts if fact.kind == kind))
        if not names:
            said.append(none)
            continue
        told = names[:NAMED]
        if more := len(names) - len(told):
            told.append(f"{more:,} more")
        said.append(f"{len(names):,} {one if len(names) == 1 else many}: {listing(told)}.")
    for name, reason in found.alone:
        said.append(f"{name} is not compared: {reason}.")
    return said


def beyond_said(found: Comparison) -> str:
    """Which numbers differ beyond their intervals; empty where none does."""
    rows = found.table[found.table["verdict"] == BEYOND]
    if rows.empty:
        return ""
    counts = rows.groupby("property", sort=False).size().sort_values(ascending=False, kind="stable")
    told = [f"{name} ({n:,})" for name, n in list(counts.items())[:NAMED]]
    if more := len(counts) - len(told):
        told.append(f"{more:,} more")
    return f"Beyond their intervals: {listing(told)}."


def caution_said(found: Comparison) -> str:
    """How counts of intervals that part are to be taken."""
    return (
        "Intervals that meet do not show that nothing changed, only that these runs do not tell. "
        "Runs over the same recordings move together: their difference is often known better than "
        "either interval says. Intervals know nothing of how many numbers were looked at."
    )


def _name(fact: Fact) -> str:
    return f"{fact.name} ({fact.part})" if fact.part else fact.name


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _differ(n: int) -> str:
    return "differs" if n == 1 else "differ"
