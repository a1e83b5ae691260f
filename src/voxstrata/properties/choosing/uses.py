"""Downstream uses and what speaks for a layer in each: read from ``uses.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from voxstrata.config import Config, build, read_yaml
from voxstrata.registry import unknown_name

Better = Literal["high", "low"]

ERROR_RATES = ("eer", "wer", "cer", "per", "der", "error", "mindcf")
"""Measures of tasks of which less is better, by the last part of their names."""


class Evidence(Config):
    """One kind of evidence.

    Attributes:
        name: property or pattern of property names.
        measure: measure of it; empty for its main one.
        better: whether much or little of it speaks for a layer.
    """

    name: str
    measure: str = ""
    better: Better = "high"


class _Entry(Config):
    title: str
    also: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    properties: tuple[str | Evidence, ...]
    source: str


@dataclass(frozen=True)
class Use:
    """A downstream use.

    Attributes:
        name: what the user types.
        title: for tables.
        also: other names of it.
        tasks: probing results that decide first.
        properties: property curves that decide after them.
        source: why.
    """

    name: str
    title: str
    also: tuple[str, ...]
    tasks: tuple[Evidence, ...]
    properties: tuple[Evidence, ...]
    source: str


@cache
def uses() -> dict[str, Use]:
    """All uses by name."""
    found = {}
    for name, raw in read_yaml(Path(__file__).with_name("uses.yaml")).items():
        entry = build(_Entry, raw, source=f"use {name!r}")
        found[name] = Use(
            name,
            entry.title,
            entry.also,
            tuple(Evidence(name=task) for task in entry.tasks),
            tuple(Evidence(name=p) if isinstance(p, str) else p for p in entry.properties),
            " ".join(entry.source.split()),
        )
    return found


def find_use(name: str) -> Use:
    """The use called ``name``, by its name or another name of it; case does not matter.

    Raises:
        UnknownNameError: there is none; near ones are offered.
    """
    wanted = name.strip().lower().replace("-", " ").replace("_", " ")
    known: dict[str, Use] = {}
    for use in uses().values():
        for text in (*use.also, use.name):
            known.setdefault(text.lower().replace("-", " "), use)
    if wanted not in known:
        raise unknown_name("downstream use", name, list(uses()))
    return known[wanted]


def less_is_better(measure: str) -> bool:
    """Whether a measure is an error rate."""
    return measure.lower().replace("_", "-").split("-")[-1] in ERROR_RATES
