"""``voxstrata cite``, as a user meets it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import voxstrata
from voxstrata.cli import app, commands
from voxstrata.errors import ResultsError, UsageError
from voxstrata.references.bibliography import work
from voxstrata.results import TABLE, Row, write_results
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig

if not app.registered_commands:
    commands.attach(app)


def _said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["cite", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def _run(folder: Path, measure: str, **record: object) -> Path:
    row = Row(
        "s", "m", "1", "m", "2", "similarity", measure, "frame", 1, None, None, 9, 3, 4, 4, "", 0
    )
    write_results(folder, [row], {"job": "similarity", **record})
    return folder


def _keys(said: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", said, re.MULTILINE)


@pytest.mark.slow
def test_a_real_run(tmp_path: Path) -> None:
    config = SimilarityConfig(
        models=("log-mel", "random:ecapa-small-dino"),
        corpus="synthetic:tiny",
        measures=("cka", "svcca"),
        limit=6,
    )
    run_similarity(config, tmp_path / "out", overwrite="missing")
    said = _said(str(tmp_path / "out"))
    found = _keys(said)
    assert len(set(found)) == len(found)
    wanted = {"voxstrata", "song2012", "raghu2017", "desplanques2020", "espeakng", "paszke2019"}
    assert wanted <= set(found)
    assert f"version {voxstrata.__version__}" in said
    assert "caron2021" not in found, "an untrained twin was not trained by DINO"
    assert not {"wolf2020", "hsu2021", "morcos2018"} & set(found)
    assert "no work is known" not in said


def test_text_and_several_folders(tmp_path: Path) -> None:
    one, two = _run(tmp_path / "one", "cka"), _run(tmp_path / "two", "rsa")
    said = _said(str(one), str(two), "--format", "text")
    lines = said.splitlines()
    assert lines[0].startswith("The voxstrata authors. ")
    assert sum("Kornblith" in line for line in lines) == 1
    assert any("the measure rsa" in line for line in lines)
    # The folder that holds both says the same.
    assert sorted(lines) == sorted(_said(str(tmp_path), "-f", "text").splitlines())


def test_hostile_names_stay_in_their_comment(tmp_path: Path) -> None:
    spec = "evil\n@misc{evil, title={x}}\x1b[31m"
    folder = tmp_path / "a\n@misc{b,\n}[bold]"
    _run(
        folder,
        "cka",
        models=[{"spec": spec, "family": "theirs", "details": {}}],
        corpus={"name": "c\r\n}", "spec": "c\r\n@book{c,}", "details": {}},
    )
    (folder / "part").mkdir()
    (folder / "part" / TABLE).write_bytes(b"")
    said = _said(str(folder))
    assert set(re.findall(r"^@\w+\{(\w+)", said, re.MULTILINE)) == {
        *("voxstrata", "kornblith2019", "song2012", "busing1999"),
        *("paszke2019", "zelasko2021", "harris2020", "virtanen2020"),
    }
    assert "\x1b" not in said
    assert "\r" not in said
    for line in said.splitlines():
        assert line == "" or line[0] in "@ }%"
    for told in ("the model evil", "the corpus c", "not finished"):
        assert any(told in line and line.startswith("% ") for line in said.splitlines())


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no folder"):
        _said(str(tmp_path / "nothing"))
    with pytest.raises(ResultsError, match="holds no finished results"):
        _said(str(tmp_path))
    with pytest.raises(UsageError, match="bibtex or text"):
        _said(str(_run(tmp_path / "a", "cka")), "--format", "apa")


def test_the_citation_file_says_what_the_bibliography_says() -> None:
    root = Path(__file__).parents[2]
    held = yaml.safe_load((root / "CITATION.cff").read_text())
    assert held["cff-version"] == "1.2.0"
    assert held["type"] == "software"
    assert held["title"] == work("voxstrata").title
    assert held["version"] == voxstrata.__version__
    assert held["license"] == "Apache-2.0"
    named = {one["url"].rpartition("/")[2]: one for one in held["references"]}
    for key in ("ashihara2024", "pasad2023", "pasad2021", "pasad2024", "lin2025", "lin2024"):
        known = work(key)
        one = named.pop(known.arxiv)
        assert one["title"] == known.title
        assert one["year"] == known.year
        people = [f"{p['family-names']}, {p['given-names']}" for p in one["authors"]]
        assert " and ".join(people) == known.author
    assert not named
