"""Joining frame grids: which frame of every layer stands for the same moment.

Frames are matched by the centres of their receptive fields, in integer arithmetic on half
samples, so 10 ms and 20 ms grids, centred and uncentred front ends meet exactly. The coarsest
grid present is the common one; a moment that some layer has no frame for is dropped (and
counted), never padded or repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.types import FrameGrid

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Join:
    """A common time grid of several layers for one recording.

    Attributes:
        indices: for each layer the frame [N] that stands for each common moment.
        centres_s: centre of each common moment [N], seconds.
        dropped: common frames without a partner in some layer.
    """

    indices: list[Indices]
    centres_s: NDArray[np.float64]
    dropped: int


def common_grid(grids: Sequence[FrameGrid]) -> int:
    """Position of the coarsest grid (the first of equals)."""
    strides = [grid.stride for grid in grids]
    return strides.index(max(strides))


def join(grids: Sequence[FrameGrid], frames: Sequence[int]) -> Join:
    """Match the frames of several grids by nearest centre.

    Args:
        grids: frame grid of each layer.
        frames: number of frames T of each layer in this recording.

    Returns:
        the frames that stand together; a frame of a finer grid is taken when its centre is
        the nearest to the common frame's and at most half its own stride away (ties go to
        the earlier frame).
    """
    position = common_grid(grids)
    reference, total = grids[position], frames[position]
    centres2 = reference.centre2(0) + 2 * reference.stride * np.arange(total, dtype=np.int64)
    keep = np.ones(total, dtype=bool)
    found: dict[tuple[FrameGrid, int], Indices] = {}
    for grid, count in zip(grids, frames, strict=True):
        if (grid, count) in found:
            continue
        offset = centres2 - grid.centre2(0)
        step = 2 * grid.stride
        # nearest index with ties going down: ceil(offset / step - 1/2)
        nearest = -((step - 2 * offset) // (2 * step))
        keep &= (nearest >= 0) & (nearest < count)
        found[(grid, count)] = nearest
    return Join(
        indices=[found[(g, c)][keep] for g, c in zip(grids, frames, strict=True)],
        centres_s=centres2[keep] / 32_000.0,
        dropped=int(total - keep.sum()),
    )
