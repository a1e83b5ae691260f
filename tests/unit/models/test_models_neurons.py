"""Neurons of every kind of model: which layers, which linear maps, where they can be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models_hf_small import error, noise, write_directory
from torch.nn import functional

from voxstrata.errors import ModelError
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import load_model
from voxstrata.models.neurons import feed_forwards, neuron_layers, neuron_places

MELHUBERT = "random:melhubert,width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"
ECAPA = "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8,seed=1,preset="
SHAPES = [
    "hubert-base",
    "hubert-large",
    "wavlm-base",
    "wav2vec2-base",
    "data2vec",
    "sew",
    "whisper",
    "bert",
    MELHUBERT,
    MELHUBERT + ",norm_first=true",
]


def make(name: str, folder: Path) -> SpeechModel:
    return load_model(name if name.startswith("random:") else write_directory(folder, name))


@pytest.mark.parametrize("name", SHAPES)
def test_linear_maps_are_those_around_the_neurons(name: str, tmp_path: Path) -> None:
    """``act(up(x))`` is the tap, and ``down`` of the tap is the feed-forward output."""
    model = make(name, tmp_path)
    parts = feed_forwards(model)
    layers = [info.name for info in neuron_layers(model)]
    assert [part.layer for part in parts] == layers
    kinds = ["ffn1", "ffn2"] if name == "bert" else ["ffn"]
    assert layers == [f"block.{i}.{kind}.inner" for i in (1, 2, 3) for kind in kinds]
    act = functional.silu if name == "bert" else functional.gelu  # SEW, Whisper: GELU
    caught: dict[str, torch.Tensor] = {}

    def keep(layer: str) -> Any:
        return lambda _m, _args, out: caught.__setitem__(layer, out.detach())

    handles = [part.up.register_forward_hook(keep(part.layer)) for part in parts]
    outs = [layer.removesuffix("inner") + "out" for layer in layers]
    found = model.encode([noise(9000)], [*layers, *outs])[0]
    for handle in handles:
        handle.remove()
    for part, out in zip(parts, outs, strict=True):
        assert part.width == part.up.out_features == part.down.in_features
        assert part.block == int(part.layer.split(".")[1])
        tap = found[part.layer]
        assert tap.shape[1] == part.width
        before = caught[part.layer].flatten(0, -2)[: len(tap)]
        assert error(act(before), tap) < 1e-5
        assert error(part.down(tap), found[out]) < 1e-5


@pytest.mark.parametrize("name", [*SHAPES, ECAPA + "wespeaker", ECAPA + "speechbrain"])
def test_what_passes_a_place_is_the_layer(name: str, tmp_path: Path) -> None:
    model = make(name, tmp_path)
    places = neuron_places(model)
    assert [place.layer for place in places] == [info.name for info in neuron_layers(model)]
    caught: dict[str, torch.Tensor] = {}
    handles = []
    for place in places:

        def keep(value: Any, layer: str = place.layer, axis: int = place.channels) -> None:
            caught[layer] = value.detach().movedim(axis, -1).flatten(0, -2)

        if place.side == "in":
            handles.append(place.module.register_forward_pre_hook(lambda _m, a, k=keep: k(a[0])))
        else:
            handles.append(place.module.register_forward_hook(lambda _m, _a, o, k=keep: k(o)))
    layers = [place.layer for place in places]
    top = ["embedding"] if name.startswith(ECAPA) else []  # runs the pooling
    found = model.encode([noise(9000)], [*layers, *top])[0]
    for handle in handles:
        handle.remove()
    for place in places:
        tap = found[place.layer]
        assert place.width == tap.shape[1]
        assert torch.equal(caught[place.layer][: len(tap)], tap)


def test_a_place_without_batchnorm_is_what_enters_the_pooling() -> None:
    model = load_model(ECAPA + "speechbrain,mfa_norm=false")
    assert [place.side for place in neuron_places(model)] == ["out"] * 4 + ["in"]


@pytest.mark.parametrize("cut", ["1", "2"])
def test_a_cut_model_has_the_neurons_below_the_cut(cut: str, tmp_path: Path) -> None:
    write_directory(tmp_path / "hf", "hubert-base")
    for text in (MELHUBERT.replace("melhubert", f"melhubert@{cut}"), f"{tmp_path / 'hf'}@{cut}"):
        model = load_model(text)
        wanted = [f"block.{i}.ffn.inner" for i in range(1, int(cut) + 1)]
        assert [part.layer for part in feed_forwards(model)] == wanted
        assert [info.name for info in neuron_layers(model)] == wanted
        assert [place.layer for place in neuron_places(model)] == wanted


def test_models_without_neurons_are_refused() -> None:
    asked: tuple[Any, ...] = (neuron_layers, feed_forwards, neuron_places)
    for ask in asked:
        with pytest.raises(ModelError, match=r"expected: a Transformer .* ECAPA"):
            ask(load_model("log-mel"))
    cut = load_model(ECAPA.replace("ecapa", "ecapa@block1") + "wespeaker")
    assert [place.layer for place in neuron_places(cut)] == ["conv", "block1"]
    with pytest.raises(ModelError, match="no feed-forward parts"):
        feed_forwards(load_model(ECAPA + "wespeaker"))
