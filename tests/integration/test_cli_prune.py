"""The command ``prune`` as a user runs it, and its model in other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planted
from unit.models import models_hf_small as small
from voxstrata import load_model
from voxstrata.cli import app, commands
from voxstrata.errors import ConfigError, ResultsError, UsageError
from voxstrata.neurons.sets import load_set, neuron_set

if not app.registered_commands:
    commands.attach(app)

MODEL = "random:melhubert,inputs=80,width=32,layers=2,heads=4,ffn=48,conv_pos=8,conv_groups=4"
FAST = ("--repeats", "1", "--latency-seconds", "0.5", "--device", "cpu")


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_rows_with_some_protected(tmp_path: Path) -> None:
    kept = neuron_set("speakers", load_model(MODEL), {"block.1.ffn.inner": [1, 47]})
    kept.save(tmp_path / "set.json")
    out = tmp_path / "out"
    given = ("--keep", "16", "--steps", "2", "--protect", str(tmp_path / "set.json"), *FAST)
    code, plan = _invoke("prune", MODEL, *given, "--dry-run")
    assert code == 0
    assert "step 2: 16 rows of each layer go, by l1" in plan
    assert "protected: speakers, 2 neurons a layer" in plan
    assert not out.exists()
    code, text = _invoke("prune", MODEL, *given, "-o", str(out))
    assert code == 0, text
    before, after = (json.loads((out / "run.json").read_text())[k] for k in ("before", "after"))
    assert f"{before['parameters']:,}" in text
    assert f"{after['parameters']:,}" in text
    assert text.rstrip().endswith(str(out / "model"))
    assert load_set(out / "protected.json").counts() == {"block.1.ffn.inner": 2}
    code, quiet = _invoke("prune", MODEL, *given, "-o", str(out), "-q")
    assert (code, quiet.strip()) == (0, str(out / "model"))
    with pytest.raises(ResultsError, match="other settings"):
        _invoke("prune", MODEL, "--keep", "9", "-o", str(out))


@pytest.mark.parametrize("kind", ["hubert-base", "wavlm-base", "bert"])
def test_transformers_models(kind: str, tmp_path: Path) -> None:
    model = str(small.write_directory(tmp_path / "model", kind))
    out = tmp_path / "out"
    _invoke("prune", model, "--keep", "20", "-o", str(out), "-q", *FAST)
    pruned = load_model(out / "model")
    assert {i.width for i in pruned.layers if i.name.endswith(".inner")} == {20}
    cut = load_model(f"{out / 'model'}@2")
    wave = small.noise(9000).numpy()
    name = next(i.name for i in cut.layers if i.name.startswith("block.2") and "inner" in i.name)
    (whole,), (part,) = (m.encode([wave], ["2", name]) for m in (pruned, cut))
    assert all(small.error(part[key], whole[key]) < 1e-6 for key in whole)


def test_a_pruned_model_is_a_model(tmp_path: Path) -> None:
    corpus = str(planted.write_corpus(tmp_path / "corpus", 8, 4))
    out = tmp_path / "out"
    _invoke("prune", MODEL, "--what", "heads", "--keep", "3", "-o", str(out), "-q", *FAST)
    code, text = _invoke("models", "show", str(out / "model"))
    assert code == 0
    assert "block.2.ffn.inner" in text
    for command in ("similarity", "verify"):
        folder = tmp_path / command
        code, text = _invoke(
            command, str(out / "model"), MODEL, "-c", corpus, "-o", str(folder), "-q"
        )
        assert code == 0, text
        assert (folder / "results.csv").exists()


def test_other_sorts(tmp_path: Path) -> None:
    for name, given in {
        "weights": ("--what", "weights", "--sparsity", ".2,.5"),
        "low-rank": ("--what", "low-rank", "--rank", "8", "--maps", "ffn.up,ffn.down"),
        "layers": ("--what", "layers", "--keep", "1"),
        "each": ("--each-step", "3,5", "--score", "random", "--scope", "whole"),
    }.items():
        code, text = _invoke("prune", MODEL, *given, "-o", str(tmp_path / name), *FAST)
        assert code == 0, text
        assert load_model(tmp_path / name / "model").details["parameters"] > 0


def test_what_is_asked_wrongly(tmp_path: Path) -> None:
    out = ("-o", str(tmp_path / "out"))
    for expected, error, given in (
        ("no model is named", UsageError, ("--keep", "3", *out)),
        ("where shall", UsageError, (MODEL, "--keep", "3")),
        ("--keep is not understood", UsageError, (MODEL, "--keep", "x", *out)),
        ("--sparsity is not understood", UsageError, (MODEL, "--sparsity", ".2,y", *out)),
        ("--overwrite", UsageError, (MODEL, "--keep", "3", "--overwrite", "no", *out)),
        ("what", ConfigError, (MODEL, "--what", "neurons", *out)),
    ):
        with pytest.raises(error, match=expected):
            _invoke("prune", *given)
    assert not (tmp_path / "out").exists()


def test_the_scores_are_listed() -> None:
    code, text = _invoke("prune", "--list")
    assert code == 0
    assert all(name in text for name in ("l1", "activation", "taylor", "random"))


def test_a_pruned_model_owes_what_its_source_does(tmp_path: Path) -> None:
    _invoke("prune", "melhubert-small", "--keep", "700", "-o", str(tmp_path / "a"), "-q", *FAST)
    first = str(tmp_path / "a" / "model")
    _invoke("prune", first, "--keep", "600", "-o", str(tmp_path / "b"), "-q", *FAST)
    card = json.loads((tmp_path / "b" / "model" / "card.json").read_text())
    assert card["licence"] == "CC BY 4.0"
    assert "LibriSpeech" in card["credit"]
    assert not load_model(tmp_path / "b" / "model").details.get("random")
