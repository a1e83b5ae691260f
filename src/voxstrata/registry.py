"""Names to things, lazily: built-in entries, third-party entry points, and "did you mean"."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from voxstrata.errors import UnknownNameError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        name: what the user types.
        target: ``"package.module:attribute"``, imported on first use only.
        summary: one line for listings.
    """

    name: str
    target: str
    summary: str = ""


class Registry(Generic[T]):
    """A table of names, each pointing at ``"module:attribute"``.

    Nothing is imported until :meth:`get` is called, so listing names costs nothing. Third
    parties add names through the entry-point group ``voxstrata.<plural>``.

    Args:
        kind: singular noun for messages ("measure").
        group: entry-point group ("voxstrata.measures").
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, Entry] = {}
        self._objects: dict[str, T] = {}
        self._plugins_read = False

    def add(self, name: str, target: str, summary: str = "") -> None:
        """Register ``name``; refuses a second, different target for the same name.

        Raises:
            UsageError: the name is taken by another target, or the target has no colon.
        """
        if ":" not in target:
            raise UsageError(
                f"{self.kind} {name!r} has no usable target",
                got=target,
                expected="'package.module:attribute'",
            )
        old = self._entries.get(name)
        if old is not None and old.target != target:
            raise UsageError(
                f"the {self.kind} name {name!r} is registered twice",
                got=f"{old.target} and {target}",
                expected="one target a name",
                fix="rename one of them, or uninstall the package that adds the second",
            )
        self._entries[name] = Entry(name, target, summary)

    def put(self, name: str, thing: T, summary: str = "") -> None:
        """Register an object that exists already (tests, notebooks)."""
        self._entries[name] = Entry(name, f"{type(thing).__module__}:{name}", summary)
        self._objects[name] = thing

    def names(self) -> list[str]:
        """All names, built-in and from entry points, in order of registration."""
        self._read_plugins()
        return list(self._entries)

    def entries(self) -> list[Entry]:
        """All entries, in order of registration."""
        self._read_plugins()
        return list(self._entries.values())

    def __contains__(self, name: object) -> bool:
        self._read_plugins()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str) -> T:
        """The thing called ``name``, imported now if need be.

        Raises:
            UnknownNameError: no such name; the message offers the nearest ones.
        """
        self._read_plugins()
        if name not in self._entries:
            raise unknown_name(self.kind, name, list(self._entries))
        if name not in self._objects:
            module, _, attribute = self._entries[name].target.partition(":")
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            self._objects[name] = cast(T, found)
        return self._objects[name]

    def _read_plugins(self) -> None:
        if self._plugins_read:
            return
        self._plugins_read = True
        for point in metadata.entry_points(group=self.group):
            if point.name not in self._entries:
                self.add(point.name, point.value, f"from {point.dist.name if point.dist else '?'}")


def unknown_name(kind: str, name: str, known: list[str]) -> UnknownNameError:
    """The error for an unknown name, with the nearest known ones.

    Args:
        kind: singular noun ("layer of model 'hubert-base'").
        name: what was asked for.
        known: all names that would have been right.
    """
    lowered = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
    shown = ", ".join(known[:40]) + (f", ... ({len(known)} in all)" if len(known) > 40 else "")
    return UnknownNameError(
        f"unknown {kind}: {name!r}",
        got=name,
        expected=shown or "(none are registered)",
        fix=f"did you mean {' or '.join(repr(lowered[n]) for n in near)}?" if near else "",
    )
