"""A seeded sample of frames, for k-means and quantiles, from a pass of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.streaming.reducers import Rows


class SampleReducer:
    """Keeps each frame with one probability, drawn for each recording by itself.

    The draw depends on the seed and the recording's id alone, so that neither the order of the
    corpus nor a resumed run changes it.

    Args:
        keys: names of the layers, in the order of the rows' values.
        share: probability of a frame.
        seed: of the draw.
    """

    def __init__(self, keys: Sequence[str], share: float, seed: int) -> None:
        self.keys, self.share, self.seed = tuple(keys), min(1.0, share), seed
        self._parts: list[list[torch.Tensor]] = [[] for _ in keys]

    def update(self, rows: Rows) -> None:
        """Keep some frames of a recording, the same ones of all layers."""
        digest = hashlib.sha256(f"{self.seed} {rows.utterance}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        kept = torch.from_numpy(np.flatnonzero(random.random(len(rows)) < self.share))
        for parts, values in zip(self._parts, rows.values, strict=True):
            parts.append(values[kept.to(values.device)].float().cpu())

    def end_shard(self, shard: int) -> None:
        """Nothing is buffered."""

    def merge(self, other: SampleReducer) -> None:
        """Add the frames of other recordings."""
        for mine, theirs in zip(self._parts, other._parts, strict=True):
            mine += theirs

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """Frames [N, D] of every layer; they are handed over, so that none is held twice."""
        found = {}
        for key, parts in zip(self.keys, self._parts, strict=True):
            found[key] = (torch.cat(parts) if parts else torch.zeros(0, 0)).numpy()
            parts.clear()
        return found

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The frames kept."""
        return {
            str(i): torch.cat(parts) if parts else torch.zeros(0, 0)
            for i, parts in enumerate(self._parts)
        }, {}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from them."""
        held = [tensors[str(i)].clone() for i in range(len(self.keys))]
        self._parts = [[part] if part.numel() else [] for part in held]

    def state_bytes(self) -> int:
        """Four bytes a number."""
        return 4 * sum(part.numel() for parts in self._parts for part in parts)
