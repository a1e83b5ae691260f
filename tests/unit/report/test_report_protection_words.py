"""Sentences about a protection run, from planted differences in each direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_made_protection import (
    NEURONS,
    Difference,
    Task,
    always,
    protection_view,
)
from report_reading import Page
from voxstrata.report.page import page_html
from voxstrata.report.probing_view import Value
from voxstrata.report.protection_panels import difference_panel
from voxstrata.report.protection_tally import Tally, tally
from voxstrata.report.protection_view import Gap, copies, gaps, tasks
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
from voxstrata.report.view import View

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
    alike = protection_view(
        tmp_path / "s", (Task(random=differences),), config={"control": "score"}
    )
    assert "protecting other neurons of like score" in held_said(alike, only(alike), "random")
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
    counted = {"all": {**NEURONS["all"], "p": 0.09}}
    assert neurons_said(protection_view(tmp_path / "p", neurons=counted)).endswith(
        "give 17 (10 to 25): above most of them, which are too few to tell."
    )
    counted = {"all": {**NEURONS["all"], "p": 0.04}}
    assert "about 13 are more" in neurons_said(
        protection_view(tmp_path / "q", neurons=counted, config={"draws": 10})
    )
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
    assert ("Pruned by weight alone, the model" in bullet) == ("loses nothing" in said)


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
