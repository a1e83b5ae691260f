"""Model folders: written, read back, refused; exported to public layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata import load_model
from voxstrata.errors import CheckpointError, ConfigError, UnknownNameError
from voxstrata.frontend import front_end
from voxstrata.models import card
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import preset_options
from voxstrata.models.export import export_published
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions

WAVE = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1


def _speaker(preset: str = "wespeaker", **given: Any) -> Ecapa:
    sizes = {"channels": 16, "mfa": 48, "embed": 8, "attention": 4, "se": 4, **given}
    torch.manual_seed(5)
    network = Ecapa(preset_options(preset, sizes))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return network.eval()


def _written(folder: Path, preset: str = "wespeaker", **given: Any) -> Path:
    network = _speaker(preset)
    about = {"name": "toy", "family": "ecapa", "training": {"objective": {"name": "aam"}}}
    mean = np.arange(8, dtype=np.float32)
    card.write_model(folder, about, network, front_end(preset), mean=mean, **given)
    return folder


def test_what_was_written_is_what_loads(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model")
    network, front = _speaker(), front_end("wespeaker")
    with torch.no_grad():
        expected = network(front(torch.from_numpy(WAVE)[None]))[0]
    model: Any = load_model(str(folder))
    (found,) = model.encode([WAVE], ["embedding"])
    torch.testing.assert_close(found["embedding"][0], expected, atol=1e-5, rtol=1e-5)
    assert model.training_mean.tolist() == list(range(8))
    assert model.details["objective"] == "aam"
    assert load_model(str(folder / "model.safetensors")).fingerprint == model.fingerprint


def test_half_precision_is_rounded_once(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model", dtype="float16")
    model: Any = load_model(folder)
    own = _speaker().state_dict()
    for name, value in model._module.state_dict().items():
        expected = own[name].half().float() if own[name].is_floating_point() else own[name]
        assert torch.equal(value, expected), name
    assert (folder / "model.safetensors").stat().st_size < 60_000


def test_twins_have_initial_weights_by_seed(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model")
    one, again = (load_model(f"random:{folder},seed=3") for _ in range(2))
    other = load_model(f"random:{folder},seed=4")
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert one.details["random"]
    assert one.layers == load_model(str(folder)).layers
    options = _speaker().options
    torch.manual_seed(3)
    expected = Ecapa(options)
    ours: Any = one
    assert torch.equal(ours._module.embedding.weight, expected.embedding.weight)


def test_melhubert_keeps_its_statistics(tmp_path: Path) -> None:
    options = MelHubertOptions(width=16, layers=2, heads=2, ffn=32, conv_pos=8, conv_groups=4)
    torch.manual_seed(1)
    front = front_end("melhubert-20ms", mean=(1.0,) * 40, std=(2.0,) * 40)
    network = MelHubert(options).eval()
    card.write_model(tmp_path, {"name": "m", "family": "melhubert"}, network, front)
    model: Any = load_model(str(tmp_path))
    assert model.front.fingerprint == front.fingerprint
    with torch.no_grad():
        features = front(torch.from_numpy(WAVE)[None])
        expected = network.stack(features, last=2)["2"][0]
    (found,) = model.encode([WAVE], ["2"])
    torch.testing.assert_close(found["2"], expected, atol=1e-5, rtol=1e-5)
    # As its authors write it, with the statistics beside it.
    notes = export_published(str(tmp_path), tmp_path / "m.ckpt")
    assert "m.ckpt.stats.npy" in notes[0]
    spec = f"{tmp_path / 'm.ckpt'},stats={tmp_path / 'm.ckpt.stats.npy'}"
    (theirs,) = load_model(spec).encode([WAVE], ["2"])
    torch.testing.assert_close(theirs["2"], found["2"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("preset", ["wespeaker", "speechbrain", "3dspeaker", "taoruijie"])
def test_exports_load_back_from_public_layouts(tmp_path: Path, preset: str) -> None:
    folder = _written(tmp_path / "model", preset)
    out = tmp_path / "out.pt"
    notes = export_published(str(folder), out)
    assert any("hard-wired" in note for note in notes) == (preset in ("wespeaker", "taoruijie"))
    ask = f",frontend={preset}" if preset in ("speechbrain", "3dspeaker") else ""
    (theirs,) = load_model(f"{out}{ask}").encode([WAVE], ["block2", "embedding"])
    (ours,) = load_model(str(folder)).encode([WAVE], ["block2", "embedding"])
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=1e-5)


def test_another_variant_is_not_written(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model")
    with pytest.raises(ConfigError, match="padding=zeros"):
        export_published(str(folder), tmp_path / "x.pt", "speechbrain")
    with pytest.raises(UnknownNameError, match="layout"):
        export_published(str(folder), tmp_path / "x.pt", "kaldi")
    assert not (tmp_path / "x.pt").exists()


def _edit(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / card.CARD).read_text())
    (folder / card.CARD).write_text(json.dumps({**values, **changes}))


def test_damage_is_told(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model")
    _edit(folder, format=99)
    with pytest.raises(CheckpointError, match="later version"):
        load_model(str(folder))
    _edit(folder, format=1, front_end={"name": "x", "kind": "os", "settings": {}})
    with pytest.raises(CheckpointError, match="front end"):
        load_model(str(folder))
    folder = _written(tmp_path / "model")
    _edit(folder, options={**dict(_speaker().options), "channels": 24})
    with pytest.raises(CheckpointError, match="wrong shape"):
        load_model(str(folder))
    folder = _written(tmp_path / "model")
    other = _written(tmp_path / "other", dtype="float16")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not the file its card"):
        load_model(str(folder))
    (folder / card.CARD).write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(str(folder))


def test_options_of_a_finished_model_are_refused(tmp_path: Path) -> None:
    folder = _written(tmp_path / "model")
    with pytest.raises(ConfigError, match="random:"):
        load_model(f"{folder},seed=1")
    with pytest.raises(ConfigError, match="channels"):
        load_model(f"random:{folder},channels=32")
