"""The minibatch estimator as a reducer: fixed memory, whatever the width and the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from voxstrata.errors import UsageError
from voxstrata.similarity.minibatch import MinibatchHsic
from voxstrata.streaming.reducers import Rows

SMALL = 64
"""Rows below which the rest of a shard waits for the next shard of its fold."""


class MinibatchReducer:
    """Sums unbiased HSIC over batches of whole recordings of one fold.

    A shard's last batch is closed with the shard, unless it is so small that its estimate would
    be poor (of a few recordings by utterance, say): then it waits, as part of the state.

    Args:
        layers: number of layers L of the stack.
        folds: number of folds F.
        rows: a batch is closed as soon as it holds this many rows.
    """

    whole_folds = True
    """See :class:`voxstrata.streaming.reducers.FoldWise`."""

    def __init__(self, layers: int, folds: int, rows: int) -> None:
        self.sums = MinibatchHsic(layers, folds)
        self.layers, self.rows = layers, rows
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
        """Close the current batch, if it is large enough."""
        if self._count >= min(SMALL, self.rows):
            self._close()
        else:  # copies: views would hold the outputs of whole recordings
            self._held = [[value.clone() for value in held] for held in self._held]

    def _close(self) -> None:
        held, count = self._held, self._count
        self._held, self._count = [], 0
        if count < 4:
            self.lost += count  # unbiased HSIC of fewer than four rows does not exist
            return
        where = held[-1][0].device  # rows restored from disk lie in main memory
        batch = [torch.cat([p.to(where) for p in parts]) for parts in zip(*held, strict=True)]
        self.sums.add(batch, self._fold)

    def merge(self, other: MinibatchReducer) -> None:
        """Add another reducer's sums."""
        self._close()
        other._close()
        self.sums.merge(other.sums)
        self.lost += other.lost

    def finish(self) -> MinibatchHsic:
        """The sums."""
        self._close()
        if not self.sums.rows.any():
            raise UsageError(
                "no minibatch came together",
                got=f"{self.lost} rows, in batches of fewer than four",
                expected="at least four rows in a fold",
                fix="give more recordings, fewer folds, or take another route",
            )
        return self.sums

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The sums, the rows that wait and the count of lost rows."""
        tensors = {
            "sums": torch.from_numpy(self.sums.sums),
            "rows": torch.from_numpy(self.sums.rows),
        }
        kinds = []
        for position in range(self.layers if self._held else 0):
            rows = torch.cat([held[position] for held in self._held])
            kinds.append(str(rows.dtype).removeprefix("torch."))
            exact = torch.float64 if rows.dtype == torch.float64 else torch.float32
            tensors[f"held{position}"] = rows.to(exact)
        return tensors, {
            "lost": self.lost,
            "fold": self._fold,
            "kinds": kinds,
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.sums.sums = tensors["sums"].numpy().copy()
        self.sums.rows = tensors["rows"].numpy().copy()
        self.lost = int(facts["lost"])
        self._held, self._count, self._fold = [], 0, int(facts["fold"])
        if facts["kinds"]:
            rows = [
                tensors[f"held{position}"].to(getattr(torch, kind))
                for position, kind in enumerate(facts["kinds"])
            ]
            self._held, self._count = [rows], len(rows[0])

    def state_bytes(self) -> int:
        """Bytes of the sums."""
        return int(self.sums.sums.nbytes)
