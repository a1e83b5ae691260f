"""Sentences about curves: said where the table bears them out, and not elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_made_properties import ASKED, property_made_record, property_made_rows
from report_made_properties import property_made_view as made
from voxstrata.report.curve_words import caveats, lead, model_said, reduced, verdict
from voxstrata.report.view import View
from voxstrata.results import Row

ASK = replace(ASKED[2], others=())


def rows_of(model: str, values: list[float], half: float | None = 0.02, **more: Any) -> list[Row]:
    """Values of one model's layers, with intervals of one width."""
    blank = property_made_rows([(model, len(values), 768, None)], [ASK])
    return [
        replace(
            r,
            value=v,
            ci_low=None if half is None else v - half,
            ci_high=None if half is None else v + half,
            **more,
        )
        for r, v in zip([r for r in blank if not r.control], values, strict=True)
    ]


def view_of(folder: Path, rows: list[Row], **record: Any) -> View:
    models = [(m, 4, 768, None) for m in dict.fromkeys(r.model for r in rows)]
    told: dict[str, Any] = {"twins": {"a": "random:a"}, **record}
    return made(folder, rows, property_made_record(models, [ASK], **told))


CLEAR = [
    *rows_of("a", [0.3, 0.5, 0.71, 0.4]),
    *rows_of("random:a", [0.2, 0.4, 0.3, 0.1]),
    *rows_of("a", [0.08, 0.08, 0.08, 0.08], control="shuffled-rows"),
]


def test_a_clear_peak(tmp_path: Path) -> None:
    view = view_of(tmp_path, CLEAR)
    asked = view.curves[0]
    assert lead(view, asked, asked.main) == (
        "Phone identity (PWCCA) peaks at layer 2 of a (0.71, 0.69 to 0.73); its untrained twin "
        "reaches 0.40 at layer 1, shuffled rows 0.08."
    )
    assert model_said(view, asked.main, 0) == (
        "a peaks at layer 2 (0.71, 0.69 to 0.73); no other layer's interval overlaps its own; its "
        "untrained twin reaches 0.40 at layer 1, shuffled rows 0.08."
    )
    assert verdict(view, asked.main) == ""
    assert caveats(view, asked, asked.main) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.3, 0.69, 0.71, 0.4], "layer 1 is not told apart from it"),
        ([0.3, 0.69, 0.71, 0.7], "layers 1 and 3 are not told apart from it"),
        ([0.7, 0.69, 0.71, 0.7], "all other layers overlap its own, so no peak is certain"),
        ([0.1, 0.7, 0.71, *[0.7] * 8], "intervals of 9 of the 10 other layers overlap its own"),
        ([0.7, 0.71], "the interval of the other layer overlaps its own"),
    ],
)
def test_overlapping_layers_are_said(tmp_path: Path, values: list[float], said: str) -> None:
    view = view_of(tmp_path, rows_of("a", values))
    assert said in model_said(view, view.curves[0].main, 0)


def test_a_flat_curve_has_no_peak(tmp_path: Path) -> None:
    view = view_of(tmp_path, rows_of("a", [0.7, 0.69, 0.71, 0.7]))
    asked = view.curves[0]
    assert "is highest at layer 2" in lead(view, asked, asked.main)
    assert "peaks" not in lead(view, asked, asked.main)


def test_no_intervals(tmp_path: Path) -> None:
    view = view_of(tmp_path, rows_of("a", [0.3, 0.5], None) + rows_of("b", [0.1, 0.2], None))
    asked = view.curves[0]
    assert "is highest at layer 1 (0.50, no interval); without intervals" in model_said(
        view, asked.main, 0
    )
    assert verdict(view, asked.main) == "Without intervals, the lead of a over b is not certain."
    assert "No value has an interval, so differences cannot be told from chance." in caveats(
        view, asked, asked.main
    )


def test_one_layer(tmp_path: Path) -> None:
    view = view_of(tmp_path, rows_of("fb", [0.4]))
    asked = view.curves[0]
    assert model_said(view, asked.main, 0) == "fb has a single layer here, 0 (0.40, 0.38 to 0.42)."
    assert "which has a single layer here (0.40, 0.38 to 0.42)." in lead(view, asked, asked.main)


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (0.70, "shuffled rows give 0.70, so the value is not told apart from its control"),
        (0.90, "shuffled rows give 0.90, so the value is not above its control"),
    ],
)
def test_a_control_that_is_not_exceeded(tmp_path: Path, control: float, said: str) -> None:
    rows = [*CLEAR[:8], *rows_of("a", [0.1, 0.1, control, 0.1], control="shuffled-rows")]
    view = view_of(tmp_path, rows)
    asked = view.curves[0]
    assert said in lead(view, asked, asked.main)
    assert any(
        c.startswith("The best layer of a is not clear of its control")
        for c in caveats(view, asked, asked.main)
    )


