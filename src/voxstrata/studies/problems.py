"""One thing that is wrong with a study: where, what, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voxstrata.config import Config, key_names, plain_message
from voxstrata.errors import VoxstrataError
from voxstrata.registry import unknown_name
from voxstrata.studies.load import Source


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: dotted path in the study ("analyses.probing.tasks").
        what: a sentence.
        expected: what would be right.
        fix: the remedy.
        line: in the file; 0 where it is not known.
    """

    where: str
    what: str
    expected: str = ""
    fix: str = ""
    line: int = 0

    def text(self) -> str:
        """As it is printed."""
        place = f"line {self.line}, {self.where}" if self.line else self.where
        found = f"{place}: {self.what}"
        if self.expected:
            found += f"; expected {self.expected}"
        return found + (f" ({self.fix})" if self.fix else "")


def of_item(
    item: Mapping[str, Any], kind: type[Config], path: list[str], source: Source, above: str = ""
) -> Problem:
    """What pydantic found wrong, in words."""
    shown = [part for part in path if part != "settings"]
    where = ".".join(filter(None, [above, *shown])) or "the file"
    line = line_of(source, where)
    if item["type"] == "extra_forbidden":
        known = key_names(kind, tuple(path[:-1]))
        hint = unknown_name("key", path[-1], known).fix
        return Problem(where, "unknown key", f"one of {', '.join(known)}", hint, line)
    if item["type"] == "missing":
        return Problem(where, "missing", "a value", "", line)
    message = plain_message(item["msg"])
    if not path:
        return Problem(where, message, "", "", line)
    return Problem(where, f"{item['input']!r} is not right", message, "", line)


def line_of(source: Source, where: str) -> int:
    """Line of a path, or of the nearest key above it."""
    parts = where.split(".")
    while parts:
        if (line := source.lines.get(".".join(parts))) is not None:
            return line
        parts.pop()
    return 0


def told(error: VoxstrataError, where: str, source: Source) -> Problem:
    """What one of our errors says, with the place in the study."""
    said = error.what if error.got is None else f"{error.what} ({error.got})"
    expected = str(error.expected) if error.expected is not None else ""
    return Problem(where, said, expected, error.fix, line_of(source, where))
