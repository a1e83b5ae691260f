"""The page of a probing run: what it says and shows, against planted scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from report_made_probing import PR, SID, Asked, probing_view, write_probing
from report_reading import HOSTILE, Page, table_rows
from voxstrata.report import draw_report
from voxstrata.report import probing_words as words
from voxstrata.report.figure_layers import layer_pages, layer_panels
from voxstrata.report.page import page_html
from voxstrata.report.probing_view import SUM, cell, layer_scores, ordered, tasks
from voxstrata.report.published import comparability, is_official, published
from voxstrata.report.section import json_for_script
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return probing_view(tmp_path_factory.mktemp("probing"))


@pytest.fixture(scope="module")
def text(view: View) -> str:
    return page_html(view)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without pictures, for tests of their words."""

    def inline(_draw: object, alt: str, caption: str = "") -> dict[str, str]:
        return {"address": "data:,", "alt": alt, "caption": caption, "width": "1"}

    for name in ("probing", "probing_claims"):
        monkeypatch.setattr(f"voxstrata.report.sections.{name}.inline", inline)


def at(view: View, spec: str) -> int:
    return next(i for i, model in enumerate(view.models) if model.spec == spec)


def test_the_table(view: View, text: str) -> None:
    rows = table_rows(text)
    head = next(row for row in rows if row[:1] == ["model"] and len(row) == 3)
    assert head == ["model", "SID accuracy, % ↑", "PR phone error rate, % ↓"]
    assert ["a", "85.0 80.0 to 90.0 dealt 10.0", "45.0 40.0 to 50.0 dealt 10.0"] in rows
    labels = ["a", "random:a (untrained)", "m", "random:m (untrained)", "log-mel plain features"]
    found = [row[0] for row in rows if row[0] in labels and "dealt" in row[1]]
    assert found == labels
    assert [view.models[i].spec for i in ordered(view)] == ["a", "random:a", "m", "random:m",
                                                            "log-mel"]  # fmt: skip


def test_the_best_of_a_column_is_bold_and_what_overlaps_it_is_marked(text: str) -> None:
    table = text[text.index("The learned sum of all layers</h3>") : text.index("The tasks</h3>")]
    assert table.count("<b>") - table.count("<b>Bold</b>") == 2
    assert "<b>85.0</b>" in table
    assert "<b>30.0</b>" in table, "less is better of an error rate"
    assert "32.0 ≈" in table, "the twin's interval overlaps that of the best"
    assert "45.0 ≈" not in table


def test_what_training_brought_is_said(view: View) -> None:
    both = "its untrained twin and log-mel"
    assert words.stands(view, at(view, "a")) == f"a is clear of {both} in SID and PR."
    assert words.stands(view, at(view, "m")) == f"m is clear of {both} in none of 2 tasks."
    assert words.behind(view, at(view, "a")) == [
        "a is clear of its untrained twin in every task.",
        "a is clear of log-mel in every task.",
    ]
    assert words.behind(view, at(view, "m")) == [
        "m is ahead of its untrained twin, but not told apart from it, in SID and PR.",
        "m does not beat log-mel in SID (45.0 against 47.0; not told apart).",
    ]
    assert words.winners(view) == "Best of the trained models: a in SID; m in PR."
    [found] = words.probing_findings(view)
    assert found["says"][-1] == (
        "Against the best single layer, the learned sum does better in 3, worse in 1 and not told "
        "apart in 0 of 4 cells (task and model, of trained models)."
    )


def test_models_are_told_apart_by_their_paired_difference_where_it_is_known(view: View) -> None:
    def held(low: float, high: float) -> list[str]:
        row = view.table.iloc[0].to_dict()
        row |= {"property": "sid", "model": "m", "layer": SUM, "control": "", "ci_low": low}
        row |= {"measure": "accuracy-over-other-model", "other_model": "random:m", "ci_high": high}
        extra = pd.DataFrame([row | {"value": 0.02, "other_layer": SUM}])
        return words.behind(replace(view, table=pd.concat([view.table, extra])), at(view, "m"))

    # The intervals overlap, yet within every draw the model is ahead.
    assert held(0.01, 0.03)[0].endswith("not told apart from it, in PR.")
    assert held(-0.01, 0.05)[0].endswith("not told apart from it, in SID and PR.")


