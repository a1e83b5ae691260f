"""The page of a protection run: scores, differences, costs, odd results."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from report_made_protection import (
    NEURONS,
    Task,
    always,
    protection_view,
    write_protection,
)
from report_reading import HOSTILE, Page, table_rows
from voxstrata.report.figures import planned
from voxstrata.report.page import page_html
from voxstrata.report.protection_panels import difference_panel, extent, score_panel
from voxstrata.report.protection_table import cost_rows
from voxstrata.report.protection_view import scores, tasks
from voxstrata.report.protection_words import (
    first_sentence,
    held_said,
    protection_findings,
    protection_lead,
)
from voxstrata.report.view import View, read_view
from voxstrata.results import load_results

PER = Task("pr", "PR", "per", "lower", base=0.3, unpruned=0.2, plain={"mfcc": 0.6})


def only(view: View) -> Any:
    return tasks(view)[0]


def test_the_page_holds_scores_differences_and_costs(tmp_path: Path) -> None:
    task = Task(none=always(0.2, sizes={128: -0.195, 256: -0.195}), random=always(0.3))
    folder = write_protection(tmp_path, (task, PER), notices=["SID says little."])
    for name in ("neurons", "probing"):
        (folder / name).mkdir()
    (folder / "probing" / "report.html").write_text("x")
    text = page_html(read_view(load_results(folder)))
    page = Page(text)
    words = " ".join(page.words.split())
    assert "Does protecting neurons keep what m knows while it is pruned?" in words
    assert "SID says little." in words
    assert "(recipe recipe, 100 steps). The model was trained by that recipe first" in words
    tiles = words.partition("In short")[0]
    assert "18pruned models3sizes30neurons protected40utterances" in tiles
    links = {a.get("href") for tag, a in page.tags if tag == "a"}
    assert "probing/report.html" in links
    assert "neurons/report.html" not in links
    assert "its page is drawn by voxstrata report OUT/neurons" in words
    assert "OUT/verify" not in words
    rows = table_rows(text)
    per = "30.0 25.0 to 35.0"
    assert ["768", "unpruned", "", "1,000,000", "2", "4.00", "60.0 55.0 to 65.0",
            "20.0 15.0 to 25.0"] in rows  # fmt: skip
    assert ["64", "protected", "1", "64,000 6 %", "0.64", "", "70.0 65.0 to 75.0", per] in rows
    assert ["256", "pruned by weight alone", "0", "256,000 26 %", "2.56", "2.00",
            "50.0 45.0 to 55.0", per] in rows  # fmt: skip
    assert ["", "mfcc", "", "", "", "", "30.0 25.0 to 35.0", "60.0 55.0 to 65.0"] in rows
    bold = "<b>70.0</b>"
    assert text.count(bold) == 2, "both seeds at 64 rows, where no interval overlaps"
    assert "<b>50.5</b>" not in text, "its interval overlaps that of pruning alone"
    assert ["block.1.ffn.inner", "20", "20", "8 (4 to 12)", "yes"] in rows
    assert ["block.2.ffn.inner", "10", "10", "9 (5 to 14)", ""] in rows
    panels = page.data["sections"]["protection"]["panels"]
    assert [panel["title"] for panel in panels] == [
        "accuracy, % ↑",
        "protected is better by (points)",
        "phone error rate, % ↓",
        "protected is better by (points)",
    ]
    first, second = panels[0], panels[1]
    assert first["x"] == {"ticks": [6.0, 7.0, 8.0], "ends": [5.72, 8.28], "log": True}
    assert first["band"] == pytest.approx([55.0, 65.0])
    assert {level["dash"]: level["y"] for level in first["levels"]} == {
        "whole": 60.0,
        "plain": 30.0,
    }
    assert [len(one["spots"]) for one in first["series"]] == [6, 6, 6]
    assert [round(y, 6) for _, y in first["series"][1]["means"]] == [70.0, 50.5, 50.5]
    assert [spot["clear"] for spot in second["series"][0]["spots"]] == [True] * 2 + [False] * 4
    spot = second["series"][0]["spots"][0]
    assert (spot["y"], spot["low"], spot["high"]) == pytest.approx((20.0, 19.0, 21.0))
    assert spot["lines"] == [
        "protected, than pruned by weight alone",
        "64 rows, seed 0",
        "+20.0 (95 %: +19.0 to +21.0)",
        "clear of 0",
    ]
    assert page.data["specs"]["protection"]["layer"]


@pytest.mark.parametrize(("turn", "bold"), [(-1, True), (1, False)])
def test_the_best_of_a_size_is_bold_where_less_is_better(
    turn: int, bold: bool, tmp_path: Path
) -> None:
    per = replace(PER, none=always(0.15 * turn), random=always(0.15 * turn))
    view = protection_view(tmp_path, (per,), keep=(64,), seeds=1)
    cells = {row["condition"]: row["cells"][0] for row in cost_rows(view)}
    assert cells["protected"]["value"] == ("15.0" if turn < 0 else "45.0")
    assert cells["protected"]["best"] is bold
    # Both others score the same where protection is worse, so neither is bold.
    assert not any(cells[name]["best"] for name in cells if name != "protected")


def test_all_intervals_are_inside_the_panel(tmp_path: Path) -> None:
    task = Task(none=always(0.2), random=always(0.5, 0.1), half=0.1)
    view = protection_view(tmp_path, (task,), keep=(64,), seeds=1)
    for panel in (score_panel(view, only(view)), difference_panel(view, only(view))):
        assert panel is not None
        low, high = extent(panel)
        values = [spot.value for one in panel.series for spot in one.spots]
        assert low < min(v.low for v in values)
        assert high > max(v.high for v in values)


def test_sizes_close_together_stand_on_a_plain_axis(tmp_path: Path) -> None:
    view = protection_view(tmp_path, keep=(192, 384, 576))
    panel = score_panel(view, only(view))
    assert panel is not None
    assert not panel.log
    assert panel.ticks == (192.0, 384.0, 576.0)
    xs = [spot.x for one in panel.series for spot in one.spots]
    assert len(set(xs)) == 18, "no point hides another"
    assert all(panel.ends[0] < x < panel.ends[1] for x in xs)


def test_far_plain_features_do_not_stretch_the_axis(tmp_path: Path) -> None:
    near = protection_view(tmp_path / "near", (Task(plain={"mfcc": 0.4}),))
    far = protection_view(tmp_path / "far", (Task(plain={"mfcc": 0.05}),))
    one, other = (score_panel(v, only(v)) for v in (near, far))
    assert one is not None
    assert other is not None
    assert one.plain is not None
    assert one.plain[0] == "mfcc"
    assert one.plain[1] == pytest.approx(40.0)
    assert one.outside == ""
    assert other.plain is None
    assert other.outside == "mfcc (5.0) lies below what is drawn."
    assert extent(other)[0] > 40
    assert "lies below what is drawn" in Page(page_html(far)).words


def test_a_difference_of_nothing_does_not_fill_the_panel(tmp_path: Path) -> None:
    view = protection_view(tmp_path, (Task(none=always(1e-4, 1e-5), random=always(0.0, None)),))
    panel = difference_panel(view, only(view))
    assert panel is not None
    low, high = extent(panel)
    assert low <= -0.5
    assert high >= 0.5


def test_odd_results_are_drawn(tmp_path: Path) -> None:
    """Missing conditions, numbers, tasks; measures that are no shares."""
    two = protection_view(tmp_path / "two", conditions=("none", "protected"))
    assert held_said(two, only(two), "random") == ""
    text = page_html(two)
    assert "random neurons" not in Page(text).words.split("How to read it")[0]
    none = protection_view(tmp_path / "none", conditions=("none",), keep=(64,), seeds=1)
    assert first_sentence(none).startswith("No model with protected neurons")
    assert protection_findings(none) == []
    assert Page(page_html(none)).with_id("protection")
    broken = Task(
        none=always(math.nan), random=None, lost=None, base=math.nan, unpruned=math.nan,
        plain={"mfcc": math.nan},
    )  # fmt: skip
    mtwv = Task("std", "STD", "mtwv", base=0.5, none=always(0.02))
    view = protection_view(tmp_path / "broken", (broken, mtwv), keep=(96,), seeds=1)
    page = Page(page_html(view))
    json.dumps(page.data, allow_nan=False)
    assert "No pruned model has a score here." in page.words
    assert "protection keeps more than pruning by weight alone in the one comparison (0.020 better"\
        in held_said(view, tasks(view)[1], "none")  # fmt: skip
    assert all(plan.draw(view).axes for plan in planned(view))
    empty = protection_view(
        tmp_path / "empty", (), keep=(), seeds=1, neurons=None, protected={}, costs=[],
        corpus=None, config={"seeds": None}, wall_parts_s=None, widths=None,
    )  # fmt: skip
    page = Page(page_html(empty))
    assert "These results name no task." in page.words
    assert planned(empty) == []


def test_a_model_that_was_not_trained_first(tmp_path: Path) -> None:
    plain = {"tune": None, "tune_steps": None}
    view = protection_view(tmp_path, config=plain, model="m", record_model={"spec": "m"})
    words = Page(page_html(view)).words
    assert "64, 128 or 256 rows were left: those to go were chosen by weight." in words
    assert "was trained by that recipe first" not in words


def test_the_unpruned_model_was_trained_on_too(tmp_path: Path) -> None:
    trained = {"spec": f"{tmp_path}/unpruned/model", "fingerprint": "print"}
    words = Page(page_html(protection_view(tmp_path, unpruned=trained))).words
    assert "neurons were found in it, and all were pruned from it. The unpruned model was trained "\
        "on from there as long as the pruned ones." in " ".join(words.split())  # fmt: skip


def test_rows_that_protection_changes_are_shown(tmp_path: Path) -> None:
    differ = [
        {"condition": condition, "keep": keep, "seed": seed, "rows": rows + seed, "of": 2 * keep}
        for condition, keep, rows in (
            ("protected", 64, 12), ("random", 64, 2), ("protected", 128, 0), ("random", 128, 1),
        )
        for seed in (0, 1)
    ]  # fmt: skip
    text = page_html(protection_view(tmp_path, rows_differ=differ, config={"control": "score"}))
    words = " ".join(Page(text).words.split())
    assert (
        "128 left: protection brought in 0.5 rows, the control 1.5; "
        "64 left: protection brought in 12.5 rows, the control 2.5." in words
    )
    rows = {tuple(row[:3]): row[3] for row in table_rows(text) if len(row) == 8}
    assert rows["64", "protected", "1"] == "13"
    assert rows["128", "other neurons of like score protected", "0"] == "1"
    assert rows["64", "pruned by weight alone", "0"] == ""
    assert rows["256", "protected", "0"] == ""
    assert rows["768", "unpruned", ""] == ""
    assert rows["", "mfcc", ""] == ""
    without = page_html(protection_view(tmp_path / "without"))
    assert "rows that differ" not in without
    assert "brought in" not in without


def test_other_results_have_none_of_it(tmp_path: Path) -> None:
    view = read_view(load_results(write_protection(tmp_path, job="other")))
    assert not Page(page_html(view)).with_id("protection")
    assert planned(view) == []
    assert protection_lead(view) == ""


def test_names_are_escaped(tmp_path: Path) -> None:
    task = Task(HOSTILE, HOSTILE, HOSTILE, plain={HOSTILE: 0.7}, notices=(HOSTILE,))
    neurons = {HOSTILE: NEURONS["block.1.ffn.inner"], "all": NEURONS["all"]}
    config = {"contrast": HOSTILE, "score": HOSTILE, "tune": HOSTILE, "tune_steps": HOSTILE}
    view = protection_view(
        tmp_path, (task,), model=HOSTILE, config=config, neurons=neurons,
        protected={HOSTILE: 3}, notices=[HOSTILE], wall_parts_s={HOSTILE: 3.0},
    )  # fmt: skip
    page = Page(page_html(view))
    assert len(page.scripts) == 3
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.words.count(HOSTILE) > 8
    assert all(plan.draw(view).axes for plan in planned(view))


def test_figures_for_a_paper(tmp_path: Path) -> None:
    view = protection_view(tmp_path, (Task(), PER))
    plans = {plan.stem: plan for plan in planned(view)}
    assert set(plans) == {"protection", "protection-sid", "protection-pr"}
    figure = plans["protection"].draw(view)
    assert len(figure.axes) == 4
    drawn = {text.get_text() for text in figure.findobj(Text)}
    assert {"SID", "PR", "unpruned", "protected", "pruned by weight alone", "64", "128"} <= drawn
    assert "better than random neurons" in drawn
    one = protection_view(tmp_path / "one", (Task(),))
    assert [plan.stem for plan in planned(one)] == ["protection-sid"]


def test_scores_are_read_once(tmp_path: Path) -> None:
    view = protection_view(tmp_path)
    found = scores(view, only(view))
    assert len(found) == 3 * 3 * 2 + 2
    assert {s.keep for s in found if s.condition in ("unpruned", "plain")} == {0}
