"""Published forms of checkpoints load strictly into the bare encoder, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models_hf_small as hf
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from voxstrata import load_model
from voxstrata.errors import CheckpointError, ConfigError, ModelError, UsageError

NUMBERS = ["0", "1", "2", "3"]


def numbers(model: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = model.encode([hf.noise(6_000)], NUMBERS)[0]
    return found


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[n], two[n]) for n in NUMBERS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hf.write_directory(tmp_path / "m", "hubert-base")


def rewrite(folder: Path, change: Any) -> Path:
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors")
    return folder


def test_old_weight_norm_names(folder: Path) -> None:
    before = load_model(folder)
    stem = "encoder.pos_conv_embed.conv."

    def old(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        state[f"{stem}weight_g"] = state.pop(f"{stem}parametrizations.weight.original0")
        state[f"{stem}weight_v"] = state.pop(f"{stem}parametrizations.weight.original1")
        return state

    after = load_model(rewrite(folder, old))
    assert same(numbers(before), numbers(after))
    assert before.fingerprint == after.fingerprint


def test_merged_weight_norm(folder: Path) -> None:
    before = numbers(load_model(folder))
    stem = "encoder.pos_conv_embed.conv."

    def merged(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        size = state.pop(f"{stem}parametrizations.weight.original0")
        way = state.pop(f"{stem}parametrizations.weight.original1")
        state[f"{stem}weight"] = size * way / way.norm(dim=(0, 1), keepdim=True)
        return state

    after = numbers(load_model(rewrite(folder, merged)))
    assert max(hf.error(after[n], before[n]) for n in NUMBERS) < 1e-5


def test_torch_file_equals_safetensors(folder: Path) -> None:
    before = load_model(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    after = load_model(folder)
    assert after.details["weights"] == ["pytorch_model.bin"]
    assert same(numbers(before), numbers(after))
    assert before.fingerprint == after.fingerprint


def test_safetensors_are_preferred(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert load_model(folder).details["weights"] == ["model.safetensors"]


def test_half_precision_checkpoints_run_in_float32(folder: Path) -> None:
    rewrite(folder, lambda state: {k: v.half() for k, v in state.items()})
    found = numbers(load_model(folder))
    assert all(value.dtype == torch.float32 for value in found.values())


HEADED = {
    "HubertForCTC": ("hubert-base", "hubert"),
    "HubertForSequenceClassification": ("hubert-large", "hubert"),
    "Wav2Vec2ForSequenceClassification": ("wav2vec2-base", "wav2vec2"),
    "Wav2Vec2ForPreTraining": ("wav2vec2-large", "wav2vec2"),
    "Wav2Vec2ForXVector": ("wav2vec2-base", "wav2vec2"),
    "Wav2Vec2ForAudioFrameClassification": ("wav2vec2-base", "wav2vec2"),
    "WavLMForXVector": ("wavlm-base", "wavlm"),
    "WavLMForCTC": ("wavlm-large", "wavlm"),
    "Data2VecAudioForCTC": ("data2vec", "data2vec_audio"),
    "UniSpeechSatForPreTraining": ("unispeech-sat-base", "unispeech_sat"),
    "UniSpeechForPreTraining": ("unispeech", "unispeech"),
    "SEWForCTC": ("sew", "sew"),
    "Wav2Vec2BertForCTC": ("bert", "wav2vec2_bert"),
    "WhisperForConditionalGeneration": ("whisper", "model.encoder"),
    "WhisperModel": ("whisper", "encoder"),
    "WhisperForAudioClassification": ("whisper", "encoder"),
}


@pytest.mark.parametrize("head", list(HEADED))
@pytest.mark.parametrize("mask", [0.0, 0.05])
def test_heads_and_pretraining_parts_are_set_aside(head: str, mask: float, tmp_path: Path) -> None:
    name, inside = HEADED[head]
    small = hf.SMALL[name]
    extra: dict[str, Any] = {"num_codevectors_per_group": 4, "codevector_dim": 8}
    extra |= {
        "proj_codevector_dim": 8,
        "num_clusters": 5,
        "tdnn_dim": [8] * 5,
        "xvector_output_dim": 8,
        "vocab_size": 40,
    }
    extra |= {"num_ctc_classes": 7, "classifier_proj_size": 8, "use_weighted_layer_sum": True}
    config = small.config_class(**{**small.config, **extra, "mask_time_prob": mask})
    whole = hf.stir(getattr(transformers, head)(config))
    whole.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(hf.preprocessor(name)))
    bare = whole
    for step in inside.split("."):
        bare = getattr(bare, step)
    expected = load_model(hf.write_directory(tmp_path / "bare", name, bare))
    model = load_model(tmp_path / "m")
    assert same(numbers(model), numbers(expected))
    assert model.details["not_used"]


def test_an_adapter_on_top_is_set_aside(tmp_path: Path) -> None:
    small = hf.SMALL["wav2vec2-base"]
    config = small.config_class(**{**small.config, "add_adapter": True})
    hf.stir(small.model_class(config)).save_pretrained(tmp_path / "m")
    model = load_model(tmp_path / "m")
    assert [i.name for i in model.layers if i.name.isdigit()] == NUMBERS
    assert all(name.startswith("adapter.") for name in model.details["not_used"])
    assert model.details["not_used"]


def test_sharded_checkpoints(tmp_path: Path) -> None:
    module = hf.reference("hubert-base")
    module.save_pretrained(tmp_path / "m", max_shard_size="40KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 1
    (tmp_path / "m" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    one = load_model(tmp_path / "m")
    two = load_model(hf.write_directory(tmp_path / "n", "hubert-base", module))
    assert same(numbers(one), numbers(two))
    next(iter((tmp_path / "m").glob("model-*.safetensors"))).unlink()
    with pytest.raises(CheckpointError, match="no weights file"):
        load_model(tmp_path / "m")


def test_a_missing_tensor_is_an_error(folder: Path) -> None:
    def drop(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        del state["encoder.layers.1.attention.k_proj.weight"]
        return state

    with pytest.raises(CheckpointError, match=r"missing: encoder\.layers\.1\.attention\.k_proj"):
        load_model(rewrite(folder, drop))


def test_an_unexpected_tensor_is_an_error(folder: Path) -> None:
    def add(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "encoder.layers.1.surprise": torch.zeros(2)}

    with pytest.raises(CheckpointError, match=r"unexpected: encoder\.layers\.1\.surprise"):
        load_model(rewrite(folder, add))


def test_an_unexpected_tensor_beside_a_prefix_is_an_error(folder: Path) -> None:
    def add(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {f"hubert.{k}": v for k, v in state.items()} | {"my_head.weight": torch.zeros(2)}

    with pytest.raises(CheckpointError, match=r"my_head\.weight"):
        load_model(rewrite(folder, add))


def test_extra_blocks_are_an_error_unless_cut(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(CheckpointError, match=r"encoder\.layers\.2\."):
        load_model(folder)
    with pytest.raises(CheckpointError, match=r"encoder\.layers\.2\."):
        load_model(f"{folder}@1")  # layer 2 is above the cut, but the directory has only two


def test_a_wrong_shape_is_an_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 40}))
    with pytest.raises(CheckpointError, match=r"wrong shape: .*intermediate_dense"):
        load_model(folder)


def test_a_checkpoint_of_another_model_is_an_error(folder: Path, tmp_path: Path) -> None:
    other = hf.write_directory(tmp_path / "w", "wavlm-base")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="gru_rel_pos"):
        load_model(folder)


def test_code_in_a_torch_file_does_not_run(folder: Path, tmp_path: Path) -> None:
    import pickle

    trap = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (trap,))

    (folder / "model.safetensors").unlink()
    torch.save({"encoder": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load_model(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"encoder": Bomb()}))
    with pytest.raises(CheckpointError):
        load_model(folder)
    assert not trap.exists()


def test_a_truncated_file_is_an_error(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(folder)


def test_no_tensor_is_left_to_chance(folder: Path) -> None:
    one, two = load_model(folder), load_model(folder)
    for (key, a), b in zip(
        one.shape.module.state_dict().items(), two.shape.module.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), key
    stored = load_file(folder / "model.safetensors")
    loaded = one.shape.module.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in stored.items() if k in loaded)
    assert set(stored) - set(loaded) == {
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    }


def test_a_single_file_takes_the_config_beside_it(folder: Path) -> None:
    whole = load_model(folder)
    part = load_model(folder / "model.safetensors")
    assert whole.fingerprint == part.fingerprint


def test_a_lone_file_needs_a_config(folder: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone" / "weights.safetensors"
    lone.parent.mkdir()
    lone.write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(lone)
    with pytest.raises(ModelError, match="nothing tells"):
        load_model(lone, family="huggingface")
    assert load_model(lone, config=str(folder)).fingerprint == load_model(folder).fingerprint
    with pytest.raises(CheckpointError, match="wrong shape"):
        load_model(lone, config="hubert-base@3".partition("@")[0])


def test_directories_without_config_or_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="not a model"):
        load_model(tmp_path / "empty")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path / "empty", family="huggingface")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights") as caught:
        load_model(folder)
    assert "random:" in str(caught.value)
    assert load_model(f"random:{folder}").details["seed"] == 0


def test_unsupported_model_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="not supported") as caught:
        load_model(folder)
    assert "wav2vec2-bert" in str(caught.value)


@pytest.mark.parametrize("text", ["not json", "[1, 2]"])
def test_damaged_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json|not a model"):
        load_model(folder, family="huggingface")


def test_impossible_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))
    with pytest.raises(ConfigError, match=r"cannot build|refuses"):
        load_model(folder)


def test_a_directory_has_no_revision(folder: Path) -> None:
    with pytest.raises(UsageError, match="revisions"):
        load_model(f"{folder}@main")


def test_another_sampling_rate_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(ModelError, match="8000 Hz"):
        load_model(folder)