def test_behind_a_twin_whose_interval_is_apart(tmp_path: Path) -> None:
    scores = {"a": {"0": 0.2, "1": 0.2, SUM: 0.2}, "random:a": {"0": 0.9, "1": 0.9, SUM: 0.9}}
    view = probing_view(tmp_path, (Asked("sid", "SID", scores),))
    assert words.behind(view, 0) == [
        "a does not beat its untrained twin in SID (20.0 against 90.0)."
    ]
    without = probing_view(tmp_path / "none", (Asked("sid", "SID", scores, half=None),))
    assert words.behind(without, 0) == words.behind(view, 0)
    turned = {"a": scores["random:a"], "random:a": scores["a"]}
    led = probing_view(tmp_path / "led", (Asked("sid", "SID", turned, half=None),))
    assert "not told apart" in words.behind(led, 0)[0], "no interval tells"


def test_all_of_it_is_on_the_page(text: str) -> None:
    page = Page(text)
    for name in ("probing", "probing-claims", "probing-layers", "curves", "peaks"):
        assert page.with_id(name), name
    said = " ".join(page.words.split())
    assert "m does not beat log-mel in SID" in said
    assert "What heads learn from the layers of a and m" in said
    assert "Weights of every task and layer as heat maps" in said
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 1 + 1, "scores, sum"
    drawn = [str(a.get("data-chart")) for _, a in page.tags]
    assert drawn.count("probing-layers") == 2 * 2, "a figure a trained model and task"
    assert drawn.count("weight-map") == 4 * 2, "two heat maps a model"
    assert all(str(a["src"]).startswith("data:image/svg+xml;base64,") for a in pictures)
    assert all(a["alt"] for a in pictures)


def test_published_figures_are_marked_as_such(view: View, text: str) -> None:
    rows = table_rows(text)
    assert ["HuBERT Base (published, [1])", "81.42", ""] in rows
    assert ["MelHuBERT (published, [3])", "63.96", "8.17"] in rows
    assert ["WavLM (size not named) (published, [2])", "", "4.84"] in rows
    said = " ".join(Page(text).words.split())
    assert "published, not measured here" in said
    assert "[1] WavLM paper, Table I, from a third party's note" in said
    assert "SID and PR is not named as the official data" in comparability(view)
    assert comparability(view) in said


@pytest.mark.usefixtures("plain")
def test_published_figures_need_the_task_and_its_measure(tmp_path: Path) -> None:
    other = replace(SID, main="macro-f1")
    assert published(tasks(probing_view(tmp_path / "f1", (other,)))) == []
    mine = replace(SID, name="mine", title="Mine")
    text = page_html(probing_view(tmp_path / "mine", (mine,)))
    assert "(published" not in text
    assert "quoted, not measured" not in text


@pytest.mark.parametrize(
    ("corpora", "official"),
    [
        ({"train": "voxceleb1:V/train", "test": "voxceleb1:V/test"}, True),
        ({"all": "voxceleb1:V/train + synthetic:tiny"}, False),
        ({"folds": "voxceleb1:V/a + voxceleb1:V/b"}, True),
        ({"train": "voxceleb2:V", "test": "voxceleb1:V"}, False),
        ({}, False),
    ],
)
def test_official_data_are_known_by_name(
    tmp_path: Path, corpora: dict[str, str], official: bool
) -> None:
    view = probing_view(tmp_path, (replace(SID, corpora=corpora),))
    assert is_official(tasks(view)[0]) is official
    assert ("cannot be compared" in comparability(view)) is not official


