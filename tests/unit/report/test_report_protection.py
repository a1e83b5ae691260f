"""The page of a protection run: sentences from planted differences, figures, odd results."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from report_made_protection import (
    NEURONS,
    Difference,
    Task,
    always,
    protection_view,
    write_protection,
)
from report_reading import HOSTILE, Page, table_rows
from voxstrata.report.figures import planned
from voxstrata.report.page import page_html
from voxstrata.report.probing_view import Value
from voxstrata.report.protection_panels import difference_panel, extent, score_panel
from voxstrata.report.protection_tally import Tally, tally
from voxstrata.report.protection_view import Gap, copies, gaps, scores, tasks
from voxstrata.report.protection_words import (
    doubts_said,
    first_sentence,
    held_said,
    little_said,
    lost_said,
    neurons_said,
    protection_findings,
    protection_lead,
)
from voxstrata.report.view import View, read_view
from voxstrata.results import load_results

PER = Task("pr", "PR", "per", "lower", base=0.3, unpruned=0.2, plain={"mfcc": 0.6})


def only(view: View) -> Any:
    return tasks(view)[0]


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        (
            always(0.03, sizes={64: 0.02}),
            "protection keeps more than pruning by weight alone in all 6 comparisons (on average "
            "3.7 points better: from 3.0 better at 128 rows to 5.0 better at 64)",
        ),
        (
            always(-0.03),
            "protection keeps less than pruning by weight alone in all 6 comparisons (on average "
            "3.0 points worse)",
        ),
        (
            always(0.005, sizes={256: -0.01}),
            "no difference between protection and pruning by weight alone that these intervals can "
            "tell (6 comparisons, on average 0.2 points better: from 0.5 worse at 256 rows to "
            "0.5 better at 64)",
        ),
        (
            always(0.0, sizes={64: 0.05, 256: -0.04}),
            "protection keeps more than pruning by weight alone in 2 and less in 2 of 6 "
            "comparisons: no consistent difference (on average 0.3 points better: from 4.0 worse "
            "at 256 rows to 5.0 better at 64)",
        ),
        (
            always(0.0, sizes={64: 0.05}),
            "protection keeps more than pruning by weight alone in 2 of 6 comparisons (on average "
            "1.7 points better: from 0.0 apart at 128 rows to 5.0 better at 64)",
        ),
        (
            always(0.03, None),
            "without intervals, protection cannot be held against pruning by weight alone (6 "
            "comparisons, on average 3.0 points better)",
        ),
    ],
)
def test_what_is_said_follows_the_paired_differences(
    differences: Any, said: str, tmp_path: Path
) -> None:
    view = protection_view(tmp_path, (Task(none=differences),))
    assert held_said(view, only(view), "none") == said


@pytest.mark.parametrize("turn", [1, -1])
def test_less_is_better_for_error_rates(turn: int, tmp_path: Path) -> None:
    """Fewer errors with protection: the table's difference is below 0."""
    higher = protection_view(tmp_path / "a", (Task(none=always(0.03 * turn)),))
    lower = protection_view(tmp_path / "b", (replace(PER, none=always(-0.03 * turn)),))
    one, other = (gaps(v, only(v), "protected", "none") for v in (higher, lower))
    assert [g.verdict for g in one] == [g.verdict for g in other]
    assert {g.verdict for g in one} == {"better" if turn > 0 else "worse"}
    for a, b in zip(one, other, strict=True):
        assert (a.more.value, a.more.low, a.more.high) == pytest.approx(
            (b.more.value, b.more.low, b.more.high)
        )
    word = "more" if turn > 0 else "less"
    assert held_said(lower, only(lower), "none").startswith(f"protection keeps {word} than")
    panel = difference_panel(lower, only(lower))
    assert panel is not None
    assert panel.series[0].means[0][1] == pytest.approx(3.0 * turn)


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        (
            always(0.03),
            "protecting these neurons keeps more than protecting random neurons in all 6 comp",
        ),
        (always(0.001), "protecting random neurons does as well, as far as these intervals can"),
        (always(-0.03), "protecting random neurons keeps more in all 6 comparisons"),
        (
            always(0.0, sizes={64: 0.05, 256: -0.04}),
            "protecting these neurons keeps more than protecting random neurons in 2 and less in 2 "
            "of 6 comparisons",
        ),
        (always(0.1, None), "without intervals, protecting these neurons cannot be held against"),
    ],
)
def test_random_protection_is_held_against(differences: Any, said: str, tmp_path: Path) -> None:
    view = protection_view(tmp_path, (Task(random=differences),))
    assert held_said(view, only(view), "random").startswith(said)
    norm = protection_view(tmp_path / "n", (Task(random=differences),), config={"control": "norm"})
    assert "protecting other neurons of the same weight" in held_said(norm, only(norm), "random")


