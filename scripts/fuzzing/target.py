"""A reader under test, and what the targets share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        name: for the command line; folder of its regression cases.
        file: what the bytes are called.
        read: reads the file at a path; what lies beside it is made by ``beside``.
        seeds: contents that it can read.
        beside: writes what else the reader needs into a new folder.
        json: whether contents are JSON (mutants change its values, not its bytes alone).
    """

    name: str
    file: str
    read: Read
    seeds: Callable[[], Sequence[bytes]]
    beside: Callable[[Path], None] = lambda folder: None
    json: bool = False

    def attempt(self, data: bytes, folder: Path) -> None:
        """Write the bytes and read them; raises what the reader raises but its own errors."""
        from voxstrata.errors import VoxstrataError

        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        try:
            self.read(path)
        except VoxstrataError as error:
            str(error)  # every error must be able to say what it says


def dumped(*values: Any) -> list[bytes]:
    """Values as JSON."""
    return [json.dumps(value).encode() for value in values]


def ignore(*_told: object) -> None:
    """Take problems that a reader tells of and goes on."""


def lines(*lines: str) -> Callable[[], list[bytes]]:
    """Contents of text files."""
    return lambda: [line.encode() for line in lines]