@pytest.mark.usefixtures("plain")
def test_what_was_chosen_on_test_is_labelled(tmp_path: Path) -> None:
    asv = Asked(
        "asv",
        "ASV",
        {"a": {"0": 0.2, "1": 0.1, SUM: 0.05}},
        main="eer",
        better="lower",
        estimators=dict.fromkeys(("0", "1", SUM), "test-selected"),
    )
    view = probing_view(tmp_path, (SID, asv))
    one, other = (cell(view, task, "a") for task in tasks(view))
    assert one is not None
    assert other is not None
    assert (one.on_test, other.on_test) == (False, True)
    text = page_html(view)
    assert any(row[0] == "a" and "5.0 †" in row[2] for row in table_rows(text) if len(row) > 2)
    said = " ".join(Page(text).words.split())
    assert "†: chosen on test, as published" in said
    assert "equal error rate, chosen on test, as published" in said, "the curve's measure"
    assert "these values flatter" in said


@pytest.mark.usefixtures("plain")
def test_layers_trained_shortly_are_labelled_and_stay_out_of_the_table(tmp_path: Path) -> None:
    asr = Asked(
        "asr",
        "ASR",
        {"a": {"2": 0.4, SUM: 0.35}, "log-mel": {"logmel": 0.9}},
        main="wer",
        better="lower",
        best={"a": "2"},
        over={"a": (-0.05, -0.1, 0.0)},
        screens={"a": {"0": 0.95, "1": 0.9, "2": 0.8, "3": 0.85}},
    )
    view = probing_view(tmp_path, (SID, asr))
    task = tasks(view)[1]
    found = cell(view, task, "a")
    assert found is not None
    assert (found.best[0], found.best[1].value, found.whole.value) == ("2", 0.4, 0.35)
    scores = layer_scores(view, task, "a")
    assert scores.screened
    assert {name: value.value for name, value in scores.values.items()} == asr.screens["a"]
    curve = next(asked for asked in view.curves if asked.name == "asr")
    labels = [variant.label for variant in curve.variants if variant.measure == "wer"]
    assert labels == ["word error rate, trained shortly, to choose the layer",
                      "word error rate, chosen on dev"]  # fmt: skip
    assert [len(c.points) for c in curve.main.curves] == [4], "the curve of every layer comes first"
    [part] = layer_pages(view, 0)
    score = layer_panels(view, 0, part, None).axes[1]
    assert score.get_title() == "ASR (trained shortly)\nword error rate ↓"
    [diamond] = [dot for dot in score.collections if isinstance(dot, PathCollection)]
    np.testing.assert_allclose(diamond.get_offsets(), [[2, 40.0]])
    said = " ".join(Page(page_html(view)).words.split())
    assert "trained shortly, to choose the layer: they rank the layers" in said


@pytest.mark.usefixtures("plain")
def test_a_task_without_a_sum_shows_its_best_layer(tmp_path: Path) -> None:
    qbe = Asked(
        "qbe", "QbE", {"a": {"0": 0.02, "1": 0.07}}, main="mtwv", best={"a": "1"}, half=0.01
    )
    view = probing_view(tmp_path, (SID, qbe))
    row = next(row for row in table_rows(page_html(view)) if row[0] == "a" and len(row) == 3)
    assert row[2] == "0.070 0.060 to 0.080 layer 1 dealt 0.100", "MTWV is no share: not in %"