def test_the_first_sentence_names_tasks_by_outcome(tmp_path: Path) -> None:
    view = protection_view(
        tmp_path,
        (
            Task("a", "A", none=always(0.03), random=always(0.02)),
            Task("b", "B", none=always(0.0), random=always(0.0)),
            replace(PER, none=always(-0.03, sizes={64: 0.03, 256: 0.03}), random=always(0.03)),
            Task("c", "C", none=always(-0.03), random=always(0.0, None)),
        ),
    )
    assert first_sentence(view) == (
        "Protection keeps more than pruning by weight alone in A (6 of 6 comparisons); protection "
        "keeps more than pruning by weight alone only in some comparisons of PR (2 of 6 "
        "comparisons); between protection and pruning by weight alone there is no difference that "
        "these intervals can tell in B; protection keeps less than pruning by weight alone in C (6 "
        "of 6 comparisons). Protecting these neurons keeps more than protecting random neurons in "
        "A (6 of 6 comparisons); protecting random neurons does as well, as far as intervals tell, "
        "in B; protecting random neurons keeps more in PR (6 of 6 comparisons); without intervals "
        "these neurons cannot be held against random neurons in C."
    )
    assert "one in twenty is clear of 0 by chance alone" in doubts_said(view, tasks(view)[2])
    assert doubts_said(view, tasks(view)[0]) == ""
    bullets = protection_findings(view)[0]["says"]
    assert [text.split(":")[0] for text in bullets] == [
        "A (accuracy)",
        "B (accuracy)",
        "PR (phone error rate)",
        "C (accuracy)",
    ]


def test_one_size_and_one_seed_show_the_interval(tmp_path: Path) -> None:
    view = protection_view(tmp_path, (Task(none=always(0.008, 0.025)),), keep=(128,), seeds=1)
    assert held_said(view, only(view), "none") == (
        "no difference between protection and pruning by weight alone that this interval can tell "
        "(0.8 points better; 95 %: −1.7 to +3.3, + is better)"
    )
    turned = protection_view(
        tmp_path / "per", (replace(PER, none=always(-0.03, 0.01)),), keep=(128,), seeds=1
    )
    assert held_said(turned, only(turned), "none") == (
        "protection keeps more than pruning by weight alone in the one comparison (3.0 points "
        "better; 95 %: +2.0 to +4.0, + is better)"
    )
    assert "There was one seed" in Page(page_html(view)).words


def test_counts_and_means_by_hand() -> None:
    def gap(keep: int, seed: int, value: float, verdict: str) -> Gap:
        return Gap(keep, seed, Value(value, math.nan, math.nan), verdict, paired=True)

    held = Tally((gap(64, 0, 1, "better"), gap(64, 1, 3, "even"), gap(8, 0, -4, "unknown")))
    assert held.by_size == {8: -4.0, 64: 2.0}
    assert held.mean == pytest.approx(0.0)
    assert (held.known, held.kind, held.count("better")) == (2, "partly", 1)
    assert Tally(held.gaps[:1]).kind == "more"
    assert Tally(held.gaps[2:]).kind == "unknown"
    assert math.isnan(Tally(()).mean)


@pytest.mark.parametrize(
    ("neurons", "said"),
    [
        (
            NEURONS,
            "30 neurons of m are protected: all that pass the published rule for "
            "ivector=2/clusters=3; labels dealt anew give 17 (10 to 25): about 13 are more than "
            "chance gives; chance alone would give 57 % of that number.",
        ),
        (
            {"all": {"observed": 30, "null": 31, "low": 20, "high": 40}},
            "30 neurons of m are protected: all that pass the published rule for "
            "ivector=2/clusters=3; labels dealt anew give 31 (20 to 40): no more than chance "
            "gives, so nothing is left to explain.",
        ),
        (
            {"all": {"observed": 30}},
            "30 neurons of m are protected: all that pass the published rule for "
            "ivector=2/clusters=3; how many chance alone would give is not known.",
        ),
        (
            {"all": {"observed": 50, "null": 17, "low": 10, "high": 25}},
            "30 neurons of m are protected (ivector=2/clusters=3); the published rule finds 50 in "
            "all groups; labels dealt anew give 17 (10 to 25): about 33 are more than chance "
            "gives; chance alone would give 34 % of that number.",
        ),
        (None, "30 neurons of m are protected; how many chance alone would give is not known."),
    ],
)
def test_protected_neurons_beside_chance(
    neurons: Mapping[str, Any] | None, said: str, tmp_path: Path
) -> None:
    view = protection_view(tmp_path, neurons=neurons)
    assert neurons_said(view) == said
    assert protection_lead(view).endswith(said)


