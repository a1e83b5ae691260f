"""Configurations and presets; masks on features."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from voxstrata.augmentation.augmenter import Augmenter
from voxstrata.augmentation.config import AugmentConfig, SpecAugmentConfig
from voxstrata.augmentation.spec import spec_augment
from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, ShapeError, UnknownNameError


def _shares(config: AugmentConfig) -> dict[str, float]:
    """How often each kind comes, in all."""
    total = sum(config.kinds.values())
    return {k: config.probability * v / total for k, v in config.kinds.items()}


def test_wespeaker() -> None:
    config = AugmentConfig.preset("wespeaker")
    shares = _shares(config)
    assert config.probability == 0.6
    assert shares["room"] == pytest.approx(0.3)
    assert shares["noise"] / shares["speech"] == pytest.approx(930 / 426)
    assert config.snr_noise == (0, 15)
    assert config.snr_speech == (10, 30)
    assert config.snr_music == (5, 15)
    assert config.peak_normalise
    assert config == AugmentConfig()
    assert AugmentConfig.preset("wespeaker-dino").probability == 1.0


def test_3dspeaker() -> None:
    config = AugmentConfig.preset("3dspeaker")
    assert config.probability == 0.8
    assert set(config.kinds) == {"noise", "room", "room+noise"}
    assert config.snr_noise == (0, 15)
    assert config.power_floor == 1e-6


def test_rdino() -> None:
    config = AugmentConfig.preset("rdino")
    shares = _shares(config)
    single = {k: v for k, v in shares.items() if "+" not in k}
    assert 1 - sum(shares.values()) == pytest.approx(1 / 6)
    assert sum(single.values()) == pytest.approx(1 / 2)
    assert single["room"] == pytest.approx(1 / 8)
    assert sum(shares.values()) - sum(single.values()) == pytest.approx(1 / 3)
    assert shares["room+speech"] == pytest.approx(1 / 9)
    assert config.snr_speech == (13, 20)
    assert config.room_gain_db == (-7, 3)


def test_taoruijie() -> None:
    config = AugmentConfig.preset("taoruijie")
    shares = _shares(config)
    assert len(shares) == 5
    assert set(np.round(list(shares.values()), 9)) == {round(1 / 6, 9)}
    assert config.snr_babble == (13, 20)
    assert config.babble_voices == (3, 8)
    assert not config.peak_normalise


def test_speechbrain() -> None:
    shares = _shares(AugmentConfig.preset("speechbrain"))
    assert shares == pytest.approx(dict.fromkeys(["noise", "room", "drop_freq", "drop_chunk"], 0.2))


@pytest.mark.parametrize("name", AugmentConfig.presets)
def test_every_preset_works_and_survives_yaml(name: str) -> None:
    config = AugmentConfig.preset(name)
    text = yaml.safe_dump(config.model_dump(mode="json"))
    assert build(AugmentConfig, yaml.safe_load(text)) == config
    augmenter = Augmenter(config)
    wave = (np.random.default_rng(0).standard_normal(8000) * 0.1).astype(np.float32)
    for seed in range(8):
        made = augmenter(wave, np.random.default_rng(seed))
        assert made.shape == wave.shape
        assert np.isfinite(made).all()


def test_presets_in_yaml_and_in_nested_configurations() -> None:
    class Outer(Config):
        augment: AugmentConfig | None = None
        masks: SpecAugmentConfig | None = None

    values = yaml.safe_load("{augment: {preset: rdino, probability: 0.5}, masks: {preset: sdpn}}")
    made = build(Outer, values)
    assert made.augment == AugmentConfig.preset("rdino", probability=0.5)
    assert made.masks == SpecAugmentConfig(probability=0.2, max_bins=5, fill="lowest")
    assert build(Outer, made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "rdin"}, "preset must be one of"),
        ({"kinds": {"nois": 1}}, "nois"),
        ({"kinds": {"room+": 1}}, "room"),
        ({"kinds": {"none+room": 1}}, "none"),
        ({"kinds": {}}, "positive"),
        ({"kinds": {"room": 0}}, "positive"),
        ({"kinds": {"room": -1}}, "greater"),
        ({"snr_noise": (5, 1)}, "lowest"),
        ({"babble_voices": (0, 2)}, "greater"),
        ({"probability": 1.5}, "less"),
        ({"snr_nois": (1, 2)}, "unknown key"),
    ],
)
def test_mistakes_are_named(values: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(AugmentConfig, values)


def test_unknown_presets_have_a_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rdino'"):
        AugmentConfig.preset("rdin")
    with pytest.raises(ConfigError, match="probability"):
        AugmentConfig.preset("rdino", probability=3)


def _runs(rows: np.ndarray) -> list[int]:
    """Lengths of the stretches of ``True``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_masks_have_the_right_sizes() -> None:
    features = np.random.default_rng(0).uniform(1, 2, (200, 80)).astype(np.float32)
    config = SpecAugmentConfig.preset("taoruijie")
    frames, bins, starts = [], [], []
    for seed in range(400):
        made = spec_augment(features, config, np.random.default_rng(seed))
        masked = made == 0
        assert made.dtype == np.float32
        whole_frames, whole_bins = masked.all(axis=1), masked.all(axis=0)
        assert np.array_equal(masked, whole_frames[:, None] | whole_bins[None])
        assert np.array_equal(made[~masked], features[~masked])
        assert len(_runs(whole_frames)) <= 1
        frames.append(whole_frames.sum())
        bins.append(whole_bins.sum())
        starts.append(int(np.argmax(whole_frames)) if whole_frames.any() else 100)
    assert set(frames) == set(range(10))
    assert set(bins) == set(range(8))
    assert min(starts) < 10
    assert max(starts) > 180
    assert (features != 0).all()


def test_several_masks_fill_and_probability() -> None:
    features = np.random.default_rng(1).uniform(1, 2, (300, 40)).astype(np.float32)
    several = SpecAugmentConfig(time_masks=3, max_frames=20, freq_masks=0)
    most = max(
        len(_runs((spec_augment(features, several, np.random.default_rng(s)) == 0).all(1)))
        for s in range(30)
    )
    assert most == 3
    for fill, value in (("mean", features.mean()), ("lowest", features.min())):
        config = SpecAugmentConfig(max_frames=50, fill=fill)  # type: ignore[arg-type]
        made = spec_augment(features, config, np.random.default_rng(3))
        changed = made != features
        assert changed.any()
        assert np.unique(made[changed]) == pytest.approx(value)
    seldom = SpecAugmentConfig.preset("sdpn")
    changed_ones = sum(
        not np.array_equal(spec_augment(features, seldom, np.random.default_rng(s)), features)
        for s in range(500)
    )
    # A fifth, less the one time in sixty that both widths are 0.
    assert changed_ones / 500 == pytest.approx(0.2 * 59 / 60, abs=0.05)


def test_short_features_are_never_masked_whole() -> None:
    config = SpecAugmentConfig(max_frames=50, max_bins=50)
    for shape in ((1, 1), (1, 5), (3, 2)):
        features = np.ones(shape, np.float32)
        for seed in range(20):
            assert spec_augment(features, config, np.random.default_rng(seed)).any()
    with pytest.raises(ShapeError):
        spec_augment(np.ones(5, np.float32), config, np.random.default_rng(0))
