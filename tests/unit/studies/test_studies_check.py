"""Checking studies: every problem is told at once, with its line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxstrata.errors import ConfigError
from voxstrata.studies.check import check, checked
from voxstrata.studies.load import Source, read_study

GOOD = """\
name: mine
corpora: {speech: synthetic:tiny}
models: {mel: log-mel, coefficients: {spec: mfcc, roles: [plain]}}
analyses:
  similar:
    job: similarity
    corpus: speech
    folds: 3
"""

NEWCOMER = """\
name: mine
title: What a newcomer writes
corpora:
  speech: synthetic:tiny
models:
  mel: log-mel
  mine: melhubert-smal
analyses:
  properties:
    job: properties
    corpus: speech
    propertys: [linear-phone]
  similar:
    job: similarity
    models: [mel, minne]
    corpus: speech
"""


def _read(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return read_study(str(path))


def test_a_good_study_is_made_ready(tmp_path: Path) -> None:
    found = checked(_read(tmp_path, GOOD), tmp_path / "out")
    assert found.study is not None
    (part,) = found.study.parts
    assert part.folder == tmp_path / "out" / "similar"
    assert list(part.settings.models) == ["log-mel", "mfcc"]  # type: ignore[attr-defined]
    assert part.settings.corpus == "synthetic:tiny"  # type: ignore[attr-defined]
    assert found.study.roles["plain"] == ("mfcc",)
    assert part.job.cost(found.prepared[0]).seconds > 0


def test_three_mistakes_of_a_newcomer_give_three_messages_in_one_go(tmp_path: Path) -> None:
    source = _read(tmp_path, NEWCOMER)
    found = check(source, tmp_path / "out")
    told = [problem.text() for problem in found.problems]
    assert len(told) == 3, told
    key = next(text for text in told if "propertys" in text)
    assert "line 12" in key
    assert "unknown key" in key
    assert "'properties'" in key
    name = next(text for text in told if "minne" in text)
    assert "line 15" in name
    assert "'mine'" in name
    model = next(text for text in told if "melhubert-smal" in text)
    assert "melhubert-small" in model
    with pytest.raises(ConfigError, match="3 problems"):
        checked(source, tmp_path / "out")


def test_labels_that_a_corpus_lacks_are_told_before_anything_runs(
    tmp_path: Path, shared: Path
) -> None:
    text = (
        "corpora: {speech: PLACE}\nmodels: {mel: log-mel}\nanalyses:\n"
        "  p: {job: properties, corpus: speech, properties: [cca-phone, linear-speaker], "
        "scale: small, limit: 20}\n"
    ).replace("PLACE", str(shared / "data" / "fsdd_digits"))
    found = check(_read(tmp_path, text), tmp_path / "out")
    (problem,) = found.problems
    assert "cca-phone" in problem.what
    assert "missing: skip" in problem.fix
    lenient = check(_read(tmp_path, text.replace("job:", "missing: skip, job:")), tmp_path / "out")
    assert not lenient.problems
    assert any("cca-phone" in note for note in lenient.notes)
    # A corpus of the command line need not have all that the study's own has.
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(str(shared / "data" / "fsdd_digits"), "synthetic:tiny"))
    named = read_study(str(path), corpora={"speech": str(shared / "data" / "fsdd_digits")})
    assert not check(named, tmp_path / "out").problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("job: similarity", "job: similarities"), "did you mean 'similarity'"),
        (("corpus: speech", "corpus: speach"), "did you mean 'speech'"),
        (("folds: 3", "folds: one"), "folds"),
        (("folds: 3", "models: [mel]\n    study: other"), "a study sets this itself"),
        (("name: mine", "name: mine\nclaims: [phone-dept]"), "unknown claim"),
        (("name: mine", "name: ../mine"), "name"),
        (("name: mine", "name: mine\nseeds: []"), "seeds"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    found = check(_read(tmp_path, GOOD.replace(*change)), tmp_path / "out")
    assert len(found.problems) == 1, found.problems
    assert said in found.problems[0].text()


@pytest.mark.parametrize("text", ["", "name: mine\n", "analyses: 3\n", "models: [a]\n"])
def test_a_file_without_the_parts_of_a_study_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="problem"):
        checked(_read(tmp_path, text), tmp_path / "out")


def test_seeds_give_a_folder_each(tmp_path: Path) -> None:
    found = checked(_read(tmp_path, GOOD + "seeds: [0, 3]\n"), tmp_path / "out")
    assert found.study is not None
    assert [part.folder.name for part in found.study.parts] == ["similar", "similar-seed3"]
    assert [part.settings.seed for part in found.study.parts] == [0, 3]  # type: ignore[attr-defined]
