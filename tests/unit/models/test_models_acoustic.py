"""Acoustic measures as a model of one-dimensional layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import AudioError, ConfigError, ModelError, UnknownNameError
from voxstrata.frontend import acoustic
from voxstrata.frontend.pitch import PitchConfig, estimate_pitch
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.load import load_model

LAYERS = ["f0", "voicing", "periodicity", "energy", "tilt", "zcr"]


def waves(*lengths: int) -> list[torch.Tensor]:
    maker = torch.Generator().manual_seed(2)
    found = []
    for number, length in enumerate(lengths):
        tone = torch.sin(2 * torch.pi * (120 + 40 * number) * torch.arange(length) / 16000)
        tone[: length // 3] = 0
        found.append(0.3 * tone + 0.02 * torch.randn(length, generator=maker))
    return found


def test_layers_of_width_one_on_the_grid_of_log_mel() -> None:
    model = load_model("acoustic")
    mel = load_model("log-mel")
    assert isinstance(model, SpeechModel)
    assert [info.name for info in choose_layers(model, None)] == LAYERS
    batch = waves(400, 16000, 8123, 16000)
    together = model.encode(batch, LAYERS)
    for wave, found in zip(batch, together, strict=True):
        alone = model.encode([wave], LAYERS)[0]
        for name in LAYERS:
            assert found[name].shape == (mel.frames("logmel", len(wave)), 1)
            assert len(found[name]) == model.frames(name, len(wave))
            assert torch.equal(found[name], alone[name])
            assert bool(torch.isfinite(found[name]).all())
    for info in model.layers:
        assert info.width == 1
        assert info.grid is not None
        assert info.grid.centre2(5) == mel.layers[0].grid.centre2(5)  # type: ignore[union-attr]


def test_layers_are_the_measures() -> None:
    (wave,) = waves(16000)
    found = load_model("acoustic,floor_hz=100,ceiling_hz=300").encode([wave], LAYERS)[0]
    pitch = estimate_pitch(wave.numpy(), PitchConfig(floor_hz=100, ceiling_hz=300))
    frames = acoustic.windows(wave.numpy())
    expected = {
        "f0": pitch.log2_hz,
        "voicing": pitch.voiced,
        "periodicity": pitch.periodicity,
        "energy": acoustic.energy_db(frames),
        "tilt": acoustic.tilt_db(frames),
        "zcr": acoustic.zero_crossings(frames),
    }
    for name, values in expected.items():
        assert np.array_equal(found[name][:, 0].numpy(), values.astype(np.float32)), name
    assert set(found["voicing"].unique().tolist()) == {0.0, 1.0}
    voiced = found["voicing"][:, 0] == 1
    assert torch.allclose(2 ** found["f0"][voiced].median(), torch.tensor(120.0), atol=0.5)


def test_a_part_of_the_layers() -> None:
    model = load_model("acoustic")
    (wave,) = waves(8000)
    whole = model.encode([wave], LAYERS)[0]
    for names in (["tilt"], ["zcr", "f0"], []):
        found = model.encode([wave], names)[0]
        assert list(found) == names
        assert all(torch.equal(found[name], whole[name]) for name in names)


def test_refusals() -> None:
    for text in ("random:acoustic", "acoustic@3"):
        with pytest.raises(ModelError, match="no weights and no depth"):
            load_model(text)
    with pytest.raises(ModelError, match="no revisions"):
        load_model("acoustic@main")
    with pytest.raises(ConfigError, match="flor_hz"):
        load_model("acoustic,flor_hz=60")
    with pytest.raises(ConfigError, match=r"1\.5 times"):
        load_model("acoustic,floor_hz=400")
    with pytest.raises(AudioError, match="400 samples"):
        load_model("acoustic").encode([torch.zeros(399)], ["f0"])
    with pytest.raises(UnknownNameError, match="energy"):
        load_model("acoustic").frames("energi", 8000)


def test_fingerprint_and_precision() -> None:
    plain = load_model("acoustic")
    assert plain.fingerprint == load_model("acoustic,floor_hz=75").fingerprint
    assert plain.fingerprint != load_model("acoustic,floor_hz=60").fingerprint
    assert plain.details["parameters"] == 0
    (wave,) = waves(8000)
    double = plain.to("cpu", "float64").encode([wave], ["f0"])[0]["f0"]
    assert double.dtype == torch.float64
    assert torch.equal(double.float(), plain.encode([wave], ["f0"])[0]["f0"])
