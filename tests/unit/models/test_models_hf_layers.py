"""Layers against independent hooks on transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models_hf_small as hf
import pytest
import torch
import transformers

from voxstrata import load_model
from voxstrata.models.huggingface.sink import Wanted

CLOSE = 1e-5


@pytest.fixture(scope="module", params=list(hf.SMALL))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name, transformers' module, and the directory with its weights."""
    module = hf.reference(request.param)
    folder = hf.write_directory(tmp_path_factory.mktemp("m") / request.param, request.param, module)
    return request.param, module, folder


@pytest.mark.parametrize("batching", ["single", "padded"])
def test_a_layer_does_not_depend_on_what_else_is_asked_for(pair: Any, batching: str) -> None:
    """To the last bit: runs that ask for other layers can share one forward pass."""
    _, _, folder = pair
    model = load_model(f"{folder},batching={batching}" if batching == "padded" else str(folder))
    names = [info.name for info in model.layers]
    waves = [hf.noise(samples) for samples in (16_000, 16_000, 37_123, 9_000)]
    every = model.encode(waves, names)
    for name in names:
        for one, whole in zip(model.encode(waves, [name]), every, strict=True):
            assert torch.equal(one[name], whole[name]), name


def caught(name: str, module: Any, wave: torch.Tensor) -> dict[str, torch.Tensor]:
    """What hooks of our own see in transformers' forward pass over one recording [S]."""
    seen: dict[str, torch.Tensor] = {}

    def keep(key: str, value: Any) -> None:
        seen[key] = (value[0] if isinstance(value, tuple) else value)[0].detach().clone()

    handles = []
    stack = hf.blocks(module)
    handles.append(
        stack[0].register_forward_pre_hook(
            lambda _m, args, kwargs: keep("0", args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        )
    )
    for index, block in enumerate(stack, start=1):
        handles.append(block.register_forward_hook(lambda _m, _a, out, i=index: keep(str(i), out)))
        for part, attribute in (
            ("ffn.out", "feed_forward"),
            ("ffn1.out", "ffn1"),
            ("ffn2.out", "ffn2"),
            ("conv.out", "conv_module"),
            ("attn.out", "attention"),
            ("attn.out", "self_attn"),
            ("ffn.out", "fc2"),
        ):
            if hasattr(block, attribute):
                handles.append(
                    getattr(block, attribute).register_forward_hook(
                        lambda _m, _a, out, k=f"block.{index}.{part}": keep(k, out)
                    )
                )
        for part, path in (
            ("ffn.inner", "feed_forward.intermediate_act_fn"),
            ("ffn1.inner", "ffn1.intermediate_act_fn"),
            ("ffn2.inner", "ffn2.intermediate_act_fn"),
            ("ffn.inner", "activation_fn"),
        ):
            found = block
            for step in path.split("."):
                found = getattr(found, step, None)
            if found is not None:
                key = f"block.{index}.{part}"
                handles.append(found.register_forward_hook(lambda _m, _a, out, k=key: keep(k, out)))
    for index, conv in enumerate(
        getattr(getattr(module, "feature_extractor", None), "conv_layers", []), start=1
    ):
        handles.append(
            conv.register_forward_hook(
                lambda _m, _a, out, i=index: keep(f"conv{i}", out.transpose(1, 2))
            )
        )
    try:
        with torch.no_grad():
            out = module(hf.extract(name, wave))
    finally:
        for handle in handles:
            handle.remove()
    seen["last_hidden_state"] = out.last_hidden_state[0]
    return seen


def test_every_layer_is_what_hooks_see(pair: Any) -> None:
    name, module, folder = pair
    model = load_model(folder)
    wave = hf.noise(15_000 if name == "whisper" else 14_321)
    seen = caught(name, module, wave)
    names = [info.name for info in model.layers]
    found = model.encode([wave], names)[0]
    assert list(found) == names
    checked = 0
    for layer in names:
        if layer == "upsampled":
            expected = seen["last_hidden_state"][: found[layer].shape[0]]
        elif layer in ("conv1", "conv2") and name == "whisper":
            continue  # checked below, transformers has no module for their GELU
        else:
            expected = seen[layer][: found[layer].shape[0]]
        assert hf.error(found[layer], expected) < CLOSE, layer
        checked += 1
    assert checked >= 1 + 4 * (3 if name != "bert-relative" else 2)


def test_fast_attention_equals_the_reference(pair: Any) -> None:
    name, _, folder = pair
    audio = [hf.noise(9_000), hf.noise(4_321)]
    numbers = [str(i) for i in range(len(hf.blocks(hf.reference(name))) + 1)]
    for batching in ("single", "padded"):
        fast = load_model(folder, batching=batching).encode(audio, numbers)
        slow = load_model(folder, attention="reference", batching=batching).encode(audio, numbers)
        for one, two in zip(fast, slow, strict=True):
            assert all(hf.error(one[n], two[n]) < CLOSE for n in numbers)


def test_whisper_convolutions(tmp_path: Path) -> None:
    module = hf.reference("whisper")
    wave = hf.noise(15_000)
    with torch.no_grad():
        one = torch.nn.functional.gelu(module.conv1(hf.extract("whisper", wave)))
        two = torch.nn.functional.gelu(module.conv2(one))
    found = load_whisper(module, tmp_path).encode([wave], ["conv1", "conv2", "0"])[0]
    assert hf.error(found["conv1"], one[0].T[:94]) < CLOSE
    assert hf.error(found["conv2"], two[0].T[:47]) < CLOSE
    placed = two[0].T + module.embed_positions.weight
    assert hf.error(found["0"], placed[:47]) < CLOSE


def load_whisper(module: Any, folder: Path) -> Any:
    return load_model(hf.write_directory(folder / "w", "whisper", module))


def test_whisper_runs_window_after_window(tmp_path: Path) -> None:
    module = hf.reference("whisper")
    model = load_whisper(module, tmp_path)
    wave = hf.noise(2 * 16_000 + 5_000)
    with torch.no_grad():
        expected = [
            caught("whisper", module, part)["3"][: -(-len(part) // 320)]
            for part in wave.split(16_000)
        ]
    found = model.encode([wave], ["3"])[0]["3"]
    assert found.shape[0] == model.frames("3", len(wave)) == 50 + 50 + 16
    assert hf.error(found, torch.cat(expected)) < CLOSE


@pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5, reason="hidden_states changed in version 5"
)
def test_hidden_states_of_transformers_5_are_raw(pair: Any) -> None:
    name, module, folder = pair
    wave = hf.noise(12_345)
    with torch.no_grad():
        out = module(hf.extract(name, wave), output_hidden_states=True)
    depth = len(hf.blocks(module))
    last = str(depth)
    raw = load_model(folder).encode([wave], [last])[0][last]
    normed = load_model(folder, final_norm=True).encode([wave], [last])[0][last]
    frames = raw.shape[0]
    if name != "whisper":  # whose last entry is replaced by the normalised output
        assert hf.error(raw, out.hidden_states[depth][0, :frames]) < CLOSE
    if name in hf.PRE_NORM:
        assert hf.error(normed, out.last_hidden_state[0, :frames]) < CLOSE
        assert hf.error(normed, raw) > 0.01
    else:
        assert torch.equal(normed, raw)


def test_pre_norm_is_told(pair: Any) -> None:
    name, _, folder = pair
    assert load_model(folder).details["pre_norm"] == (name in hf.PRE_NORM)


def test_layer0_can_be_the_unprojected_convolutions(tmp_path: Path) -> None:
    folder = hf.write_directory(tmp_path / "m", "hubert-base")
    plain, other = load_model(folder), load_model(folder, layer0="cnn")
    wave = hf.noise(8_000)
    found = other.encode([wave], ["0", "conv7", "1"])[0]
    assert torch.equal(found["0"], found["conv7"])
    assert next(i.width for i in other.layers if i.name == "0") == 24
    assert torch.equal(found["1"], plain.encode([wave], ["1"])[0]["1"])
    assert torch.equal(other.encode([wave], ["0"])[0]["0"], found["0"])
    assert plain.fingerprint != other.fingerprint


def count_runs(model: Any) -> list[int]:
    runs: list[int] = []
    for index, block in enumerate(model.shape.blocks, start=1):
        block.register_forward_hook(lambda _m, _a, _o, i=index: runs.append(i))
    return runs


def test_blocks_above_the_highest_wanted_layer_do_not_run(pair: Any) -> None:
    _name, _, folder = pair
    model = load_model(folder)
    runs = count_runs(model)
    wave = hf.noise(4_000)
    model.encode([wave], ["1"])
    assert runs == [1]
    runs.clear()
    model.encode([wave], ["0"])
    assert runs == []
    model.encode([wave], [next(i.name for i in model.layers if i.name.startswith("block.2."))])
    assert runs == [1, 2]


def test_a_cut_model_has_no_blocks_above(pair: Any) -> None:
    _name, _, folder = pair
    whole, cut = load_model(folder), load_model(f"{folder}@1")
    assert len(cut.shape.blocks) == 1
    names = [i.name for i in cut.layers]
    assert "1" in names
    assert "2" not in names
    assert "upsampled" not in names
    assert not any(n.startswith("block.2.") for n in names)
    wave = hf.noise(4_000)
    one, two = cut.encode([wave], names)[0], whole.encode([wave], names)[0]
    assert all(torch.equal(one[n], two[n]) for n in names)
    assert cut.details["parameters"] < whole.details["parameters"]
    assert cut.fingerprint != whole.fingerprint


def test_cuts_below_the_blocks(tmp_path: Path) -> None:
    folder = hf.write_directory(tmp_path / "m", "wavlm-base")
    wave = hf.noise(4_000)
    whole = load_model(folder)
    for cut, names in (
        ("0", [*(f"conv{i}" for i in range(1, 8)), "0"]),
        ("conv3", ["conv1", "conv2", "conv3"]),
    ):
        model = load_model(f"{folder}@{cut}")
        assert [i.name for i in model.layers] == names
        assert len(model.shape.blocks) == 0
        one, two = model.encode([wave], names)[0], whole.encode([wave], names)[0]
        assert all(torch.equal(one[n], two[n]) for n in names)


def test_a_random_twin_cut_is_the_twin_cut() -> None:
    wave = hf.noise(4_000)
    whole = load_model("random:sew-tiny,layers=3")
    cut = load_model("random:sew-tiny@2,layers=3")
    assert torch.equal(whole.encode([wave], ["2"])[0]["2"], cut.encode([wave], ["2"])[0]["2"])
    assert len(cut.shape.blocks) == 2


def test_wanted_knows_how_far_to_run() -> None:
    assert (Wanted(["conv3", "conv1"], 12).convs, Wanted(["conv3"], 12).top) == (3, -1)
    assert Wanted(["0"], 12).top == 0
    assert Wanted(["3", "block.5.ffn.inner"], 12).top == 5
    assert Wanted(["upsampled"], 12).top == 12


def test_only_what_was_asked_is_kept(tmp_path: Path) -> None:
    model = load_model(hf.write_directory(tmp_path / "m", "hubert-base"))
    found = model.encode([hf.noise(4_000)], ["2", "conv1", "2"])[0]
    assert list(found) == ["2", "conv1"]
    assert model.encode([hf.noise(4_000)], []) == [{}]
    assert all(t.is_contiguous() for t in found.values())
