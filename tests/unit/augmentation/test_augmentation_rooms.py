"""Rooms: decay, energies, alignment."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from voxstrata.augmentation.rooms import Room, draw_room, reverberate
from voxstrata.errors import AudioError


def _t60(response: np.ndarray) -> float:
    """Reverberation time by Schroeder's backward integration, fitted from -5 to -25 dB."""
    energy = response.astype(np.float64) ** 2
    energy[:160] = 0  # the direct path is not part of the decay
    curve = 10 * np.log10(np.maximum(np.cumsum(energy[::-1])[::-1], 1e-30) / energy.sum())
    fitted = np.flatnonzero((curve <= -5) & (curve >= -25))
    slope = np.polyfit(fitted / 16_000, curve[fitted], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("t60", [0.15, 0.3, 0.5, 0.9])
def test_energy_falls_by_60_db_in_t60(t60: float) -> None:
    found = [_t60(Room(t60, 0.0, seed).response()) for seed in range(8)]
    assert np.median(found) == pytest.approx(t60, rel=0.12)
    assert np.min(found) > 0.6 * t60
    assert np.max(found) < 1.4 * t60


@pytest.mark.parametrize("drr", [-3.0, 5.0, 12.0])
def test_direct_to_reverberant_ratio(drr: float) -> None:
    for seed in range(5):
        h = Room(0.4, drr, seed).response().astype(np.float64)
        assert np.abs(h).argmax() == 0 or drr < 0
        assert np.sum(h**2) == pytest.approx(1.0, rel=1e-5)
        assert 10 * np.log10(h[0] ** 2 / np.sum(h[1:] ** 2)) == pytest.approx(drr, abs=0.01)


def test_first_reflections_are_there() -> None:
    """Six single samples stand out of the onset; their places differ between rooms."""
    places = []
    for seed in range(6):
        h = np.abs(Room(0.6, 6.0, seed).response()[1:1200])
        high = np.flatnonzero(h > 6 * np.median(h))
        assert 1 <= len(high) <= 60
        places.append(tuple(high))
    assert len(set(places)) == 6


def test_rooms_repeat_by_seed() -> None:
    assert np.array_equal(Room(0.3, 4.0, 9).response(), Room(0.3, 4.0, 9).response())
    assert not np.array_equal(Room(0.3, 4.0, 9).response(), Room(0.3, 4.0, 10).response())
    drawn = [draw_room(np.random.default_rng(i)) for i in range(200)]
    times = [r.t60_s for r in drawn]
    assert 0.1 <= min(times) < 0.13
    assert 0.7 < max(times) <= 0.9


def test_tiny_rooms_work() -> None:
    for t60 in (1e-5, 1e-3, 0.01):
        h = Room(t60, 0.0, 1).response()
        assert np.isfinite(h).all()
        assert np.sum(h.astype(float) ** 2) == pytest.approx(1)


@pytest.mark.parametrize("length", [50, 4000, 100_000])
def test_it_is_convolution_cut_from_the_direct_path(length: int) -> None:
    rng = np.random.default_rng(3)
    wave = rng.standard_normal(length).astype(np.float32)
    response = (0.1 * rng.standard_normal(900)).astype(np.float32)
    response[137] = -3.0
    got = reverberate(wave, response)
    h = response.astype(np.float64) / np.linalg.norm(response.astype(np.float64))
    full = signal.convolve(wave.astype(np.float64), h, mode="full", method="direct")
    assert got.dtype == np.float32
    assert got == pytest.approx(full[137 : 137 + length], abs=2e-5)


def test_speech_is_not_delayed() -> None:
    wave = np.zeros(8000, np.float32)
    wave[3000] = 1.0
    response = np.zeros(500, np.float32)
    response[[200, 300]] = 1.0, 0.5
    got = reverberate(wave, response)
    assert np.abs(got).argmax() == 3000
    assert got[3000] / got[3100] == pytest.approx(2.0, rel=1e-4)


def test_a_silent_response_is_refused() -> None:
    with pytest.raises(AudioError, match="silent"):
        reverberate(np.ones(10, np.float32), np.zeros(10, np.float32))
