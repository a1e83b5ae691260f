"""Random channels: by seed and id, and doing what they say."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from voxstrata.augmentation.channel import CLEAN, Channel, random_channel
from voxstrata.augmentation.levels import power
from voxstrata.augmentation.rooms import Room
from voxstrata.errors import NumericsError


def _wave(seed: int = 0, n: int = 32_000) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


def _gain_db(before: np.ndarray, after: np.ndarray, low: float, high: float) -> float:
    hertz = np.fft.rfftfreq(len(before), 1 / 16_000)
    inside = (hertz >= low) & (hertz < high)
    spectra = [np.abs(np.fft.rfft(x.astype(np.float64)))[inside] for x in (before, after)]
    return 10 * np.log10(np.mean(spectra[1] ** 2) / np.mean(spectra[0] ** 2))


def test_channels_follow_seed_and_id_and_no_order() -> None:
    ids = [f"speaker-{i}" for i in range(50)]
    forward = {name: random_channel(7, name) for name in ids}
    backward = {name: random_channel(7, name) for name in reversed(ids)}
    assert forward == backward
    assert len(set(forward.values())) == 50
    assert random_channel(8, ids[0]) != forward[ids[0]]
    wave = _wave()
    first = forward[ids[0]].apply(wave)
    assert np.array_equal(random_channel(7, ids[0])(wave), first)
    assert not np.allclose(forward[ids[1]].apply(wave), first, atol=1e-3)
    rngs = [np.random.default_rng(4), np.random.default_rng(4)]
    assert random_channel(rngs[0]) == random_channel(rngs[1])
    assert random_channel(rngs[0]) != random_channel(np.random.default_rng(4))


def test_what_is_drawn_is_wide() -> None:
    drawn = [random_channel(1, str(i)) for i in range(600)]
    assert 0.2 < np.mean([c.room is None for c in drawn]) < 0.3
    assert 0.07 < np.mean([c.noise is None for c in drawn]) < 0.13
    assert {c.noise for c in drawn} == {
        None, "white", "pink", "brown", "hum", "band", "clicks", "modulated", "babble",
    }  # fmt: skip
    ratios = [c.snr_db for c in drawn if c.noise]
    assert 10 <= min(ratios) < 11
    assert 29 < max(ratios) <= 30
    assert 0.38 < np.mean([c.low_hz is None and c.high_hz is None for c in drawn]) < 0.52
    assert 0.1 < np.mean([c.low_hz is not None and c.high_hz is not None for c in drawn]) < 0.2
    gains = np.array([[db for _, db in c.equaliser] for c in drawn])
    assert (gains.std(axis=0) > 3).all()


def test_descriptions_are_json_and_tell_channels_apart() -> None:
    drawn = [random_channel(3, str(i)) for i in range(100)]
    texts = {json.dumps(c.describe(), allow_nan=False) for c in drawn}
    assert len(texts) == 100
    assert json.loads(json.dumps(CLEAN.describe(), allow_nan=False))["noise"] is None
    assert pickle.loads(pickle.dumps(drawn[0])) == drawn[0]


@pytest.mark.parametrize("n", [1, 10, 777, 40_000])
def test_length_power_and_finiteness(n: int) -> None:
    for i in range(25):
        wave = _wave(i, n)
        made = random_channel(2, str(i)).apply(wave)
        assert made.shape == (n,)
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
        assert power(made) == pytest.approx(power(wave), rel=1e-3)
    silent = np.zeros(n, np.float32)
    assert not random_channel(2, "x").apply(silent).any()


def test_the_clean_channel_changes_nothing() -> None:
    assert CLEAN.apply(_wave()) == pytest.approx(_wave(), rel=1e-5)


def test_the_equaliser_has_its_points() -> None:
    channel = Channel(equaliser=((80.0, -6.0), (1000.0, 0.0), (4000.0, 9.0), (8000.0, -3.0)))
    before = _wave(0, 160_000)
    after = channel.apply(before)
    base = _gain_db(before, after, 950, 1050)
    for hz, db in ((3900, 9.0), (2000, 4.5), (7600, -2.0), (283, -3.0)):
        found = _gain_db(before, after, hz * 0.97, hz * 1.03) - base
        assert found == pytest.approx(db, abs=0.8)


def test_the_band_limit_stops() -> None:
    before = _wave(0, 160_000)
    after = Channel(low_hz=300.0, high_hz=3400.0).apply(before)
    base = _gain_db(before, after, 800, 2500)
    assert _gain_db(before, after, 350, 3300) == pytest.approx(base, abs=1.5)
    assert _gain_db(before, after, 20, 100) - base < -35
    assert _gain_db(before, after, 6500, 8000) - base < -35
    high = Channel(high_hz=5000.0).apply(before)
    assert _gain_db(before, high, 20, 4800) > -1
    assert _gain_db(before, high, 7800, 8000) < -30


@pytest.mark.parametrize("kind", ["white", "babble", "clicks"])
def test_the_noise_has_its_ratio_to_the_sounding_speech(kind: str) -> None:
    wave = _wave(0, 64_000)
    wave[20_000:50_000] = 0  # a pause, which does not count as speech
    channel = Channel(noise=kind, snr_db=12.0, noise_seed=5, noise_number=2, noise_start=0.3)
    made = channel.apply(wave).astype(np.float64)
    scale = np.dot(made, wave) / np.dot(wave, wave.astype(np.float64))
    added = made / scale - wave
    talk = np.concatenate([wave[:20_000], wave[50_000:]])
    assert 10 * np.log10(power(talk) / np.mean(added**2)) == pytest.approx(12.0, abs=0.3)
    other = replace(channel, noise_number=3).apply(wave)
    assert not np.allclose(other, made, atol=1e-3)


def test_nothing_is_delayed() -> None:
    """A click comes out where it went in, whatever lies between."""
    click = np.zeros(8000, np.float32)
    click[3000] = 1.0
    channels = [
        Channel(equaliser=((100.0, -3.0), (4000.0, 5.0))),
        Channel(room=Room(0.4, 6.0, 1)),
        Channel(high_hz=4000.0, room=Room(0.4, 6.0, 1)),
    ]
    for channel in channels:
        assert abs(int(np.abs(channel.apply(click)).argmax()) - 3000) <= 1


def test_bad_waves_are_refused() -> None:
    with pytest.raises(NumericsError):
        random_channel(0, "a").apply(np.full(10, np.nan, np.float32))
