"""What a notebook shows of results, figures and comparisons; everything escaped."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from report_made import made_record, made_rows, write_made
from report_made_joined import joined
from report_reading import HOSTILE, Page, table_rows
from voxstrata.errors import UsageError
from voxstrata.report import read_figures
from voxstrata.report.compare import compare_results
from voxstrata.results import load_results, write_results

SVG = "{http://www.w3.org/2000/svg}"
SMALL: list[tuple[str, int, int, list[str] | None]] = [("a", 2, 4, None), ("b", 1, 4, None)]
BAD: list[tuple[str, int, int, list[str] | None]] = [(HOSTILE, 2, 4, [HOSTILE, "x"])]


def made(folder: Path, models: list[tuple[str, int, int, list[str] | None]] = SMALL) -> Path:
    rows = made_rows(models, units=("frame",), estimators=("debiased",))
    return write_made(folder, rows, made_record(models))


def test_results_show_what_was_run_and_some_rows(tmp_path: Path) -> None:
    results = load_results(made(tmp_path))
    text = results._repr_html_()
    rows = table_rows(text)
    assert ["models", "a, b"] in rows
    assert ["corpus", "synthetic:speakers=20"] in rows
    assert ["numbers", f"{len(results.table):,}"] in rows
    assert "randomly initialised" in text
    head = next(row for row in rows if "measure" in row)
    assert "control" not in head  # no row has one
    first = results.table.iloc[0]
    shown = dict(zip(head, rows[rows.index(head) + 1], strict=True))
    assert float(shown["value"]) == pytest.approx(first["value"])
    assert (shown["model"], shown["other_layer"]) == ("a", "0")


def test_long_tables_are_cut_and_empty_ones_shown(tmp_path: Path) -> None:
    rows = made_rows([("a", 12, 4, None)], units=("frame",), estimators=("debiased",))
    text = load_results(write_made(tmp_path / "a", rows))._repr_html_()
    assert len(table_rows(text)) < 30
    assert "..." in text
    write_results(tmp_path / "b", [], {})
    empty = load_results(tmp_path / "b")._repr_html_()
    assert ["numbers", "0"] in table_rows(empty)


def test_results_with_hostile_names_are_escaped(tmp_path: Path) -> None:
    folder = write_made(
        tmp_path,
        made_rows(BAD, units=("frame",), estimators=("debiased",)),
        made_record(BAD, study=HOSTILE, job=HOSTILE, notices=[HOSTILE],
                    corpus={"spec": HOSTILE}),
    )  # fmt: skip
    page = Page(load_results(folder)._repr_html_())
    assert page.scripts == []
    assert all(tag != "img" for tag, _ in page.tags)
    assert page.words.count(HOSTILE) >= 5


def test_figures_are_drawn_as_svg(tmp_path: Path) -> None:
    drawings = read_figures(made(tmp_path / "a"))
    assert list(drawings)[:2] == ["cka-debiased-frame", "cka-debiased-frame-matches"]
    drawing = drawings["cka-debiased-frame"]
    tree = ElementTree.fromstring(drawing._repr_svg_())
    assert tree.tag == f"{SVG}svg"
    assert any("".join(e.itertext()).strip() == "a" for e in tree.iter(f"{SVG}text"))
    assert not (tmp_path / "a" / "figures").exists()
    assert read_figures(load_results(tmp_path / "a"))[drawing.stem].picture() == drawing.picture()


def test_figures_with_hostile_names_are_escaped(tmp_path: Path) -> None:
    for drawing in read_figures(made(tmp_path, BAD)).values():
        tree = ElementTree.fromstring(drawing._repr_svg_())
        names = {e.tag.rpartition("}")[2] for e in tree.iter()}
        assert not names & {"script", "img", "foreignObject"}
        links = [v for e in tree.iter() for k, v in e.items() if k.rpartition("}")[2] == "href"]
        assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
        assert all(not key.startswith("on") for e in tree.iter() for key in e.keys())  # noqa: SIM118


def test_a_figure_is_saved_in_the_format_of_its_name(tmp_path: Path) -> None:
    drawing = read_figures(made(tmp_path / "a"))["cka-debiased-frame"]
    assert drawing.save(tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    assert drawing.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="not written in this format"):
        drawing.save(tmp_path / "x.gif")
    assert not (tmp_path / "x.gif").exists()


def test_a_comparison_tells_itself(tmp_path: Path) -> None:
    joined(tmp_path)
    found = compare_results(tmp_path / "properties", tmp_path / "properties")
    words = Page(found._repr_html_()).words
    assert "numbers that both runs have are equal" in words
    bad = made(tmp_path / "<img src=x>", BAD)
    assert "<img" not in compare_results(bad, bad)._repr_html_()
