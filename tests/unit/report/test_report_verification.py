"""The page of a verification run holds names from anywhere as text."""

from __future__ import annotations

from pathlib import Path

import pytest

import report_made_verification as made
from report_reading import HOSTILE, Page
from voxstrata.report.page import page_html
from voxstrata.report.view import read_view
from voxstrata.results import load_results


def test_names_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = f"random:{HOSTILE}"
    monkeypatch.setattr(made, "SYSTEMS", {HOSTILE: ("model", 2.0), twin: ("twin", 0.7)})
    folder = made.write_verification(
        tmp_path / "out",
        study=HOSTILE,
        command=f"voxstrata verify {HOSTILE}",
        twins={HOSTILE: twin},
        corpus={"spec": HOSTILE, "name": HOSTILE, "utterances": 90, "speakers": 20},
        trials={"trials": 4000, "targets": 800, "recordings": 90, "speakers": 20,
                "source": HOSTILE},
        mean_from=HOSTILE,
        notices=[HOSTILE],
    )  # fmt: skip
    page = Page(page_html(read_view(load_results(folder))))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert not any(text.strip() == "alert(1)" for _, text in page.scripts)
    assert page.words.count(HOSTILE) > 4, "shown as text"
