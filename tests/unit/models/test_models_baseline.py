"""log-mel and MFCC as models of one layer."""

from __future__ import annotations

import pytest
import torch

from voxstrata.errors import AudioError, ConfigError, ModelError, UnknownNameError
from voxstrata.frontend import front_end
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.load import load_model


def noise(*lengths: int) -> list[torch.Tensor]:
    maker = torch.Generator().manual_seed(2)
    return [torch.randn(n, generator=maker) * 0.1 for n in lengths]


@pytest.mark.parametrize(
    ("spec", "layer", "width"),
    [
        ("log-mel", "logmel", 80),
        ("log-mel,mels=40,normalise=mean", "logmel", 40),
        ("mfcc", "mfcc", 20),
        ("mfcc,deltas=2", "mfcc", 60),
        ("mfcc,coefficients=13,mels=23,deltas=1", "mfcc", 26),
    ],
)
def test_one_layer(spec: str, layer: str, width: int) -> None:
    model = load_model(spec)
    assert isinstance(model, SpeechModel)
    assert [info.name for info in choose_layers(model, None)] == [layer]
    waves = noise(400, 16000, 8123, 16000)
    for wave, batched in zip(waves, model.encode(waves, [layer]), strict=True):
        found = batched[layer]
        assert found.shape == (model.frames(layer, len(wave)), width)
        alone = model.encode([wave], [layer])[0][layer]
        assert (found - alone).abs().max() <= 1e-5 * alone.abs().max()
    assert model.layers[0].width == width
    assert model.frames(layer, 399) == 0
    with pytest.raises(AudioError, match="400 samples"):
        model.encode(noise(399), [layer])


def test_it_is_the_front_end() -> None:
    wave = noise(16000)[0]
    found = load_model("mfcc,deltas=1").encode([wave], ["mfcc"])[0]["mfcc"]
    assert torch.equal(found, front_end("mfcc", deltas=1)(wave[None])[0])


def test_refusals() -> None:
    with pytest.raises(ModelError, match="no random twin"):
        load_model("random:log-mel")
    with pytest.raises(ConfigError, match="melz"):
        load_model("log-mel,melz=3")
    with pytest.raises(ConfigError, match="coefficients"):
        load_model("mfcc,coefficients=50")
    with pytest.raises(UnknownNameError):
        load_model("log-mel@mfa")
    with pytest.raises(UnknownNameError, match="logmel"):
        load_model("log-mel").encode(noise(8000), ["0"])
    with pytest.raises(UnknownNameError, match="logmel"):
        load_model("log-mel").frames("mel", 8000)
    with pytest.raises(AudioError, match="mono"):
        load_model("log-mel").encode([torch.zeros(2, 8000)], ["logmel"])


def test_fingerprints_and_precision() -> None:
    plain = load_model("log-mel")
    prints = {
        plain.fingerprint,
        load_model("log-mel,mels=40").fingerprint,
        load_model("mfcc").fingerprint,
        plain.to("cpu", "bfloat16").fingerprint,
    }
    assert len(prints) == 4
    assert load_model("log-mel,mels=80").fingerprint == plain.fingerprint
    half = plain.to("cpu", "bfloat16").encode(noise(8000), ["logmel"])[0]["logmel"]
    assert half.dtype == torch.bfloat16
    # A model without weights can go back: nothing was rounded.
    again = plain.to("cpu", "bfloat16").to("cpu", "float32")
    assert torch.equal(
        again.encode(noise(8000), ["logmel"])[0]["logmel"],
        plain.encode(noise(8000), ["logmel"])[0]["logmel"],
    )
    assert plain.details["front_end"]["mels"] == 80


@pytest.mark.parametrize(
    "spec", ["log-mel", "random:ecapa,channels=16,mfa=24,embed=8", "random:whisper-tiny,layers=1"]
)
def test_numpy_arrays_are_audio(spec: str) -> None:
    """What ``Utterance.read()`` gives can be handed to a model as it is."""
    model = load_model(spec)
    (wave,) = noise(16000)
    array = wave.numpy()
    array.flags.writeable = False
    name = choose_layers(model, None)[0].name
    assert torch.equal(
        model.encode([array], [name])[0][name], model.encode([wave], [name])[0][name]
    )
    with pytest.raises(AudioError, match=r"encode\(\[audio\]"):
        model.encode(array, [name])
    with pytest.raises(AudioError, match="int16"):
        model.encode([array.astype("int16")], [name])
    with pytest.raises(AudioError, match="too short"):
        model.encode([array[:0]], [name])
    with pytest.raises(AudioError, match="neither an array nor a tensor"):
        model.encode([[0.0] * 16000], [name])  # type: ignore[list-item]


def test_context_joins_neighbouring_frames() -> None:
    (wave,) = noise(8000)
    (one,) = load_model("log-mel").encode([wave], ["logmel"])
    (eleven,) = load_model("log-mel,context=5").encode([wave], ["logmel"])
    plain, joined = one["logmel"], eleven["logmel"]
    assert joined.shape == (plain.shape[0], 11 * 80)
    assert torch.equal(joined[20].reshape(11, 80), plain[15:26])
    assert torch.equal(joined[0].reshape(11, 80)[:6], plain[0].expand(6, 80))
    info = load_model("log-mel,context=5").layers[0]
    before = load_model("log-mel").layers[0].grid
    assert info.grid is not None
    assert before is not None
    assert info.grid.centre2(7) == before.centre2(7)
    assert info.grid.receptive == before.receptive + 10 * before.stride
