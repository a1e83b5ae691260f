"""The command ``train`` as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import planted
import training_made as made
from voxstrata.cli import app, commands
from voxstrata.errors import ConfigError, StorageError, UnknownNameError, UsageError
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.training.log import read_log
from voxstrata.training.recipes import names
from voxstrata.training.registry import OBJECTIVES

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    made.register()
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training corpus, and one of other speakers."""
    root = tmp_path_factory.mktemp("corpora")
    train = planted.write_corpus(root / "train", recordings=16, speakers=4)
    other = planted.write_corpus(root / "other", recordings=12, speakers=3)
    manifest = other / "manifest.jsonl"
    text = (
        manifest.read_text()
        .replace('"speaker": "s', '"speaker": "t')
        .replace('"id": "r', '"id": "x')
    )
    manifest.write_text(text)
    return train, other


@pytest.fixture(scope="module")
def recipe(corpora: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    train, other = corpora
    return made.write_recipe(
        tmp_path_factory.mktemp("recipe") / "toy.yaml",
        train,
        data={"corpus": str(train), "valid": {"other": str(other)}, "batch": 4, "workers": 0},
        run={**made.RECIPE["run"], "evaluate_every": 6},
    )


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("train") / "out"
    code, text = _invoke("train", str(recipe), "-o", str(out), "-s", "data.speeds=[1.0, 0.9]")
    assert code == 0, text
    return out, text


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    if result.exception and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def _raise(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is not None, result.output
    raise result.exception


def test_a_recipe_to_a_model_and_a_page(finished: tuple[Path, str]) -> None:
    out, text = finished
    for said in ("toy on ecapa", "million parameters", "32 recordings at 2 speeds", "8 classes",
                 "12 steps, 8 a pass", "other_eer", "report.html", str(out / "model")):  # fmt: skip
        assert said in text, said
    entries = read_log(out)
    assert [e["step"] for e in entries if e["kind"] == "valid"] == [6, 12]
    last = [e for e in entries if e["kind"] == "valid"][-1]
    assert f"other_eer: {last['other_eer']:.3f}" in text
    page = (out / "report.html").read_text("utf-8")
    for said in ("Training of toy", "How did training go?", "Equal error rate on other"):
        assert said in page
    assert (out / "figures" / "training-1.pdf").exists()
    assert not (out / "state").exists()


def test_the_same_command_again_trains_nothing(finished: tuple[Path, str], recipe: Path) -> None:
    out, _ = finished
    before = (out / "train.jsonl").stat().st_mtime_ns
    code, text = _invoke("train", str(recipe), "-o", str(out), "-s", "data.speeds=[1.0, 0.9]")
    assert code == 0, text
    assert "report.html" in text
    assert (out / "train.jsonl").stat().st_mtime_ns == before


def test_the_page_is_drawn_again_from_the_folder(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    code, text = _invoke("report", str(out))
    assert code == 0, text
    assert (out / "report.html").read_bytes() == before


def test_the_model_is_a_model_like_any_other(
    finished: tuple[Path, str], corpora: tuple[Path, Path], tmp_path: Path
) -> None:
    out, _ = finished
    code, text = _invoke(
        "verify", str(out / "model"), "-c", str(corpora[1]), "-o", str(tmp_path / "v"),
        "--replicates", "20", "--quiet",
    )  # fmt: skip
    assert code == 0, text
    # Scored in the same way, the run's own last evaluation comes out again.
    found = [e for e in read_log(out) if e["kind"] == "valid"][-1]["other_eer"]
    table = (tmp_path / "v" / "results.csv").read_text()
    rate = next(
        float(line.split(",")[8])
        for line in table.splitlines()
        if "cosine-centred" in line and "eer-interpolated" in line and str(out) in line
    )
    assert 100 * rate == pytest.approx(found, abs=0.5)


def test_the_list_names_recipes_and_objectives() -> None:
    code, text = _invoke("train", "--list")
    assert code == 0
    for name in (*names(), *OBJECTIVES.names()):
        assert name in text


def test_a_recipe_is_shown_with_its_changes(recipe: Path) -> None:
    code, text = _invoke(
        "train", str(recipe), "--show", "-s", "run.seed=5", "-s", "optimiser.clip=null"
    )
    assert code == 0
    shown = yaml.safe_load(text)
    assert shown["run"]["seed"] == 5
    assert "clip" not in shown.get("optimiser", {})
    assert shown["model"]["options"]["channels"] == 16
    # What is shown can be given again.
    again = recipe.with_name("again.yaml")
    again.write_text(text)
    assert _invoke("train", str(again), "--show") == (0, text)


def test_a_dry_run_checks_everything_and_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = _invoke("train", str(recipe), "-o", str(out), "--dry-run")
    assert code == 0, text
    assert "16 recordings" in text
    assert "12 steps, 4 a pass" in text
    assert not out.exists()
    assert _invoke("train", str(recipe), "--dry-run")[0] == 0
    with pytest.raises(UnknownNameError, match="objective"):
        _raise("train", str(recipe), "--dry-run", "-s", "objective.name=to")


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ([], UsageError, "RECIPE is missing"),
        (["{recipe}"], UsageError, "-o OUT"),
        (["{recipe}", "-o", "{out}", "--overwrite", "sometimes"], UsageError, "sometimes"),
        (["no-such-recipe", "-o", "{out}"], UnknownNameError, "no-such-recipe"),
        (["{recipe}", "-o", "{out}", "-s", "run.stps=1"], ConfigError, "did you mean 'steps'"),
        (["{recipe}", "-o", "{out}", "-s", "run.steps"], ConfigError, "is not KEY=VALUE"),
        (["{recipe}", "-o", "{out}", "-s", "data.valid.a=/none"], Exception, "/none"),
        (["{recipe}", "-o", "{recipe}"], StorageError, "toy.yaml"),
    ],
)
def test_errors_say_what_to_do(
    recipe: Path, tmp_path: Path, arguments: list[str], kind: type[Exception], said: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(kind) as caught:
        _raise("train", *(a.format(recipe=recipe, out=out) for a in arguments))
    assert said in str(caught.value)
    assert not (out / "train.jsonl").exists()


def test_starting_from_another_architecture_is_refused(
    finished: tuple[Path, str], recipe: Path, tmp_path: Path
) -> None:
    out, _ = finished
    changes = ("-s", f"model.start={out / 'model'}")
    code, text = _invoke("train", str(recipe), "--dry-run", *changes)
    assert code == 0, text
    code, text = _invoke(
        "train", str(recipe), "--dry-run", *changes, "-s", "model.options.channels=24"
    )
    assert code == 1
    assert "another architecture" in text
    assert "channels=16" in text
    assert "channels=24" in text
