"""The page of a study: claims first, every section of every analysis, nothing unescaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from report_made_study import HOSTILE, write_study
from voxstrata.errors import ConfigError
from voxstrata.files import write_json
from voxstrata.report import draw_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_study(tmp_path_factory.mktemp("study"))
    return draw_report(folder).read_text("utf-8")


def _sections(text: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', text)


def test_claims_come_first_and_provenance_last(page: str) -> None:
    found = _sections(page)
    assert found[:2] == ["study", "claims"]
    assert found[-1] == "provenance"
    assert found[-2] == "answers"
    assert {"curves", "matrix", "pairs", "neurons", "protection", "probing",
            "probing-layers", "probing-summed"} <= set(found)  # fmt: skip
    assert len(found) == len(set(found))
    assert not {"opening", "run", "parts", "paper"} & set(found)


def test_each_claim_has_its_verdict_effects_and_doubts(page: str) -> None:
    assert "Of 2 claims: 1 supported and 1 cannot tell." in page
    assert "no such analysis" in page
    row = page[page.index("a less b") : page.index("a less b") + 400]
    for cell in ("0.012", "0.004 to 0.020", "0.001", "7 speakers", "supported"):
        assert cell in row
    assert "By layer" in page


def test_nothing_hostile_gets_through(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=window.owned=3&gt;" in page
    assert "&lt;b&gt; and speech" in page


def test_links_of_an_analysis_lead_into_its_folder(page: str) -> None:
    links = set(re.findall(r'href="([^"#:]+)"', page))
    assert "neurons/neurons.parquet" in links
    assert "neurons.parquet" not in links
    assert {"results.csv", "study.yaml", "claims.json"} <= links


def test_a_study_chooses_its_sections(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", sections=["matrix", "claims"])
    assert _sections(draw_report(folder).read_text()) == ["study", "matrix", "claims"]
    odd = write_study(tmp_path / "odd", sections=["matrx"])
    with pytest.raises(ConfigError, match="matrx"):
        draw_report(odd)


def test_what_failed_is_told(tmp_path: Path) -> None:
    analyses = [
        {"name": "gone", "folder": "gone", "job": "properties", "failed": f"no {HOSTILE}"},
    ]
    folder = write_study(tmp_path / "study")
    record = draw_report(folder)
    assert "gone failed" not in record.read_text()
    from voxstrata.results import load_results

    old = load_results(folder).record
    write_json(folder / "run.json", {**old, "analyses": [*old["analyses"], *analyses]})
    text = draw_report(folder).read_text()
    assert "gone failed" in text
    assert HOSTILE not in text
