"""Where layer outputs go while a batch runs: only what was asked for, unpadded, by recording."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tap:
    """A place inside a block: what enters or leaves one of its modules."""

    module: nn.Module
    side: str  # "in" or "out"


class Wanted:
    """The layers asked for, and how far the model must run for them.

    Attributes:
        names: all names.
        convs: local encoder layers to run, where no block is needed.
        top: last block to run (0: only what enters block 1; -1: not even that).
    """

    def __init__(self, names: Sequence[str], depth: int) -> None:
        self.names = frozenset(names)
        self.convs, self.top = 0, -1
        for name in names:
            if found := re.fullmatch(r"conv(\d+)", name):
                self.convs = max(self.convs, int(found[1]))
            elif name.isdigit():
                self.top = max(self.top, int(name))
            elif found := re.match(r"block\.(\d+)\.", name):
                self.top = max(self.top, int(found[1]))
            else:  # stands on top of the stack
                self.top = depth

    def __contains__(self, name: str) -> bool:
        return name in self.names


class Sink:
    """Collects [T, D] outputs of each recording.

    Args:
        wanted: what to keep; anything else is dropped at once.
        recordings: number of recordings B of the batch.
    """

    def __init__(self, wanted: Wanted, recordings: int) -> None:
        self.wanted = wanted
        self._kept: list[dict[str, list[Tensor]]] = [{} for _ in range(recordings)]

    def put(self, name: str, output: Tensor, lengths: Sequence[int], rows: Sequence[int]) -> None:
        """Keep ``output`` [B, T, D] under ``name``: row b belongs to recording ``rows[b]`` and
        has ``lengths[b]`` real frames; several rows of a recording follow each other in time."""
        if name not in self.wanted:
            return
        for index, (length, row) in enumerate(zip(lengths, rows, strict=True)):
            self._kept[row].setdefault(name, []).append(output[index, :length])

    def results(self) -> list[dict[str, Tensor]]:
        """For each recording its layers, name to [T, D]."""
        return [
            {
                name: (parts[0] if len(parts) == 1 else torch.cat(parts)).contiguous()
                for name, parts in kept.items()
            }
            for kept in self._kept
        ]


@contextlib.contextmanager
def tapping(
    taps: Mapping[str, Tap], sink: Sink, lengths: Sequence[int], rows: Sequence[int]
) -> Iterator[None]:
    """Hook the wanted ones of ``taps`` (name to place) while the block runs."""
    handles = []

    def keep(name: str, value: Any) -> None:
        while isinstance(value, tuple):
            value = value[0]
        sink.put(name, value, lengths, rows)

    try:
        for name, tap in taps.items():
            if name not in sink.wanted:
                continue
            if tap.side == "in":
                handles.append(
                    tap.module.register_forward_pre_hook(
                        lambda _m, args, name=name: keep(name, args)
                    )
                )
            else:
                handles.append(
                    tap.module.register_forward_hook(
                        lambda _m, _args, out, name=name: keep(name, out)
                    )
                )
        yield
    finally:
        for handle in handles:
            handle.remove()
