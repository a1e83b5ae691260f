"""The page of a neurons run: sentences from planted counts, regions of sets, odd results."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from report_made_neurons import (
    EQUAL,
    FEWER,
    MORE,
    UNKNOWN,
    WIDTH,
    Asked,
    layers,
    match_rows,
    neurons_view,
    ranked_rows,
    tried_rows,
    write_neurons,
)
from report_reading import HOSTILE, Page, table_rows
from voxstrata.errors import ResultsError
from voxstrata.report import draw_report
from voxstrata.report.figure_ranked import by_contrast
from voxstrata.report.figures import planned
from voxstrata.report.neuron_best import MOST, strongest
from voxstrata.report.neuron_ranked import (
    enough_said,
    mean_agreement,
    methods,
    read_ranked,
    selective_said,
)
from voxstrata.report.neuron_sets import drawable, read_sets
from voxstrata.report.neuron_sweep import read_maps, variants, variants_said
from voxstrata.report.neuron_view import Count, short_layers
from voxstrata.report.neuron_words import (
    chance,
    counts_said,
    easy_null_said,
    first_sentence,
    has_easy_null,
    meeting_said,
    neurons_lead,
    single_tests_said,
    survivors_said,
    twin_said,
)
from voxstrata.report.page import page_html
from voxstrata.report.sections.neurons import neurons_findings
from voxstrata.report.view import read_view
from voxstrata.results import load_results

SECTIONS = ("neurons", "neurons-strongest", "neurons-shared", "neurons-stability")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            MORE,
            "gender/phones: 34 neurons of m pass the published rule; labels dealt anew to speakers "
            "give 10 (5 to 15): about 24 are more than chance gives (p = 0.005).",
        ),
        (
            EQUAL,
            "pitch/phones: 9 neurons of m pass the published rule; rows dealt anew within each "
            "recording give 10 (5 to 15): no more than chance gives, so nothing is left to explain "
            "(p = 0.60).",
        ),
        (
            replace(EQUAL, found=layers(14)),
            "pitch/phones: 14 neurons of m pass the published rule; rows dealt anew within each "
            "recording give 10 (5 to 15): within what chance gives, so no effect is shown "
            "(p = 0.60).",
        ),
        (
            FEWER,
            "duration/phones: 2 neurons of m pass the published rule; labels dealt anew to "
            "recordings give 10 (5 to 15): fewer than chance gives, so nothing is left to explain "
            "(p = 1.00).",
        ),
        (
            UNKNOWN,
            "noise/phones: 7 neurons of m pass the published rule; how many chance gives is not "
            "known, so the number by itself shows nothing.",
        ),
        (
            replace(EQUAL, found=layers(16), total=(10.0, 5.0, 15.4, 0.095)),
            "pitch/phones: 16 neurons of m pass the published rule; rows dealt anew within each "
            "recording give 10 (5 to 15): above most of them, which are too few to tell "
            "(p = 0.095).",
        ),
        (
            replace(MORE, found=layers(1), total=(0.0, 0.0, 0.0, 0.04), labellings=20.0),
            "gender/phones: 1 neuron of m passes the published rule; labels dealt anew to speakers "
            "give 0 (0 to 0): about 1 are more than chance gives (p = 0.040); there are only 20 "
            "ways to deal them, so that p below 0.05 would mean nothing.",
        ),
    ],
)
def test_the_first_sentence_follows_observed_and_null(
    asked: Asked, said: str, tmp_path: Path
) -> None:
    view = neurons_view(tmp_path, (asked,))
    assert counts_said(view, view.selections[0]) == said
    assert first_sentence(view) == said
    assert neurons_lead(view).startswith(said)


def test_one_sentence_for_several_contrasts(tmp_path: Path) -> None:
    view = neurons_view(tmp_path, (MORE, EQUAL, FEWER, UNKNOWN))
    assert first_sentence(view) == (
        "Of the neurons of m, the published rule finds more than chance gives for gender/phones "
        "(34 against 10); no more than chance gives for pitch/phones (9 against 10) and "
        "duration/phones (2 against 10); a number that nothing can be held against for "
        "noise/phones (7)."
    )
    many = tuple(replace(MORE, name=f"c{k}") for k in range(6))
    assert "c3 (34 against 10) and 2 other contrasts." in first_sentence(
        neurons_view(tmp_path / "many", many)
    )


def test_a_band_is_shown_by_the_whole_numbers_inside_it() -> None:
    """A count is more than chance if it is above the high end that is written."""
    for high in (14.0, 14.4, 14.9):
        assert chance(Count(0, 10.0, 5.2, high)) == "10 (6 to 14)"
        assert Count(14, 10.0, 5.2, high).verdict == "within"
        assert Count(15, 10.0, 5.2, high).verdict == "more"
        assert Count(5, 10.0, 5.2, high).verdict == "fewer"
    assert chance(Count(0, 0.4, 0.2, 0.6)) == "0.4 (0.2 to 0.6)"
    # Of 20 dealings the 97.5 % point lies between the two highest.
    assert Count(15, 10.0, 5.2, 14.4, p=0.095).verdict == "unclear"
    assert Count(15, 10.0, 5.2, 14.4, p=0.048).verdict == "more"
    assert Count(3, 1.0).verdict == "unknown"
    assert Count(math.nan, 1.0, 0.0, 2.0).verdict == "unknown"


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        (layers(12), "(5 to 15): no surplus is shown without training."),
        (layers(17), "(5 to 15): a surplus, if a smaller one, without any training."),
        (layers(25), "(5 to 15): a surplus more than half as large without any training."),
        (layers(40), "(5 to 15): a surplus as large or larger without any training."),
    ],
)
def test_the_twin_says_what_needs_no_training(twin: Any, said: str, tmp_path: Path) -> None:
    view = neurons_view(tmp_path, (MORE, replace(MORE, model="random:m", found=twin)))
    text = twin_said(view, view.selections[0])
    assert text.endswith(said)
    assert text.startswith("Untrained, the same architecture has ")
    says = neurons_findings(view)[0]["says"]
    assert says[0] == text
    level = neurons_view(tmp_path / "level", (EQUAL, replace(EQUAL, model="random:m", total=None)))
    assert twin_said(level, level.selections[0]).endswith("chance was not computed for it.")
    assert twin_said(level, level.selections[1]) == ""


def test_recordings_of_one_speaker_are_not_independent(tmp_path: Path) -> None:
    asked = (FEWER, MORE, replace(FEWER, name="speaker/phones"))
    corpus = {"spec": "x", "name": "x", "speakers": 4}
    view = neurons_view(tmp_path, asked, corpus=corpus)
    # Speakers were dealt in the second; in the third, recordings of one are what is asked for.
    assert [has_easy_null(view, s) for s in view.selections] == [True, False, False]
    text = easy_null_said(view, view.selections)
    assert text.startswith("For duration/phones labels were dealt to recordings one by one")
    assert text in neurons_findings(view)[0]["says"]
    known = neurons_view(tmp_path / "one", asked, corpus={**corpus, "speakers": 10})
    assert easy_null_said(known, known.selections) == "", "one recording a speaker"


def test_much_is_folded_away(tmp_path: Path) -> None:
    held = {"F": (9, 0.5), "M": (8, 0.4), "every": (6, 0.1)}
    asked = tuple(replace(MORE, name=f"c{k}", survive=held) for k in range(9))
    found = neurons_findings(neurons_view(tmp_path, asked))[0]
    assert len(found["says"]) == 10, "a sentence a contrast, and the tests"
    assert len(found["more"]) == 9
    assert all("With gender held fixed" in text for text in found["more"])
    few = neurons_findings(neurons_view(tmp_path / "few", asked[:2]))[0]
    assert (len(few["says"]), few["more"]) == (5, [])


def test_tests_of_single_neurons_and_gender_held_fixed(tmp_path: Path) -> None:
    three = ("a", "b", "c")
    asked = (
        replace(MORE, tested=0, survive={"F": (9, 0.5), "M": (8, 0.4), "every": (6, 0.1)}),
        replace(MORE, name="two", tested=3, both=2, survive={"F": (9, 0.5), "every": (0, 0.0)}),
        replace(MORE, name="three", found=layers(4, group="a"), groups=three, tested=50, both=4),
        replace(EQUAL, tested=None),
    )
    view = neurons_view(tmp_path, asked)
    gender, two, many, plain = view.selections
    assert single_tests_said(gender).endswith("no neuron is shown to be more active in any group.")
    assert single_tests_said(two).endswith(
        "3 neurons are found; 2 of the 34 that pass the rule are among them."
    )
    assert "50 pairs of a neuron and one of 3 groups are found" in single_tests_said(many)
    assert single_tests_said(plain) == ""
    assert survivors_said(gender) == (
        "With gender held fixed, 6 of the 34 are found again for the same group among F alone and "
        "among M alone (0.1 if sets of these sizes were drawn at random)."
    )
    # Where no group is in every stratum (speakers have one gender), strata speak for themselves.
    assert survivors_said(two) == (
        "With gender held fixed, of the 34 are found again 9 among F alone (0.5 at random)."
    )
    assert survivors_said(plain) == ""
    says = neurons_findings(view)[0]["says"]
    assert any("5 %: 3 for two and 50 for three; none for gender/phones." in text for text in says)


def test_regions_are_exact(tmp_path: Path) -> None:
    """Every neuron is in one region; sizes follow from counting each by hand."""
    one, two = "block.1.ffn.inner", "block.2.ffn.inner"
    found: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {
        "a": {one: {"F": (1, 2, 3), "M": (4,)}, two: {"F": (1,)}},
        "b": {one: {"F": (3,)}, two: {"M": (1, 2)}},
        "c": {one: {"F": (3, 9)}, two: {}},
        "none": {one: {}, two: {}},
    }
    asked = tuple(replace(MORE, name=name, found=of) for name, of in found.items())
    chosen = drawable(neurons_view(tmp_path, asked))
    assert len(chosen) == 1
    members = {
        name: {(layer, n) for layer, g in of.items() for ns in g.values() for n in ns}
        for name, of in found.items()
    }
    expected = {}
    for size in range(1, 5):
        for names in combinations(found, size):
            inside = set.intersection(*(members[n] for n in names))
            outside: set[tuple[str, int]] = set().union(
                *(members[n] for n in found if n not in names)
            )
            if inside - outside:
                expected[names] = len(inside - outside)
    assert dict(chosen[0].regions) == expected
    assert expected == {("a",): 3, ("b",): 1, ("c",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}
    assert next(iter(chosen[0].regions)) == ("a",)
    assert sum(chosen[0].regions.values()) == len(set().union(*members.values()))
    shared, at_random = chosen[0].overlap("a", "b")
    assert shared == 2
    assert at_random == pytest.approx((4 * 1 + 1 * 2) / WIDTH)


def test_sets_are_read_by_rule_and_model(tmp_path: Path) -> None:
    view = neurons_view(tmp_path, (MORE, EQUAL, replace(MORE, model="random:m")))
    chosen = read_sets(view)
    assert [(view.models[c.model].spec, list(c.sets)) for c in chosen] == [
        ("m", ["gender/phones", "pitch/phones"]),
        ("random:m", ["gender/phones"]),
    ]
    assert len(chosen[0].sets["gender/phones"]) == 34
    assert [view.models[c.model].spec for c in drawable(view)] == ["m"]
    assert read_sets(neurons_view(tmp_path / "bare", (MORE, EQUAL), sets=False)) == []


def test_strongest_neurons(tmp_path: Path) -> None:
    view = neurons_view(tmp_path, (MORE, EQUAL))
    tested, plain = strongest(view)
    assert tested.by_auc
    assert not plain.by_auc
    assert tested.selected == 34
    assert [n.neuron for n in tested.neurons] == list(range(25)), "the highest AUC first"
    assert [n.neuron for n in plain.neurons] == list(reversed(range(9))), "the largest difference"
    assert tested.neurons[0].auc == 1.0
    assert tested.neurons[0].by_chance == 0.25
    assert math.isnan(plain.neurons[0].q)
    rows = table_rows(page_html(view))
    assert ["1", "0", "F", "0.10 %", "0.05 %", "1.00", "&lt; 0.001", "25 %"] in rows
    assert ["1", "2", "F", "0.30 %", "0.05 %", "0.99", "0.400", "25 %"] in rows
    assert ["1", "8", "F", "0.90 %", "0.05 %", "25 %"] in rows
    many = neurons_view(tmp_path / "many", tuple(replace(MORE, name=f"c{k}") for k in range(20)))
    assert sum(len(one.neurons) for one in strongest(many)) <= MOST
    pd.DataFrame({"model": ["m"]}).to_parquet(tmp_path / "neurons.parquet")
    with pytest.raises(ResultsError, match="lacks columns"):
        strongest(view)


def test_the_page_holds_counts_and_nulls(tmp_path: Path) -> None:
    twin = replace(MORE, model="random:m", found=layers(12))
    asked = (MORE, EQUAL, twin, replace(EQUAL, model="random:m"))
    text = draw_report(write_neurons(tmp_path, asked)).read_text("utf-8")
    page = Page(text)
    words = " ".join(page.words.split())
    assert "Of the neurons of m, the published rule finds more than chance gives for" in words
    assert (tmp_path / "figures" / "neurons-counts-gender-phones.svg").exists()
    assert all(page.with_id(name) for name in SECTIONS)
    assert not page.with_id("neurons-clusters")
    assert not page.with_id("curves")
    rows = table_rows(text)
    row = ["gender/phones", "m", "2", "34", "10 (5 to 15)", "+24", "0.005", "3"]
    assert [*row, "labels of speakers", "10"] in rows
    row = ["gender/phones", "random:m untrained twin", "2", "12", "10 (5 to 15)", "+2"]
    assert [*row, "0.005", "3", "labels of speakers", "10"] in rows
    panels = page.data["sections"]["neurons"]["panels"]
    assert len(panels) == 6, "any group, F and M of two contrasts"
    assert panels[0]["layers"] == ["1", "2"]
    assert panels[0]["axis"] == "block"
    own, other = panels[0]["sides"]
    assert [f["y"] for f in own["found"]] == [34, 0]
    assert [f["y"] for f in other["found"]] == [12, 0]
    assert (own["hollow"], other["hollow"]) == (False, True)
    assert (own["found"][0]["low"], own["found"][0]["high"]) == (0.0, 4.5)
    assert own["found"][0]["lines"][2] == "34 found"
    assert [f["y"] for f in panels[2]["sides"][0]["found"]] == [0, 0], "none is of group M"
    assert page.data["specs"]["neurons"]["layer"]
    assert page.words.count("With another sigma") == 1


def test_other_results_have_none_of_it(tmp_path: Path) -> None:
    folder = write_neurons(tmp_path, job="other")
    view = read_view(load_results(folder))
    assert view.selections == ()
    assert view.meetings == ()
    assert not any(Page(page_html(view)).with_id(name) for name in SECTIONS)
    assert not any(plan.stem.startswith("neurons") for plan in planned(view))


def test_odd_results_are_drawn(tmp_path: Path) -> None:
    """One layer, many groups, two models without twins, nothing but counts, numbers missing."""
    speakers = tuple(f"s{k}" for k in range(250))
    many = Asked("speaker/clusters=3", layers(5, to=1, group="s0"), groups=speakers)
    bare = Asked(
        "bare", layers(0, to=1), None, halves=None, silhouettes={}, sigma={}, model="other"
    )
    broken = Asked(
        "broken",
        layers(3, to=1),
        (math.nan, math.nan, math.nan, math.nan),
        layer=(math.nan, math.nan, math.nan, math.nan),
        halves=(math.nan, math.nan, math.nan, math.nan),
        silhouettes={"euclidean": math.nan},
        sigma={0.5: math.nan},
        model="other",
    )
    left_out = [{"name": "gender/phones", "reason": "no tier 'gender'"}]
    view = neurons_view(tmp_path, (many, bare, broken), left_out=left_out, sets=False)
    page = Page(page_html(view))
    panels = page.data["sections"]["neurons"]["panels"]
    assert len(panels) == 1 + 3 + 3, "250 speakers are counted together"
    assert "Its 250 groups are counted together" in page.words
    assert "no tier 'gender'" in page.words
    assert "bare: no neurons of other pass the published rule" in page.words
    assert not page.with_id("neurons-shared")
    found = panels[-1]["sides"][0]["found"][0]
    assert (found["low"], found["mean"], found["high"]) == (None, None, None)
    stems = [plan.stem for plan in planned(view) if plan.draw(view).axes]
    assert "neurons-counts-broken" in stems
    assert "neurons-halves" in stems
    nothing = neurons_view(tmp_path / "none", (), left_out=left_out, neurons=False)
    page = Page(page_html(nothing))
    assert "These results hold no selection of neurons." in page.words
    assert "no tier 'gender'" in page.words
    assert not page.with_id("neurons-strongest")


def test_clusters_against_classes(tmp_path: Path) -> None:
    shares = {
        "cluster 1": {"vowels": 0.75, "rest": 0.25},
        "cluster 2": {"vowels": 0.1, "rest": 0.9},
    }
    wide = {"cluster 1": {f"s{k}": 0.01 for k in range(100)}}
    rows = (
        *match_rows("m", "clusters=2 ~ classes", shares, (0.8, 0.7, 0.9, 0.6)),
        *match_rows("random:m", "clusters=2 ~ classes", shares, (0.5, 0.4, 0.6, 0.5)),
        *match_rows("/x/ivector/model", "ivector=1 ~ speaker", wide, (0.3, None, None, 0.2)),
    )
    asked = (MORE, replace(MORE, model="random:m"))
    view = neurons_view(tmp_path, asked, matches=rows)
    assert [layer.name for layer in view.layers][:2] == ["block.1.ffn.inner", "block.2.ffn.inner"]
    assert len(view.models) == 2, "what was clustered is not a model of the page"
    match = view.meetings[0]
    assert match.share == ((0.75, 0.25), (0.1, 0.9))
    assert match.measures["purity"] == (0.8, 0.7, 0.9, 0.6)
    text = page_html(view)
    page = Page(text)
    assert page.with_id("neurons-clusters")
    cells = table_rows(text)
    purity = "0.80 0.70 to 0.90 without clusters 0.60"
    row = ["clusters=2", "m layer 2", "classes one row per frame", purity, "", ""]
    assert [*row, "0.25 0.15 to 0.35"] in cells
    says = [meeting_said("m", match) for match in view.meetings]
    assert says[0] == (
        "clusters=2 of m against classes: ARI 0.250 (0.150 to 0.350), more agreement than chance "
        "gives."
    )
    assert says[2] == "ivector=1 of m against speaker: ARI 0.250, without an interval."
    level = replace(view.meetings[0], measures={"ari": (0.25, -0.001, 0.6, 0.0)})
    assert meeting_said("m", level).endswith("ARI 0.250 (−0.001 to 0.600), no agreement is shown.")
    assert meeting_said("m", replace(level, measures={})) == ""
    assert says[0] in " ".join(page.words.split())
    assert page.words.count("against classes: ARI") == 1, "twins stand in the table alone"
    assert any(row[:2] == ["ivector=1", "ivector/model layer 2"] for row in cells)
    assert "Pairs with more than 60 clusters or classes are not drawn" in page.words
    stems = [plan.stem for plan in planned(view)]
    assert "neurons-clusters-clusters-2" in stems
    assert "neurons-clusters-ivector-1" not in stems


def test_other_settings_and_maps(tmp_path: Path) -> None:
    tried = {"clusters=5": (12.0, 0.25, 0.01), "seed=1": (30.0, 0.75, 0.02)}
    tried["top=0.02"] = (0.0, math.nan, math.nan)
    twin = replace(MORE, model="random:m")
    rows = (*tried_rows("gender/phones", tried), *tried_rows("gender/phones", tried, "random:m"))
    view = neurons_view(tmp_path, (MORE, EQUAL, twin), matches=rows)
    selection = view.selections[0]
    assert selection.total.observed == 34, "counts are those asked for"
    found = variants(view, selection)
    assert [(one.name, one.neurons, one.chance) for one in found[:2]] == [
        ("clusters=5", 12.0, 0.01),
        ("seed=1", 30.0, 0.02),
    ]
    assert variants_said(selection, found) == (
        "gender/phones: 12 to 30 neurons instead of 34; Jaccard index with the set asked for 0.25 "
        "(clusters=5) to 0.75 (seed=1)."
    )
    assert variants_said(selection, found[2:]) == ""
    plain = next(s for s in view.selections if s.contrast == "pitch/phones")
    assert variants(view, plain) == []
    rows_of_table = table_rows(page_html(view))
    assert ["gender/phones", "m", "seed=1", "30", "0.75", "0.02"] in rows_of_table
    assert ["gender/phones", "m", "top=0.02", "0", "no value", "no value"] in rows_of_table
    assert read_maps(view) == []
    points = [
        {"model": model, "contrast": "gender/phones", "layer": "block.2.ffn.inner",
         "row": f"{group} | {k}", "group": group, "x": float(k), "y": float(len(group))}
        for model in ("m", "random:m") for group in ("F", "M") for k in range(3)
    ]  # fmt: skip
    pd.DataFrame(points).to_parquet(tmp_path / "patterns.parquet")
    ((of, layers_of),) = read_maps(view)
    assert of.model == selection.model, "trained models alone"
    assert [len(part) for part in layers_of.values()] == [6]
    plan = next(plan for plan in planned(view) if plan.stem == "neurons-maps")
    (axes,) = plan.draw(view).axes
    assert axes.get_title() == "gender/phones\nblock 2 (−0.30, 0.10)"
    assert [np.shape(cloud.get_offsets())[0] for cloud in axes.collections] == [3, 3]
    assert "points in the plane" in page_html(view)
    pd.DataFrame({"model": ["m"]}).to_parquet(tmp_path / "patterns.parquet")
    with pytest.raises(ResultsError, match="lacks columns"):
        read_maps(view)


def test_how_few_neurons_are_enough(tmp_path: Path) -> None:
    second = "block.2.ffn.inner"
    rows = (
        *ranked_rows(top={1: 0.5, 4: 0.6, WIDTH: 0.7}, agreement={"a ~ b": 0.2, "a ~ c": -0.4}),
        *ranked_rows(layer=second, agreement={"b ~ a": 0.6}, probe=(0.9, 0.5)),
        *ranked_rows("level", {1: 0.2, WIDTH: 0.45}, minimal=1, probe=(0.9, 0.89)),
        *ranked_rows("wide", {1: 0.2, WIDTH: 0.95}, minimal=WIDTH, probe=None),
        *ranked_rows("one", {1: 0.8, WIDTH: 0.8}, majority=0.7, minimal=1, agreement={}),
    )
    asked = tuple(replace(MORE, name=name) for name in ("gender/phones", "level", "wide", "one"))
    view = neurons_view(tmp_path, asked, matches=rows)
    found = read_ranked(view)
    parts = list(by_contrast(found).values())
    assert [len(part) for part in parts] == [2, 1, 1, 1]
    assert found[0].trained["top"] == ((1, 0.5), (4, 0.6), (WIDTH, 0.7))
    assert found[0].guess == 0.5, "two groups: naming any is better than the commonest"
    assert found[4].guess == 0.7
    assert methods(found[:2]) == ["a", "b", "c"]
    assert mean_agreement(parts[0], "a", "b") == pytest.approx(0.4), "whichever comes first"
    assert mean_agreement(parts[0], "c", "a") == -0.4
    assert math.isnan(mean_agreement(parts[0], "b", "c"))
    gender, level, wide, one = (enough_said(view, part) for part in parts)
    assert gender == (
        "gender/phones: a linear probe on all 100 neurons of block.2.ffn.inner, where it is best, "
        "is right for 0.80 of recordings (guessing: 0.50); the top 4 neurons are as good within "
        "0.01, random ones of that number reach 0.60."
    )
    assert level.endswith("(guessing: 0.50): no better than guessing, so that no number of "
                          "neurons is enough.")  # fmt: skip
    assert wide.endswith("; fewer are not as good.")
    assert "the top neuron is as good" in one
    assert selective_said(parts[0]).endswith("by 0.30 to 0.40 over layers.")
    assert "learned each speaker by heart" in selective_said(parts[1])
    assert selective_said(parts[2]) == ""
    worse = [replace(found[0], accuracy=0.5, control=0.7)]
    assert "better than these groups, by 0.20 to 0.20" in selective_said(worse)
    text = page_html(view)
    assert Page(text).with_id("neurons-ranked")
    row = ["gender/phones", "m", second, "0.80", "0.50", "4 of 100", "0.90", "0.50", "0.40", "20"]
    assert row in table_rows(text)
    stems = [plan.stem for plan in planned(view)]
    assert {"neurons-subsets", "neurons-rankings"} <= set(stems)
    assert view.selections[0].total.observed == 34, "counts are read as they were"


def test_names_are_escaped(tmp_path: Path) -> None:
    hostile = HOSTILE
    asked = tuple(
        Asked(
            name, {hostile: {hostile: (1, 2)}}, model=hostile, groups=(hostile, "b"), moved=hostile
        )
        for name in (hostile, f"{hostile}2")
    )
    rows = match_rows(hostile, f"{hostile} ~ {hostile}", {hostile: {hostile: 0.5}}, (1, 1, 1, 1))
    left_out = [{"name": hostile, "reason": hostile}]
    view = neurons_view(tmp_path, asked, matches=rows, left_out=left_out)
    text = page_html(view)
    page = Page(text)
    assert len(page.scripts) == 3
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.with_id("neurons-shared")
    assert page.words.count(hostile) > 10


def test_figures_for_a_paper(tmp_path: Path) -> None:
    twin = replace(MORE, model="random:m", found=layers(12))
    rows = match_rows("m", "k ~ c", {"1": {"a": 0.5, "b": 0.5}}, (0.8, 0.7, 0.9, 0.6))
    view = neurons_view(tmp_path, (MORE, EQUAL, twin), matches=rows)
    plans = {plan.stem: plan for plan in planned(view)}
    assert set(plans) == {
        "neurons-counts-gender-phones",
        "neurons-counts-pitch-phones",
        "neurons-shared-m",
        "neurons-venn-m",
        "neurons-halves",
        "neurons-sigma",
        "neurons-silhouettes",
        "neurons-clusters-k",
    }
    upset, venn = (
        [text.get_text() for text in plans[stem].draw(view).findobj(Text)]
        for stem in ("neurons-shared-m", "neurons-venn-m")
    )
    # Of 34 and 9 neurons the smaller set lies in the larger: 25 alone, 9 in both, 0 alone.
    assert {"25", "9", "34"} <= set(upset)
    assert [text for text in venn if text.isdigit()] == ["25", "0", "9"]
    assert {"gender/phones (34)", "pitch/phones (9)"} <= set(venn)


def test_layers_have_short_names() -> None:
    assert short_layers(["block.1.ffn.inner", "block.12.ffn.inner"]) == ("block", ["1", "12"])
    assert short_layers(["block.1.ffn1.inner", "block.1.ffn2.inner"]) == (
        "layer",
        ["1.ffn1", "1.ffn2"],
    )
    assert short_layers(["conv", "block1", "mfa"]) == ("layer", ["conv", "block1", "mfa"])
    assert short_layers([]) == ("layer", [])
