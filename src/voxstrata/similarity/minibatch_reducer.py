"""The minibatch estimator as a reducer: fixed memory, whatever the width and the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from voxstrata.similarity.minibatch import MinibatchHsic
from voxstrata.streaming.reducers import Rows


class MinibatchReducer:
    """Sums unbiased HSIC over batches of whole recordings of one fold.

    Args:
        layers: number of layers L of the stack.
        folds: number of folds F.
        rows: a batch is closed as soon as it holds this many rows.
    """

    def __init__(self, layers: int, folds: int, rows: int) -> None:
        self.sums = MinibatchHsic(layers, folds)
        self.rows = rows
        self.lost = 0
        self._held: list[list[torch.Tensor]] = []
        self._count, self._fold = 0, -1

    def update(self, rows: Rows) -> None:
        """Add a recording to the current batch."""
        if rows.fold != self._fold:
            self._close()
            self._fold = rows.fold
        if len(rows):
            self._held.append(rows.values)
            self._count += len(rows)
        if self._count >= self.rows:
            self._close()

    def end_shard(self, shard: int) -> None:
        """Close the current batch."""
        self._close()
        self._fold = -1

    def _close(self) -> None:
        held, count = self._held, self._count
        self._held, self._count = [], 0
        if count < 4:
            self.lost += count  # unbiased HSIC of fewer than four rows does not exist
            return
        self.sums.add([torch.cat(parts) for parts in zip(*held, strict=True)], self._fold)

    def merge(self, other: MinibatchReducer) -> None:
        """Add another reducer's sums."""
        self._close()
        other._close()
        self.sums.merge(other.sums)
        self.lost += other.lost

    def finish(self) -> MinibatchHsic:
        """The sums."""
        self._close()
        return self.sums

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The sums and the count of lost rows."""
        tensors = {
            "sums": torch.from_numpy(self.sums.sums),
            "rows": torch.from_numpy(self.sums.rows),
        }
        return tensors, {"lost": self.lost}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.sums.sums = tensors["sums"].numpy().copy()
        self.sums.rows = tensors["rows"].numpy().copy()
        self.lost = int(facts["lost"])
        self._held, self._count, self._fold = [], 0, -1

    def state_bytes(self) -> int:
        """Bytes of the sums."""
        return int(self.sums.sums.nbytes)
