"""Segment-to-frame rule of P2023 against the original's outputs (golden ``segment_idx``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxstrata.streaming.spans import frames_of_span
from voxstrata.types import SAMPLE_RATE, FrameGrid


def test_pasad_rule_equals_the_original(shared: Path) -> None:
    rows = np.load(shared / "golden" / "similarity" / "segment_idx.npz")["rows"]
    assert len(rows) == 400
    for start_s, end_s, frames, stride_s, offset, first, last in rows:
        grid = FrameGrid(round(stride_s * SAMPLE_RATE), 400)
        got = frames_of_span(
            start_s,
            end_s,
            grid,
            int(frames),
            rule="pasad",
            part="middle-third" if offset else "whole",
        )
        expected = None if first < 0 else (int(first), int(last))
        assert got == expected
