"""``voxstrata edit``: what it writes, what it refuses, and that the result is a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from voxstrata.cli import commands
from voxstrata.errors import ModelError, UnknownNameError, UsageError
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.load import load_model
from voxstrata.neurons.interventions.job import restrict
from voxstrata.neurons.sets import load_set, neuron_set

MODEL = "random:melhubert,width=32,layers=2,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"
FIRST, SECOND = "block.1.ffn.inner", "block.2.ffn.inner"


def run(*arguments: str) -> str:
    app = typer.Typer()
    commands.attach(app)
    result = CliRunner().invoke(app, ["edit", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    model = load_model(MODEL)
    groups = {"F": {FIRST: (1, 2)}, "M": {FIRST: (7,), SECOND: (3, 4)}}
    found = neuron_set("speaker", model, {FIRST: (1, 2, 7), SECOND: (3, 4)}, groups=groups)
    found.save(tmp_path / "set.json")
    return tmp_path / "set.json"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for i in range(3):
        wave = 0.1 * generator.standard_normal(16000).astype(np.float32)
        soundfile.write(tmp_path / "audio" / f"{i}.wav", wave, 16000)
    return tmp_path / "audio"


@pytest.mark.filterwarnings("ignore:the controls of")
@pytest.mark.parametrize("kind", ["erase", "mean", "resample", "scale"])
def test_the_edit_and_its_controls_are_models(
    kind: str, chosen: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "edited"
    extra = ["--factor", "0.5"] if kind == "scale" else []
    text = run(
        *(MODEL, "--set", str(chosen), "--kind", kind, "-o", str(out), "-c", str(corpus)),
        *("--controls", "2", "--control", "norm", *extra),
    )
    folders = [out, tmp_path / "edited-norm-1", tmp_path / "edited-norm-2"]
    assert text.splitlines()[-1].startswith(f"voxstrata probe {MODEL} {out} {folders[1]}")
    assert "5 neurons (block.1.ffn.inner: 3, block.2.ffn.inner: 2)" in text
    outputs, marks = [], set()
    for folder in folders:
        model = load_model(folder)
        assert isinstance(model, EditedModel)
        assert model.edit.kind == kind
        found = load_set(folder / "set.json")
        assert dict(model.edit.neurons) == dict(found.layers)
        assert len(found) == 5
        outputs.append(model.encode([torch.linspace(-0.1, 0.1, 9000)], ["2"])[0]["2"])
        marks.add(model.fingerprint)
    assert len(marks) == 3
    assert all(not torch.equal(outputs[0], other) for other in outputs[1:])
    with pytest.raises(UsageError, match="in use"):
        run(MODEL, "--set", str(chosen), "-o", str(out))


def test_groups_and_layers(chosen: Path, tmp_path: Path) -> None:
    run(
        *(MODEL, "--set", str(chosen), "--group", "M", "--layers", "block.1.*", "-q"),
        *("-o", str(tmp_path / "m"), "--controls", "8"),
    )
    model = load_model(tmp_path / "m")
    assert isinstance(model, EditedModel)
    assert dict(model.edit.neurons) == {FIRST: (7,)}
    for i in range(1, 9):  # no control holds a neuron of the other group
        control = load_model(tmp_path / f"m-random-{i}")
        assert isinstance(control, EditedModel)
        assert set(control.edit.neurons[FIRST]).isdisjoint({1, 2, 7})
    with pytest.raises(UnknownNameError):
        restrict(load_set(chosen), layers=["block.9.*"])
    with pytest.raises(UsageError, match="no group"):
        restrict(load_set(chosen), group="X")
    with pytest.raises(UsageError, match="no layers of the neuron set"):
        restrict(load_set(chosen), layers=[])


def test_weights(chosen: Path, tmp_path: Path) -> None:
    run(MODEL, "--set", str(chosen), "--as-weights", "-o", str(tmp_path / "w"), "--controls", "1")
    hook = tmp_path / "h"
    run(MODEL, "--set", str(chosen), "-o", str(hook))
    wave = torch.linspace(-0.1, 0.1, 9000)
    one, two = (load_model(p).encode([wave], ["2"])[0]["2"] for p in (tmp_path / "w", hook))
    assert (one - two).abs().max() < 1e-5
    assert load_model(tmp_path / "w").family == "melhubert"
    assert load_model(tmp_path / "w-random-1").family == "melhubert"


def test_what_is_missing_is_said_and_nothing_is_written(chosen: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"mean must be measured(.|\n)*--corpus"):
        run(MODEL, "--set", str(chosen), "--kind", "mean", "-o", str(out))
    with pytest.raises(UsageError, match="norm-matched controls must be measured"):
        run(MODEL, "--set", str(chosen), "--controls", "1", "--control", "norm", "-o", str(out))
    with pytest.raises(UsageError, match="needs factor"):
        run(MODEL, "--set", str(chosen), "--kind", "scale", "-o", str(out))
    with pytest.raises(UnknownNameError, match="erase"):
        run(MODEL, "--set", str(chosen), "--kind", "erased", "-o", str(out))
    with pytest.raises(ModelError, match="another model"):
        run(f"{MODEL},seed=3", "--set", str(chosen), "-o", str(out))
    with pytest.raises(UnknownNameError, match="control"):
        run(MODEL, "--set", str(chosen), "--controls", "1", "--control", "n", "-o", str(out))
    assert not out.exists()
