"""Resampling against windows found by going over all centres."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstrata.errors import UsageError
from voxstrata.probing.resampling import Resampler
from voxstrata.types import FrameGrid

GRIDS = st.builds(
    FrameGrid,
    stride=st.sampled_from([80, 160, 200, 320]),
    receptive=st.sampled_from([25, 400, 401]),
    start=st.integers(-500, 900),
)


def _wanted(grid: FrameGrid, target: FrameGrid, index: int) -> list[int]:
    """Frames whose centres lie in the target frame's window, of a recording without ends."""
    centre, half = Fraction(target.centre2(index), 2), Fraction(target.stride, 2)
    guess = int((centre - Fraction(grid.centre2(0), 2)) / grid.stride)
    near = range(guess - 5, guess + 6)
    if grid.stride == target.stride:  # one frame, the nearest; of two as near the earlier
        return [min(near, key=lambda i: (abs(Fraction(grid.centre2(i), 2) - centre), i))]
    return [i for i in near if centre - half <= Fraction(grid.centre2(i), 2) < centre + half]


@settings(max_examples=40, deadline=None)
@given(st.lists(GRIDS, min_size=1, max_size=3), st.sampled_from([None, 320, 480]))
def test_every_frame_is_the_mean_of_the_frames_in_its_window(
    grids: list[FrameGrid], stride: int | None
) -> None:
    resample = Resampler(grids, stride)
    grid = resample.grid
    if stride is not None:
        assert grid.stride == stride
    generator = torch.Generator().manual_seed(0)
    counts = [[2600 // g.stride, 1700 // g.stride] for g in grids]
    xs = [torch.randn(2, c[0], 3, generator=generator, dtype=torch.float64) for c in counts]
    made, lengths = resample(xs, [torch.tensor(c) for c in counts])
    for b in range(2):
        wanted: list[list[list[int]]] = []
        for index in range(-1, 40):
            windows = [_wanted(g, grid, index) for g in grids]
            whole = all(
                w and min(w) >= 0 and max(w) < c[b] for w, c in zip(windows, counts, strict=True)
            )
            if index < 0:  # nothing is lost at the start but what lies before the target itself
                assert not whole or grid.start in {0, *(g.start for g in grids)}
            elif whole:
                assert len(wanted) == index  # the output's grid says where it begins
                wanted.append(windows)
        assert int(lengths[b]) == len(wanted)
        for n, windows in enumerate(wanted):
            for x, m, window in zip(xs, made, windows, strict=True):
                torch.testing.assert_close(m[b, n], x[b, window].mean(0), rtol=0, atol=1e-12)


def test_a_finer_target_is_refused() -> None:
    with pytest.raises(UsageError, match="stride of 160 samples for strides of 320"):
        Resampler([FrameGrid(160, 400), FrameGrid(320, 400)], 160)


def test_gradients_go_through() -> None:
    x = torch.randn(1, 8, 2, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 4, 2, dtype=torch.float64)
    made, _ = Resampler([FrameGrid(160, 160), FrameGrid(320, 320)])(
        [x, y], [torch.tensor([8]), torch.tensor([4])]
    )
    made[0].sum().backward()
    assert x.grad is not None
    assert x.grad.unique().tolist() == [0.5]
