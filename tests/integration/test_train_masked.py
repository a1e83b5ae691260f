"""MelHuBERT trained as a job: two iterations, the denoising variant on shared codes, a resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import planted
from voxstrata.errors import RunInterruptedError
from voxstrata.models.load import load_model
from voxstrata.models.weights import read_container
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.training.engine import Engine
from voxstrata.training.job import run_training
from voxstrata.training.log import read_log
from voxstrata.training.objectives.masked.targets import targets_folder
from voxstrata.training.recipes import read_recipe

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "family": "melhubert",
        "options": {"inputs": 80, "width": 32, "layers": 2, "heads": 2, "ffn": 64,
                    "conv_pos": 8, "conv_groups": 4, "clusters": 8},
    },
    "data": {"batch_s": 6, "workers": 0, "buckets": 2},
    "objective": {"name": "masked", "max_frames": 60, "dropout": 0.1, "targets": {"starts": 2}},
    "optimiser": {"kind": "adamw", "clip": 5.0},
    "schedule": {"kind": "constant", "lr": 0.003},
    "run": {"steps": 30, "device": "cpu", "log_every": 5, "save_every_s": 0.0,
            "evaluate_every": 15, "precision": "bfloat16"},
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    values = {**RECIPE, "data": dict(RECIPE["data"])}
    values["data"]["corpus"] = str(planted.write_corpus(folder / "corpus", 24, 6))
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other speakers: their recordings have other names."""
    folder = planted.write_corpus(tmp_path_factory.mktemp("other"), 12, 4)
    manifest = folder / "manifest.jsonl"
    text = (
        manifest.read_text()
        .replace('"id": "r', '"id": "x')
        .replace('"speaker": "s', '"speaker": "t')
    )
    manifest.write_text(text)
    return folder


@pytest.fixture(scope="module")
def first(recipe: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "out"
    run_training(read_recipe(recipe, [f"data.valid.other={other}"]), out)
    return out


def _weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_container(out / "model" / "model.safetensors")
    return found


def test_the_model_loads_back_with_the_statistics_of_its_corpus(first: Path) -> None:
    import json

    model: Any = load_model(str(first / "model"))
    stated = json.loads((first / "targets" / "targets.json").read_text())["front"]["settings"]
    assert list(model.front.config.mean) == stated["mean"]
    assert [info.name for info in model.layers if info.default] == ["0", "1", "2"]
    assert not (first / "state").exists()
    with np.load(first / "targets" / "codes.npz") as codes:
        assert codes["codes"].dtype == np.uint16
        assert codes["offsets"][-1] == len(codes["codes"])


def test_it_is_watched_while_it_trains(first: Path) -> None:
    log = read_log(first)
    steps = [e for e in log if e["kind"] == "step"]
    assert steps[-1]["masked_loss"] < steps[0]["masked_loss"]
    assert steps[0]["audio_s_per_s"] > 0
    valid = [e for e in log if e["kind"] == "valid"]
    assert [e["step"] for e in valid] == [15, 30]
    assert valid[1]["other_masked_loss"] < valid[0]["other_masked_loss"]
    assert valid[0]["other_unigram_loss"] == valid[1]["other_unigram_loss"] <= np.log(8)
    for name in ("logmel", "logmel11", "0", "1", "2"):
        assert 25 < valid[1][f"other_phones_{name}"] <= 100  # eight in a hundred by chance


def test_the_second_iteration_and_its_noisy_twin(first: Path, recipe: Path, tmp_path: Path) -> None:
    changes = ["run.steps=3", f"objective.targets.model={first / 'model'}"]
    second = tmp_path / "second"
    run_training(read_recipe(recipe, [*changes, "objective.targets.layer='2'"]), second)
    twin = tmp_path / "twin"
    mixing = "objective.mixing={probability: 0.5, noise: 0.0}"
    changes = ["run.steps=3", f"objective.targets={{folder: {second}}}", mixing]
    run_training(read_recipe(recipe, changes), twin)
    assert targets_folder(second) == second / "targets"
    assert not (twin / "targets").exists()
    ours, theirs = _weights(second), _weights(twin)
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[k], theirs[k]) for k in ours)
    one: Any = load_model(str(second / "model"))
    other: Any = load_model(str(twin / "model"))
    assert one.front.fingerprint == other.front.fingerprint


def test_the_second_iteration_may_begin_with_the_first(
    first: Path, recipe: Path, tmp_path: Path
) -> None:
    """Weights and front end are the first one's: a step that is next to nothing changes neither."""
    folder = first / "model"
    changes = ["run.steps=1", "schedule.lr=1e-12", f"model.start={folder}"]
    changes += [f"objective.targets.model={folder}", "objective.targets.layer='2'"]
    run_training(read_recipe(recipe, changes), tmp_path / "second")
    before: Any = load_model(str(folder))
    after: Any = load_model(str(tmp_path / "second" / "model"))
    assert after.front.fingerprint == before.front.fingerprint
    ours, theirs = _weights(tmp_path / "second"), _weights(first)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)


def test_stopped_and_resumed_is_uninterrupted(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_recipe(recipe, ["run.steps=6"])
    run_training(config, tmp_path / "whole")
    asked = [0]

    def told(_: Engine) -> bool:
        asked[0] += 1
        return asked[0] == 3

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_told_to_stop", told)
        with pytest.raises(RunInterruptedError):
            run_training(config, tmp_path / "halves")
    run_training(config, tmp_path / "halves")
    ours, theirs = _weights(tmp_path / "whole"), _weights(tmp_path / "halves")
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
