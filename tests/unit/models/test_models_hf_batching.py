"""Batching never changes a number, for every shape and layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models_hf_small as hf
import pytest
import torch

from voxstrata import load_model
from voxstrata.errors import AudioError
from voxstrata.models.huggingface.shape import share_calls

CLOSE = 1e-5
LENGTHS = (16_000, 1_100, 33_333, 5_121, 720, 33_333, 16_640, 9_999)


@pytest.fixture(scope="module", params=list(hf.SMALL))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf.write_directory(tmp_path_factory.mktemp("b") / request.param, request.param)


@pytest.mark.parametrize("options", [{}, {"final_norm": True}], ids=["raw", "final_norm"])
def test_padded_equals_one_at_a_time(folder: Path, options: dict[str, Any]) -> None:
    alone = load_model(folder, batching="single", **options)
    together = load_model(folder, batching="padded", **options)
    names = [info.name for info in alone.layers]
    audio = [hf.noise(length, seed=i) for i, length in enumerate(LENGTHS)]
    batch = together.encode(audio, names)
    for index, wave in enumerate(audio):
        for name, expected in alone.encode([wave], names)[0].items():
            assert batch[index][name].shape[0] == alone.frames(name, len(wave)), name
            assert hf.error(batch[index][name], expected) < CLOSE, (index, name)


def test_padded_conv_layers_alone(folder: Path) -> None:
    alone = load_model(folder)
    convs = [i.name for i in alone.layers if i.name.startswith("conv")]
    if not convs:
        assert load_model(folder).details["model_type"] == "wav2vec2-bert"
        return
    audio = [hf.noise(length) for length in (400, 2_000, 1_234)]
    batch = load_model(folder, batching="padded").encode(audio, convs[:2])
    for wave, found in zip(audio, batch, strict=True):
        one = alone.encode([wave], convs[:2])[0]
        assert all(hf.error(found[n], one[n]) < CLOSE for n in convs[:2])


def test_on_a_cpu_a_recording_is_bit_for_bit_what_it_is_alone(folder: Path) -> None:
    model = load_model(folder)
    audio = [hf.noise(n) for n in (3_000, 8_000, 3_000)]
    names = [str(i) for i in range(3)]
    batch = model.encode(audio, names)
    for wave, found in zip(audio, batch, strict=True):
        one = model.encode([wave], names)[0]
        assert all(torch.equal(found[n], one[n]) for n in names)


@pytest.mark.parametrize("name", ["hubert-base", "data2vec", "sew", "bert"])
def test_naive_padding_would_change_numbers(name: str) -> None:
    """The danger is real: transformers' own padded batches differ for these models."""
    module = hf.reference(name)
    short, long = hf.noise(5_121), hf.noise(33_333)
    one, two = hf.extract(name, short), hf.extract(name, long)
    with torch.no_grad():
        alone = module(one).last_hidden_state[0]
        if name == "bert":
            # without its mask: normalised features padded with zeros
            one = torch.nn.functional.pad(one, (0, 0, 0, two.shape[1] - one.shape[1]))
            batch = module(torch.cat([one, two])).last_hidden_state[0]
        else:
            one = torch.nn.functional.pad(one, (0, two.shape[1] - one.shape[1]))
            mask = torch.ones(2, two.shape[1], dtype=torch.long)
            mask[0, len(short) :] = 0
            batch = module(torch.cat([one, two]), attention_mask=mask).last_hidden_state[0]
    frames = load_frames(name, len(short))
    assert hf.error(batch[:frames], alone[:frames]) > 1e-3


def load_frames(name: str, samples: int) -> int:
    step = 560 if name == "bert" else 720
    return (samples - step) // (640 if name == "sew" else 320) + 1


def test_share_calls_keeps_lengths_apart_unless_padding_is_harmless() -> None:
    lengths = [5, 9, 5, 2, 9, 5]
    alike = list(share_calls(lengths, padded=False, limit=100))
    assert sorted(i for group in alike for i in group) == list(range(6))
    assert all(len({lengths[i] for i in group}) == 1 for group in alike)
    mixed = list(share_calls(lengths, padded=True, limit=18))
    assert all(max(lengths[i] for i in g) * len(g) <= 18 for g in mixed)
    assert list(share_calls([50], padded=True, limit=18)) == [[0]]


def test_too_short_audio_names_the_minimum(folder: Path) -> None:
    model = load_model(folder)
    names = [i.name for i in model.layers if i.default]
    least = next(n for n in range(1, 2000) if model.frames("1", n) > 0)
    assert model.encode([hf.noise(least)], names)[0]["1"].shape[0] == 1
    if least > 1:
        with pytest.raises(AudioError, match=f"at least {least} samples") as caught:
            model.encode([hf.noise(16_000), hf.noise(least - 1)], names)
        assert "recording 1" in str(caught.value)


def test_audio_must_be_mono(tmp_path: Path) -> None:
    model = load_model(hf.write_directory(tmp_path / "m", "hubert-base"))
    with pytest.raises(AudioError, match="not mono"):
        model.encode([torch.zeros(2, 16_000)], ["1"])


def test_silence_gives_finite_numbers(folder: Path) -> None:
    model = load_model(folder, batching="padded")
    found = model.encode([torch.zeros(8_000), hf.noise(16_000)], ["0", "2"])
    assert all(torch.isfinite(t).all() for row in found for t in row.values())
