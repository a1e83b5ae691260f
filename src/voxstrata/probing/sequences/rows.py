"""Frames of recordings for one training after another, kept in memory as far as they fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.sequences.bundles import one_grid

MEMORY = 1 << 30
"""Bytes of frames kept in memory; the others are read at every step."""


class Rows:
    """Frames on the grid that heads read, one recording after another.

    Args:
        features: frames of the model.
        stride: see :meth:`voxstrata.probing.frames.FrameFeatures.batch`.
        dtype: of what is given out.
        memory: bytes that may be kept.
    """

    def __init__(
        self,
        features: FrameFeatures,
        stride: int | None,
        dtype: torch.dtype = torch.float32,
        memory: int = MEMORY,
    ) -> None:
        self._features, self._stride, self._dtype = features, stride, dtype
        self._held: dict[tuple[str, tuple[int, ...], int], torch.Tensor] = {}
        self._left = memory
        self._shared = one_grid(features)

    def batch(
        self, layers: Sequence[int], ids: Sequence[str]
    ) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Frames of recordings, padded with zeros.

        Args:
            layers: which are read.
            ids: B recordings.

        Returns:
            by layer [T, B, D_l], and lengths int64 [B].
        """
        rows = [self._of(tuple(layers), name) for name in ids]
        lengths = torch.tensor([len(one[0]) for one in rows])
        padded = [torch.nn.utils.rnn.pad_sequence(list(mine)) for mine in zip(*rows, strict=True)]
        return dict(zip(layers, padded, strict=True)), lengths

    def _of(self, layers: tuple[int, ...], name: str) -> list[torch.Tensor]:
        """[T, D_l] of each layer."""
        keys = [(name, () if self._shared else layers, i) for i in layers]
        found = [self._held.get(key) for key in keys]
        if any(x is None for x in found):
            made, lengths = self._features.batch(layers, [name], self._stride)
            rows = [x[0, : int(lengths[0])].to(self._dtype) for x in made]
            for key, x in zip(keys, rows, strict=True):
                size = x.numel() * x.element_size()
                if key not in self._held and size <= self._left:
                    self._left -= size
                    self._held[key] = x.clone()
            return rows
        return [x for x in found if x is not None]