def test_few_dealings_are_too_few_to_tell(tmp_path: Path) -> None:
    few = protection_view(tmp_path, config={"draws": 10})
    assert neurons_said(few).endswith(
        "give 17 (10 to 25): above most of them, which are too few to tell."
    )
    assert "about 13 are more" in neurons_said(
        protection_view(tmp_path / "n", config={"draws": 19})
    )


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (always(-0.1), "Pruned by weight alone, the model does worse than unpruned in all 6"),
        (always(0.1), "Pruned by weight alone, the model does better than unpruned in all 6"),
        (always(-0.005), "Pruned by weight alone, the model loses nothing that these intervals"),
        (
            always(0.0, sizes={64: -0.1, 256: 0.1}),
            "Pruned by weight alone, the model does worse than unpruned in 2 of 6 comparisons and "
            "better in 2",
        ),
        (always(-0.1, None), "Pruned by weight alone, the model is not told apart from the"),
    ],
)
def test_what_pruning_takes(lost: Any, said: str, tmp_path: Path) -> None:
    view = protection_view(tmp_path, (Task(lost=lost),), doubled=True)
    assert lost_said(view, only(view)).startswith(said)
    bullet = protection_findings(view)[0]["says"][0]
    assert ("little that protection could be seen to keep" in bullet) == ("loses nothing" in said)


@pytest.mark.parametrize(
    ("task", "little"),
    [
        (Task(plain={"mfcc": 0.61, "log-mel": 0.2}), "mfcc (61.0)"),
        (Task(plain={"mfcc": 0.59}), ""),
        (Task(plain={}), ""),
        (replace(PER, plain={"mfcc": 0.19, "log-mel": 0.1}), "log-mel (10.0)"),
        (replace(PER, plain={"mfcc": 0.21}), ""),
        (Task(plain={"mfcc": math.nan}), ""),
        (Task(unpruned=math.nan), ""),
    ],
)
def test_tasks_that_say_little_are_named(task: Task, little: str, tmp_path: Path) -> None:
    view = protection_view(tmp_path, (task,))
    text = little_said(view, only(view))
    assert (little in text) if little else (text == "")
    assert text in protection_findings(view)[0]["says"][0]


def test_without_pairs_the_intervals_of_scores_are_compared(tmp_path: Path) -> None:
    eer = Task("verification", "ASV", "eer", "lower", base=0.2, half=0.01, unpruned=0.15,
               none=always(-0.03), random=always(0.005), paired=False)  # fmt: skip
    view = protection_view(tmp_path, (eer,))
    task = only(view)
    found = gaps(view, task, "protected", "none")
    assert {g.verdict for g in found} == {"better"}
    assert not any(g.paired or g.more.has_interval for g in found)
    assert found[0].more.value == pytest.approx(0.03)
    assert {g.verdict for g in gaps(view, task, "protected", "random")} == {"even"}
    assert held_said(view, task, "none").endswith("(on average 3.0 points better; not paired)")
    assert "No paired difference was measured here" in doubts_said(view, task)
    assert lost_said(view, task).startswith("Pruned by weight alone, the model does worse")
    bare = protection_view(tmp_path / "bare", (replace(eer, half=None),))
    assert {g.verdict for g in gaps(bare, only(bare), "protected", "none")} == {"unknown"}


def test_seeds_that_are_copies_count_once(tmp_path: Path) -> None:
    untuned = {"tune": None, "tune_steps": None}
    view = protection_view(tmp_path, (Task(none=always(0.03)),), config=untuned)
    assert copies(view, "none")
    assert not copies(view, "random")
    assert len(tally(view, only(view), "none").gaps) == 3
    assert len(tally(view, only(view), "random").gaps) == 6
    assert "in all 3 comparisons" in held_said(view, only(view), "none")
    assert "counted once" in Page(page_html(view)).words

    def by_seed(keep: int, seed: int) -> Difference:
        return 0.03 + seed / 100, 0.02, 0.06

    differs = protection_view(tmp_path / "d", (Task(none=by_seed),), config=untuned)
    assert not copies(differs, "protected")
    assert len(tally(differs, only(differs), "none").gaps) == 6
    tuned = protection_view(tmp_path / "t", (Task(none=always(0.03)),))
    assert not copies(tuned, "none")
    assert len(tally(tuned, only(tuned), "none").gaps) == 6


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