@pytest.mark.usefixtures("plain")
def test_other_sums_have_a_table_of_their_own(tmp_path: Path) -> None:
    folder = write_probing(tmp_path, (SID,))
    made = load_results(folder)
    first = made.table[made.table["layer"] == SUM].iloc[0].to_dict()
    extra = [
        {"model": "a", "layer": f"{SUM} of 1-2", "value": 0.9},
        {"model": "a + m", "value": 0.95},
        {"model": "a + m", "layer": "a 1", "measure": "layer-weight", "value": 0.3},
        {"model": "a + m", "layer": "m 2", "measure": "layer-weight", "value": 0.7},
        {"model": "a + m", "measure": "accuracy-over-other-model", "other_model": "a",
         "value": 0.05, "ci_low": -0.01, "ci_high": 0.11},
        {"model": "a + m", "measure": "eer-over-other-model", "other_model": "m",
         "value": -0.2, "ci_low": -0.3, "ci_high": -0.1},
    ]  # fmt: skip
    rows = [Row(**line) for line in made.table.to_dict("records")]
    write_results(folder, rows + [Row(**{**first, **one}) for one in extra], dict(made.record))
    view = read_view(load_results(folder))
    assert "a + m" not in [model.spec for model in view.models], "several models are no model"
    found = table_rows(page_html(view))
    assert ["a", "1-2", "90.0 80.0 to 90.0"] in found
    over = "over a: +5.0 (−1.0 to +11.0) over m: +20.0 (+10.0 to +30.0)"  # less error is better
    assert ["a + m", "all layers", f"95.0 80.0 to 90.0 most m 2 (0.70 of 1) {over}"] in found


def test_one_model_one_task_no_twin(tmp_path: Path) -> None:
    view = probing_view(tmp_path, (Asked("ks", "KS", {"log-mel": {"logmel": 0.3}}, dealt=None),))
    text = page_html(view)
    page = Page(text)
    assert page.with_id("probing")
    assert not page.with_id("probing-claims")
    assert not page.with_id("probing-layers")
    assert "What heads learn from the layers of log-mel" in page.words
    assert "labels dealt at random among" not in page.words
    json_for_script(page.data)
    folder = write_probing(
        tmp_path / "two", (replace(SID, scores={"a": SID.scores["a"]}, lost={}),)
    )
    draw_report(folder)
    stems = {path.stem for path in (folder / "figures").iterdir()}
    assert {"probing-tasks", "probing-sum", "probing-layers-a", "probing-weights-a"} < stems


def test_names_are_escaped(tmp_path: Path) -> None:
    scores = {HOSTILE: {HOSTILE: 0.5, "<b1>": 0.6, SUM: 0.7}, "<u>": {"x": 0.1}}
    asked = Asked(
        "sid",
        HOSTILE,
        scores,
        over={HOSTILE: (0.1, 0.0, 0.2)},
        best={HOSTILE: "<b1>"},
        corpora={HOSTILE: HOSTILE},
        lost={HOSTILE: {"<b1>": (0.1, 0.05, 0.2)}},
    )
    view = probing_view(tmp_path, (asked,), left_out=[{"name": HOSTILE, "reason": HOSTILE}],
                        protocol={"name": HOSTILE, "lrs": [0.1], "seeds": 1})  # fmt: skip
    page = Page(page_html(view))
    assert len(page.scripts) == 3
    assert not any(tag in ("b1", "u") for tag, _ in page.tags)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert all(str(a["src"]).startswith("data:") for tag, a in page.tags if tag == "img")
    assert page.words.count(HOSTILE) > 10, "shown as text"


@pytest.mark.usefixtures("plain")
def test_settings_and_shares_are_told(tmp_path: Path) -> None:
    view = probing_view(tmp_path, (SID, PR), protocol={"name": "small", "lrs": [0.1], "seeds": 1})
    text = page_html(view)
    assert "Heads of protocol small: 1 learning rate, 1 seed." in " ".join(Page(text).words.split())
    rows = {row[0]: row for row in table_rows(text) if len(row) == 5}
    assert rows["SID"][-1] == "20.0"
    assert rows["PR"][-1] == "", "an error rate is not held against a share of classes"


@pytest.mark.usefixtures("plain")
def test_tasks_left_out_are_on_the_page(tmp_path: Path) -> None:
    reason = "no recording has the tier 'keyword'"
    view = probing_view(tmp_path, (SID,), left_out=[{"name": "ks", "reason": reason}])
    text = page_html(view)
    assert ["ks", "this corpus does not allow it", reason.replace("'", "&#39;")] in table_rows(text)
    assert "These tasks were asked for" in text
