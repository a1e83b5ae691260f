"""Mean (and variance) of cepstra taken away over a window that slides along the recording.

Source: Kaldi's ``apply-cmvn-sliding`` with ``--center=true`` (feat/feature-functions): windows that
would reach beyond an end of the recording are moved inside it, so that all have the same length.
"""

from __future__ import annotations

import torch

from voxstrata.errors import ShapeError, UsageError

VARIANCE_FLOOR = 1e-10
"""Least variance that is divided by."""


def sliding_cmvn(
    frames: torch.Tensor, window: int = 300, *, variance: bool = False
) -> torch.Tensor:
    """Each frame minus the mean of the window around it, perhaps divided by its deviation.

    Args:
        frames: one recording [T, D], floating point; sums are taken in float64.
        window: frames W. Frame t sees [t - W // 2, t - W // 2 + W), moved inside the recording;
            a recording of no more than W frames is one window.
        variance: also divide by the (population) standard deviation. In windows of one frame the
            result is zero.

    Returns:
        [T, D] in the dtype of ``frames``.

    Raises:
        ShapeError: ``frames`` is not a matrix.
        UsageError: the window is empty.
    """
    if frames.ndim != 2:
        raise ShapeError("sliding normalisation takes one recording", got=tuple(frames.shape))
    if window < 1:
        raise UsageError("the window of sliding normalisation", got=window, expected="1 or more")
    count = len(frames)
    if count == 0:
        return frames
    rows = frames.to(torch.float64)
    # Sums of what is left of the recording's own mean lose no digits in long recordings.
    rows = rows - rows.mean(dim=0)
    time = torch.arange(count, device=frames.device)
    wide = min(window, count)
    start = (time - window // 2).clamp(0, count - wide)
    mean = _window_mean(rows, start, wide)
    found = rows - mean
    if variance:
        spread = _window_mean(rows.square(), start, wide) - mean.square()
        found = found * spread.clamp_min(VARIANCE_FLOOR).rsqrt()
    return found.to(frames.dtype)


def _window_mean(rows: torch.Tensor, start: torch.Tensor, wide: int) -> torch.Tensor:
    sums = torch.nn.functional.pad(rows, (0, 0, 1, 0)).cumsum(dim=0)
    return (sums[start + wide] - sums[start]) / wide
