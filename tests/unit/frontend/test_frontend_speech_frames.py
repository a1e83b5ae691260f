"""Sliding normalisation and the energy-based choice of speech frames, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxstrata.config import build
from voxstrata.errors import ConfigError, ShapeError, UsageError
from voxstrata.frontend.cmvn import sliding_cmvn
from voxstrata.frontend.vad import VadConfig, log_energy, speech_frames


def _loop(frames: np.ndarray, window: int, variance: bool) -> np.ndarray:
    """Frame by frame, as the definition says."""
    T = len(frames)
    found = np.empty_like(frames)
    for t in range(T):
        first, last = t - window // 2, t - window // 2 + window
        if first < 0:
            first, last = 0, last - first
        if last > T:
            first, last = max(0, first - (last - T)), T
        part = frames[first:last]
        found[t] = frames[t] - part.mean(0)
        if variance:
            found[t] /= np.sqrt(np.maximum(part.var(0), 1e-10))
    return found


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 1000))
def test_sliding_normalisation_is_the_loop(T: int, window: int, variance: bool, seed: int) -> None:
    frames = np.random.default_rng(seed).standard_normal((T, 3)) + 5
    found = sliding_cmvn(torch.from_numpy(frames), window, variance=variance).numpy()
    np.testing.assert_allclose(found, _loop(frames, window, variance), rtol=1e-6, atol=1e-9)


def test_sliding_normalisation_keeps_dtype_and_refuses() -> None:
    frames = torch.ones(5, 2)
    assert sliding_cmvn(frames).dtype == torch.float32
    assert sliding_cmvn(frames[:0]).shape == (0, 2)
    with pytest.raises(ShapeError):
        sliding_cmvn(torch.ones(5))
    with pytest.raises(UsageError):
        sliding_cmvn(frames, 0)


def test_energy_is_that_of_16_bit_samples_without_their_mean() -> None:
    wave = np.random.default_rng(0).standard_normal(1000) * 0.1 + 0.3
    found = log_energy(torch.from_numpy(wave)).numpy()
    assert len(found) == 1 + (1000 - 400) // 160
    for t, value in enumerate(found):
        part = wave[160 * t : 160 * t + 400] * 32768
        assert value == pytest.approx(np.log(((part - part.mean()) ** 2).sum()))
    assert float(log_energy(torch.zeros(400))[0]) == pytest.approx(np.log(2.0**-23))


def test_neighbours_vote() -> None:
    energy = torch.full((20,), 6.0, dtype=torch.float64)
    energy[10] = 30.0
    config = VadConfig(threshold=5.5, mean_scale=0.5)
    # 1 loud frame of 5 is a share of 0.2, above 0.12: its two neighbours on each side are speech.
    assert speech_frames(energy, config).nonzero()[:, 0].tolist() == [8, 9, 10, 11, 12]
    strict = VadConfig(threshold=5.5, mean_scale=0.5, proportion=0.3)
    assert not speech_frames(energy, strict).any()
    alone = VadConfig(threshold=5.5, mean_scale=0.5, context=0)
    assert speech_frames(energy, alone).nonzero()[:, 0].tolist() == [10]


def test_at_the_ends_only_frames_that_are_there_vote() -> None:
    energy = torch.tensor([30.0, 6, 6, 6, 6, 6, 6, 6], dtype=torch.float64)
    config = VadConfig(threshold=10.0, mean_scale=0.0, proportion=0.34)
    # Frame 0 has 3 voters (1/3 < 0.34): no speech; with 0.33 it is, and frame 1 (1/4) is not.
    assert not speech_frames(energy, config).any()
    config = VadConfig(threshold=10.0, mean_scale=0.0, proportion=0.33)
    assert speech_frames(energy, config).tolist() == [True] + [False] * 7


def test_pauses_are_dropped_and_speech_is_kept() -> None:
    rng = np.random.default_rng(1)
    loud, quiet = 0.1 * rng.standard_normal(16000), 1e-4 * rng.standard_normal(16000)
    kept = speech_frames(log_energy(torch.from_numpy(np.concatenate([quiet, loud, quiet]))))
    assert kept[103:195].all()
    assert not kept[:95].any()
    assert not kept[205:].any()
    assert not speech_frames(log_energy(torch.zeros(16000))).any()
    assert speech_frames(torch.zeros(0)).shape == (0,)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError):
        build(VadConfig, {"proportion": 1.5})
