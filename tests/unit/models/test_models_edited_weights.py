"""Edits as weights equal edits as hooks; what is saved loads back, elsewhere too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from models_hf_small import SMALL, error, extract, noise, reference, write_directory
from safetensors.torch import load_file, save_file
from test_models_edited import ECAPA, KINDS, MELHUBERT, TRANSFORMERS, edit_of, make, some

from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.edited.save import save_as_weights
from voxstrata.models.edited.weights import edited_tensors, network_of
from voxstrata.models.load import load_model

LINEAR = [kind for kind in KINDS if kind != "resample"]


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("name", [*TRANSFORMERS, ECAPA + "speechbrain,mfa_norm=true"])
def test_hook_and_weights_are_equal(name: str, kind: str, tmp_path: Path) -> None:
    """To rounding in float64 (1e-12 of the largest value); in float32 to 1e-5."""
    model = make(name, tmp_path)
    neurons = some(model)
    if name.startswith(ECAPA):
        neurons = {"conv": neurons["conv"], "mfa": (0, 9, 40)}
    edit = edit_of(kind, neurons)
    top = [info.name for info in model.layers if info.default][-1]
    waves = [noise(9000), noise(16000)]
    wide = EditedModel(model.to("cpu", "float64"), edit, "e")
    tensors = edited_tensors(wide)
    assert all(value.dtype == torch.float64 for value in tensors.values())
    by_hook = wide.encode(waves, [top])
    before = model.to("cpu", "float64")
    network = network_of(before)
    with torch.no_grad():
        for key, value in tensors.items():
            network.get_parameter(key).copy_(value)
    for one, two, plain in zip(
        by_hook, before.encode(waves, [top]), model.encode(waves, [top]), strict=True
    ):
        assert error(two[top], one[top]) < 1e-12
        assert error(plain[top].double(), one[top]) > 1e-4
    narrow = EditedModel(model, edit, "e")
    for one, two in zip(narrow.encode(waves, [top]), by_hook, strict=True):
        assert error(one[top].double(), two[top]) < 1e-5


def test_edits_of_edits_are_composed() -> None:
    model = load_model(MELHUBERT).to("cpu", "float64")
    layer = "block.2.ffn.inner"
    steps = [
        Edit("scale", {layer: (1, 2, 3)}, factor=0.5),
        Edit("mean", {layer: (2, 3, 4)}, {layer: torch.tensor([1.0, 2.0, 3.0]).double()}),
        Edit("scale", {layer: (3, 5)}, factor=-2.0),
        Edit("erase", {"block.3.ffn.inner": (7,)}),
    ]
    edited: SpeechModel = model
    for step in steps:
        edited = EditedModel(edited, step, "e")
    assert isinstance(edited, EditedModel)
    tensors = edited_tensors(edited)
    assert sorted(tensors) == [
        f"encoder.layers.{i}.fc2.{part}" for i in (1, 2) for part in ("bias", "weight")
    ]
    own = network_of(model).get_parameter("encoder.layers.1.fc2.weight")
    new = tensors["encoder.layers.1.fc2.weight"]
    assert torch.equal(new[:, 1], own[:, 1] * 0.5)
    assert not new[:, 2:5].any()
    assert torch.equal(new[:, 5], own[:, 5] * -2)
    bias = network_of(model).get_parameter("encoder.layers.1.fc2.bias")
    wanted = bias + own[:, 2] * 1 + own[:, 3] * (2 * -2) + own[:, 4] * 3
    assert error(tensors["encoder.layers.1.fc2.bias"], wanted) < 1e-14
    expected = edited.encode([noise(9000)], ["3"])[0]["3"]
    network = network_of(other := load_model(MELHUBERT).to("cpu", "float64"))
    with torch.no_grad():
        for key, value in tensors.items():
            network.get_parameter(key).copy_(value)
    assert error(other.encode([noise(9000)], ["3"])[0]["3"], expected) < 1e-12


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize(
    "name", [MELHUBERT, ECAPA + "speechbrain", "melhubert-small", "ecapa-small-supervised"]
)
def test_model_folders(name: str, kind: str, tmp_path: Path) -> None:
    model = load_model(name)
    neurons = {"conv": (1, 4)} if "ecapa" in name else some(model)
    edited = EditedModel(model, edit_of(kind, neurons), "e")
    notes = save_as_weights(edited, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.family == model.family
    assert bool(again.details.get("random")) == bool(model.details.get("random"))
    top = [info.name for info in model.layers if info.default][-1]
    one, two = (m.encode([noise(9000)], [top])[0][top] for m in (edited, again))
    assert error(two, one) < 1e-5
    assert any("mean embedding" in note for note in notes) == (name == "ecapa-small-supervised")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["edited"]["kind"] == kind
    assert load_model(f"random:{tmp_path / 'model'}").fingerprint != again.fingerprint
    with pytest.raises(UsageError, match="not an empty directory"):
        save_as_weights(edited, tmp_path / "model")


@pytest.mark.parametrize("name", ["hubert-base", "wavlm-large", "whisper", "bert"])
def test_directories_are_read_by_transformers(name: str, tmp_path: Path) -> None:
    base = write_directory(tmp_path / "hf", name)
    model = load_model(base)
    edit = edit_of("mean", some(model))
    edited = EditedModel(model, edit, "e")
    assert save_as_weights(edited, tmp_path / "out") == []
    again = load_model(tmp_path / "out")
    wave = noise(16000)
    top = str(SMALL[name].config.get("num_hidden_layers", 3))
    expected = edited.encode([wave], [top])[0][top]
    assert error(again.encode([wave], [top])[0][top], expected) < 1e-5
    state = load_file(tmp_path / "out" / "model.safetensors")
    before = load_file(base / "model.safetensors")
    assert state.keys() == before.keys()
    changed = [key for key in state if not torch.equal(state[key], before[key])]
    assert len(changed) == 2 * len(edit.neurons)
    if name == "hubert-base":  # the whole route through transformers itself
        theirs = transformers.HubertModel.from_pretrained(tmp_path / "out").eval()
        with torch.no_grad():
            out = theirs(extract(name, wave)).last_hidden_state[0]
        assert error(expected, out) < 1e-5


def test_heads_and_prefixes_of_a_checkpoint_are_kept(tmp_path: Path) -> None:
    base = write_directory(tmp_path / "hf", "hubert-base")
    state = reference("hubert-base").state_dict()
    whole = {f"hubert.{k}": v.clone().contiguous() for k, v in state.items()}
    whole["lm_head.weight"] = torch.ones(3, 32)
    save_file(whole, base / "model.safetensors")
    model = load_model(f"{base},final_norm=true")
    edit = Edit("erase", {"block.2.ffn.inner": (3, 8)})
    notes = save_as_weights(EditedModel(model, edit, "e"), tmp_path / "out")
    assert "final_norm=true" in notes[0]
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == whole.keys()
    key = "hubert.encoder.layers.1.feed_forward.output_dense.weight"
    assert [k for k in found if not torch.equal(found[k], whole[k])] == [key]
    assert not found[key][:, [3, 8]].any()


def test_random_twins_can_be_saved_too(tmp_path: Path) -> None:
    write_directory(tmp_path / "hf", "wavlm-base")
    model = load_model(f"random:{tmp_path / 'hf'},seed=3,layers=2")
    edited = EditedModel(model, edit_of("erase", some(model)), "e")
    assert save_as_weights(edited, tmp_path / "out") == []
    again = load_model(tmp_path / "out")
    assert again.details["random"]
    one, two = (m.encode([noise(9000)], ["2"])[0]["2"] for m in (edited, again))
    assert error(two, one) < 1e-5


def test_what_cannot_be_weights_is_refused(tmp_path: Path) -> None:
    model = load_model(MELHUBERT)
    resampled = EditedModel(model, edit_of("resample", some(model)), "e")
    with pytest.raises(UsageError, match="cannot be written as weights"):
        save_as_weights(resampled, tmp_path / "a")
    ecapa = load_model(ECAPA + "wespeaker")
    for layer in ("block1", "mfa"):
        edited = EditedModel(ecapa, Edit("erase", {layer: (1,)}), "e")
        with pytest.raises(ModelError, match="cannot be written as weights"):
            save_as_weights(edited, tmp_path / "a")
    cut = load_model(MELHUBERT.replace("melhubert", "melhubert@2"))
    for other in (cut, model.to("cpu", "float64")):
        edited = EditedModel(other, Edit("erase", {"block.1.ffn.inner": (1,)}), "e")
        with pytest.raises(UsageError, match="with edited weights as it is"):
            save_as_weights(edited, tmp_path / "a")
    assert not (tmp_path / "a").exists()
