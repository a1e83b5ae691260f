"""Hidden frames, and mixing: algorithm by algorithm."""

from __future__ import annotations

import numpy as np
import pytest

import training_made as made
from voxstrata.augmentation.sources import Bank, Sources
from voxstrata.config import build
from voxstrata.errors import ConfigError
from voxstrata.training.objectives.masked.masks import draw_mask
from voxstrata.training.objectives.masked.mixing import Mixer, MixingConfig, add_stretch


def test_spans_are_those_of_their_starts() -> None:
    for seed in range(20):
        mask = draw_mask(200, np.random.default_rng(seed), probability=0.5, length=5)
        rng = np.random.default_rng(seed)
        count = int(0.5 * 200 / 5 + rng.random())
        starts = rng.choice(195, count, replace=False)
        wanted = {s + k for s in starts for k in range(5)}
        assert set(np.flatnonzero(mask).tolist()) == wanted


def test_the_share_of_hidden_frames() -> None:
    """Starts cover a frame with probability 1 - (1 - n / 745)^5, n = 105 of 745 places."""
    shares = [draw_mask(750, np.random.default_rng(s)).mean() for s in range(200)]
    assert np.mean(shares) == pytest.approx(1 - (1 - 105 / 745) ** 5, abs=0.01)
    assert np.std(shares) < 0.03


@pytest.mark.parametrize("frames", [2, 5, 6, 7, 9])
def test_short_recordings_have_hidden_frames_too(frames: int) -> None:
    for seed in range(10):
        mask = draw_mask(frames, np.random.default_rng(seed), length=5)
        assert mask.shape == (frames,)
        assert mask.any()


def test_a_stretch_is_added_at_its_level() -> None:
    rng = np.random.default_rng(0)
    wave, other = rng.standard_normal((2, 16_000)).astype(np.float32)
    wave *= 0.1
    before = wave.copy()
    for seed in range(10):
        mixed = add_stretch(wave, other, 6.0, 0.5, np.random.default_rng(seed))
        added = mixed.astype(np.float64) - wave
        touched = np.flatnonzero(np.abs(added) > 1e-9)
        length = touched[-1] - touched[0] + 1
        assert 1 <= length <= 8_000
        part = added[touched[0] : touched[-1] + 1]
        factor = np.sqrt(np.mean(wave.astype(float) ** 2) / (np.mean(other**2.0) * 10**0.6))
        place = next(
            p
            for p in range(len(other) - length + 1)
            if abs(part[0] - factor * other[p]) < 1e-6
            and abs(part[-1] - factor * other[p + length - 1]) < 1e-6
        )
        np.testing.assert_allclose(part, factor * other[place : place + length], atol=1e-6)
    assert np.array_equal(wave, before)


def _noise() -> np.ndarray:
    return np.random.default_rng(77).standard_normal(8_000).astype(np.float32)


def _mixer(**options: object) -> Mixer:
    items = made.planted_items(6)
    config = build(MixingConfig, dict(options))
    return Mixer(config, items, Bank(Sources(noises=[_noise]), 0, None))


def test_how_often_a_crop_is_mixed() -> None:
    mixer = _mixer(probability=0.3)
    items = made.planted_items(6)
    wave = np.ones(4_000, dtype=np.float32)
    same = [mixer(wave, items[0], np.random.default_rng(seed)) is wave for seed in range(400)]
    assert np.mean(same) == pytest.approx(0.7, abs=0.06)
    assert np.array_equal(wave, np.ones(4_000))


def test_a_recording_is_never_mixed_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxstrata.training.objectives.masked import mixing

    items = made.planted_items(3)
    mixer = Mixer(
        build(MixingConfig, {"probability": 1.0, "noise": 0.0}),
        items,
        Bank(Sources(noises=[_noise]), 0, None),
    )
    seen: list[bytes] = []

    def watch(wave: object, other: np.ndarray, *rest: object) -> object:
        seen.append(other.tobytes())
        return wave

    monkeypatch.setattr(mixing, "add_stretch", watch)
    for seed in range(30):
        mixer(items[1].read(), items[1], np.random.default_rng(seed))
    assert set(seen) == {items[0].read().tobytes(), items[2].read().tobytes()}


def test_noises_and_voices_come_as_their_weights_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxstrata.training.objectives.masked import mixing

    items = made.planted_items(6)
    known = {item.read().tobytes() for item in items}
    ratios: dict[bool, list[float]] = {True: [], False: []}

    def watch(wave: object, other: np.ndarray, ratio: float, *rest: object) -> object:
        ratios[other.tobytes() in known].append(ratio)
        return wave

    monkeypatch.setattr(mixing, "add_stretch", watch)
    mixer = _mixer(probability=1.0, utterance=3.0, noise=1.0)
    for seed in range(400):
        mixer(items[0].read(), items[0], np.random.default_rng(seed))
    assert len(ratios[True]) / 400 == pytest.approx(0.75, abs=0.06)
    assert -5 <= min(ratios[True]) < -4
    assert 4 < max(ratios[True]) <= 5
    assert -5 <= min(ratios[False]) < -2
    assert 17 < max(ratios[False]) <= 20


def test_weights_and_ranges_are_checked() -> None:
    for wrong in ({"utterance": 0, "noise": 0}, {"snr_noise": [3, 1]}, {"probability": 1.5}):
        with pytest.raises(ConfigError):
            build(MixingConfig, dict(wrong))
