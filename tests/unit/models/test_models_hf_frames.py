"""Frame counts and frame-to-time maps, held against real outputs and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models_hf_small as hf
import pytest
import torch

from voxstrata import load_model
from voxstrata.models.huggingface import spectra
from voxstrata.models.huggingface.grid import conv_tracks
from voxstrata.types import FrameGrid


@pytest.fixture(scope="module", params=list(hf.SMALL))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = hf.write_directory(tmp_path_factory.mktemp("f") / request.param, request.param)
    return load_model(folder)


def test_counts_are_those_of_real_outputs(model: Any) -> None:
    names = [i.name for i in model.layers if not i.name.startswith("block.")]
    generator = torch.Generator().manual_seed(0)
    lengths = [*range(399, 402), *range(559, 562), *range(718, 723), 879, 880, 1039, 1040, 1041]
    lengths += [15_999, 16_000, 16_001, 16_321]
    lengths += torch.randint(1, 40_000, (25,), generator=generator).tolist()
    for samples in lengths:
        usable = [n for n in names if model.frames(n, samples)]
        if not usable:
            continue
        found = model.encode([hf.noise(samples)], usable)[0]
        for name in usable:
            assert found[name].shape[0] == model.frames(name, samples), (name, samples)


def test_counts_agree_with_transformers(model: Any) -> None:
    """The bare encoder's own output length, where transformers neither pads nor windows."""
    kind = model.details["model_type"]
    module = hf.reference(
        {"sew": "sew", "whisper": "whisper", "wav2vec2-bert": "bert"}.get(kind, "hubert-base")
    )
    if kind in ("whisper", "wav2vec2-bert", "sew"):
        return  # own counts; compared with hooks in test_models_hf_layers.py
    for samples in (400, 719, 720, 12_345):
        conv = module.feature_extractor(hf.noise(samples)[None]).shape[-1]
        assert (
            model.frames("1", samples)
            == conv
            == int(module._get_feat_extract_output_lengths(torch.tensor(samples)))
        )


def test_published_grids() -> None:
    tracks = conv_tracks([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])
    assert tracks[-1].grid == FrameGrid(320, 400, 0)
    assert [t.grid.stride for t in tracks] == [5, 10, 20, 40, 80, 160, 320]
    assert [t.grid.receptive for t in tracks] == [10, 20, 40, 80, 160, 240, 400]
    for name, expected in (
        ("random:wav2vec2-base,layers=1", FrameGrid(320, 400, 0)),
        ("random:sew-tiny,layers=1", FrameGrid(640, 720, 0)),
        ("random:wav2vec2-bert,layers=1", FrameGrid(320, 560, 0)),
        ("random:whisper-tiny,layers=1", FrameGrid(320, 1040, -520)),
    ):
        infos = {i.name: i for i in load_model(name).layers}
        assert infos["1"].grid == infos["0"].grid == expected, name
    sew = {i.name: i for i in load_model("random:sew-tiny,layers=1").layers}
    assert sew["conv13"].grid == sew["upsampled"].grid == FrameGrid(320, 400, 0)
    # centre of Whisper's frame i is sample 320 i
    assert expected.centre2(7) == 2 * 320 * 7


def seen_by(value: torch.Tensor, wave: torch.Tensor, frame: int) -> tuple[int, int]:
    (slope,) = torch.autograd.grad(value[frame].sum(), wave, retain_graph=True)
    touched = slope.nonzero()
    return int(touched[0]), int(touched[-1]) + 1


def test_receptive_fields_of_convolutions_are_exact() -> None:
    module = hf.reference("wav2vec2-large").double()
    tracks = conv_tracks(hf.CONV["conv_kernel"], hf.CONV["conv_stride"])
    wave = hf.noise(4_000).double().requires_grad_(True)
    hidden = wave[None, None]
    for conv, track in zip(module.feature_extractor.conv_layers, tracks, strict=True):
        hidden = conv(hidden)
        value = hidden[0].T
        assert value.shape[0] == track.frames(4_000)
        for frame in (0, 1, value.shape[0] - 1):
            low = track.grid.start + frame * track.grid.stride
            assert seen_by(value, wave, frame) == (low, low + track.grid.receptive)


def test_receptive_field_of_stacked_filter_banks_is_exact() -> None:
    wave = hf.noise(4_000).double().requires_grad_(True)
    value = spectra.stacked_fbank(wave, 80, 2, normalize=False)
    for frame in (0, 3):
        assert seen_by(value, wave, frame) == (320 * frame, 320 * frame + 560)


def test_receptive_field_of_whisper_is_exact() -> None:
    module = hf.reference("whisper").double()
    wave = hf.noise(16_000).double().requires_grad_(True)
    mel = spectra.whisper_mel(wave, 20, 16_000).double()
    one = torch.nn.functional.gelu(module.conv1(mel[None]))
    two = torch.nn.functional.gelu(module.conv2(one))
    grids = {i.name: i.grid for i in load_model("random:whisper-tiny,layers=1").layers if i.grid}
    for name, value in (("conv1", one[0].T), ("conv2", two[0].T)):
        grid = grids[name]
        low = grid.start + 20 * grid.stride
        # The periodic Hann window is zero at its first sample.
        assert seen_by(value, wave, 20) == (low + 1, low + grid.receptive)


@pytest.mark.parametrize("samples", [561, 4_000, 16_123])
def test_filter_banks_equal_transformers(samples: int) -> None:
    wave = hf.noise(samples)
    found = spectra.stacked_fbank(wave, 80, 2, normalize=True)
    expected = hf.extract("bert", wave)[0]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-4  # transformers' spectrum is complex64


@pytest.mark.parametrize("samples", [1, 700, 16_000])
def test_whisper_spectrogram_equals_transformers(samples: int) -> None:
    wave = hf.noise(samples)
    found = spectra.whisper_mel(wave, 20, 16_000)
    expected = hf.extract("whisper", wave)[0]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-4


def test_group_norm_needs_two_frames(tmp_path: Path) -> None:
    model = load_model(hf.write_directory(tmp_path / "m", "hubert-base"))
    assert model.frames("conv1", 14) == 0
    assert model.frames("conv1", 15) == 2
    assert model.encode([hf.noise(15)], ["conv1"])[0]["conv1"].shape == (2, 24)
