"""Channels of recordings in a verification run, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.files import atomic_write
from voxstrata.registry import unknown_name
from voxstrata.verification.embed import ChannelOf

LIST = "channels.jsonl"
"""File of the channels of a run, a line a recording."""


@dataclass(frozen=True)
class ChannelsOf:
    """A channel for each recording.

    Attributes:
        key: identifies them: kind and seed.
        of: the channel of a recording, by id.
        describe: JSON-like facts of a recording's channel, by id.
    """

    key: str
    of: ChannelOf
    describe: Callable[[str], dict[str, Any]]


def channels(kind: str, seed: int) -> ChannelsOf | None:
    """The channels called ``kind``; ``None`` for "none".

    Raises:
        UnknownNameError: no such kind.
    """
    if kind == "none":
        return None
    if kind != "random":
        raise unknown_name("channel", kind, ["none", "random"])
    from voxstrata.augmentation.channel import random_channel

    return ChannelsOf(
        f"random:{seed}",
        lambda name: random_channel(seed, name),
        lambda name: random_channel(seed, name).describe(),
    )


def write_channels(folder: Path, made: ChannelsOf, ids: Iterable[str]) -> Path:
    """Write what each recording passed through, a JSON line each.

    Raises:
        StorageError: the file cannot be written.
    """
    path = folder / LIST
    lines = [
        json.dumps({"id": name, **made.describe(name)}, ensure_ascii=False, allow_nan=False)
        for name in ids
    ]
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))
    return path
