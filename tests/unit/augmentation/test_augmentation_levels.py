"""Levels, mixing, refusals, speed."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.augmentation.levels import (
    active_power,
    checked,
    fitted,
    gain,
    mix,
    peak_normalised,
    power,
)
from voxstrata.augmentation.speed import speed
from voxstrata.errors import AudioError, NumericsError, ShapeError, UsageError


def _noise(n: int, scale: float = 0.1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 13.0, 30.0])
def test_the_ratio_is_reached(snr: float) -> None:
    wave, noise = _noise(16_000), _noise(48_000, 0.7, 1)
    made = mix(wave, noise, snr, floor=0.0)
    added = made.astype(np.float64) - wave
    ratio = np.mean(wave.astype(np.float64) ** 2) / np.mean(added**2)
    assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)
    # What was added is the noise itself, scaled.
    assert np.corrcoef(added, noise[:16_000])[0, 1] > 1 - 1e-6


@pytest.mark.parametrize("floor", [1e-4, 1e-6])
def test_the_floors_of_the_recipes(floor: float) -> None:
    """The published formula in its own order of operations, in decibels."""
    wave, noise = _noise(8000, 0.004), _noise(8000, 0.02, 1)
    clean_db = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) + floor)
    noise_db = 10 * np.log10(np.mean(noise.astype(np.float64) ** 2) + floor)
    expected = wave + np.sqrt(10 ** ((clean_db - noise_db - 7.0) / 10)) * noise
    assert mix(wave, noise, 7.0, floor=floor) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    # The floors matter at this level: they raise the noise by decibels.
    assert not np.allclose(mix(wave, noise, 7.0, floor=0.0), expected, rtol=0.1)


def test_a_short_noise_is_repeated() -> None:
    wave, noise = _noise(1000), np.array([1.0, -1.0, 0.5], dtype=np.float32)
    added = mix(wave, noise, 0.0, floor=0.0) - wave
    assert added[3:].astype(float) == pytest.approx(added[:-3].astype(float), abs=1e-6)
    assert fitted(noise, 2, 5).tolist() == [0.5, 1.0, -1.0, 0.5, 1.0]


def test_silence() -> None:
    silent, noise = np.zeros(100, np.float32), _noise(100)
    assert np.isfinite(mix(silent, noise, 10.0)).all()
    assert not mix(silent, noise, 10.0, floor=0.0).any()
    assert mix(noise, silent, 10.0, floor=0.0).tolist() == noise.tolist()
    assert not peak_normalised(silent).any()
    assert gain(1.0, 0.0, 0.0, 0.0) == 0.0
    assert active_power(silent) == 0.0


def test_peaks_and_powers() -> None:
    wave = np.array([0.1, -0.4, 0.2], dtype=np.float32)
    assert peak_normalised(wave).tolist() == pytest.approx([0.25, -1.0, 0.5])
    assert power(wave) == pytest.approx(0.07)
    paused = np.concatenate([np.zeros(9000, np.float32), np.ones(1000, np.float32) * 0.5])
    assert active_power(paused) == pytest.approx(0.25)


def test_refusals_name_what_is_wrong() -> None:
    bad = _noise(50)
    bad[17] = np.nan
    with pytest.raises(NumericsError, match="17"):
        checked(bad)
    bad[17] = np.inf
    with pytest.raises(NumericsError, match="not finite"):
        mix(_noise(50), bad, 3.0)
    with pytest.raises(NumericsError):
        speed(bad, 0.9)
    with pytest.raises(UsageError, match="int16"):
        checked(np.ones(5, np.int16))
    with pytest.raises(UsageError, match="list"):
        checked([0.1, 0.2])  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        checked(np.ones((2, 5), np.float32))
    with pytest.raises(AudioError, match="no samples"):
        checked(np.zeros(0, np.float32))
    assert checked(np.ones(3)).dtype == np.float32


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.75])
def test_speed_changes_pitch_and_length(factor: float) -> None:
    hertz, n = 700.0, 16_000
    time = np.arange(n) / 16_000
    made = speed(np.sin(2 * np.pi * hertz * time).astype(np.float32), factor)
    assert len(made) == round(n / factor)
    assert made.dtype == np.float32
    inner = made[1000:-1000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 2**18))
    found = np.argmax(spectrum) * 16_000 / 2**18
    assert found == pytest.approx(hertz * factor, abs=0.2)
    # The samples are those of the faster tone, in amplitude and phase.
    expected = np.sin(2 * np.pi * hertz * factor * np.arange(len(made)) / 16_000)
    assert np.abs(made - expected)[1000:-1000].max() < 2e-3


def test_speed_does_not_alias() -> None:
    time = np.arange(16_000) / 16_000
    made = speed(np.sin(2 * np.pi * 7600 * time).astype(np.float32), 1.25)  # 9.5 kHz: gone
    assert np.abs(made[1000:-1000]).max() < 1e-3


def test_speed_at_its_limits() -> None:
    wave = _noise(777)
    assert speed(wave, 1.0).tolist() == wave.tolist()
    assert [len(speed(wave[:n], 0.9)) for n in (1, 2, 3)] == [1, 2, 3]
    for factor in (0.0, -1.0, float("nan"), 100.0):
        with pytest.raises(UsageError, match="speed factor"):
            speed(wave, factor)
    with pytest.raises(AudioError):
        speed(wave[:1], 5.0)
