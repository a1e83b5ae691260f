"""Layers of different frame rates onto one grid, as means of the frames that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.streaming.join import common_grid
from voxstrata.streaming.pooling import Windows, pool, windows
from voxstrata.types import FrameGrid

Indices = NDArray[np.int64]

_AT_ONCE = 1024  # recordings whose windows are counted at a time

_ENDLESS = 2**40  # frames; so many that no window ends beyond them


class Resampler:
    """Frames of several grids as means over windows of one target grid.

    A target frame is the mean of the frames whose centres lie within half a target stride of its
    own (``[c - s/2, c + s/2)``, integer arithmetic, :mod:`voxstrata.streaming.pooling`). One that
    some layer has not all frames for is dropped, never padded or repeated: the same number of them
    at the start of every recording, so that the output has a grid too.

    Args:
        grids: grid of each layer.
        stride: of the target, samples; the coarsest of the layers' by default. The target is the
            first layer's with that stride, or else frames that follow each other from sample 0.

    Attributes:
        grid: of the output.

    Raises:
        UsageError: a layer is coarser than the target.
    """

    def __init__(self, grids: Sequence[FrameGrid], stride: int | None = None) -> None:
        self._grids = tuple(grids)
        target = self._grids[common_grid(self._grids)]
        if stride is not None:
            own = [grid for grid in self._grids if grid.stride == stride]
            target = own[0] if own else FrameGrid(stride, stride, 0)
        coarser = sorted({grid.stride for grid in self._grids if grid.stride > target.stride})
        if coarser:
            raise UsageError(
                "layers cannot be resampled to a finer frame rate than their own",
                got=f"a stride of {target.stride} samples for strides of "
                + ", ".join(map(str, coarser)),
                expected=f"a stride of at least {max(coarser)} samples",
                fix="leave the stride out: the coarsest is taken",
            )
        self._target = target
        apart = max(abs(grid.centre2(0) - target.centre2(0)) for grid in self._grids)
        count = apart // (2 * target.stride) + 3
        whole = np.ones(count, dtype=bool)
        for grid in self._grids:
            whole &= windows(grid, _ENDLESS, target, count).whole
        self._skip = int(whole.argmax())
        begin = target.start + self._skip * target.stride
        self.grid = FrameGrid(target.stride, target.receptive, begin)

    def __call__(
        self, xs: Sequence[torch.Tensor], lengths: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Means on the common grid.

        Args:
            xs: for each layer frames [B, T_l, D_l].
            lengths: for each layer int64 [B]: how many of its frames are a recording's own.

        Returns:
            for each layer [B, T, D_l], and the lengths [B] on the common grid.
        """
        runs, kept = self._windows([x.shape[1] for x in xs], lengths)
        taken = slice(self._skip, self._skip + int(kept.max(initial=0)))
        made = [
            _pooled(x, run.first[taken], run.last[taken]) for x, run in zip(xs, runs, strict=True)
        ]
        return made, torch.from_numpy(kept).to(lengths[0].device)

    def lengths(self, lengths: Sequence[torch.Tensor]) -> Indices:
        """The lengths that :meth:`__call__` gives, int64 [B], without any frames."""
        most = [int(length.max()) if len(length) else 0 for length in lengths]
        found = [self._windows(most, [part[i : i + _AT_ONCE] for part in lengths])[1]
                 for i in range(0, len(lengths[0]), _AT_ONCE)]  # fmt: skip
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _windows(
        self, frames: Sequence[int], lengths: Sequence[torch.Tensor]
    ) -> tuple[list[Windows], Indices]:
        """Windows of each layer on the target grid, and how many are whole in each recording."""
        span = max(
            n * g.stride + abs(g.centre2(0) - self._target.centre2(0))
            for n, g in zip(frames, self._grids, strict=True)
        )
        count = span // self._target.stride + 2
        runs = [
            windows(grid, n, self._target, count)
            for grid, n in zip(self._grids, frames, strict=True)
        ]
        own = np.ones((len(lengths[0]), count), dtype=bool)
        for run, length in zip(runs, lengths, strict=True):
            own &= run.whole & (run.last <= length.cpu().numpy()[:, None])
        return runs, own.sum(1)


def _pooled(x: torch.Tensor, first: Indices, last: Indices) -> torch.Tensor:
    """Means over runs of frames: [B, T, D] to [B, N, D]."""
    batch, frames, width = x.shape
    rows = pool(x.transpose(0, 1).reshape(frames, batch * width), first, last)
    return rows.view(len(first), batch, width).transpose(0, 1)