@pytest.mark.parametrize(
    ("height", "said"),
    [(0.70, "reaches 0.70 at layer 1, from which it is not told apart"), (0.9, "which is better")],
)
def test_a_twin_that_is_as_good(tmp_path: Path, height: float, said: str) -> None:
    rows = [*CLEAR[:4], *rows_of("random:a", [0.2, height, 0.3, 0.1])]
    view = view_of(tmp_path, rows)
    assert said in model_said(view, view.curves[0].main, 0)


def test_models_told_apart_or_not(tmp_path: Path) -> None:
    near = view_of(tmp_path / "near", CLEAR + rows_of("b", [0.1, 0.70]))
    assert verdict(near, near.curves[0].main) == (
        "The peak of b (0.70, layer 1) is not told apart from that of a (intervals overlap), so "
        "the data do not say which model is highest."
    )
    far = view_of(tmp_path / "far", CLEAR + rows_of("b", [0.1, 0.60]))
    assert verdict(far, far.curves[0].main) == (
        "The peak of a is clear of every other model's; next is b (0.60, layer 1)."
    )
    many = view_of(tmp_path / "many", [r for k in "bcdefgh" for r in rows_of(k, [0.1, 0.6])])
    assert "and 3 more models are not told apart" in verdict(many, many.curves[0].main)
    for view, said in (
        (near, "b is not told apart from it."),
        (far, "Its interval overlaps no other model's peak."),
        (many, "No other model is told apart from it."),
    ):
        assert lead(view, view.curves[0], view.curves[0].main).endswith(said)


def test_lower_is_better(tmp_path: Path) -> None:
    rows = rows_of("a", [0.3, 0.1, 0.2], measure="abx-error")
    rows += rows_of("a", [0.5, 0.5, 0.5], measure="abx-error", control="chance")
    view = view_of(tmp_path, rows)
    asked = view.curves[0]
    assert "is lowest at layer 1 (0.10, 0.08 to 0.12); no other layer" in model_said(
        view, asked.main, 0
    )
    assert "chance gives 0.50." in model_said(view, asked.main, 0)
    assert caveats(view, asked, asked.main) == [
        "Lower is better here; peaks are the lowest values."
    ]
    worse = view_of(
        tmp_path / "w",
        [*rows[:3], *rows_of("a", [0.05] * 3, measure="abx-error", control="chance")],
    )
    assert "no better than its control" in model_said(worse, worse.curves[0].main, 0)


def test_measures_that_do_not_rank(tmp_path: Path) -> None:
    rows = rows_of("a", [0.3, 0.1, 0.2], measure="gap")
    rows += rows_of("random:a", [0.4, 0.4, 0.4], measure="gap")
    rows += rows_of("a", [0.5, 0.5, 0.5], measure="gap", control="permuted-labels")
    view = view_of(tmp_path, rows)
    asked = view.curves[0]
    assert model_said(view, asked.main, 0) == (
        "a is highest at layer 0 (0.30, 0.28 to 0.32); no other layer's interval overlaps its "
        "own; its untrained twin reaches 0.40 at layer 0, permuted labels 0.50."
    )
    assert caveats(view, asked, asked.main) == [
        "Neither high nor low is better in itself; marked layers are those with the highest value."
    ]


def test_cautions(tmp_path: Path) -> None:
    rows = rows_of("a", [0.3, float("nan"), 0.6], groups=4)
    rows[0] = replace(rows[0], ci_low=None, ci_high=None)
    view = view_of(tmp_path, rows)
    found = caveats(view, view.curves[0], view.curves[0].main)
    assert found == [
        "There is no control to hold these values against.",
        "1 of 2 values have no interval.",
        "1 layer gives no finite value (a gap in the curve).",
        "The intervals rest on 4 independent groups only.",
    ]


def test_selectivity_needs_no_control(tmp_path: Path) -> None:
    view = view_of(tmp_path, rows_of("a", [0.3, 0.6], measure="selectivity"))
    assert caveats(view, view.curves[0], view.curves[0].main) == []


def test_no_value_at_all(tmp_path: Path) -> None:
    view = view_of(tmp_path, rows_of("a", [float("nan"), float("nan")]))
    asked = view.curves[0]
    assert lead(view, asked, asked.main) == "Phone identity (PWCCA): no layer has a value."
    assert model_said(view, asked.main, 0) == "a: no layer has a value."


def test_what_a_small_scale_reduced(tmp_path: Path) -> None:
    facts = [{"reduced": {"words": {"published": 500, "used": 120}, "odd": 3}}, {"rows": 9}]
    view = view_of(
        tmp_path,
        CLEAR,
        properties=[{"name": ASK.name, "facts": facts, "notices": ["few speakers"]}],
    )
    asked = view.curves[0]
    assert reduced(asked) == [
        "Reduced to fit this corpus. Words: 120 instead of 500. Values are not comparable with "
        "published ones."
    ]
    assert caveats(view, asked, asked.main)[:1] == ["few speakers"]
    assert reduced(replace(asked, facts=({"reduced": "nonsense"},))) == []
