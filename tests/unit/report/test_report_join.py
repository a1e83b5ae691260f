"""Several results folders as one page: everything of both is there, at its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from report_made_joined import (
    PLANTED_CURVES,
    PLANTED_PAIRS,
    joined,
    models_record,
    write_properties,
    write_similarities,
)
from report_made_training import made_training
from report_reading import Page
from voxstrata.errors import ResultsError, UsageError
from voxstrata.report.join import in_common_order, join_views
from voxstrata.report.page import draw_joined, draw_report, page_html
from voxstrata.report.view import View, read_view
from voxstrata.results import load_results


def values(view: View) -> dict[tuple[str, ...], float]:
    """Every similarity and every property value by the names of what it is about."""
    found: dict[tuple[str, ...], float] = {}
    names = [(view.models[layer.model].spec, layer.name) for layer in view.layers]
    for facet in view.facets:
        for i, a in enumerate(facet.layers):
            for j, b in enumerate(facet.layers):
                if facet.present[i, j]:
                    found[(*names[a], *names[b])] = float(facet.value[i, j])
    for asked in view.curves:
        for curve in asked.main.curves:
            for point in curve.points:
                assert view.models[curve.model].spec == names[point.layer][0]
                found[(asked.name, *names[point.layer])] = point.value
    return found


@pytest.mark.parametrize("turned", [False, True])
def test_every_value_stays_with_its_layers(tmp_path: Path, turned: bool) -> None:
    folders = [
        write_properties(tmp_path / "p", PLANTED_CURVES),
        write_similarities(tmp_path / "s", PLANTED_PAIRS),
    ]
    parts = [read_view(load_results(folder)) for folder in folders[:: -1 if turned else 1]]
    view = join_views(parts, tmp_path)
    expected = {k: v for part in parts for k, v in values(part).items()}
    assert values(view) == expected
    assert len(expected) == len(PLANTED_CURVES) + 2 * len(PLANTED_PAIRS)
    for facet in view.facets:
        assert list(facet.layers) == sorted(facet.layers)
        np.testing.assert_array_equal(facet.value, facet.value.T)


def test_models_that_share_a_twin_both_have_it(tmp_path: Path) -> None:
    view = joined(tmp_path)
    at = {model.spec: i for i, model in enumerate(view.models)}
    assert {view.models[at[s]].twin for s in ("a", "b")} == {at["random:a"]}
    assert view.models[at["random:a"]].twin_of == at["a"]
    assert view.models[at["log-mel"]].twin is None


def test_layers_that_only_one_folder_has_keep_their_depth() -> None:
    assert in_common_order([["0", "1", "2"], ["c1", "0", "2", "norm"]]) == [
        *("c1", "0", "1", "2", "norm")
    ]
    assert in_common_order([]) == []


def test_the_page_holds_both_and_links_to_both(tmp_path: Path) -> None:
    folders = [
        write_properties(tmp_path / "my runs" / "properties", PLANTED_CURVES),
        write_similarities(tmp_path / "my runs" / "similarity", PLANTED_PAIRS),
    ]
    for folder in folders:
        draw_report(folder)
    text = draw_joined(folders, tmp_path / "my runs" / "report.html").read_text()
    page = Page(text)
    for name in ("opening", "answers", "matrix", "paths", "curves", "peaks", "parts"):
        assert page.with_id(name), name
    for name in ("pairs", "steps", "paper", "run", "training"):
        assert not page.with_id(name), name
    words = " ".join(page.words.split())
    assert "Phone information rises clearly above the untrained twin and log-mel in a" in words
    assert "Most alike beyond what untrained twins" in words
    assert "The speech is synthetic" in words
    assert "a heard speech of the same synthesiser" in words
    assert "randomly initialised" not in words, "twins are named as such"
    links = [a.get("href") for tag, a in page.tags if tag == "a"]
    assert {"properties/report.html", "similarity/report.html"} < set(links)
    assert {"properties/results.csv", "similarity/results.csv"} < set(links)
    assert len(page.data["facets"]) == 1
    assert len(page.data["sections"]["curves"]["properties"]) == 3


def test_the_short_answers_stay_whatever_the_switch_shows(tmp_path: Path) -> None:
    opening = page_html(joined(tmp_path)).split('<section id="opening"')[1].split("</section>")[0]
    assert "rises clearly above" in opening
    assert "data-facet" not in opening


def test_two_folders_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    other = {("linear-phone", "a", "block1"): 0.2, ("linear-phone", "a", "block2"): 0.3}
    parts = [
        write_properties(tmp_path / "one", PLANTED_CURVES),
        write_properties(tmp_path / "two", other, corpus={"spec": "else", "fingerprint": "d"}),
    ]
    view = join_views([read_view(load_results(part)) for part in parts], tmp_path)
    titles = [asked.title for asked in view.curves if asked.name == "linear-phone"]
    assert titles == [f"phone identity (linear probe) ({name})" for name in ("one", "two")]
    assert len({asked.key for asked in view.curves}) == len(view.curves)
    assert "different recordings: synthetic:tiny, else" in view.record["notices"][0]
    assert "corpus" not in view.record
    page_html(view)


def test_one_name_for_two_models_is_refused(tmp_path: Path) -> None:
    told = models_record(["a", "b", "m", "random:a", "random:m", "log-mel"])
    told[0]["fingerprint"] = "another"
    parts = [
        write_properties(tmp_path / "p", PLANTED_CURVES),
        write_similarities(tmp_path / "s", PLANTED_PAIRS, models=told),
    ]
    with pytest.raises(ResultsError, match="a is not the same model in all folders"):
        draw_joined(parts, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    folder = write_properties(tmp_path / "p", PLANTED_CURVES)
    with pytest.raises(UsageError, match="several results folders"):
        draw_joined([folder], tmp_path / "page.html")
    with pytest.raises(UsageError, match="cannot be joined"):
        draw_joined([folder, made_training(tmp_path / "t").folder], tmp_path / "page.html")
