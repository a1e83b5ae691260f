"""Reading what a run record or a table says, without trusting its shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def mappings(value: object) -> Iterable[Mapping[str, Any]]:
    """The mappings in a list; nothing where ``value`` is no list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


def slug(parts: Sequence[object], taken: set[str]) -> str:
    """A file-name-safe key, unique within ``taken``."""
    text = "-".join(
        "".join(c if c.isascii() and c.isalnum() else "-" for c in str(part)).strip("-").lower()
        for part in parts
        if str(part)
    )
    key, count = text or "facet", 2
    while key in taken:
        key, count = f"{text}-{count}", count + 1
    taken.add(key)
    return key


def by_reason(found: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """(name, reason) pairs as reasons, each with all its names, in order of first mention.

    Reasons that differ only in naming the property are one reason.
    """
    grouped: dict[str, list[str]] = {}
    for name, reason in found:
        plain = reason.removeprefix(f"{name}: ").replace(f"the view of {name} ", "the view ")
        grouped.setdefault(plain, []).append(name)
    return list(grouped.items())
