"""Recordings of planted symbols as frames in memory: what heads with CTC must find is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from voxstrata.metrics.edit import error_rate
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.sequences.train import Symbols
from voxstrata.probing.task import Round, Transcripts
from voxstrata.types import FrameGrid, LayerInfo

FINE, COARSE = FrameGrid(160, 400), FrameGrid(320, 400)


class Memory:
    """Frames by recording, as :class:`FrameStore` gives them."""

    def __init__(self, held: dict[str, list[torch.Tensor]]) -> None:
        self.held = held

    def count(self, recording: str) -> int:
        return len(self.held[recording][0])

    def rows(self, position: int, recording: str) -> torch.Tensor:
        return self.held[recording][position]


def made(
    widths: tuple[int, ...] = (6, 6, 6),
    n: int = 30,
    symbols: int = 4,
    dtype: torch.dtype = torch.float64,
) -> tuple[FrameFeatures, Round]:
    """Recordings in which every symbol lasts three frames; later layers show it more clearly."""
    rng = np.random.default_rng(0)
    codes = [torch.from_numpy(rng.standard_normal((symbols + 3, w))) for w in widths]
    held: dict[str, list[torch.Tensor]] = {}
    said = []
    for i in range(n):
        row = rng.integers(3, 3 + symbols, rng.integers(2, 7))
        said.append(row)
        path = np.repeat(np.append(row, 0), 3)
        held[f"r{i}"] = [
            (depth * code[path] + torch.from_numpy(rng.standard_normal((len(path), w)))).to(dtype)
            for depth, (code, w) in enumerate(zip(codes, widths, strict=True))
        ]
    parts, third = {}, n // 3
    for at, part in enumerate(("train", "dev", "test")):
        mine = range(at * third, (at + 1) * third)
        parts[part] = Transcripts(
            tuple(f"r{i}" for i in mine),
            np.zeros((third, 0), np.int64),
            tuple(f"r{i}" for i in mine),
            tuple(said[i] for i in mine),
        )
    infos = [LayerInfo(str(i), w, "frame", FINE) for i, w in enumerate(widths)]
    store: Any = Memory(held)
    place = {name: i for i, name in enumerate(held)}
    features = FrameFeatures(infos, [(store, i) for i in range(len(widths))], place)
    return features, Round("", parts)


def rate(wanted: Symbols, said: Symbols) -> float:
    return error_rate([row.tolist() for row in wanted], [row.tolist() for row in said])
