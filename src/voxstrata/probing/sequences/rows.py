"""Frames of recordings for one training after another, kept in memory as far as they fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from voxstrata.numerics.scratch import Scratch
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
        self._features, self._stride, self._like = features, stride, torch.empty(0, dtype=dtype)
        self._held: dict[tuple[str, tuple[int, ...], int], torch.Tensor] = {}
        self._left = memory
        self._shared = one_grid(features)

    def batch(
        self, layers: Sequence[int], ids: Sequence[str], scratch: Scratch | None = None
    ) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Frames of recordings, padded with zeros.

        Args:
            layers: which are read.
            ids: B recordings.
            scratch: where to put them, one layer behind the other; they are overwritten by the
                next call with it.

        Returns:
            by layer [T, B, D_l], and lengths int64 [B].
        """
        scratch = scratch or Scratch()
        rows = [self._of(tuple(layers), name) for name in ids]
        lengths = [len(one[0]) for one in rows]
        shapes = [(max(lengths), len(ids), x.shape[1]) for x in rows[0]]
        sizes = [math.prod(shape) for shape in shapes]
        held = scratch.take("frames", (sum(sizes),), self._like)
        parts = zip(torch.split(held, sizes), shapes, strict=True)
        out = [part.view(shape) for part, shape in parts]
        for b, (length, one) in enumerate(zip(lengths, rows, strict=True)):
            for into, x in zip(out, one, strict=True):
                into[:length, b] = x
                into[length:, b] = 0
        return dict(zip(layers, out, strict=True)), torch.tensor(lengths)

    def _of(self, layers: tuple[int, ...], name: str) -> list[torch.Tensor]:
        """[T, D_l] of each layer."""
        keys = [(name, () if self._shared else layers, i) for i in layers]
        found = [self._held.get(key) for key in keys]
        if any(x is None for x in found):
            made, lengths = self._features.batch(layers, [name], self._stride)
            rows = [x[0, : int(lengths[0])].to(self._like.dtype) for x in made]
            for key, x in zip(keys, rows, strict=True):
                size = x.numel() * x.element_size()
                if key not in self._held and size <= self._left:
                    self._left -= size
                    self._held[key] = x.clone()
            return rows
        return [x for x in found if x is not None]
