"""Recipes: names, files, changes, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

import training_made as made
from voxstrata.errors import ConfigError, UnknownNameError
from voxstrata.training.recipes import names, read_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return made.write_recipe(tmp_path / "r.yaml", "/corpora/mine")


def test_every_recipe_of_the_package_is_valid_and_says_what_it_is() -> None:
    found = names()
    assert found
    for name, about in found.items():
        assert len(about) > 20, name
        config = read_recipe(name)
        assert config.data.corpora, name


def test_a_file_is_read_and_changed(recipe: Path) -> None:
    plain = read_recipe(recipe)
    assert (plain.run.steps, plain.run.seed, plain.data.corpus) == (12, 0, "/corpora/mine")
    changes = [
        "run.steps=100", "data.corpus=synthetic:demo,speakers=3", "run.precision=bfloat16",
        "objective.crop_s=0.5", "data.speeds=[1.0, 0.9]", "augment.probability=0.3",
        "schedule.lr=1e-3", "model.options.channels=32",
    ]  # fmt: skip
    config = read_recipe(recipe, changes)
    assert config.run.steps == 100
    assert config.data.corpora == {"synthetic:demo,speakers=3": 1}
    assert config.run.precision == "bfloat16"
    assert config.objective == {"name": "toy", "crop_s": 0.5}
    assert config.data.speeds == (1.0, 0.9)
    assert config.augment is not None  # a group that the recipe does not have
    assert config.augment.probability == 0.3
    assert config.schedule.lr == 1e-3
    assert config.model.options["channels"] == 32
    assert config.model.options["mfa"] == 48
    assert config.run.log_every == plain.run.log_every


def test_an_empty_value_removes_a_key(recipe: Path) -> None:
    config = read_recipe(recipe, ["run.steps=", "run.epochs=2.5", "optimiser.clip=null"])
    assert (config.run.steps, config.run.epochs, config.optimiser.clip) == (None, 2.5, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["run.steps"], "is not KEY=VALUE"),
        (["=3"], "is not KEY=VALUE"),
        (["data.speeds=[1.0"], "is not YAML"),
        (["name.first=x"], "name is a value, not a group of keys"),
        (["run.epochs=3"], "give epochs or steps, not both"),
        (["run.steps="], "give epochs or steps, not both"),
        (["data.batch="], "give batch (recordings) or batch_s"),
        (["data.speeds=[0.9, 1.1]"], "1.0 among them"),
        (["run.steps=many"], "run.steps: 'many'"),
        (["optimiser.kind=lion"], "'sgd', 'adam' or 'adamw'"),
        (["name=../escape"], "name"),
        (["objective="], "objective: missing"),
        (["objective={margin: 0.2}"], "objective needs a name"),
    ],
)
def test_a_change_that_cannot_be_is_told(recipe: Path, changes: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe(recipe, changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "where", "offered"),
    [
        ("run.stepz=100", "run.stepz", "'steps'"),
        ("optimizer={kind: sgd}", "optimizer", "'optimiser'"),
        ("schedule.warmup=1", "schedule.warmup", "'warmup_epochs'"),
        ("augment.probabilty=0.5", "augment.probabilty", "'probability'"),
    ],
)
def test_an_unknown_key_gets_the_nearest_one_of_its_group(
    recipe: Path, change: str, where: str, offered: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe(recipe, [change])
    assert f"{where}: unknown key" in str(caught.value)
    assert f"did you mean {offered}" in caught.value.fix
    assert offered.strip("'") in caught.value.expected


def test_all_problems_come_at_once(recipe: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe(recipe, ["run.seed=-1", "data.workers=few", "nothing=1"])
    assert "3 problem(s)" in str(caught.value)


def test_an_unknown_recipe_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="training recipe or file") as caught:
        read_recipe("ecapa-small-supervise")
    assert "ecapa-small-supervised" in caught.value.fix
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="does not hold a mapping"):
        read_recipe(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_recipe(tmp_path / "broken.yaml")
