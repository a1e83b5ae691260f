"""Figures in Chromium: what is hovered is what the table holds, switches switch, SVG is saved."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pandas as pd
import pytest

if TYPE_CHECKING:
    from browser.conftest import Opened

Visit = Callable[..., "Opened"]
SVG = "{http://www.w3.org/2000/svg}"


def table(opened: Opened) -> pd.DataFrame:
    return pd.read_parquet(opened.folder / "results.parquet")


def hovered(opened: Opened, chart: str, k: int = 0, most: int = 4) -> list[list[str]]:
    """What the page says at some points of a figure, from its first to its last."""
    spots = opened.tab.evaluate(f"checks.spots('{chart}', {k})")
    assert spots, f"nothing to point at in {chart}"
    every = max(1, len(spots) // most)
    said = []
    for spot in spots[::every][:most]:
        opened.tab.mouse.move(0, 0)
        opened.tab.mouse.move(spot["x"], spot["y"])
        opened.tab.wait_for_function("checks.tip().length", timeout=4000)
        # What marks the place under the pointer must not hide it.
        for step in (1, 2):
            opened.tab.mouse.move(spot["x"] + step, spot["y"])
            opened.tab.wait_for_timeout(60)
            assert opened.tab.evaluate("checks.tip()"), spot
        said.append(opened.tab.evaluate("checks.tip()"))
    return said


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def labelled(spec: str) -> str:
    return spec.rpartition("/")[2].partition(",")[0]


def by_label(found: pd.DataFrame, label: str) -> pd.DataFrame:
    """Rows of the model of a label; a twin is named random:model."""
    kind, _, name = label.rpartition(":")
    names = found["model"].map(lambda spec: (spec.startswith("random:"), labelled(spec)))
    return found[[key == (kind == "random", name) for key in names]]


@pytest.mark.parametrize(
    ("chart", "which"),  # the first of the pairs has numbers in its cells, the third has dots
    [("matrix", 0), ("pairs", 0), ("pairs", 2), ("paths", 0), ("steps", 0)],
)
def test_similarities_are_those_of_the_table(visit: Visit, chart: str, which: int) -> None:
    opened = visit("similarity")
    rows = table(opened)
    rows = rows[(rows["unit"] == "frame") & (rows["estimator"] == "debiased")]
    for lines in hovered(opened, chart, which, most=6):
        (model, layer), (other, other_layer) = (
            line.partition(" ")[0].split("/") for line in lines[:2]
        )
        ends = [(model, layer), (other, other_layer)]
        pair = rows[
            [
                [(labelled(a), b), (labelled(c), d)] in (ends, ends[::-1])
                for a, b, c, d in zip(
                    rows["model"], rows["layer"], rows["other_model"], rows["other_layer"],
                    strict=True,
                )
            ]
        ]  # fmt: skip
        assert len(pair) == 1, lines
        told = lines[2].removeprefix("CKA, debiased: ")
        assert number(told) == pytest.approx(pair["value"].iloc[0], abs=0.0051)
        low, high = re.fullmatch(r"95 % interval (\S+) to (\S+)", lines[3]).groups()
        assert number(low) == pytest.approx(pair["ci_low"].iloc[0], abs=0.0051)
        assert number(high) == pytest.approx(pair["ci_high"].iloc[0], abs=0.0051)
        assert f"{pair['n'].iloc[0]:,} frames" in lines[4]
    assert opened.console == []


def test_points_of_the_curves_are_those_of_the_table(visit: Visit) -> None:
    opened = visit("properties")
    rows = table(opened)
    rows = rows[(rows["property"] == "cca-mel") & (rows["measure"] == "pwcca")]
    beside = 0
    for lines in hovered(opened, "curves", most=12):
        layer = lines[1].split()[1]
        label = lines[0].removesuffix(", untrained")
        control = "shuffled-rows" if lines[2].startswith("shuffled rows: ") else ""
        beside += bool(control)
        row = by_label(rows[(rows["layer"] == layer) & (rows["control"] == control)], label)
        assert len(row) == 1, lines
        assert number(lines[2].rpartition(": ")[2]) == pytest.approx(
            row["value"].iloc[0], abs=0.0051
        )
        low, high = re.fullmatch(r"95 % interval (\S+) to (\S+)", lines[3]).groups()
        assert number(low) == pytest.approx(row["ci_low"].iloc[0], abs=0.0051)
        assert number(high) == pytest.approx(row["ci_high"].iloc[0], abs=0.0051)
    assert 0 < beside < 12


def test_every_drawn_point_of_the_curves_is_in_the_table(visit: Visit) -> None:
    opened = visit("properties")
    rows = table(opened)
    rows = rows[(rows["property"] == "cca-mel") & (rows["measure"] == "pwcca")]
    values = rows[rows["control"] == ""]
    drawn = opened.tab.evaluate("checks.data('curves', 'points')")
    assert len(drawn) == len(values)
    assert sorted(d["y"] for d in drawn) == pytest.approx(sorted(values["value"]), rel=1e-4)
    assert sorted(d["low"] for d in drawn) == pytest.approx(sorted(values["ci_low"]), rel=1e-4)
    beside = opened.tab.evaluate("checks.data('curves', 'controls')")
    assert len(beside) == (rows["control"] != "").sum()


def test_counts_of_neurons_are_those_of_the_table(visit: Visit) -> None:
    opened = visit("neurons")
    rows = table(opened)
    for lines in hovered(opened, "neuron-counts", most=4):
        model, layer = lines[0].split(", ")
        mine = rows[(rows["model"] == model) & (rows["layer"] == layer)]
        found = number(lines[2].split()[0])
        assert found in set(mine["value"]), lines


def test_scores_of_protection_are_those_of_the_table(visit: Visit) -> None:
    opened = visit("protection")
    rows = table(opened)
    for lines in hovered(opened, "protection", most=5):
        told = re.search(r"(\d[\d.]*)[ %]*\(95 %: ([\d.]+) to ([\d.]+)", " ".join(lines[2:]))
        assert told, lines
        value, low, high = told.groups()
        held = rows[
            (100 * rows["value"]).round(1).eq(number(value))
            & (100 * rows["ci_low"]).round(1).eq(number(low))
            & (100 * rows["ci_high"]).round(1).eq(number(high))
        ]
        assert len(held), lines


def test_curves_of_training_are_those_of_the_log(visit: Visit) -> None:
    opened = visit("training")
    log = [json.loads(line) for line in (opened.folder / "train.jsonl").read_text().splitlines()]
    losses = {e["step"]: e["loss"] for e in log if e["kind"] == "step"}
    for lines in hovered(opened, "training", most=5):
        step = int(re.match(r"step ([\d,]+)", lines[1]).group(1).replace(",", ""))
        assert number(lines[2]) == pytest.approx(losses[step], rel=1e-3), lines


def drawn_models(opened: Opened, chart: str = "curves") -> set[str]:
    return {d["lines"][0] for d in opened.tab.evaluate(f"checks.data('{chart}', 'points')")}


def press(opened: Opened, selector: str) -> None:
    opened.tab.locator(selector).first.click()
    opened.drawn()


def test_a_model_is_hidden_in_all_figures_and_brought_back(visit: Visit) -> None:
    opened = visit("properties")
    key = "[data-chart=curves] .keys button:text-is('wavlm-base')"
    assert "wavlm-base" in drawn_models(opened)
    opened.tab.locator(key).first.focus()
    opened.tab.keyboard.press("Enter")
    opened.drawn()
    assert "wavlm-base" not in drawn_models(opened)
    assert "hubert-base-ls960" in drawn_models(opened)
    states = opened.tab.locator(".keys button:text-is('wavlm-base')")
    pressed = {states.nth(k).get_attribute("aria-pressed") for k in range(states.count())}
    assert pressed == {"false"}
    assert states.count() == 5  # the small figures, and one a property
    # Who uses the keyboard stays where they were.
    assert opened.tab.evaluate("document.activeElement.textContent") == "wavlm-base"
    opened.tab.keyboard.press("Enter")
    opened.drawn()
    assert "wavlm-base" in drawn_models(opened)
    assert opened.console == []


def test_twins_controls_and_intervals_are_switched(visit: Visit) -> None:
    opened = visit("properties")
    everything = opened.tab.evaluate("checks.data('curves', 'points')")
    assert any(name.endswith("untrained") for name in drawn_models(opened))
    press(opened, "label:has([data-show=twins])")
    assert not any(name.endswith("untrained") for name in drawn_models(opened))
    assert opened.tab.evaluate("checks.data('curves', 'controls')")
    press(opened, "label:has([data-show=controls])")
    assert opened.tab.evaluate("checks.data('curves', 'controls')") == []
    assert any(d["low"] is not None for d in everything)
    press(opened, "label:has([data-show=intervals])")
    assert all(d["low"] is None for d in opened.tab.evaluate("checks.data('curves', 'points')"))
    for name in ("twins", "controls", "intervals"):
        press(opened, f"label:has([data-show={name}])")
    assert opened.tab.evaluate("checks.data('curves', 'points')") == everything
    assert opened.console == []


def test_layers_are_numbered_or_relative(visit: Visit) -> None:
    opened = visit("properties")
    assert max(d["x"] for d in opened.tab.evaluate("checks.data('curves', 'points')")) == 12
    press(opened, "label:has([value=relative])")
    assert max(d["x"] for d in opened.tab.evaluate("checks.data('curves', 'points')")) == 1


def test_another_measure_of_a_property_is_drawn(visit: Visit) -> None:
    opened = visit("properties")
    before = opened.tab.evaluate("checks.data('curves', 'points')")
    opened.tab.locator("select[data-variants='0']").select_option("1")
    opened.tab.wait_for_function(
        "checks.data('curves', 'points').every((d) => !d.lines[2].includes('PWCCA'))"
    )
    rows = table(opened)
    rows = rows[(rows["property"] == "cca-mel") & (rows["measure"] == "cca-mean")]
    after = opened.tab.evaluate("checks.data('curves', 'points')")
    values = rows[rows["control"] == ""]["value"]
    assert sorted(d["y"] for d in after) == pytest.approx(sorted(values), rel=1e-4)
    assert after != before


def test_matrices_switch_units_measures_and_models(visit: Visit) -> None:
    opened = visit("similarity")
    size = len(opened.tab.evaluate("checks.data('matrix', 'cells')"))
    assert size == (5 + 5 + 1) ** 2  # two layers of ECAPA give one vector an utterance
    press(opened, "label:has([value=utterance])")
    cells = opened.tab.evaluate("checks.data('matrix', 'cells')")
    assert len(cells) == (5 + 7 + 1) ** 2
    opened.tab.locator("#measure").select_option("CKA, biased")
    opened.drawn()
    rows = table(opened)
    rows = rows[(rows["unit"] == "utterance") & (rows["estimator"] == "biased")]
    cells = opened.tab.evaluate("checks.data('matrix', 'cells')")
    top = {(c["i"], c["j"]): c["v"] for c in cells if c["i"] <= c["j"]}
    assert sorted(top.values()) == pytest.approx(sorted(rows["value"]), abs=1e-4)
    press(opened, "[data-chart=matrix] .keys button:text-is('small')")
    assert len(opened.tab.evaluate("checks.data('matrix', 'cells')")) == (7 + 1) ** 2
    others = {d["model"] for d in opened.tab.evaluate("checks.data('paths', 'points', 1)")}
    assert others == {"log-mel"}
    press(opened, "[data-chart=matrix] .keys button:text-is('small')")
    press(opened, "label:has([data-show=intervals])")
    profile = opened.tab.evaluate("checks.data('steps', 'points')")
    assert profile
    assert all(d["low"] == d["value"] == d["high"] for d in profile)
    assert opened.console == []


def test_conditions_lines_and_chance_are_switched(visit: Visit) -> None:
    opened = visit("protection")
    size = len(opened.tab.evaluate("checks.data('protection', 'spots')"))
    press(opened, "figcaption .keys button:text-is('protected')")
    assert len(opened.tab.evaluate("checks.data('protection', 'spots')")) == size * 2 // 3
    press(opened, "figcaption .keys button:text-is('protected')")
    assert len(opened.tab.evaluate("checks.data('protection', 'spots')")) == size
    assert opened.console == []

    opened = visit("neurons")
    assert opened.tab.evaluate("checks.data('neuron-counts', 'bands')")
    dots = len(opened.tab.evaluate("checks.data('neuron-counts', 'dots')"))
    press(opened, "label:has([data-show=twins])")
    assert len(opened.tab.evaluate("checks.data('neuron-counts', 'dots')")) == dots // 2
    press(opened, "label:has([data-show=controls])")
    assert opened.tab.evaluate("checks.data('neuron-counts', 'means')") == []
    assert opened.console == []


def test_a_curve_is_read_with_the_arrow_keys(visit: Visit) -> None:
    opened = visit("properties")
    holder = opened.tab.locator("[data-chart=curves] .drawing[role=application]").first
    assert holder.get_attribute("aria-label").startswith("log-mel frames (PWCCA)")
    holder.focus()
    opened.tab.wait_for_timeout(200)  # it scrolls there, and scrolling puts what was read away
    said = []
    for key in ("Home", "ArrowRight", "ArrowDown", "End"):
        opened.tab.keyboard.press(key)
        lines = opened.tab.evaluate("checks.tip()")
        assert holder.locator("[aria-live]").text_content() == "; ".join(lines)
        said.append(lines)
    assert len({tuple(lines) for lines in said}) == 4
    assert said[2][0] != said[1][0]
    # Values come first, from the first layer of the first model on; controls last.
    assert said[0][:2] == ["hubert-base-ls960", "layer conv1 (768 wide)"]
    assert said[0][2].startswith("PWCCA")
    assert said[3][2].startswith("shuffled rows")
    opened.tab.keyboard.press("Escape")
    assert opened.tab.evaluate("checks.tip()") == []


def saved(opened: Opened, selector: str, folder: Path) -> Path:
    with opened.tab.expect_download() as waiting:
        opened.tab.locator(selector).first.click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def words(tree: ElementTree.Element) -> set[str]:
    return {"".join(e.itertext()) for e in tree.iter(f"{SVG}text")}


def test_figures_are_saved_as_svg(visit: Visit, tmp_path: Path) -> None:
    opened = visit("properties")
    path = saved(opened, "[data-chart=curves] .tool", tmp_path)
    assert path.name == "log-mel-frames-pwcca.svg"
    tree = ElementTree.parse(path).getroot()
    found = words(tree)
    assert {"log-mel frames (PWCCA)", "hubert-base-ls960", "shuffled rows", "layer"} <= found
    width, height = float(tree.get("width")), float(tree.get("height"))
    assert width > 400
    assert math.isclose(float(tree.get("viewBox").split()[3]), height)
    lines = [e for e in tree.iter(f"{SVG}path") if e.get("stroke") == "#0072b2"]
    assert lines  # the colour of the first model

    opened = visit("similarity")
    path = saved(opened, "[data-chart=matrix] .tool", tmp_path)
    assert path.name == "every-layer-against-every-layer-cka-debiased-one-row-per-frame.svg"
    tree = ElementTree.parse(path).getroot()
    assert {"small", "0", "4", "0.25", "1.00"} <= words(tree)  # names, and the colour scale
    fills = {e.get("fill") for e in tree.iter(f"{SVG}path")} | {
        e.get("fill") for e in tree.iter(f"{SVG}rect")
    }
    assert len(fills) > 20
    assert opened.console == []


@pytest.mark.parametrize("kind", ["probing", "verification"])
def test_pictures_are_saved_as_they_are(visit: Visit, tmp_path: Path, kind: str) -> None:
    opened = visit(kind)
    path = saved(opened, "figure > .tools .tool", tmp_path)
    shown = opened.tab.evaluate("atob(document.querySelector('figure > img').src.split(',')[1])")
    assert path.read_bytes() == shown.encode("latin-1")
    assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
    count = opened.tab.locator("figure > img").count()
    assert opened.tab.locator("figure > .tools .tool").count() == count


@pytest.mark.parametrize("kind", ["similarity", "properties", "joined", "neurons", "training"])
def test_every_drawn_figure_has_its_button(visit: Visit, kind: str) -> None:
    opened = visit(kind)
    assert opened.tab.locator("canvas").count() > 0
    assert opened.tab.evaluate(
        "[...document.querySelectorAll('.drawing')].every((e) => e.nextElementSibling"
        " && e.nextElementSibling.matches('.tools, .unseen'))"
    )
    buttons = opened.tab.locator("[data-chart] .tool:text-is('SVG')").count()
    assert buttons == opened.tab.locator("canvas").count()
