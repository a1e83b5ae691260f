"""The choice of layers in Chromium: figures, tables and files show the layers that are wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from browser.conftest import Opened

Visit = Callable[..., "Opened"]

MODEL = "hubert-base-ls960"


def group(opened: Opened, owner: str) -> Locator:
    """The controls of one model, with the picker open."""
    fold = opened.tab.locator(".bar details.layers")
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()
    legend = opened.tab.locator(f"legend:text-is('{owner}')")
    return fold.locator("fieldset").filter(has=legend)


def choose(opened: Opened, owner: str, first: str, last: str) -> None:
    lists = group(opened, owner).locator("select")
    lists.nth(1).select_option(label=last)
    lists.nth(0).select_option(label=first)
    opened.drawn()


def press(opened: Opened, owner: str, name: str) -> None:
    group(opened, owner).locator(f".pill:has(span:text-is('{name}'))").click()
    opened.drawn()


def data(opened: Opened, chart: str, name: str, which: int = 0) -> list[dict[str, Any]]:
    return list(opened.tab.evaluate(f"checks.data('{chart}', '{name}', {which})"))


def layers(opened: Opened, label: str, chart: str = "curves", name: str = "points") -> list[str]:
    """Layers that a figure draws of a model."""
    lines = [d["lines"] for d in data(opened, chart, name)]
    return [told[1].split()[1] for told in lines if told[0] == label]


def test_curves_show_the_layers_that_are_chosen(visit: Visit) -> None:
    opened = visit("properties")
    everything = data(opened, "curves", "points")
    both = (MODEL, f"random:{MODEL}, untrained")
    assert [layers(opened, label)[0] for label in both] == ["conv1", "conv1"]
    others = layers(opened, "wavlm-base")
    choose(opened, MODEL, "4", "8")
    for label in both:  # the twin follows its model
        assert layers(opened, label) == ["4", "5", "6", "7", "8"]
    assert layers(opened, "wavlm-base") == others
    press(opened, MODEL, "6")
    for name in ("points", "controls"):
        assert layers(opened, MODEL, name=name) == ["4", "5", "7", "8"], name
    peak = {layers(opened, MODEL)[0]} | {f"{d['x']}" for d in data(opened, "curves", "peaks")}
    assert "6" not in peak
    count = opened.tab.locator("#layer-count").text_content()
    said = opened.tab.locator("#layer-picker [role=status]").text_content()
    assert said.endswith("layers left out")
    left, total = (int(said.split()[k]) for k in (0, 2))
    assert count == f"{total - left} of {total}"
    noted = opened.tab.locator("[data-chart=curves] p.key", has_text=said)
    assert noted.count() == opened.tab.locator("[data-chart=curves]").count()

    fold = opened.tab.locator("[data-chart=curves] details").first
    fold.locator("summary").click()
    fold.locator("tbody tr").first.wait_for()  # made once it is open, and that is told later
    rows = fold.locator("tbody tr").all_inner_texts()
    assert [r.split("\t")[1] for r in rows if r.startswith(MODEL)] == ["4", "5", "7", "8"]

    group(opened, "all models").locator("button:text-is('all')").click()
    opened.drawn()
    assert data(opened, "curves", "points") == everything
    assert opened.tab.locator("#layer-count").text_content() == "all"
    assert opened.tab.locator("[data-chart=curves] p.key", has_text="left out").count() == 0
    assert opened.console == []
    assert opened.requests == []


def test_all_models_are_cut_by_depth_and_thinned(visit: Visit) -> None:
    opened = visit("properties")
    choose(opened, "all models", "½", "the last")
    assert layers(opened, "wavlm-base") == ["6", "7", "8", "9", "10", "11", "12"]
    assert layers(opened, "ecapa-tdnn") == ["block2", "block3", "mfa"]
    group(opened, "all models").locator("button:text-is('every second')").click()
    opened.drawn()
    assert layers(opened, "wavlm-base") == ["0", "2", "4", "6", "8", "10", "12"]
    assert layers(opened, "ecapa-tdnn") == ["conv", "block2", "mfa"]
    assert layers(opened, "log-mel"), "a model of one layer is hidden by its name"
    assert opened.console == []


def test_layers_are_chosen_with_the_keyboard(visit: Visit) -> None:
    opened = visit("properties")
    tab = opened.tab
    tab.locator(".layers summary").focus()
    tab.keyboard.press("Enter")
    tab.locator("#layer-picker").wait_for(state="visible")
    assert tab.evaluate("checks.nameless()") == []
    reached = []
    for _ in range(9):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate("document.activeElement.type + ' ' + document.activeElement.labels?.[0]"
                         "?.textContent.trim().split(' ')[0]")
        )  # fmt: skip
    assert [name.split()[0] for name in reached[:6]] == [
        "select-one", "select-one", "button", "button", "select-one", "select-one",
    ]  # fmt: skip
    assert reached[6] == "checkbox conv1"
    assert reached[8] == "checkbox conv3"
    tab.keyboard.press("Space")
    opened.drawn()
    assert "conv3" not in layers(opened, MODEL)
    # The figures were drawn again, and the reader is where they were.
    assert tab.evaluate("document.activeElement.checked") is False
    tab.keyboard.press("Escape")
    assert not tab.locator("#layer-picker").is_visible()
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_rows_and_columns_of_matrices_are_left_out(visit: Visit) -> None:
    opened = visit("similarity")
    cells = data(opened, "matrix", "cells")
    pair = data(opened, "pairs", "cells")
    steps = [d["lines"][:2] for d in data(opened, "steps", "points")]
    choose(opened, "small", "2", "4")
    assert len(cells) == (5 + 5 + 1) ** 2
    assert len(data(opened, "matrix", "cells")) == (3 + 5 + 1) ** 2
    kept = {(d["i"], d["j"]): d["v"] for d in cells}
    assert all(d["v"] == kept[d["i"], d["j"]] for d in data(opened, "matrix", "cells"))
    assert len(pair) == 5**2
    assert len(data(opened, "pairs", "cells")) == 3**2
    found = [d["lines"][:2] for d in data(opened, "steps", "points")]
    of_small = [ends for ends in found if ends[0].startswith("small/")]
    assert [ends[0].split()[0] for ends in of_small] == ["small/2", "small/3"]
    assert len(steps) - len(found) == 2
    assert {d["lines"][0].split()[0] for d in data(opened, "paths", "points")} == {
        "small/2", "small/3", "small/4",
    }  # fmt: skip
    # What has nothing left to show says so, and all comes back with the last layer.
    for owner in ("small", "ecapa-tdnn"):
        boxes = group(opened, owner).locator("input:checked")
        while boxes.count() > 1:
            boxes.last.locator("xpath=..").click()
        if owner == "small":
            boxes.first.locator("xpath=..").click()
    opened.drawn()
    assert len(data(opened, "matrix", "cells")) == (1 + 1) ** 2
    empty = opened.tab.locator("[data-chart=steps] .absent").text_content()
    assert empty == "All models or layers of this figure are hidden."
    group(opened, "ecapa-tdnn").locator("input:checked").locator("xpath=..").click()
    opened.drawn()
    assert data(opened, "matrix", "cells") == cells
    assert opened.console == []


def test_layers_of_neurons_are_left_out(visit: Visit) -> None:
    opened = visit("neurons")
    bands = data(opened, "neuron-counts", "bands")
    assert {d["layer"] for d in bands} == {"1", "2"}
    choose(opened, "m, neurons", "2", "2")
    for name in ("bands", "means", "dots"):
        found = data(opened, "neuron-counts", name)
        assert {d["layer"] for d in found} == {"2"}, name
    assert opened.console == []


def test_layers_of_a_sum_are_left_out(visit: Visit) -> None:
    opened = visit("probing")
    assert len(data(opened, "probing-layers", "bars1")) == 4
    cells = data(opened, "weight-map", "cells")
    press(opened, "a", "2")
    for name in ("spots0", "curves0", "bars1", "dots1", "bars2"):
        found = data(opened, "probing-layers", name)
        assert {d["layer"] for d in found} == {"0", "1", "3"}, name
    assert len(data(opened, "weight-map", "cells")) == len(cells) - 1
    heads = opened.tab.locator("table.summed").first.locator("thead th:visible").all_inner_texts()
    assert [text.split()[0] for text in heads[1:]] == ["0", "1", "3"]
    # The other model keeps all of its layers.
    others = data(opened, "probing-layers", "bars1", 1)
    assert {d["layer"] for d in others} == {"0", "1", "2", "3"}
    assert opened.console == []


def test_a_table_is_saved_without_what_is_left_out(visit: Visit, tmp_path: Path) -> None:
    opened = visit("probing")
    press(opened, "a", "2")
    opened.tab.keyboard.press("Escape")
    with opened.tab.expect_download() as waiting:
        opened.tab.locator("#probing-summed .tool:text-is('csv')").first.click()
    waiting.value.save_as(tmp_path / "sum.csv")
    head, *rows = (tmp_path / "sum.csv").read_text().splitlines()
    assert [name.split()[0] for name in head.split(",")[1:]] == ["0", "1", "3"]
    assert all(len(row.split(",")) == 4 for row in rows)


def test_weights_and_scores_are_read_and_switched(visit: Visit) -> None:
    opened = visit("probing")
    holder = opened.tab.locator("[data-chart=probing-layers] .drawing").first
    assert holder.get_attribute("aria-label").startswith("a, SID: score alone")
    holder.focus()
    opened.tab.wait_for_timeout(200)  # it scrolls there, and scrolling puts what was read away
    opened.tab.keyboard.press("Home")
    first = opened.tab.evaluate("checks.tip()")
    assert first
    spots = [d["lines"] for k in range(3) for d in data(opened, "probing-layers", f"spots{k}")]
    assert ["a: score of the layer alone", "layer 3", "accuracy, %: 80.0",
            "95 % interval 75.0 to 85.0"] in spots  # fmt: skip
    assert data(opened, "probing-layers", "errors0")
    opened.tab.locator("label:has([data-show=intervals])").click()
    opened.drawn()
    assert data(opened, "probing-layers", "errors0") == []
    assert any(d["dash"] == "twin" for d in data(opened, "probing-layers", "curves0"))
    opened.tab.locator("label:has([data-show=twins])").click()
    opened.drawn()
    assert not any(d["dash"] == "twin" for d in data(opened, "probing-layers", "curves0"))
    assert opened.console == []


@pytest.mark.parametrize("kind", ["joined", "study"])
def test_pages_of_several_results_choose_layers_too(visit: Visit, kind: str) -> None:
    opened = visit(kind)
    fold = opened.tab.locator(".bar details.layers")
    assert fold.count() == 1
    fold.locator("summary").click()
    owner = fold.locator("legend").nth(1).text_content()
    assert owner
    names = group(opened, owner).locator(".pill").all_inner_texts()
    before = layers(opened, owner)
    assert len(before) > 1
    assert set(before) <= set(names)
    press(opened, owner, before[0])
    assert layers(opened, owner) == before[1:]
    assert opened.console == []
    assert opened.requests == []
