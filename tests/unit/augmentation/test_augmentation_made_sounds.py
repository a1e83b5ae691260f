"""Noises, voices and music that are made: power, spectrum, seams, seeds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from voxstrata.augmentation.music import music_loop
from voxstrata.augmentation.noises import LENGTH, SHAPES, noise_loop
from voxstrata.augmentation.voices import babble_loop, voice_loop

LOOPS = {"noise": noise_loop, "voice": voice_loop, "babble": babble_loop, "music": music_loop}


def _octaves(wave: np.ndarray) -> np.ndarray:
    """Mean power density in octaves from 62.5 Hz, dB."""
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / 16_000)
    edges = 62.5 * 2.0 ** np.arange(8)
    return np.array(
        [
            10 * np.log10(spectrum[(hertz >= a) & (hertz < b)].mean())
            for a, b in itertools.pairwise(edges)
        ]
    )


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_have_power_one_and_no_offset(kind: str) -> None:
    for index in range(7):
        made = LOOPS[kind](5, index)
        assert made.shape == (LENGTH,)
        assert made.dtype == np.float32
        assert np.mean(made.astype(np.float64) ** 2) == pytest.approx(1, rel=1e-4)
        assert abs(made.mean()) < 1e-3
        with pytest.raises(ValueError, match="read-only"):
            made[0] = 0


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_follow_seed_and_number(kind: str) -> None:
    make = LOOPS[kind]
    once = make(5, 1).copy()
    make.cache_clear()
    assert np.array_equal(make(5, 1), once)
    for other in (make(6, 1), make(5, 2), make(5, 1 + len(SHAPES))):
        assert abs(np.corrcoef(once, other)[0, 1]) < 0.6


@pytest.mark.parametrize("shape", ["white", "pink", "brown", "hum", "band"])
def test_noises_join_up_with_themselves(shape: str) -> None:
    """The step over the seam is like the steps elsewhere."""
    made = noise_loop(3, SHAPES.index(shape)).astype(np.float64)
    assert abs(made[0] - made[-1]) < 5 * np.std(np.diff(made))


@pytest.mark.parametrize(("shape", "slope"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_colours(shape: str, slope: float) -> None:
    found = _octaves(noise_loop(1, SHAPES.index(shape)))
    assert np.diff(found) == pytest.approx(slope, abs=0.6)


def test_hum_is_harmonic() -> None:
    made = noise_loop(2, SHAPES.index("hum")).astype(np.float64)
    power = np.abs(np.fft.rfft(made)) ** 2
    hertz = np.fft.rfftfreq(len(made), 1 / 16_000)
    shares = [power[np.isin(np.round(hertz, 3), np.arange(1, 30) * m)].sum() for m in (50.0, 60.0)]
    assert max(shares) / power.sum() > 0.8


def test_band_noise_is_in_a_band() -> None:
    spread = []
    for index in range(7):
        power = np.abs(np.fft.rfft(noise_loop(4, SHAPES.index("band") + 7 * index))) ** 2
        order = np.sort(power)[::-1]
        spread.append(np.searchsorted(np.cumsum(order), 0.99 * order.sum()) / len(order))
    assert min(spread) < 0.2
    assert max(spread) < 0.97


def test_clicks_are_sparse_and_modulated_noise_wanders() -> None:
    def crest(name: str) -> float:
        blocks = noise_loop(7, SHAPES.index(name)).reshape(-1, 800)
        powers = np.mean(blocks.astype(np.float64) ** 2, axis=1)
        return float(np.percentile(powers, 95) / np.median(powers))

    assert crest("clicks") > 3
    assert crest("modulated") > 2
    assert crest("white") < 1.2


def test_voices_have_the_spectrum_and_rhythm_of_speech() -> None:
    for index in range(4):
        made = voice_loop(1, index).astype(np.float64)
        levels = _octaves(made)
        assert levels[2:5].mean() > levels[6] + 10  # 250 to 2000 Hz over 4 to 8 kHz
        envelope = np.sqrt(np.mean(made.reshape(-1, 160) ** 2, axis=1))  # 100 a second
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean())) ** 2
        hertz = np.fft.rfftfreq(len(envelope), 0.01)
        assert spectrum[(hertz > 0.05) & (hertz < 10)].sum() > 0.6 * spectrum.sum()
        assert envelope.std() / envelope.mean() > 0.4
    together = babble_loop(1, 0).reshape(-1, 160).std(axis=1)
    assert together.std() / together.mean() < 0.5  # many voices fill each other's pauses


def test_music_is_tonal() -> None:
    """A few narrow peaks hold most of the energy of a stretch, which is not so in noise."""

    def peaky(wave: np.ndarray) -> float:
        frames = wave[: 30 * 4096].reshape(30, 4096) * np.hanning(4096)
        power = np.sort(np.abs(np.fft.rfft(frames)) ** 2, axis=1)[:, ::-1]
        return float(np.median(power[:, :60].sum(1) / power.sum(1)))

    found = [peaky(music_loop(2, i)) for i in range(8)]
    assert np.median(found) > 0.9
    assert peaky(noise_loop(2, 0)) < 0.3
