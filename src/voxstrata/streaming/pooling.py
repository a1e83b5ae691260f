"""Pooling a fine frame grid onto a coarser one: which finer frames a target frame is the mean of.

Like :mod:`.join`, all arithmetic is on half samples in integers, and a target frame that lacks
some of its finer frames is marked, never padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.types import FrameGrid

PoolRule = Literal["centre", "pasad2023"]
"""``centre``: the finer frames whose centres lie within half a target stride of the target's.
``pasad2023``: the finer frames whose receptive fields lie inside the target's."""

_GATHER = 4_000_000
"""Numbers gathered at once, so that overlapping windows do not multiply memory."""


@dataclass(frozen=True)
class Windows:
    """Runs of finer frames, one for each target frame.

    Attributes:
        first, last: first and last (exclusive) finer frame of each target frame, int64 [N].
        whole: whether all of them exist in the recording and there is at least one, [N].
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    whole: NDArray[np.bool_]


def windows(
    fine: FrameGrid, frames: int, target: FrameGrid, count: int, rule: PoolRule = "centre"
) -> Windows:
    """Which frames of ``fine`` belong to each frame of ``target``.

    ``centre``: with c the target's centre and s its stride, centres in [c - s/2, c + s/2). Windows
    of neighbouring target frames share no frame and leave none out. Of a grid with the target's
    own stride that is one frame, the nearest (ties go to the earlier one, as in :mod:`.join`).

    ``pasad2023``: receptive fields inside the target's. For the convolutions of wav2vec 2.0 and a
    target of 400 samples every 160 this is the mean filter of P2023's code, (kernel, stride) = (79,
    32), (39, 16), (19, 8), (9, 4), (4, 2), (2, 1) for conv1..6, and for filter-bank frames met by
    20 ms layers its ``[::2]`` (``specs/similarity.md`` 1.2). A grid with receptive fields wider
    than the target's is decimated: the nearest frame, as P2023 does with kernel 1.

    Args:
        fine: grid to pool.
        frames: number of its frames in the recording.
        target: grid to pool onto; its stride is at least that of ``fine``.
        count: number of target frames.
        rule: see above.

    Raises:
        UsageError: ``fine`` is coarser than ``target``, or the rule is unknown.
    """
    if fine.stride > target.stride:
        raise UsageError(
            "frames cannot be pooled onto a finer grid",
            got=f"a stride of {fine.stride} samples for a target of {target.stride}",
            expected="a stride no longer than the target's",
        )
    if rule not in ("centre", "pasad2023"):
        raise UsageError("unknown rule of pooling", got=rule, expected="'centre' or 'pasad2023'")
    centres2 = target.centre2(0) + 2 * target.stride * np.arange(count, dtype=np.int64)
    offset, step = centres2 - fine.centre2(0), 2 * fine.stride
    if rule == "pasad2023" and fine.receptive <= target.receptive:
        # The slack between the fields, half of it on either side of the common centre.
        slack = target.receptive - fine.receptive
        first = _ceil_div(offset - slack, step)
        last = (offset + slack) // step + 1
        alone = last <= first  # the fine grid has no field inside this one
    else:
        reach = target.stride
        first, last = _ceil_div(offset - reach, step), _ceil_div(offset + reach, step)
        alone = np.full(count, rule == "pasad2023")
    if alone.any():
        nearest = -((step - 2 * offset) // (2 * step))  # ties go down
        first, last = np.where(alone, nearest, first), np.where(alone, nearest + 1, last)
    return Windows(first, last, (first >= 0) & (last <= frames) & (last > first))


def _ceil_div(a: NDArray[np.int64], b: int) -> NDArray[np.int64]:
    return -(-a // b)


def pool(output: torch.Tensor, first: NDArray[np.int64], last: NDArray[np.int64]) -> torch.Tensor:
    """Mean over each run of frames.

    Args:
        output: frames [T, D].
        first, last: runs [N], each inside the recording and not empty.

    Returns:
        [N, D], float32 (float64 for float64 frames); a run of one frame is that frame, exactly.
    """
    wide = torch.float64 if output.dtype == torch.float64 else torch.float32
    pooled = output.new_empty((len(first), output.shape[1]), dtype=wide)
    lengths = last - first
    for length in np.unique(lengths).tolist():
        members = np.flatnonzero(lengths == length)
        step = max(1, _GATHER // (length * output.shape[1]))
        for begin in range(0, len(members), step):
            rows = members[begin : begin + step]
            index = torch.from_numpy(first[rows, None] + np.arange(length)).to(output.device)
            taken = output[index].to(wide)
            where = torch.from_numpy(rows).to(output.device)
            pooled[where] = taken[:, 0] if length == 1 else taken.mean(dim=1)
    return pooled
