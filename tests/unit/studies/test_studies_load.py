"""Reading studies: scales laid over, corpora and models replaced, changes by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxstrata.errors import ConfigError, UsageError
from voxstrata.studies.load import merged, read_study, shipped

STUDY = """\
name: mine
corpora:
  speech: synthetic:tiny
  tasks: {default: synthetic:tiny, sid: synthetic:demo}
models:
  a: log-mel
  b: {spec: mfcc, roles: [plain]}
analyses:
  similar: {job: similarity, corpus: speech, folds: 3}
scales:
  demo: {}
  small:
    corpora: {speech: synthetic:demo}
    analyses:
      similar: {folds: 5, units: [frame]}
      probing: {job: probing, corpus_map: tasks}
  paper:
    models: {a: null}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    return str(path)


def test_a_mapping_is_laid_over_another_and_null_takes_away() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": [1], "c": 3}
    above = {"a": {"y": 4, "z": 5}, "b": [2], "c": None}
    assert merged(below, above) == {"a": {"x": 1, "y": 4, "z": 5}, "b": [2]}
    assert below["a"] == {"x": 1, "y": 2}


def test_a_scale_changes_what_it_names_and_nothing_else(file: str) -> None:
    plain, small, paper = (read_study(file, scale=s) for s in (None, "small", "paper"))
    assert plain.scale == "demo"
    assert plain.scales == ("demo", "small", "paper")
    assert plain.raw["analyses"] == {
        "similar": {"job": "similarity", "corpus": "speech", "folds": 3}
    }
    assert small.raw["analyses"]["similar"] == {
        "job": "similarity", "corpus": "speech", "folds": 5, "units": ["frame"],
    }  # fmt: skip
    assert small.raw["corpora"]["tasks"] == plain.raw["corpora"]["tasks"]
    assert list(paper.raw["models"]) == ["b"]


def test_a_corpus_is_replaced_by_name_and_all_by_a_bare_one(file: str) -> None:
    one = read_study(file, corpora={"speech": "elsewhere"})
    assert one.raw["corpora"]["speech"] == "elsewhere"
    assert one.raw["corpora"]["tasks"]["sid"] == "synthetic:demo"
    assert one.changed == {"speech"}
    every = read_study(file, corpora={"": "elsewhere"})
    assert every.raw["corpora"] == {"speech": "elsewhere", "tasks": {"default": "elsewhere"}}
    assert every.changed == {"speech", "tasks"}
    mapped = read_study(file, corpora={"tasks": "map.yaml"})
    assert mapped.raw["corpora"]["tasks"] == "map.yaml"


def test_a_model_keeps_its_roles_when_it_is_replaced(file: str) -> None:
    found = read_study(file, models={"a": "hubert-base", "b": "wavlm-base"})
    assert found.raw["models"] == {
        "a": "hubert-base",
        "b": {"spec": "wavlm-base", "roles": ["plain"]},
    }


def test_a_value_is_set_by_its_path(file: str) -> None:
    found = read_study(file, changes={"analyses.similar.folds": 7, "seeds": [0, 1]})
    assert found.raw["analyses"]["similar"]["folds"] == 7
    assert found.raw["seeds"] == [0, 1]


def test_null_takes_a_key_away(file: str) -> None:
    found = read_study(file, scale="small", changes={"analyses.probing": None, "seeds": None})
    assert list(found.raw["analyses"]) == ["similar"]
    assert "seeds" not in found.raw


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": "huge"}, "no scale 'huge'"),
        ({"corpora": {"speach": "x"}}, "no corpus 'speach'"),
        ({"models": {"c": "x"}}, "no model 'c'"),
        ({"changes": {"nothing.there": 1}}, "no 'nothing' to change"),
    ],
)
def test_what_a_study_has_not_is_told(file: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_study(file, **given)  # type: ignore[arg-type]


def test_lines_are_those_of_the_file(file: str) -> None:
    lines = read_study(file).lines
    text = Path(file).read_text().splitlines()
    assert text[lines["analyses.similar"] - 1].strip().startswith("similar:")
    assert text[lines["corpora.tasks"] - 1].strip().startswith("tasks:")


def test_lines_are_those_of_the_scale_that_was_chosen(file: str) -> None:
    text = Path(file).read_text().splitlines()
    demo, small = (read_study(file, scale=scale).lines for scale in ("demo", "small"))
    assert "folds: 3" in text[demo["analyses.similar.folds"] - 1]
    assert "folds: 5" in text[small["analyses.similar.folds"] - 1]
    assert "job: similarity" in text[small["analyses.similar.job"] - 1]
    assert "analyses.probing" not in demo
    assert "job: probing" in text[small["analyses.probing"] - 1]
    assert "a: log-mel" in text[small["models.a"] - 1]
    assert "a: null" in text[read_study(file, scale="paper").lines["models.a"] - 1]


def test_an_unknown_study_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="quickstart"):
        read_study("quikstart")


def test_scales_that_are_not_a_mapping_are_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("scales: [demo, small]\n")
    with pytest.raises(ConfigError, match="scales"):
        read_study(str(path))
    path.write_text("scales: {huge: {}}\n")
    with pytest.raises(ConfigError, match="huge"):
        read_study(str(path))


def test_every_shipped_study_reads_at_each_of_its_scales() -> None:
    from voxstrata.studies.settings import StudyConfig

    assert {"ashihara2024", "pasad2023", "lin2025", "quickstart", "my-model"} <= set(shipped())
    for name in shipped():
        for scale in read_study(name).scales or (None,):
            source = read_study(name, scale=scale)
            config = StudyConfig.model_validate(dict(source.raw))
            assert config.name == name
            assert config.question
            if scale == "paper":
                assert config.needs
