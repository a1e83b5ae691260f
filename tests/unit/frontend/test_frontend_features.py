"""Frame counts, grids, normalisation, stacking, deltas, cepstra, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from voxstrata.errors import AudioError, ConfigError, UnknownNameError
from voxstrata.frontend import front_end
from voxstrata.frontend.config import KaldiConfig, StftConfig
from voxstrata.frontend.features import normalise, stack_frames
from voxstrata.frontend.kaldi import add_deltas, kaldi_features
from voxstrata.frontend.presets import FRONT_ENDS
from voxstrata.frontend.stft import mel_filters

NAMES = FRONT_ENDS.names()


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("name", NAMES)
def test_frame_counts_are_exact(name: str) -> None:
    front = front_end(name)
    lengths = [front.minimum + extra for extra in (0, 1, 79, 159, 160, 161, 319, 320, 321, 2000)]
    for samples in [*lengths, 8000, 16001]:
        found = front(noise(samples))
        assert found.shape == (1, front.frames(samples), front.width)
        assert torch.isfinite(found).all()
    assert front.frames(front.minimum - 1) == 0


@pytest.mark.parametrize("name", NAMES)
def test_too_short_says_how_long(name: str) -> None:
    front = front_end(name)
    with pytest.raises(AudioError, match=f"at least {front.minimum} samples"):
        front(noise(front.minimum - 1))


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_singles(name: str) -> None:
    front = front_end(name)
    waves = torch.cat([noise(5000, 1), noise(5000, 2) * 5])
    both = front(waves)
    for row in range(2):
        alone = front(waves[row : row + 1])[0]
        assert torch.allclose(both[row], alone, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_grid_says_what_a_frame_reads(name: str) -> None:
    """Changing samples outside a frame's span leaves it alone; changing its centre does not."""
    front = front_end(name)
    plain = {"normalise": "none"} if front.config.normalise in ("mean", "instance") else {}
    front = front_end(name, **plain)
    if isinstance(front.config, StftConfig) and front.config.log == "db":
        front = front_end(name, normalise="none", top_db=1000.0)
    wave, index = noise(8000), 12
    start = front.grid.start + index * front.grid.stride
    stop = start + front.grid.receptive
    # Pre-emphasis over the whole recording reaches one sample further back.
    if isinstance(front.config, StftConfig) and front.config.preemphasis:
        start -= 1
    outside = wave.clone()
    outside[:, :start] = 0
    outside[:, stop:] = 0
    inside = wave.clone()
    middle = front.grid.centre2(index) // 2
    inside[:, middle - 20 : middle + 20] = 0
    before, after, changed = front(wave)[0], front(outside)[0], front(inside)[0]
    scale = float(before.abs().max())
    assert (before[index] - after[index]).abs().max() < 2e-4 * scale
    assert (before[index] - changed[index]).abs().max() > 1e-2 * scale


def test_input_must_be_a_batch_of_floats() -> None:
    with pytest.raises(AudioError, match="batch of waveforms"):
        front_end("log-mel")(torch.zeros(1000))
    with pytest.raises(AudioError, match="batch of waveforms"):
        front_end("log-mel")(torch.zeros(1, 1000, dtype=torch.int16))


def test_unknown_names_and_settings() -> None:
    with pytest.raises(UnknownNameError, match="wespeaker"):
        front_end("wespeker")
    with pytest.raises(ConfigError, match="melz"):
        front_end("log-mel", melz=40)
    with pytest.raises(ConfigError, match="low_hz must lie below"):
        front_end("taoruijie", low_hz=7700.0)
    with pytest.raises(ConfigError, match="coefficients"):
        front_end("mfcc", coefficients=60)
    with pytest.raises(ConfigError, match="as many means"):
        front_end("log-mel", normalise="global", mean=(0.0,), std=(1.0,))


def test_settings_are_frozen_and_fingerprinted() -> None:
    one, same, other = front_end("rdino"), front_end("rdino"), front_end("rdino", mels=40)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    with pytest.raises(ValueError, match="frozen"):
        one.config.mels = 3  # type: ignore[misc]


def test_normalisation_against_torch() -> None:
    frames = torch.randn(2, 50, 7, dtype=torch.float64) * 3 + 4
    norm = torch.nn.InstanceNorm1d(7).double()
    assert torch.allclose(
        normalise(frames, "instance"), norm(frames.transpose(1, 2)).transpose(1, 2), atol=1e-12
    )
    centred = normalise(frames, "mean")
    assert centred.mean(1).abs().max() < 1e-12
    assert torch.allclose(centred, frames - frames.mean(1, keepdim=True))


def test_stacking_fills_the_last_group_with_zeros() -> None:
    frames = torch.arange(15.0).reshape(1, 5, 3)
    assert stack_frames(frames, 2)[0].tolist() == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [12, 13, 14, 0, 0, 0],
    ]


def test_deltas_of_a_line_are_its_slope() -> None:
    ramp = torch.arange(40.0).reshape(-1, 1) * 0.5
    found = add_deltas(ramp, 2, 3)
    assert found.shape == (40, 3)
    assert torch.allclose(found[6:-6, 1], torch.full((28,), 0.5), atol=1e-5)
    assert found[6:-6, 2].abs().max() < 1e-5
    parabola = add_deltas(torch.arange(40.0).reshape(-1, 1) ** 2, 2, 3)
    assert torch.allclose(parabola[6:-6, 2], torch.full((28,), 2.0), atol=1e-3)


def test_delta_order_is_not_time_reversed() -> None:
    step = torch.cat([torch.zeros(10, 1), torch.ones(10, 1)])
    assert float(add_deltas(step, 1, 3)[10, 1]) > 0


def test_cepstra_are_the_cosine_transform_of_the_filter_bank() -> None:
    """Kaldi: orthonormal DCT-II of log-mel, lifted by 1 + 11 sin(pi i / 22)."""
    wave = noise(6000)[0].numpy()
    shared = {"mels": 40, "low_hz": 50.0, "high_hz": 7500.0}
    bank = kaldi_features(wave, KaldiConfig(**shared)).astype(np.float64)
    found = kaldi_features(wave, KaldiConfig(kind="mfcc", coefficients=20, **shared))
    i, m = np.arange(20)[:, None], np.arange(40)[None]
    cosine = np.sqrt(2 / 40) * np.cos(np.pi * i * (m + 0.5) / 40)
    cosine[0] = math.sqrt(1 / 40)
    lift = 1 + 11 * np.sin(np.pi * np.arange(20) / 22)
    assert np.abs(bank @ cosine.T * lift - found).max() < 2e-4


def test_scale_moves_kaldi_features_by_a_constant_above_the_floor() -> None:
    wave = noise(4000)
    loud = front_end("log-mel")(wave)
    soft = front_end("log-mel", scale=1.0)(wave)
    assert torch.allclose(loud - soft, torch.tensor(2 * math.log(32768)), atol=1e-3)


def test_filters_are_triangles_with_peak_one() -> None:
    proper = mel_filters(StftConfig())
    assert proper.shape == (257, 80)
    assert float(proper.max()) <= 1
    assert float(proper.min()) == 0
    symmetric = mel_filters(StftConfig(n_fft=400, triangles="symmetric"))
    assert (symmetric.sum(0) <= mel_filters(StftConfig(n_fft=400)).sum(0) + 1e-12).all()


def test_silence_is_finite_in_every_front_end() -> None:
    for name in NAMES:
        assert torch.isfinite(front_end(name)(torch.zeros(1, 4000))).all(), name
