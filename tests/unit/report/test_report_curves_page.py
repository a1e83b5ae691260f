"""The page and the figures of a properties run: whole, escaped, with little and with much."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_made import MADE, made_view
from report_made_properties import (
    ASKED,
    WITH_TWINS,
    Asked,
    Models,
    property_made_record,
    property_made_rows,
    property_made_view,
    write_property_made,
)
from report_reading import HOSTILE, Page, table_rows
from voxstrata.report import draw_report
from voxstrata.report.charts_curves import DASHES, curve_chart
from voxstrata.report.figure_curves import is_relative, pages
from voxstrata.report.figures import draw_figures, planned
from voxstrata.report.meanings import meanings
from voxstrata.report.page import page_html
from voxstrata.report.reading import by_reason
from voxstrata.report.section import json_for_script
from voxstrata.report.sections.left_out import left_out
from voxstrata.report.sections.property_opening import TOLD, telling
from voxstrata.report.view import View


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return property_made_view(tmp_path_factory.mktemp("typical"))


@pytest.fixture(scope="module")
def text(view: View) -> str:
    return page_html(view)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_sections(text: str, page: Page) -> None:
    for name in ("opening", "curves", "peaks", "left-out", "paper", "run"):
        assert page.with_id(name), name
    for name in ("matrix", "pairs", "paths", "steps", "measure"):
        assert not page.with_id(name), name
    for ask in ASKED:
        assert page.with_id(f"property-{ask.name}")
        assert ask.title in page.words
    headings = re.findall(r'<h3 class="group">(.*?)</h3>', text)
    assert headings == [
        *("Acoustic", "Phonetic", "Lexical", "Semantic", "Speaker", "Disentanglement", "Task")
    ]


def test_opening(page: Page) -> None:
    words = " ".join(page.words.split())
    assert "What the layers of hubert-base-ls960, wavlm-base, ecapa-tdnn and log-mel" in words
    assert "similarity between layers" not in words
    assert "Phone identity (PWCCA) peaks at layer 6 of hubert-base-ls960 (0.73" in words
    assert "this corpus is made of synthetic speech" in words
    assert "randomly initialised" not in words, "twins are meant to be untrained"
    assert "11 properties" in re.sub(r"11\s*properties", "11 properties", words)


def test_what_was_left_out(text: str) -> None:
    rows = table_rows(text)
    tier = "no recording has the tier &#39;emotion&#39;"
    assert ["cca-tier:emotion", "this corpus does not allow it", tier] in rows
    assert ["mi-word", "too few units", "5,000 clusters need 50,000 rows; got 3,120"] in rows


def test_the_table_of_peaks(text: str) -> None:
    rows = table_rows(text)
    assert [
        *("phone identity (PWCCA)", "PWCCA, held-out", "hubert-base-ls960", "6", "0.50", "0.73"),
        *("0.71 to 0.75", "shuffled rows 0.08", "4, 5, 7, 8", "7,140", "120"),
    ] in rows
    assert any(row[7:8] == ["shuffled rows 0.27 (not exceeded)"] for row in rows)
    assert any(row[2:3] == ["random:wavlm-base (untrained)"] for row in rows)
    crossed = next(row for row in rows if row[0].startswith("pitch (R²) R²"))
    assert crossed[1] == "conv6 0.71 [0.69, 0.73]"
    assert len(crossed) == 7


def test_data_of_the_figures(view: View, page: Page) -> None:
    data = page.data
    told = data["sections"]["curves"]
    assert data["facets"] == []
    assert set(data["specs"]) == {"curves"}
    assert [p["title"] for p in told["properties"]] == [ask.title for ask in ASKED]
    phone = told["properties"][2]["variants"][0]
    names = [layer[1] for layer in data["layers"]]
    row = next(
        r
        for r in property_made_rows()
        if (r.property, r.measure, r.control, r.layer) == ("cca-phone", "pwcca", "", "9")
    )
    hubert = phone["curves"][0]
    point = next(p for p in hubert["points"] if names[p[0]] == "9")
    assert point[1:4] == [pytest.approx(v, rel=1e-4) for v in (row.value, row.ci_low, row.ci_high)]
    assert point[4:] == [7140, 120]
    model, best, tied, marked = phone["peaks"][0]
    assert (model, names[best], [names[t] for t in tied], marked) == (
        *(0, "6", ["4", "5", "7", "8"]),
        True,
    )
    assert told["looks"][0]["colour"] == told["looks"][2]["colour"]
    assert (told["looks"][0]["untrained"], told["looks"][2]["untrained"]) == (False, True)
    assert told["looks"][2]["twinOf"] == 0
    assert [c["name"] for c in told["controls"]] == ["shuffled-rows", "permuted-labels", "chance"]


def test_colours_and_shapes_never_repeat_together(tmp_path: Path) -> None:
    models: Models = [(f"organisation/model-{k}", 2, 8, None) for k in range(24)]
    asked = [replace(ASKED[2], others=())]
    view = property_made_view(
        tmp_path, property_made_rows(models, asked), property_made_record(models, asked)
    )
    told = Page(page_html(view)).data["sections"]["curves"]
    assert len({(look["colour"], look["shape"]) for look in told["looks"]}) == 24
    assert "see the table of peaks" in page_html(view)


def test_the_chart_names_the_data_the_script_fills() -> None:
    spec = curve_chart()
    used = {layer["data"]["name"] for layer in spec["layer"]}
    assert used == {"points", "controls", "alone", "peaks"}
    ranges = [
        layer["encoding"]["strokeDash"]["scale"]
        for layer in spec["layer"]
        if "strokeDash" in layer["encoding"]
    ]
    assert len(ranges) == 2
    assert all(r["domain"] == list(DASHES) for r in ranges), "else the scales would conflict"


def test_size(tmp_path: Path) -> None:
    models: Models = [(f"organisation/large-{k}", 25, 1024, None) for k in range(20)]
    view = property_made_view(tmp_path, property_made_rows(models), property_made_record(models))
    assert len(page_html(view)) < 2_500_000


def test_names_are_escaped(tmp_path: Path) -> None:
    models: Models = [(HOSTILE, 2, 4, [HOSTILE, "<b>1</b>"]), ("<i>m</i>", 2, 4, None)]
    asked = [Asked(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0, 1, 0, {HOSTILE: 0.1}, ("<u>",))]
    record = property_made_record(
        models,
        asked,
        left_out=[{"name": HOSTILE, "reason": HOSTILE}],
        refused=[{"name": HOSTILE, "reason": HOSTILE}],
    )
    record["properties"][0] |= {
        "facts": [{HOSTILE: HOSTILE, "reduced": {HOSTILE: {"published": HOSTILE, "used": 1}}}],
        "notices": [HOSTILE],
    }
    rows = [replace(r, estimator=HOSTILE) for r in property_made_rows(models, asked)]
    rows = [replace(r, other_model=HOSTILE, other_layer=HOSTILE) for r in rows]
    page = Page(page_html(property_made_view(tmp_path, rows, record)))
    assert len(page.scripts) == 3
    assert not any(tag in ("img", "b1", "u") for tag, _ in page.tags)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.words.count(HOSTILE) > 10, "shown as text"
    made = draw_figures(property_made_view(tmp_path, rows, record), tmp_path / "figures")
    assert all(path.parent == tmp_path / "figures" for path in made)


@pytest.mark.parametrize(
    ("models", "spread"),
    [(WITH_TWINS[1:2], 0.02), (MADE[4:], 0.02), (MADE[4:], None), (MADE[3:], None)],
)
def test_little_to_show(tmp_path: Path, models: Models, spread: float | None) -> None:
    asked = ASKED[2:3]
    rows = [r for r in property_made_rows(models, asked, spread=spread) if not r.control]
    rows[0] = replace(rows[0], value=float("nan"), ci_low=None, ci_high=None)
    view = property_made_view(tmp_path, rows, property_made_record(models, asked))
    page = Page(page_html(view))
    assert page.with_id("property-cca-phone")
    assert not any(a.get("data-chart") == "curves-overview" for _, a in page.tags)
    assert "no control to hold these values against" in page.words or len(rows) <= 3
    json_for_script(page.data)
    assert [plan.stem for plan in planned(view)] == ["property-cca-phone"]
    assert all(p.stat().st_size > 500 for p in draw_figures(view, tmp_path / "figures"))


def test_nothing_was_run(tmp_path: Path) -> None:
    page = Page(page_html(property_made_view(tmp_path, [])))
    assert "These results hold no property of any layer." in page.words
    assert page.with_id("left-out")
    assert not page.with_id("curves")


def test_no_record_of_the_properties(tmp_path: Path) -> None:
    view = property_made_view(tmp_path, record={"job": "properties"})
    page = Page(page_html(view))
    assert [p.title for p in view.curves] == [ask.name for ask in ASKED]
    assert "Other" in page.words
    assert not page.with_id("left-out")


def test_a_similarity_page_has_nothing_of_this(tmp_path: Path) -> None:
    text = page_html(made_view(tmp_path))
    assert "curves-overview" not in text
    assert 'name="depth"' not in text


def test_figures(tmp_path: Path) -> None:
    asked = [ASKED[2], ASKED[4]]
    record = property_made_record(asked=asked)
    page = draw_report(write_property_made(tmp_path, property_made_rows(asked=asked), record))
    names = [p.name for p in sorted((tmp_path / "figures").iterdir())]
    stems = ["properties-double", "properties-single", *(f"property-{a.name}" for a in asked)]
    assert names == sorted(f"{s}.{ending}" for s in stems for ending in ("pdf", "svg", "png"))
    root = ET.parse(tmp_path / "figures" / "properties-single.svg").getroot()
    texts = {"".join(n.itertext()).strip() for n in root.iter() if n.tag.endswith("}text")}
    assert {a.title for a in asked} <= texts
    assert {"wavlm-base", "random:wavlm-base", "shuffled rows", "relative depth"} <= texts
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(3.4 * 72, abs=15)
    links = [a["href"] for tag, a in Page(page.read_text("utf-8")).tags if tag == "a"]
    assert "figures/property-abx-phone.pdf" in links


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    models, asked = WITH_TWINS[3:], ASKED[2:3]
    record = property_made_record(models, asked)
    view = property_made_view(tmp_path, property_made_rows(models, asked), record)
    once, again = (draw_figures(view, tmp_path / name) for name in ("once", "again"))
    assert len(once) == 3
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]


def test_many_properties_are_cut_into_parts(tmp_path: Path) -> None:
    asked = [replace(ASKED[2], name=f"p-{k}", others=()) for k in range(23)]
    rows = property_made_rows(WITH_TWINS[1:2], asked)
    view = property_made_view(tmp_path, rows, property_made_record(WITH_TWINS[1:2], asked))
    assert [len(part) for part in pages(view, "double")] == [12, 11]
    assert [len(part) for part in pages(view, "single")] == [8, 8, 7]
    stems = [plan.stem for plan in planned(view)]
    assert stems[:3] == ["properties-double-1", "properties-double-2", "properties-single-1"]
    assert len(set(stems)) == len(stems) == 5 + 23
    assert not is_relative(view)


def test_layers_are_numbered_where_models_end_alike(tmp_path: Path, view: View) -> None:
    assert is_relative(view), "ECAPA-TDNN has fewer layers"
    alike: Any = [WITH_TWINS[0], WITH_TWINS[1], MADE[4]]
    rows = property_made_rows(alike, ASKED[:1])
    assert not is_relative(property_made_view(tmp_path, rows, property_made_record(alike)))


def _made_of(folder: Path, asked: list[Asked]) -> View:
    return property_made_view(
        folder,
        property_made_rows(WITH_TWINS, asked),
        property_made_record(WITH_TWINS, asked),
    )


def test_the_opening_folds_what_does_not_fit(tmp_path: Path) -> None:
    """Eight sentences in sight, one group each in turn; the others are there to unfold."""
    many = [replace(ask, name=f"{ask.name}-{n}") for n in range(3) for ask in ASKED]
    made = _made_of(tmp_path, many)
    text = page_html(made)
    opening = text[text.index('<div class="short"') : text.index('<section id="curves"')]
    seen, _, folded = opening.partition("<details>")
    assert seen.count("<li>") == TOLD
    assert folded.count("<li>") >= len(many) - TOLD
    assert f"{TOLD} of {len(many)} properties" in opening
    told = {made.curves[at].group for at in telling(made)}
    assert told == {asked.group for asked in made.curves}
    assert telling(made) == sorted(telling(made))


def test_a_curve_that_says_nothing_comes_last(tmp_path: Path) -> None:
    """Curves no better than their controls give way to clear ones of the same group."""
    vague = [
        replace(ASKED[0], name=f"vague-{n}", controls=dict.fromkeys(ASKED[0].controls, 2.0))
        for n in range(TOLD)
    ]
    clear = [replace(ASKED[0], name=f"clear-{n}") for n in range(TOLD)]
    made = _made_of(tmp_path, [*vague, *clear])
    assert {made.curves[at].name for at in telling(made)} == {ask.name for ask in clear}


def test_measures_are_explained(text: str) -> None:
    assert "What the numbers mean" in text
    shown = text[text.index("What the numbers mean") :]
    assert "<dt>PWCCA</dt>" in shown
    assert meanings(["r2:f0", "nobody-knows"]) == meanings(["r2"])
    assert meanings(["nobody-knows"]) == []


def test_one_reason_is_given_once(tmp_path: Path) -> None:
    record = property_made_record(WITH_TWINS, ASKED)
    why = "no recording has the tier 'phones'"
    record["left_out"] = [{"name": name, "reason": why} for name in ("cca-phone", "mi-phone")]
    made = replace(property_made_view(tmp_path), record=record)
    section = left_out(made)
    assert section is not None
    rows = table_rows(section.html)
    assert ["cca-phone , mi-phone", *rows[1][1:]] in rows
    assert section.html.count("phones&#39;") == 1
    few = "too few rows for the view of {} (got 2)"
    pairs = [(name, f"{name}: {few.format(name)}") for name in ("cca-a", "cca-b")]
    [(reason, names)] = by_reason([*pairs])
    assert (reason, names) == ("too few rows for the view (got 2)", ["cca-a", "cca-b"])
