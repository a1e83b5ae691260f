"""Figure files: there, the same every time, with names as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from report_made import MADE, made_record, made_rows, made_view
from voxstrata.cli import app, commands
from voxstrata.errors import ResultsError
from voxstrata.report import draw_report
from voxstrata.report.figure_heatmap import TICK_PITCH, kept_ticks, side_in
from voxstrata.report.figures import draw_figures, planned
from voxstrata.report.page import page_html
from voxstrata.report.view import View

SMALL: list[tuple[str, int, int, list[str] | None]] = [
    ("$a_b$ <x>&", 3, 16, None),
    ("ecapa", 3, 16, ["conv", "mfa", "embedding"]),
    ("log-mel", 1, 8, ["fbank"]),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> View:
    rows = made_rows(SMALL, units=("utterance",), estimators=("debiased",))
    rows[1] = replace(rows[1], value=float("nan"), ci_low=None, ci_high=None)
    return made_view(tmp_path_factory.mktemp("small"), rows, made_record(SMALL))


@pytest.fixture(scope="module")
def drawn(small: View, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_figures(small, tmp_path_factory.mktemp("drawn"))


def test_every_figure_is_written_in_every_format(drawn: list[Path]) -> None:
    assert [p.name for p in drawn] == [
        f"cka-debiased-utterance{kind}.{ending}"
        for kind in ("", "-matches", "-steps")
        for ending in ("pdf", "svg", "png")
    ]


def test_svg_has_names_as_text(drawn: list[Path]) -> None:
    texts = {
        "".join(node.itertext()).strip()
        for node in ET.parse(drawn[1]).iter()
        if node.tag.endswith("}text")
    }
    assert {"$a_b$ <x>&", "ecapa", "conv", "embedding*", "fbank"} <= texts


def test_the_command_draws_the_same_again(small: View, drawn: list[Path]) -> None:
    commands.attach(app)
    done = CliRunner().invoke(app, ["report", str(small.folder)])
    assert done.exit_code == 0, done.output
    page = small.folder / "report.html"
    assert str(page) in done.output.replace("\n", "")
    assert page.read_text("utf-8") == page_html(small)
    for path in drawn:
        again = small.folder / "figures" / path.name
        assert again.read_bytes() == path.read_bytes(), path.name


def test_no_results_no_page(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no finished results"):
        draw_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_model_and_one_layer(tmp_path: Path) -> None:
    kinds = []
    for models in (MADE[3:4], MADE[4:]):
        rows = made_rows(models, units=("frame",), estimators=("debiased",), spread=None)
        view = made_view(tmp_path / models[0][0], rows, made_record(models))
        kinds.append([plan.title for plan in planned(view)])
        assert all(path.stat().st_size > 500 for path in draw_figures(view, tmp_path / "figures"))
    assert kinds == [["all layers", "layer to layer"], ["all layers"]]


@pytest.mark.parametrize("size", [1, 13, 47, 75, 76, 150, 400])
def test_names_never_run_into_each_other(size: int) -> None:
    pitch = side_in(size) / size
    for starts in ([0], [0, size // 3], list(range(0, size, 25))):
        kept = kept_ticks(size, pitch, sorted(set(starts)))
        gaps = [(b - a) * pitch for a, b in pairwise(kept)]
        assert all(gap >= TICK_PITCH - 1e-6 for gap in gaps)
        assert kept[0] == 0
