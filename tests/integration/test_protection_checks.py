"""A protection run is checked before any work; scores from data; recordings seen before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from neurons_spoken import write
from protection_made import LAYERS, MODEL, config, rows_kept, spoken
from voxstrata import load_corpus, load_model
from voxstrata.cli import app, commands
from voxstrata.errors import VoxstrataError
from voxstrata.neurons.protection import job
from voxstrata.neurons.protection.job import run_protection
from voxstrata.neurons.protection.prepare import prepare
from voxstrata.neurons.sets import load_set
from voxstrata.numerics.threads import one_torch_thread

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(tmp_path_factory.mktemp("spoken"), "sid", "pr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corpus": "nowhere"}, "nowhere"),
        ({"trials": "nowhere"}, "nowhere"),
        ({"contrast": "gendr"}, "gendr"),
        ({"group": "X"}, "no group 'X'"),
        ({"score": "l7"}, "l7"),
        ({"score": "taylor"}, "training loss"),
        ({"steps": 13}, "so few cannot go in so many steps"),
        ({"tasks": ("sidd",)}, "sidd"),
        ({"protocol": "large"}, "large"),
        ({"trials": "CORPUS", "layer": "block9"}, "block9"),
        ({"trials": "CORPUS", "backend": "plada", "backend_from": "CORPUS"}, "plada"),
        ({"trials": "CORPUS", "backend": "plda", "backend_from": "nowhere"}, "nowhere"),
        ({"tune": "no-such-recipe"}, "no-such-recipe"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_any_work(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("run_neurons", "trained_first"):
        monkeypatch.setattr(job, name, lambda *_, **__: pytest.fail("work began"))
    given = {key: str(corpus) if v == "CORPUS" else v for key, v in changes.items()}
    (corpus / "odd.yaml").write_text(f"default: {corpus}\n")
    out = tmp_path / "out"
    with pytest.raises(VoxstrataError) as told:
        run_protection(config(corpus, corpus_map=str(corpus / "odd.yaml"), **given), out)
    assert words in str(told.value)
    assert not out.exists()


def test_a_plan_shows_errors_and_notes(corpus: Path, tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "out"
    base = ["protect", MODEL, "-c", str(corpus), "-m", str(corpus / "map.yaml"), "--rule",
            "top=0.1", "--keep", "36", "--tasks", "sid", "--dry-run", "-o", str(out)]  # fmt: skip
    good = runner.invoke(app, [*base, "--contrast", "gender/clusters=2"])
    assert good.exit_code == 0, good.output
    assert "SID is tested on" in " ".join(good.output.split())
    vectors = runner.invoke(app, base)  # the default contrast: no vectors are made for a plan
    assert vectors.exit_code == 0, vectors.output
    for wrong, words in (
        (["--contrast", "gendr"], "gendr"),
        (["--contrast", "gender/clusters=2", "--group", "X"], "no group 'X'"),
        (["--contrast", "gender/clusters=2", "--score", "l7"], "l7"),
    ):
        told = runner.invoke(app, [*base, *wrong])
        assert isinstance(told.exception, VoxstrataError)
        assert words in str(told.exception)
    assert not out.exists()


def test_tests_on_the_recordings_that_neurons_were_found_in_are_told(
    corpus: Path, tmp_path: Path
) -> None:
    """By what is heard in them: also where a copy of the corpus calls them otherwise."""
    copy, other = tmp_path / "copy", write(tmp_path / "other", 24, 4, phones=4, seed=1)
    shutil.copytree(corpus, copy)
    lines = [json.loads(line) for line in (copy / "manifest.jsonl").read_text().splitlines()]
    renamed = [json.dumps({**line, "id": f"other-{line['id']}"}) for line in lines]
    (copy / "manifest.jsonl").write_text("\n".join(renamed))

    def notices(sid: Path, pr: Path, trials: Path) -> list[str]:
        place = tmp_path / "map.yaml"
        place.write_text(f"sid: {sid}\npr: {pr}\n")
        settings = config(
            corpus, corpus_map=str(place), tasks=("sid", "pr"), trials=str(trials), channel="none"
        )
        return prepare(settings, tmp_path / "out").notices

    assert notices(other, other, other) == []
    start = "The neurons were found in recordings that "
    (same,) = notices(corpus, corpus, corpus)
    assert same.startswith(f"{start}SID, PR and ASV are tested on: ")
    (one,) = notices(other, copy, other)
    assert one.startswith(f"{start}PR is tested on: ")
    mixed = tmp_path / "mixed"
    shutil.copytree(other, mixed)
    mine = lines[0] | {"id": "from-the-first"}
    shutil.copy(corpus / mine["file"], mixed / "first.wav")
    with (mixed / "manifest.jsonl").open("a") as file:
        file.write("\n" + json.dumps(mine | {"file": "first.wav"}))
    (part,) = notices(other, other, mixed)
    assert part.startswith(f"{start}ASV is tested on (1 of 25): ")


def test_what_is_in_the_corpora_is_part_of_the_run(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    place = tmp_path / "map.yaml"
    place.write_text(f"sid: {corpus}\n")
    changes = {"corpus": str(copy), "corpus_map": str(place), "trials": str(copy)}

    def identity(**more: Any) -> str:
        return prepare(config(corpus, **changes, **more), tmp_path / "out").identity

    before = identity()
    assert identity() == before
    lines = (copy / "manifest.jsonl").read_text().splitlines()
    (copy / "manifest.jsonl").write_text("\n".join(lines[:-1]))
    assert identity() != before


def test_rows_can_go_by_activation(corpus: Path, tmp_path: Path) -> None:
    """On the corpus in which the neurons are found; the control goes by the same score."""
    settings = config(corpus, score="activation", draws=0, probe_steps=2)
    run_protection(settings, tmp_path / "out")
    out, model = tmp_path / "out", load_model(MODEL)
    sums = {layer: torch.zeros(48, dtype=torch.float64) for layer in LAYERS}
    for utterance in load_corpus(str(corpus)).utterances:
        (found,) = model.encode([utterance.read()], list(LAYERS))
        for layer in LAYERS:
            sums[layer] += found[layer].double().abs().sum(0)
    pruned = load_model(out / "pruned" / "none-36-0" / "model")
    protected, control = (load_set(out / "sets" / f"{n}.json") for n in ("protected", "score-0"))
    for block, layer in enumerate(LAYERS, start=1):
        assert set(rows_kept(model, pruned, block)) == set(sums[layer].topk(36).indices.tolist())
        ranks = sums[layer].argsort().argsort().double()
        match = control.details["match"].get(layer)
        if protected.of(layer):
            assert match["set"] == pytest.approx(ranks[list(protected.of(layer))].mean().item())
            assert match["control"] == pytest.approx(ranks[list(control.of(layer))].mean().item())
    assert not (out / "scores").exists()
