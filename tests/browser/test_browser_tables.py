"""Tables in Chromium: sorted by a column with pointer and keyboard, saved as csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from report_reading import HOSTILE

if TYPE_CHECKING:
    from browser.conftest import Opened

Visit = Callable[..., "Opened"]


def column(opened: Opened, selector: str, at: int) -> list[str]:
    cells = opened.tab.locator(f"{selector} tbody tr > :nth-child({at + 1})")
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def saved(opened: Opened, button: str, folder: Path) -> list[list[str]]:
    with opened.tab.expect_download() as waiting:
        opened.tab.locator(button).first.click()
    path = folder / waiting.value.suggested_filename
    assert path.suffix == ".csv"
    waiting.value.save_as(path)
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


def open_fold(opened: Opened) -> str:
    """Opens the table below the first curve."""
    opened.tab.locator("[data-chart=curves] summary").first.click()
    opened.tab.wait_for_selector("[data-chart=curves] table")
    return "[data-chart=curves] .scroll table"


def test_a_column_is_sorted_up_down_and_as_it_was(visit: Visit) -> None:
    opened = visit("properties")
    table = open_fold(opened)
    first = opened.tab.locator("[data-chart=curves]").first
    head = first.locator("th").nth(2)
    assert head.get_attribute("aria-sort") == "none"
    scope = "article:first-of-type " + table
    before = column(opened, scope, 2)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [float(text.replace("−", "-")) for text in column(opened, scope, 2)]
    assert numbers == sorted(numbers)
    assert sorted(column(opened, scope, 2)) == sorted(before)
    head.locator("button").focus()
    opened.tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    numbers = [float(text.replace("−", "-")) for text in column(opened, scope, 2)]
    assert numbers == sorted(numbers, reverse=True)
    first.locator("th").nth(1).locator("button").click()
    assert head.get_attribute("aria-sort") == "none"
    layers = column(opened, scope, 1)
    assert layers.index("2") < layers.index("10")  # numbers inside names count as numbers
    for _ in range(2):
        first.locator("th").nth(1).locator("button").click()
    assert column(opened, scope, 2) == before
    assert opened.console == []


def test_a_curve_is_saved_with_its_digits(visit: Visit, tmp_path: Path) -> None:
    opened = visit("properties")
    open_fold(opened)
    lines = saved(opened, "[data-chart=curves] details .tool", tmp_path)
    rows = pd.read_parquet(opened.folder / "results.parquet")
    rows = rows[(rows["property"] == "cca-mel") & (rows["measure"] == "pwcca")]
    values = rows[rows["control"] == ""]
    assert lines[0][:3] == ["model", "layer", "PWCCA, held-out"]
    assert sorted(float(line[2]) for line in lines[1:]) == pytest.approx(
        sorted(values["value"]), rel=1e-4
    )
    n = lines[0].index("n")
    assert {int(line[n]) for line in lines[1:]} == {20_000}


def test_small_print_and_commas_survive_the_csv(visit: Visit, tmp_path: Path) -> None:
    opened = visit("protection")
    lines = saved(opened, "table.scores >> xpath=../following-sibling::div >> .tool", tmp_path)
    assert "GFLOP (a second of audio)" in lines[0]
    parameters = lines[0].index("parameters")
    assert lines[1][parameters] == "1000000"
    assert len({len(line) for line in lines}) == 1


def test_cells_that_a_spreadsheet_would_run_are_made_text(visit: Visit) -> None:
    opened = visit("pruning")
    made = opened.tab.evaluate(
        """(hostile) => {
          const table = document.createElement("table");
          const add = (texts) => {
            const row = table.insertRow();
            texts.forEach((t) => { row.insertCell().textContent = t; });
          };
          add(["name", "value"]);
          add(["=HYPERLINK(1)", "−0.5"]);
          add(["-x", "-3"]);
          add(["@a", 'say "so", twice']);
          add([hostile, "+24"]);
          add(["-1+cmd|x", "−0.02 to 0.03"]);
          return window.voxstrata.csv(table);
        }""",
        HOSTILE,
    )
    lines = list(csv.reader(io.StringIO(made, newline="")))
    assert lines[1] == ["'=HYPERLINK(1)", "-0.5"]
    assert lines[2] == ["'-x", "-3"]
    assert lines[3] == ["'@a", 'say "so", twice']
    assert lines[4] == [HOSTILE, "+24"]
    assert lines[5] == ["'-1+cmd|x", "-0.02 to 0.03"]


def test_every_table_has_its_button_and_sorted_heads(visit: Visit) -> None:
    opened = visit("neurons")
    tables = opened.tab.locator("main table")
    assert tables.count() > 2
    assert opened.tab.locator("main .tool:text-is('csv')").count() == tables.count()
    told = opened.tab.evaluate(
        "[...document.querySelectorAll('main table')].map((t) => [t.tBodies[0].rows.length,"
        " t.querySelectorAll('thead th[aria-sort] button').length])"
    )
    assert any(rows > 1 for rows, _ in told)
    assert all((heads > 0) == (rows > 1) for rows, heads in told)
