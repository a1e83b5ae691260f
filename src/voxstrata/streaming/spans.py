"""From labelled spans in seconds to frames.

Two rules. ``centre`` (default) takes the frames whose centre lies inside the span; a span too
short to hold one takes the frame nearest to its middle. ``pasad`` is the rule of P2023's code
(``specs/similarity.md`` 1.2, golden ``segment_idx``), which ignores the receptive field:
``first = floor(start / stride)``, ``last = ceil(end / stride)``.
"""

from __future__ import annotations

import math
from typing import Literal

from voxstrata.types import SAMPLE_RATE, FrameGrid

Rule = Literal["centre", "pasad"]
Part = Literal["whole", "middle-third"]


def frames_of_span(
    start_s: float,
    end_s: float,
    grid: FrameGrid,
    frames: int,
    *,
    rule: Rule = "centre",
    part: Part = "whole",
) -> tuple[int, int] | None:
    """First and last (exclusive) frame of a span.

    Args:
        start_s, end_s: the span, seconds.
        grid: frame-to-time map.
        frames: number of frames T of the recording.
        rule: ``"centre"`` or ``"pasad"``.
        part: the whole span or its middle third.

    Returns:
        ``(first, last)`` with ``0 <= first < last <= frames``; ``None`` where the span has
        no frame (it is empty, or lies outside the recording).
    """
    if rule == "pasad":
        return _pasad(start_s, end_s, grid.stride / SAMPLE_RATE, frames, part)
    if part == "middle-third":
        third = (end_s - start_s) / 3
        start_s, end_s = start_s + third, end_s - third
    if end_s <= start_s or frames == 0:
        return None
    step = grid.stride / SAMPLE_RATE
    origin = grid.centre_s(0)
    # a hair of tolerance: label times are decimal, centres are sums of binary fractions
    first = math.ceil((start_s - origin) / step - 1e-6)
    last = math.ceil((end_s - origin) / step - 1e-6)
    if last <= first:
        middle = round(((start_s + end_s) / 2 - origin) / step)
        first, last = middle, middle + 1
        if not -1 <= middle <= frames:
            return None
        first = min(max(first, 0), frames - 1)
        last = first + 1
    first, last = max(first, 0), min(last, frames)
    return (first, last) if first < last else None


def _pasad(
    start_s: float, end_s: float, stride_s: float, frames: int, part: Part
) -> tuple[int, int] | None:
    first = math.floor(start_s / stride_s)
    last = math.ceil(end_s / stride_s)
    if part == "middle-third":
        cut = math.floor((last - first + 1) / 3)
        first, last = first + cut, last - cut
    if last == first:
        last += 1
    if last == frames + 1:
        last = frames
    return (first, last) if last > first else None
