"""Profiles: drawn once, applied often; kinds, ratios, determinism, sources."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from functools import partial

import numpy as np
import pytest

from voxstrata.augmentation.augmenter import Augmenter, Profile, Sources
from voxstrata.augmentation.config import AugmentConfig
from voxstrata.augmentation.levels import power
from voxstrata.augmentation.registry import STEPS
from voxstrata.augmentation.sources import KEPT, Bank
from voxstrata.augmentation.steps.sounds import Sounds
from voxstrata.errors import AudioError, NumericsError, ShapeError, UsageError

N = 24_000


def _wave(seed: int = 0, n: int = N) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


def _only(kind: str, **more: object) -> AugmentConfig:
    values = {"probability": 1.0, "kinds": {kind: 1.0}, "peak_normalise": False, **more}
    return AugmentConfig(**values)  # type: ignore[arg-type]


def _sound(seed: int, n: int = 50_000) -> np.ndarray:
    return (np.random.default_rng([99, seed]).standard_normal(n) * 0.3).astype(np.float32)


@pytest.mark.parametrize("kind", [*STEPS.names(), "room+noise", "babble+music", "channel+babble"])
def test_every_kind_keeps_length_and_repeats(kind: str) -> None:
    augmenter, wave = Augmenter(_only(kind)), _wave()
    before = wave.copy()
    made = augmenter(wave, np.random.default_rng(3))
    assert made.dtype == np.float32
    assert made.shape == wave.shape
    assert np.isfinite(made).all()
    assert not np.allclose(made, wave, atol=1e-3)
    assert np.array_equal(wave, before)
    # The same in another process (a pickled copy), and not with another generator.
    twin = pickle.loads(pickle.dumps(augmenter))
    assert np.array_equal(twin(wave, np.random.default_rng(3)), made)
    assert not np.array_equal(augmenter(wave, np.random.default_rng(4)), made)


@pytest.mark.parametrize("kind", [*STEPS.names(), "room+noise"])
def test_a_profile_is_applied_again_and_to_other_crops(kind: str) -> None:
    augmenter = Augmenter(_only(kind))
    profile = augmenter.draw(N, np.random.default_rng(1))
    first = augmenter.apply(_wave(0), profile)
    other = augmenter.apply(_wave(1, 9000), profile)
    assert len(other) == 9000
    assert np.array_equal(augmenter.apply(_wave(0), profile), first)
    again = augmenter.draw(N, np.random.default_rng(1))
    assert again == profile
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert json.loads(json.dumps(profile.describe()))["kind"] == kind


@pytest.mark.parametrize(
    ("kind", "field"), [("noise", "snr_noise"), ("music", "snr_music"), ("speech", "snr_speech")]
)
@pytest.mark.parametrize("snr", [0.0, 12.0])
def test_ratios_of_added_sounds(kind: str, field: str, snr: float) -> None:
    augmenter = Augmenter(_only(kind, power_floor=0.0, **{field: (snr, snr)}))
    for seed in range(10):
        wave = _wave(seed)
        added = augmenter(wave, np.random.default_rng(seed)).astype(np.float64) - wave
        if not added.any():  # a pause of the other voice
            continue
        assert 10 * np.log10(power(wave) / np.mean(added**2)) == pytest.approx(snr, abs=0.1)


def test_ratios_are_uniform_in_their_range() -> None:
    augmenter = Augmenter(_only("noise", snr_noise=(3.0, 9.0)))
    rng = np.random.default_rng(0)
    found = [augmenter.draw(N, rng).steps[0].sounds[0].snr_db for _ in range(400)]  # type: ignore[attr-defined]
    assert 3.0 <= min(found) < 3.2
    assert 8.8 < max(found) <= 9.0
    assert np.mean(found) == pytest.approx(6.0, abs=0.3)


def test_babble_is_made_of_what_is_offered() -> None:
    """Each voice is found in the sum, at its own ratio; no recording comes twice."""
    offered = [_sound(i, N) for i in range(12)]
    sources = Sources(babble=[partial(_sound, i, N) for i in range(12)])
    config = _only("babble", snr_babble=(10.0, 10.0), babble_voices=(4, 4), power_floor=0.0)
    augmenter, wave = Augmenter(config, sources), _wave(7)
    profile = augmenter.draw(N, np.random.default_rng(2))
    (step,) = profile.steps
    assert isinstance(step, Sounds)
    chosen = [s.index for s in step.sounds]
    for seed in range(30):
        (drawn,) = augmenter.draw(N, np.random.default_rng(seed)).steps
        assert isinstance(drawn, Sounds)
        assert len({s.index for s in drawn.sounds}) == 4
    added = augmenter.apply(wave, profile).astype(np.float64) - wave
    basis = np.stack([offered[i] for i in range(12)], 1).astype(np.float64)
    weights = np.linalg.lstsq(basis, added, rcond=None)[0]
    assert sorted(np.flatnonzero(np.abs(weights) > 1e-3)) == sorted(chosen)
    for i in chosen:
        voice = power((weights[i] * offered[i]).astype(np.float32))
        assert 10 * np.log10(power(wave) / voice) == pytest.approx(10.0, abs=0.1)


def test_babble_needs_no_more_voices_than_there_are() -> None:
    sources = Sources(babble=[partial(_sound, 0)])
    made = Augmenter(_only("babble"), sources)(_wave(), np.random.default_rng(0))
    assert np.isfinite(made).all()


def test_kinds_come_as_often_as_they_weigh() -> None:
    config = AugmentConfig(
        probability=0.8, kinds={"noise": 2.0, "room+noise": 1.0, "none": 1.0, "music": 0.0}
    )
    augmenter, rng = Augmenter(config), np.random.default_rng(0)
    drawn = [augmenter.draw(N, rng) for _ in range(4000)]
    counts = Counter(p.kind for p in drawn)
    assert counts["noise"] / 4000 == pytest.approx(0.4, abs=0.03)
    assert counts["room+noise"] / 4000 == pytest.approx(0.2, abs=0.03)
    assert counts["none"] / 4000 == pytest.approx(0.4, abs=0.03)
    assert "music" not in counts
    assert all(len(p.steps) == {"noise": 1, "room+noise": 2, "none": 0}[p.kind] for p in drawn)


def test_steps_are_done_from_left_to_right() -> None:
    config = _only("room+noise", snr_noise=(5.0, 5.0), power_floor=0.0)
    augmenter, wave = Augmenter(config), _wave()
    profile = augmenter.draw(N, np.random.default_rng(5))
    wet = augmenter.apply(wave, Profile("room", profile.steps[:1]))
    added = augmenter.apply(wave, profile).astype(np.float64) - wet
    assert 10 * np.log10(power(wet) / np.mean(added**2)) == pytest.approx(5.0, abs=0.1)


def test_nothing_is_done_without_probability() -> None:
    wave, augmenter = _wave(), Augmenter(AugmentConfig(probability=0.0))
    for seed in range(20):
        assert np.array_equal(augmenter(wave, np.random.default_rng(seed)), wave)


def test_offered_sounds_and_rooms_are_used() -> None:
    impulse = np.zeros(100, np.float32)
    impulse[[10, 60]] = 1.0, -0.5
    tone = np.sin(np.arange(70) / 3).astype(np.float32)  # short: repeated
    sources = Sources(noises=[lambda: tone], rooms=[lambda: impulse])
    wave = _wave()
    wet = Augmenter(_only("room", room_gain_db=(6.0, 6.0)), sources)(wave, np.random.default_rng(0))
    scale = 10 ** (6 / 20) / np.sqrt(1.25)
    expected = wave.copy()
    expected[50:] -= 0.5 * wave[:-50]
    assert wet == pytest.approx(scale * expected, abs=1e-5)
    noisy = Augmenter(_only("noise"), sources)(wave, np.random.default_rng(0)) - wave
    assert np.allclose(noisy[70:], noisy[:-70], atol=1e-4)


def test_sounds_are_read_once_while_they_fit_and_forgotten_in_copies() -> None:
    reads: Counter[int] = Counter()

    def reader(i: int) -> np.ndarray:
        reads[i] += 1
        return _sound(i, 100)

    bank = Bank(Sources(babble=[partial(reader, i) for i in range(5)]), 0, None)
    for _ in range(3):
        for i in range(5):
            bank.sound("babble", i)
            bank.sound("speeches", i)
    assert set(reads.values()) == {1}
    assert copy.copy(bank)._kept == {}

    big = Bank(Sources(noises=[partial(_sound, i, KEPT["noises"] // 3) for i in range(5)]), 0, None)
    for i in range(5):
        big.sound("noises", i)
    assert list(big._kept["noises"]) == [2, 3, 4]


def test_the_babble_pool_is_a_fixed_part_of_what_is_offered() -> None:
    readers = [partial(_sound, i, 50) for i in range(300)]

    def pool(seed: int) -> list[bytes]:
        bank = Bank(Sources(babble=readers), seed, 20)
        assert bank.count("babble") == 20
        return [bank.sound("babble", i).tobytes() for i in range(20)]

    assert pool(0) == pool(0)
    assert pool(0) != pool(1)
    assert len(set(pool(0))) == 20
    assert Bank(Sources(babble=readers), 0, None).count("babble") == 300


def test_peaks() -> None:
    augmenter = Augmenter(_only("noise", peak_normalise=True))
    assert np.abs(augmenter(_wave(), np.random.default_rng(0))).max() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", STEPS.names())
@pytest.mark.parametrize("n", [1, 7, 300])
def test_silence_and_short_waves(kind: str, n: int) -> None:
    for peak in (True, False):
        augmenter = Augmenter(_only(kind, peak_normalise=peak))
        for seed in range(3):
            for wave in (np.zeros(n, np.float32), _wave(seed, n)):
                made = augmenter(wave, np.random.default_rng(seed))
                assert made.shape == (n,)
                assert np.isfinite(made).all()


def test_bad_waves_are_refused_even_when_nothing_is_done() -> None:
    augmenter, rng = Augmenter(AugmentConfig(probability=0.0)), np.random.default_rng(0)
    bad = _wave()
    bad[3] = np.nan
    with pytest.raises(NumericsError, match="sample 3"):
        augmenter(bad, rng)
    with pytest.raises(UsageError):
        augmenter(np.ones(9, np.int16), rng)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        augmenter(np.ones((9, 2), np.float32), rng)
    with pytest.raises(AudioError):
        augmenter(np.zeros(0, np.float32), rng)


def test_bad_sounds_are_named() -> None:
    sources = Sources(noises=[lambda: np.zeros(0, np.float32)])
    with pytest.raises(AudioError, match=r"noises\[0\]"):
        Augmenter(_only("noise"), sources)(_wave(), np.random.default_rng(0))


def test_bands_are_taken_out() -> None:
    from voxstrata.augmentation.steps.drops import WithoutBands, WithoutChunks

    bank = Bank(Sources(), 0, None)
    made = WithoutBands(((1000.0, 1800.0), (7600.0, 8000.0))).apply(_wave(0, 64_000), bank)
    power_at = np.abs(np.fft.rfft(made.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(64_000, 1 / 16_000)
    kept = power_at[(hertz > 2200) & (hertz < 7200)].mean()
    assert power_at[(hertz > 1100) & (hertz < 1700)].mean() < 1e-3 * kept
    assert power_at[hertz > 7700].mean() < 1e-3 * kept
    tone = np.sin(2 * np.pi * 4000 * np.arange(8000) / 16_000 + 0.3).astype(np.float32)
    passed = WithoutBands(((1000.0, 1800.0),)).apply(tone, bank)
    assert passed[500:-500] == pytest.approx(tone[500:-500], abs=5e-3)

    silenced = WithoutChunks(((0.0, 100), (0.5, 50), (0.9999, 30))).apply(_wave(1, 1000), bank)
    gone = np.flatnonzero(silenced == 0)
    assert gone.tolist() == [*range(100), *range(475, 525), *range(970, 1000)]


def test_drop_chunk_draws_within_its_bounds() -> None:
    augmenter = Augmenter(_only("drop_chunk"))
    for seed in range(60):
        made = augmenter(_wave(seed), np.random.default_rng(seed))
        gone = made == 0
        assert 1000 <= gone.sum() <= 5 * 2000
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], gone, [0]]))))[::2]
        assert len(runs) <= 5
        assert runs.min() >= 1000
