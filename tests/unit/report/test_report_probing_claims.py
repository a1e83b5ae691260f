"""One layer against the sum, properties against tasks, and weights beside scores."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from scipy.stats import spearmanr

from report_made_joined import Curves, write_properties
from report_made_probing import LAYERS, PR, SID, Asked, probing_view, seed_weight, write_probing
from report_reading import Page, table_rows
from voxstrata.errors import ResultsError
from voxstrata.report import claim_words
from voxstrata.report.figure_claims import LOOKS, link_maps, sum_against_layer
from voxstrata.report.figure_layers import ACROSS, layer_pages, layer_panels, shown_models
from voxstrata.report.figures import draw_figures, planned
from voxstrata.report.join import join_views
from voxstrata.report.page import draw_joined, page_html
from voxstrata.report.probing_claims import Link, claimed, is_exact, links, p_value
from voxstrata.report.probing_view import SUM, gains
from voxstrata.report.probing_weights import WEIGHT, WEIGHTS, seed_weights, weights
from voxstrata.report.sections.probing_layers import probing_layers
from voxstrata.report.view import View, read_view
from voxstrata.report.weight_words import readings
from voxstrata.results import load_results

CURVES: Curves = {
    **{("cca-phone", "a", n): v for n, v in zip(LAYERS, (0.1, 0.2, 0.3, 0.4), strict=True)},
    **{("cca-phone", "m", n): v for n, v in zip(LAYERS, (0.4, 0.3, 0.2, 0.1), strict=True)},
    **{("linear-speaker", "a", n): v for n, v in zip(LAYERS, (0.1, 0.3, 0.2, 0.4), strict=True)},
    **{("cca-word", "a", n): v for n, v in zip(LAYERS, (0.3, 0.3, 0.3, 0.3), strict=True)},
}
IC = Asked("ic", "IC", {"a": SID.scores["a"]})


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return probing_view(tmp_path_factory.mktemp("probing"))


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> View:
    folder = tmp_path_factory.mktemp("joined")
    parts = [
        write_probing(folder / "probing", (SID, PR, IC)),
        write_properties(folder / "properties", CURVES, half=0.02),
    ]
    return join_views([read_view(load_results(part)) for part in parts], folder)


def test_gains_are_turned_so_that_more_is_better(view: View) -> None:
    found = {
        (str(g.task["name"]), view.models[g.model].spec): (g.more.value, g.verdict, g.layer)
        for g in gains(view)
    }
    assert found == {
        ("sid", "a"): (0.05, "better", "3"),
        ("sid", "random:a"): (0.03, "even", "1"),
        ("sid", "m"): (-0.05, "worse", "0"),
        ("sid", "random:m"): (0.0, "even", "1"),
        ("pr", "a"): (0.05, "better", "3"),
        ("pr", "m"): (0.08, "better", "3"),
    }
    turned = next(g for g in gains(view) if g.task["name"] == "pr")
    assert (turned.more.low, turned.more.high) == (0.01, 0.09)


def test_sums_without_intervals_have_no_verdict(tmp_path: Path) -> None:
    asked = Asked("sid", "SID", SID.scores, over={"a": (0.05, None, None)}, best={"a": "3"})
    view = probing_view(tmp_path, (asked,))
    assert [gain.verdict for gain in gains(view)] == ["unknown"]
    assert (
        "without an interval in 1 of 1 cell" in claim_words.sum_against_layer(view, gains(view))[0]
    )


def test_what_is_said_of_the_sum(view: View) -> None:
    says = claim_words.sum_against_layer(view, gains(view))
    assert "better in 3, worse in 1 and not told apart in 0 of 4 cells" in says[0]
    assert "not told apart in 2 of 2 cells (task and model, of untrained twins)" in says[1]
    assert len(says) == 2, "no trained cell is open"
    mine = [gain for gain in gains(view) if view.models[gain.model].spec == "m"]
    assert claim_words.model_said(view, mine) == (
        "m: the sum is better in PR (+8.0 over layer 3, +4.0 to +12.0); it is worse in SID "
        "(−5.0 over layer 0, −8.0 to −2.0)."
    )


def test_what_is_not_told_apart_may_differ_by_so_much(tmp_path: Path) -> None:
    asked = Asked("sid", "SID", SID.scores, over={"a": (0.02, -0.03, 0.07)}, best={"a": "3"})
    view = probing_view(tmp_path, (asked,))
    said = claim_words.sum_against_layer(view, gains(view))
    assert "the differences that these intervals allow reach 7.0 (SID, a)" in said[-1]


def test_the_figure_of_the_sum_shows_every_cell(view: View) -> None:
    figure = sum_against_layer(view, gains(view))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["a", "m"], "twins stand with their models"
    points = [
        (axes.get_title(), round(float(dot.get_offsets()[0][0]), 6))
        for axes in shown
        for dot in axes.collections
        if isinstance(dot, PathCollection)
    ]
    assert sorted(points) == sorted(
        [("a", 5.0), ("a", 3.0), ("a", 5.0), ("m", -5.0), ("m", 0.0), ("m", 8.0)]
    )
    assert set(LOOKS) == {"better", "worse", "even", "unknown"}


def by_names(found: list[Link]) -> dict[tuple[str, str, str], Link]:
    return {(link.asked.name, str(link.task["name"]), link.model): link for link in found}


def test_correlations_over_layers(joined: View) -> None:
    found = by_names(links(joined))
    # PR: error falls with depth in a and m; the property rises in a and falls in m.
    assert found["cca-phone", "pr", "a"].rho == pytest.approx(1.0)
    assert found["cca-phone", "pr", "m"].rho == pytest.approx(-1.0)
    assert found["linear-speaker", "sid", "a"].rho == pytest.approx(0.8)
    assert math.isnan(found["cca-word", "ic", "a"].rho), "the property does not vary"
    for link in found.values():
        if link.is_known:
            assert link.rho == pytest.approx(spearmanr(link.held, link.done).statistic)
            assert link.layers == LAYERS


def test_the_claim_picks_its_pairs(joined: View, tmp_path: Path) -> None:
    picked = by_names(claimed(links(joined)))
    assert set(picked) == {
        ("cca-phone", "pr", "a"),
        ("cca-phone", "pr", "m"),
        ("cca-word", "ic", "a"),
        ("linear-speaker", "sid", "a"),
    }
    both = CURVES | {("cca-speaker", "a", n): 0.1 * int(n) for n in LAYERS}
    parts = [write_properties(tmp_path / "p", both), write_probing(tmp_path / "t", (SID,))]
    other = join_views([read_view(load_results(part)) for part in parts], tmp_path)
    assert set(by_names(claimed(links(other)))) == {("cca-speaker", "sid", "a")}


def test_p_values_are_exact_where_layers_are_few(joined: View) -> None:
    found = by_names(links(joined))
    link = found["linear-speaker", "sid", "a"]
    assert is_exact(link)
    every = [abs(spearmanr(order, link.done).statistic) for order in permutations(link.held)]
    expected = np.mean(np.array(every) >= abs(link.rho) - 1e-12)
    assert p_value(link) == pytest.approx(expected) == pytest.approx(8 / 24)
    assert p_value(found["cca-phone", "pr", "m"]) == pytest.approx(2 / 24)
    assert math.isnan(p_value(found["cca-word", "ic", "a"]))


def test_three_layers_give_no_correlation(tmp_path: Path) -> None:
    few: Curves = {("cca-phone", "a", n): 0.1 * int(n) for n in LAYERS[:3]}
    parts = [write_properties(tmp_path / "p", few), write_probing(tmp_path / "t", (PR,))]
    view = join_views([read_view(load_results(part)) for part in parts], tmp_path)
    [link] = links(view)
    assert len(link.layers) == 3
    assert not link.is_known
    assert "for want of layers" in claim_words.foretold(view, [link])[0]
    assert "Grey: no correlation" not in page_html(view), "there is no map without a correlation"


def test_the_joined_page(tmp_path: Path) -> None:
    parts = [
        write_probing(tmp_path / "probing", (SID, PR)),
        write_properties(tmp_path / "properties", CURVES),
    ]
    text = draw_joined(parts, tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert page.with_id("probing-claims")
    assert not page.with_id("probing"), "the table is on the probing run's own page"
    said = " ".join(page.words.split())
    assert "what each layer knows and what heads make of it" in said
    assert "Phone identity (PWCCA) and PR: ρ = 1.00 in a (4 layers, p = 0.083)" in said
    assert "and −1.00 in m (4 layers, p = 0.083)" in said
    assert "layers of a model are not independent" in said
    assert "different recordings" not in said, "one corpus of both"
    rows = table_rows(text)
    assert ["phone identity (PWCCA)", "PR", "a", "1.00", "4", "0.083", "all orders",
            "0, 1, 2, 3"] in rows  # fmt: skip


def test_a_run_of_one_corpus_is_of_that_corpus(tmp_path: Path) -> None:
    """A probing run has a fingerprint of its list of corpora; what counts is the corpus."""
    corpus = {"spec": "synthetic:tiny", "name": "synthetic", "fingerprint": "of the list"}
    for number, inner in enumerate(("c", "another")):
        each = {"synthetic:tiny": {"spec": "synthetic:tiny", "fingerprint": inner}}
        parts = [
            write_probing(tmp_path / f"t{number}", (SID,),
                          corpus={**corpus, "details": {"corpora": each}}),
            write_properties(tmp_path / f"p{number}", CURVES),
        ]  # fmt: skip
        view = join_views([read_view(load_results(part)) for part in parts], tmp_path)
        differs = any("different recordings" in text for text in view.record["notices"])
        assert differs is (inner != "c")


def test_a_probing_page_alone_says_how_to_see_the_second_claim(view: View) -> None:
    said = " ".join(Page(page_html(view)).words.split())
    assert "voxstrata report PROBING PROPERTIES -o page.html" in said
    assert "ρ =" not in said


def test_maps_of_correlations(joined: View) -> None:
    held = [link for link in links(joined) if link.model == "a"]
    figure = link_maps({"a": held})
    axes = figure.axes[0]
    values = np.asarray(axes.images[0].get_array())
    names = [label.get_text() for label in axes.get_yticklabels()]
    titles = [label.get_text() for label in axes.get_xticklabels()]
    assert values[names.index("phone identity (PWCCA)"), titles.index("PR")] == pytest.approx(1.0)
    assert len(axes.patches) == 3, "a frame round each pair of the claim"


def test_flat_curves_are_named(joined: View, tmp_path: Path) -> None:
    link = by_names(links(joined))["linear-speaker", "sid", "a"]
    assert link.flat == ()
    parts = [
        write_properties(tmp_path / "p", CURVES, half=0.5),
        write_probing(tmp_path / "t", (Asked("sid", "SID", SID.scores, half=0.5),)),
    ]
    view = join_views([read_view(load_results(part)) for part in parts], tmp_path)
    other = by_names(links(view))["linear-speaker", "sid", "a"]
    assert other.flat == ("property", "task")
    doubts = claim_words.doubts([other])
    assert any("noise in part" in text and "SID in a" in text for text in doubts)
    assert len(claim_words.doubts([link])) == 1


def test_weights_of_every_seed(view: View, tmp_path: Path) -> None:
    seeds = seed_weights(view)
    assert seeds is not None
    task = view.record["properties"][0]
    expected = [seed_weight(1, 4, seed) for seed in range(3)]
    assert seeds.of(task, "a", WEIGHT, "1") == pytest.approx(expected)
    assert seeds.of(task, "nobody", WEIGHT, "1") == []
    titles, names, values = weights(view, "a", WEIGHT)
    assert (titles, names) == (["SID", "PR"], list(LAYERS))
    np.testing.assert_allclose(values[0], [seed_weight(i, 4, 1) for i in range(4)])
    (view.folder / WEIGHTS).rename(tmp_path / "away")
    try:
        assert seed_weights(view) is None
        section = probing_layers(view)
        assert section is not None
        assert "means are shown, no seeds" in section.html
        (view.folder / WEIGHTS).write_bytes(b"PAR1 and then nothing")
        with pytest.raises(ResultsError, match=r"weights\.parquet cannot be read"):
            seed_weights(view)
    finally:
        (tmp_path / "away").replace(view.folder / WEIGHTS)


def test_panels_of_layers(view: View) -> None:
    [first, second] = shown_models(view)
    assert [view.models[m].spec for m in (first, second)] == ["a", "m"]
    [part] = layer_pages(view, first)
    figure = layer_panels(view, first, part, seed_weights(view))
    grid = np.array(figure.axes).reshape(4, 2)
    score, raw = grid[0, 0], grid[1, 0]
    own = next(line for line in score.lines if list(line.get_ydata()) == [30.0, 40.0, 60.0, 80.0])
    assert list(own.get_xdata()) == [0, 1, 2, 3]
    assert any(set(line.get_ydata()) == {85.0} for line in score.lines), "the sum"
    dots = raw.collections[-1].get_offsets()
    assert len(dots) == 4 * 3, "a dot a layer and seed"
    expected = [(i, seed_weight(i, 4, seed)) for i in range(4) for seed in range(3)]
    np.testing.assert_allclose(np.asarray(dots), expected)
    assert [bar.get_height() for bar in raw.patches] == pytest.approx(
        [seed_weight(i, 4, 1) for i in range(4)]
    )
    said = [text.get_text() for text in grid[3, 1].texts]
    assert said == ["not tried"], "PR has no ablation here"
    assert not grid[3, 0].texts


def test_many_tasks_make_more_figures(tmp_path: Path) -> None:
    asked = tuple(Asked(f"t{i}", f"T{i}", {"a": SID.scores["a"]}) for i in range(2 * ACROSS + 1))
    view = probing_view(tmp_path, asked)
    parts = layer_pages(view, 0)
    assert [len(part) for part in parts] == [4, 4, 3]
    assert [t["name"] for part in parts for t in part] == [one.name for one in asked]
    stems = [plan.stem for plan in planned(view)]
    assert [s for s in stems if s.startswith("probing-layers")] == [
        f"probing-layers-a-{n}" for n in (1, 2, 3)
    ]


def test_what_weights_say(view: View, tmp_path: Path) -> None:
    says = readings(view, 0)
    assert says[0] == "The largest weight is that of layer 0 in SID and PR."
    assert says[1] == "Alone, the best score is that of layer 3 in SID and PR."
    assert (
        says[2] == "The sum does worse, beyond the interval, when trained without layer 3 in SID."
    )
    assert len(says) == 3
    names = [str(i) for i in range(20)]
    clear = dict.fromkeys(names, (0.2, 0.1, 0.3))
    many = tuple(
        Asked(f"t{i}", f"T{i}", {"a": {**dict.fromkeys(names, 0.5), SUM: 0.6}}, lost={"a": clear})
        for i in range(2)
    )
    told = readings(probing_view(tmp_path / "many", many), 0)[-1]
    assert told.endswith("(of 40 intervals, about 1 would say so by chance).")
    flat = Asked("sid", "SID", {"a": {"0": 0.1, "1": 0.2, SUM: 0.3}},
                 lost={"a": {"0": (0.1, -0.1, 0.3)}})  # fmt: skip
    made = probing_view(tmp_path, (flat,))
    table = made.table
    table.loc[table["measure"].str.startswith("layer-weight"), "value"] = [0.49, 0.49, 0.51, 0.51]
    said = " ".join(readings(made, 0))
    assert "the largest is 1.02 times an equal share" in said
    assert "loses nothing that is told apart from 0" in said


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    view = probing_view(tmp_path / "made", (Asked("sid", "SID", {"a": SID.scores["a"]}),))
    once, again = (draw_figures(view, tmp_path / name) for name in ("once", "again"))
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]
