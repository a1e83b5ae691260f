"""Frame grids meet by time, exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voxstrata.streaming.join import join
from voxstrata.types import FrameGrid

HUBERT = FrameGrid(320, 400)
KALDI = FrameGrid(160, 400)
CENTRED = FrameGrid(160, 400, -200)


def test_kaldi_frames_are_every_second_one() -> None:
    # 1 s: HuBERT 49 frames, Kaldi fbank 98; both frames cover samples [320 i, 320 i + 400)
    joined = join([HUBERT, KALDI], [49, 98])
    assert joined.dropped == 0
    np.testing.assert_array_equal(joined.indices[0], np.arange(49))
    np.testing.assert_array_equal(joined.indices[1], 2 * np.arange(49))


def test_centred_frames_are_the_odd_ones() -> None:
    # specs/speaker_models.md 1.2: nearest to SSL frame i (centre 320 i + 200) is t = 2 i + 1
    joined = join([HUBERT, CENTRED], [49, 101])
    np.testing.assert_array_equal(joined.indices[1], 2 * np.arange(49) + 1)


def test_moments_without_partner_are_dropped_and_counted() -> None:
    joined = join([HUBERT, KALDI], [49, 90])
    assert joined.dropped == 4
    assert len(joined.indices[0]) == len(joined.indices[1]) == 45


def test_same_grid_is_left_alone() -> None:
    joined = join([HUBERT, HUBERT], [49, 49])
    np.testing.assert_array_equal(joined.indices[1], np.arange(49))
    assert joined.centres_s[0] == 200 / 16000


@given(
    stride=st.integers(1, 700),
    receptive=st.integers(1, 900),
    start=st.integers(-400, 400),
    frames=st.integers(0, 300),
)
def test_nearest_centre_within_half_a_stride(
    stride: int, receptive: int, start: int, frames: int
) -> None:
    other = FrameGrid(stride, receptive, start)
    joined = join([FrameGrid(700, 800), other], [20, frames])
    for common, found in zip(joined.indices[0], joined.indices[1], strict=True):
        gap = [abs(FrameGrid(700, 800).centre2(common) - other.centre2(t)) for t in range(frames)]
        assert gap[found] == min(gap)
        assert min(gap) <= stride
    for moment in set(range(20)) - set(joined.indices[0].tolist()):
        gap = [abs(FrameGrid(700, 800).centre2(moment) - other.centre2(t)) for t in range(frames)]
        assert not gap or min(gap) >= stride
