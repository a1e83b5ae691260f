"""MelHuBERT as a stack of layers: table, frames, batching, cuts, files, refusals."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from voxstrata.errors import AudioError, CheckpointError, ConfigError, ModelError, UnknownNameError
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.load import load_model
from voxstrata.models.melhubert.family import FAMILY
from voxstrata.models.melhubert.model import MelHubertModel
from voxstrata.models.melhubert.network import MelHubert, PositionalConv
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.models.spec import parse

SMALL = "width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=10"
VARIANTS = ("", ",norm_first=true", ",causal=true", ",inputs=40", ",inputs=40,conv_pos=9")


def small(extra: str = "", cut: str = "") -> MelHubertModel:
    options = dict(part.split("=") for part in f"{SMALL}{extra}".split(","))
    text = ",".join(f"{k}={v}" for k, v in options.items())
    model = load_model(f"random:melhubert{cut},{text},seed=1")
    assert isinstance(model, MelHubertModel)
    return model


def noise(*lengths: int) -> list[torch.Tensor]:
    maker = torch.Generator().manual_seed(5)
    return [torch.randn(n, generator=maker) * 0.1 * (i + 1) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("extra", VARIANTS)
def test_batched_equals_alone(extra: str) -> None:
    model = small(extra)
    assert isinstance(model, SpeechModel)
    waves = noise(8000, 5000, 8000, 400, 6789)
    names = [info.name for info in model.layers]
    for wave, batched in zip(waves, model.encode(waves, names), strict=True):
        alone = model.encode([wave], names)[0]
        assert list(batched) == names
        for name in names:
            assert batched[name].shape == alone[name].shape
            scale = alone[name].abs().max()
            assert (batched[name] - alone[name]).abs().max() <= 1e-5 * scale, name


@pytest.mark.parametrize(("inputs", "stride", "receptive"), [(40, 160, 400), (80, 320, 560)])
def test_frames_grid_and_widths(inputs: int, stride: int, receptive: int) -> None:
    model = small(f",inputs={inputs}")
    names = [info.name for info in model.layers]
    for samples in (400, 401, 559, 560, 719, 720, 721, 880, 16000, 16001):
        found = model.encode(noise(samples), names)[0]
        for info in model.layers:
            assert found[info.name].shape == (model.frames(info.name, samples), info.width)
            grid = info.grid
            assert grid is not None
            assert (grid.stride, grid.receptive, grid.start) == (stride, receptive, 0)
    assert model.frames("1", 399) == 0
    with pytest.raises(AudioError, match="at least 400 samples"):
        model.encode(noise(399), ["1"])
    with pytest.raises(UnknownNameError):
        model.frames("4", 16000)


def test_layer_table() -> None:
    model = small()
    assert [info.name for info in choose_layers(model, None)] == ["0", "1", "2", "3"]
    assert [info.name for info in choose_layers(model, ["block.*.ffn.inner"])] == [
        f"block.{i}.ffn.inner" for i in (1, 2, 3)
    ]
    widths = {info.name: info.width for info in model.layers}
    assert widths["block.2.ffn.inner"] == 40
    assert widths["block.2.ffn.out"] == widths["block.2.attn.out"] == widths["proj"] == 32
    assert len(widths) == 1 + 4 + 9


def test_taps_are_what_the_block_computes() -> None:
    model = small()
    network = model._module
    assert isinstance(network, MelHubert)
    block = network.encoder.layers[1]
    found = model.encode(noise(8000), ["1", "2", *(f"block.2.{t}" for t in
                         ("attn.out", "ffn.inner", "ffn.out"))])[0]  # fmt: skip
    with torch.no_grad():
        middle = block.self_attn_layer_norm(found["1"] + found["block.2.attn.out"])
        inner = torch.nn.functional.gelu(block.fc1(middle))
        out = block.fc2(inner)
        last = block.final_layer_norm(middle + out)
    assert torch.allclose(inner, found["block.2.ffn.inner"], atol=1e-6)
    assert torch.allclose(out, found["block.2.ffn.out"], atol=1e-6)
    assert torch.allclose(last, found["2"], atol=1e-5)


def test_final_norm_is_for_the_last_layer_of_pre_norm_models() -> None:
    raw, normed = small(",norm_first=true"), small(",norm_first=true,final_norm=true")
    network = raw._module
    assert isinstance(network, MelHubert)
    one, other = raw.encode(noise(8000), ["2", "3"])[0], normed.encode(noise(8000), ["2", "3"])[0]
    assert torch.equal(one["2"], other["2"])
    with torch.no_grad():
        assert torch.allclose(network.encoder.layer_norm(one["3"]), other["3"], atol=1e-6)
    assert not torch.allclose(one["3"], other["3"])
    assert raw.fingerprint != normed.fingerprint
    post, same = small(), small(",final_norm=true")
    assert post.fingerprint == same.fingerprint
    assert same.details["final_norm"] is False


@pytest.mark.parametrize("last", [0, 1, 2])
def test_nothing_above_the_cut_runs(last: int) -> None:
    ran: list[int] = []
    model = small(cut=f"@{last}")
    network = model._module
    assert isinstance(network, MelHubert)
    for number, block in enumerate(network.encoder.layers, start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    names = [info.name for info in model.layers]
    found = model.encode(noise(8000), names)[0]
    assert ran == list(range(1, last + 1))
    full = small().encode(noise(8000), names)[0]
    assert all(torch.equal(found[n], full[n]) for n in names)
    assert str(last) in names
    assert str(last + 1) not in names
    assert not any(n.startswith(f"block.{last + 1}.") for n in names)
    assert model.flops_per_second < small().flops_per_second


def test_causal_attention_sees_no_later_frame() -> None:
    """Past the reach of the positional convolution, what follows changes nothing."""
    model = small(",causal=true")
    network = model._module
    assert isinstance(network, MelHubert)
    features = torch.randn(1, 60, 80)
    changed = features.clone()
    changed[:, 40:] += 1
    with torch.no_grad():
        for lengths in (None, torch.tensor([60])):
            before = network.stack(features, lengths, last=3)["3"][0]
            after = network.stack(changed, lengths, last=3)["3"][0]
            assert torch.allclose(before[:36], after[:36], atol=1e-6)
            assert not torch.allclose(before[36:40], after[36:40], atol=1e-3)


def test_positional_convolution_is_weight_norm_over_the_kernel() -> None:
    from torch.nn.utils.parametrizations import weight_norm

    ours = PositionalConv(16, 6, 4).double()
    conv = weight_norm(torch.nn.Conv1d(16, 16, 6, padding=3, groups=4).double(), dim=2)
    with torch.no_grad():
        ours.weight_g.uniform_(0.5, 2.0)
        conv.parametrizations.weight.original0.copy_(ours.weight_g)
        conv.parametrizations.weight.original1.copy_(ours.weight_v)
        conv.bias.copy_(ours.bias)
        x = torch.randn(2, 11, 16, dtype=torch.float64)
        expected = torch.nn.functional.gelu(conv(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)
        assert torch.allclose(ours(x), expected, atol=1e-12)


def test_published_size() -> None:
    with torch.device("meta"):
        network = MelHubert(MelHubertOptions())
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(90e6, rel=0.02)


def test_training_reaches_every_parameter() -> None:
    network = MelHubert(
        MelHubertOptions(width=32, layers=2, heads=4, ffn=40, conv_pos=8, conv_groups=4)
    ).train()
    network(torch.randn(2, 20, 80), torch.tensor([20, 15])).square().sum().backward()
    bare = [n for n, p in network.named_parameters() if p.grad is None]
    assert bare == ["encoder.layer_norm.weight", "encoder.layer_norm.bias"] or bare == []


# Files.


def saved(model: MelHubertModel) -> dict[str, torch.Tensor]:
    assert model._module is not None
    return {k: v.clone() for k, v in model._module.state_dict().items()}


def upstream(model: MelHubertModel) -> dict[str, Any]:
    o = model.options
    return {
        "melhubert": {
            "feat_emb_dim": o.inputs,
            "encoder_layers": o.layers,
            "encoder_embed_dim": o.width,
            "encoder_ffn_embed_dim": o.ffn,
            "encoder_attention_heads": o.heads,
            "conv_pos": o.conv_pos,
            "conv_pos_groups": o.conv_groups,
            "layer_norm_first": o.norm_first,
            "attention_type": "causal" if o.causal else "original",
            "num_cluster": o.clusters,
            "dropout": 0.1,
        }
    }


@pytest.mark.parametrize("extra", VARIANTS)
def test_training_checkpoints_state_what_tensors_cannot(extra: str, tmp_path: Path) -> None:
    model = small(extra)
    file = tmp_path / "states-1000.ckpt"
    torch.save(
        {
            "Optimizer": {"state": {}, "param_groups": []},
            "Step": 1000,
            "Args": argparse.Namespace(mode="melhubert"),
            "Upstream_Config": upstream(model),
            "model": saved(model),
        },
        file,
    )
    assert FAMILY.recognises(parse(str(file)))
    found = load_model(str(file))
    assert isinstance(found, MelHubertModel)
    wave = noise(8000)
    one, other = model.encode(wave, ["3"])[0]["3"], found.encode(wave, ["3"])[0]["3"]
    assert torch.equal(one, other)
    assert found.options.causal == model.options.causal
    with pytest.raises(ConfigError, match="states another heads"):
        load_model(f"{file},heads=2")


def test_bare_tensors_need_the_heads(tmp_path: Path) -> None:
    model = small()
    file = tmp_path / "model.safetensors"
    save_file(saved(model), file)
    with pytest.raises(ConfigError, match="heads=N"):
        load_model(str(file))
    found = load_model(f"{file},heads=4")
    assert torch.equal(
        found.encode(noise(8000), ["3"])[0]["3"], model.encode(noise(8000), ["3"])[0]["3"]
    )


def test_new_weight_norm_names_and_module_prefix(tmp_path: Path) -> None:
    state = saved(small())
    pos = "encoder.pos_conv.0."
    state[f"{pos}parametrizations.weight.original0"] = state.pop(f"{pos}weight_g")
    state[f"{pos}parametrizations.weight.original1"] = state.pop(f"{pos}weight_v")
    file = tmp_path / "model.pt"
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, file)
    found = load_model(f"{file},heads=4")
    expected = small().encode(noise(8000), ["3"])[0]["3"]
    assert torch.equal(found.encode(noise(8000), ["3"])[0]["3"], expected)


@pytest.mark.parametrize(
    "gone",
    [
        "encoder.layers.1.self_attn.k_proj.bias",
        "encoder.layers.2.fc1.weight",
        "encoder.pos_conv.0.weight_g",
        "encoder.pos_conv.0.weight_v",
        "pre_extract_proj.weight",
        "final_proj.bias",
        "encoder.layer_norm.weight",
    ],
)
def test_a_missing_tensor_is_named(gone: str, tmp_path: Path) -> None:
    state = saved(small())
    del state[gone]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"missing: .*{gone}"):
        load_model(f"{tmp_path / 'model.safetensors'},heads=4", family="melhubert")


def test_unexpected_misshapen_and_absent_blocks(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(saved(small()) | {"mask_emb": torch.zeros(32)}, file)
    with pytest.raises(CheckpointError, match="unexpected: mask_emb"):
        load_model(f"{file},heads=4")
    save_file(saved(small()) | {"encoder.layers.0.fc2.bias": torch.zeros(31)}, file)
    with pytest.raises(CheckpointError, match=r"fc2\.bias \(31,\) instead of \(32,\)"):
        load_model(f"{file},heads=4")
    save_file({k: v for k, v in saved(small()).items() if ".layers.1." not in k}, file)
    with pytest.raises(CheckpointError, match="blocks are missing"):
        load_model(f"{file},heads=4")


def test_statistics_from_a_file(tmp_path: Path) -> None:
    stats = np.stack([np.full(40, 10.0), np.full(40, 2.0)])
    np.save(tmp_path / "mean-std.npy", stats)
    default, own = small(), small(f",stats={tmp_path / 'mean-std.npy'}")
    assert default.fingerprint != own.fingerprint
    wave = noise(8000)[0][None]
    config = own.front.config
    ours, theirs = own.front(wave), default.front(wave)
    mean = torch.tensor(default.front.config.mean).repeat(2)
    std = torch.tensor(default.front.config.std).repeat(2)
    assert torch.allclose(ours[:, :-1] * 2 + 10, theirs[:, :-1] * std + mean, atol=1e-4)
    assert config.mean[0] == 10.0
    np.save(tmp_path / "bad.npy", stats[:1])
    with pytest.raises(ConfigError, match=r"shape \(2, 40\)"):
        small(f",stats={tmp_path / 'bad.npy'}")
    np.save(tmp_path / "code.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot read"):
        small(f",stats={tmp_path / 'code.npy'}")


def test_names_options_and_precision() -> None:
    assert small().layers[1].grid.stride == 320  # type: ignore[union-attr]
    ten = load_model("random:melhubert-10ms,width=32,layers=1,heads=2,conv_groups=2,conv_pos=4")
    assert ten.layers[1].grid is not None
    assert ten.layers[1].grid.stride == 160
    with pytest.raises(ModelError, match="random:melhubert"):
        load_model("melhubert")
    for wrong in ("inputs=50", "width=30", "layerz=3", "ffn=0"):
        with pytest.raises(ConfigError):
            load_model(f"random:melhubert,{wrong}")
    with pytest.raises(ConfigError, match="by name"):
        load_model("random:melhubert-20ms,inputs=40")
    model = small()
    waves = noise(8000, 6000)
    reference = model.encode(waves, ["3"])[1]["3"]
    for dtype, tolerance in (("float64", 1e-4), ("bfloat16", 0.05), ("float16", 0.01)):
        moved = model.to("cpu", dtype)
        found = moved.encode(waves, ["3"])[1]["3"]
        assert str(found.dtype) == f"torch.{dtype}"
        assert (found.double() - reference).abs().max() < tolerance * reference.abs().max()
        assert moved.fingerprint != model.fingerprint
