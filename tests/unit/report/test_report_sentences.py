"""Sentences say what the table bears out, and that it cannot tell where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from report_made import MADE, made_record, made_rows, made_view
from voxstrata.report import sentences
from voxstrata.report.matches import best_path, cell, overlap, steps
from voxstrata.report.view import View
from voxstrata.results import Row

Pair = tuple[str, str, str, str]


def pair_view(
    folder: Path,
    values: dict[Pair, tuple[float, float | None, float | None]],
    *,
    n: int = 5000,
    groups: int = 40,
    estimator: str = "debiased",
    measure: str = "cka",
) -> View:
    """A view from (model, layer, other model, other layer): (value, low, high)."""
    rows = [
        Row(
            *("s", *pair, "similarity", measure, "frame", *numbers),
            n=n,
            groups=groups,
            d=768,
            other_d=80,
            estimator=estimator,
            seed=0,
        )
        for pair, numbers in values.items()
    ]
    symmetric = not measure.startswith("regression")
    return made_view(folder, rows, {"measures": [{"name": measure, "symmetric": symmetric}]})


CLEAR: dict[Pair, tuple[float, float | None, float | None]] = {
    ("A", "0", "A", "1"): (0.9, 0.88, 0.92),
    ("A", "1", "A", "2"): (0.5, 0.45, 0.55),
    ("A", "0", "B", "x"): (0.2, 0.15, 0.25),
    ("A", "1", "B", "x"): (0.7, 0.66, 0.74),
    ("A", "2", "B", "x"): (0.3, 0.2, 0.4),
    ("A", "0", "B", "y"): (0.1, 0.0, 0.2),
    ("A", "1", "B", "y"): (0.4, 0.3, 0.5),
    ("A", "2", "B", "y"): (0.6, 0.55, 0.65),
    ("B", "x", "B", "y"): (0.8, 0.75, 0.85),
}


def test_strongest_pair_that_is_clear(tmp_path: Path) -> None:
    view = pair_view(tmp_path, CLEAR)
    assert sentences.strongest_pair(view, view.facets[0]) == (
        "The two most similar layers of different models are A/1 and B/x: debiased CKA "
        "0.70 [0.66, 0.74]. No other pair's interval overlaps this one."
    )


def test_strongest_pair_that_is_not(tmp_path: Path) -> None:
    values = {**CLEAR, ("A", "2", "B", "y"): (0.6, 0.5, 0.67)}
    view = pair_view(tmp_path / "one", values)
    assert sentences.strongest_pair(view, view.facets[0]).endswith(
        "The interval of one other pair overlaps this one, so the data do not tell which pair is "
        "highest."
    )
    values[("A", "1", "B", "y")] = (0.6, 0.5, 0.67)
    view = pair_view(tmp_path / "two", values)
    assert "The intervals of 2 other pairs overlap" in sentences.strongest_pair(
        view, view.facets[0]
    )


def test_strongest_pair_without_intervals(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "none", {**CLEAR, ("A", "1", "B", "x"): (0.7, None, None)})
    assert "a lead by chance cannot be told" in sentences.strongest_pair(view, view.facets[0])
    view = pair_view(tmp_path / "some", {**CLEAR, ("A", "0", "B", "x"): (0.2, None, None)})
    assert "1 other pair without an interval cannot be ruled out" in sentences.strongest_pair(
        view, view.facets[0]
    )


def test_strongest_pair_needs_two_models(tmp_path: Path) -> None:
    rows = made_rows(MADE[:1], units=("frame",), estimators=("debiased",))
    view = made_view(tmp_path / "one", rows, made_record(MADE[:1]))
    assert sentences.strongest_pair(view, view.facets[0]).startswith("Only one model")
    assert sentences.findings(view, view.facets[0]) == [
        sentences.neighbours(view, view.facets[0], 0)
    ]
    nan = float("nan")
    view = pair_view(tmp_path / "nan", {("A", "0", "B", "x"): (nan, None, None)})
    assert sentences.strongest_pair(view, view.facets[0]).startswith("No pair of layers")
    assert sentences.caveats(view, view.facets[0]) == [
        "1 pair of layers gave no finite value (shown in grey); 2 pairs of layers were not "
        "compared (left out)."
    ]


def test_distances_count_down(tmp_path: Path) -> None:
    view = pair_view(tmp_path, CLEAR, measure="procrustes-distance")
    facet = view.facets[0]
    assert not facet.closer_is_high
    assert "A/0 and B/y" in sentences.strongest_pair(view, facet)
    assert "0.70 apart" in sentences.neighbours(view, facet, 0)
    assert sentences.caveats(view, facet)[0].startswith("This is a distance")
    best = best_path(view, facet, 0, 1)[1]
    assert best is not None
    assert view.name(facet, best.best.column) == "B/y"


def test_within_range(tmp_path: Path) -> None:
    values = {**CLEAR, ("A", "0", "A", "2"): (0.3, 0.2, 0.4)}
    view = pair_view(tmp_path, values)
    assert sentences.within_range(view, view.facets[0], 0) == (
        "Within A, the least alike layers are 0 and 2, 0.30 [0.20, 0.40]; the most alike are 0 and "
        "1, 0.90 [0.88, 0.92]."
    )
    assert sentences.within_range(view, view.facets[0], 1) == "", "two layers have no extremes"
    values[("A", "0", "A", "1")] = (0.6, 0.5, 0.7)
    view = pair_view(tmp_path / "overlap", values)
    said = sentences.within_range(view, view.facets[0], 0)
    assert said.endswith(
        "the most alike are 0 and 1, 0.60 [0.50, 0.70] (or another pair: intervals overlap)."
    )
    values[("A", "0", "A", "2")] = (0.3, None, None)
    view = pair_view(tmp_path / "bare", values)
    assert "0 and 2, 0.30 (no interval);" in sentences.within_range(view, view.facets[0], 0)


def test_range(tmp_path: Path) -> None:
    view = pair_view(tmp_path, CLEAR)
    assert sentences.cross_range(view, view.facets[0]) == (
        "Between layers of different models it runs from 0.10 to 0.70 (median 0.35, 6 pairs)."
    )


def test_neighbours(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "clear", CLEAR)
    assert sentences.neighbours(view, view.facets[0], 0) == (
        "Within A, neighbouring layers are 0.70 alike (debiased CKA, median of 2 steps); the "
        "largest change is from 1 to 2, 0.50 [0.45, 0.55]."
    )
    assert sentences.neighbours(view, view.facets[0], 1) == (
        "Within B, neighbouring layers are 0.80 alike (debiased CKA, median of 1 step)."
    )
    unclear = {**CLEAR, ("A", "0", "A", "1"): (0.6, 0.5, 0.7)}
    view = pair_view(tmp_path / "unclear", unclear)
    assert sentences.neighbours(view, view.facets[0], 0).endswith(
        "though the data do not tell it apart from 1 other step whose interval overlaps it."
    )
    bare = {**CLEAR, ("A", "1", "A", "2"): (0.5, None, None)}
    view = pair_view(tmp_path / "bare", bare)
    assert sentences.neighbours(view, view.facets[0], 0).endswith("0.50, without an interval.")
    single = made_view(tmp_path / "single", made_rows(MADE[4:]), made_record(MADE[4:]))
    assert "single layer" in sentences.neighbours(single, single.facets[0], 0)


def test_paths(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "clear", CLEAR)
    facet = view.facets[0]
    found = [m for m in best_path(view, facet, 0, 1) if m is not None]
    assert [view.name(facet, m.best.column) for m in found] == ["B/x", "B/x", "B/y"]
    assert [m.tie for m in found] == [True, False, False]
    assert [m.rivals for m in found] == [1, 0, 0]
    assert sentences.path(view, facet, 0, 1) == (
        "In B: best match 0.20 to 0.70; at the same relative depth (within 0.1) for 2 of 3; "
        "undecided for 1 of 3 (the runner-up's interval overlaps)."
    )
    assert sentences.path(view, facet, 1, 0).endswith("each match is clear of its runner-up.")
    view = pair_view(tmp_path / "bare", {k: (v[0], None, None) for k, v in CLEAR.items()})
    assert all(m is not None and m.tie is None for m in best_path(view, view.facets[0], 0, 1))
    assert "without intervals" in sentences.path(view, view.facets[0], 0, 1)


def test_path_to_a_single_layer_and_to_nothing(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "a", {("A", "0", "B", "x"): (0.3, 0.2, 0.4)})
    assert sentences.path(view, view.facets[0], 0, 1) == (
        "In B: best match 0.30 (it has a single layer, so there is no choice)."
    )
    match = best_path(view, view.facets[0], 0, 1)[0]
    assert match is not None
    assert (match.runner, match.tie) == (None, None)
    nan = float("nan")
    view = pair_view(tmp_path / "b", {("A", "0", "B", "x"): (nan, None, None)})
    assert best_path(view, view.facets[0], 0, 1) == [None]
    assert sentences.path(view, view.facets[0], 0, 1) == "In B: no values."


def test_favourite(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "two", CLEAR)
    assert sentences.favourite(view, view.facets[0], 0) == "", "two models leave no choice"
    third: dict[Pair, tuple[float, float | None, float | None]] = {
        **CLEAR,
        ("A", "0", "C", "0"): (0.05, 0.0, 0.1),
        ("A", "1", "C", "0"): (0.69, 0.6, 0.75),
        ("A", "2", "C", "0"): (0.9, 0.85, 0.95),
    }
    view = pair_view(tmp_path / "three", third)
    assert sentences.favourite(view, view.facets[0], 0) == (
        "2 of 3 layers of A have the most similar layer of any other model in B; for 1 of 2 of "
        "these a layer of a third model has an interval that overlaps."
    )
    assert sentences.favourite(view, view.facets[0], 2) == (
        "The only layer of C has the most similar layer of any other model in A."
    )
    third[("A", "1", "C", "0")] = (0.05, 0.0, 0.1)
    third[("A", "0", "C", "0")] = (0.05, 0.0, 0.1)
    del third[("A", "0", "B", "x")], third[("A", "0", "B", "y")], third[("A", "0", "C", "0")]
    view = pair_view(tmp_path / "even", third)
    assert sentences.favourite(view, view.facets[0], 0) == (
        "No single model is nearest to A: B and C each hold the most similar layer for 1 of its 2 "
        "layers."
    )


def test_closest_models_skip_single_layers(tmp_path: Path) -> None:
    view = made_view(tmp_path)
    said = sentences.closest_models(view, view.facets[0])
    assert said.startswith("Taken layer by layer,")
    assert "without an interval" in said
    assert "log-mel" not in said


def test_few_rows_are_called_out(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "few", CLEAR, n=800, estimator="biased")
    assert sentences.caveats(view, view.facets[0])[0] == (
        "800 rows against a width of 768 (1.0 a dimension, 10 is a usual minimum): this estimator "
        "overstates likeness by chance agreement here."
    )
    view = pair_view(tmp_path / "many", CLEAR, n=80_000, estimator="biased")
    assert not any("rows against" in said for said in sentences.caveats(view, view.facets[0]))
    view = pair_view(tmp_path / "debiased", CLEAR, n=800)
    assert not any("rows against" in said for said in sentences.caveats(view, view.facets[0]))
    rows = made_rows(units=("frame",))
    rows = [replace(r, measure="cka-biased") if r.estimator == "biased" else r for r in rows]
    view = made_view(tmp_path / "both", rows)
    biased = next(f for f in view.facets if f.estimator == "biased")
    assert "Trust the debiased value." in sentences.caveats(view, biased)[0]


@pytest.mark.parametrize(("measure", "width"), [("regression", 768), ("regression-reverse", 80)])
def test_regression_counts_the_side_it_predicts_from(
    tmp_path: Path, measure: str, width: int
) -> None:
    pair: dict[Pair, tuple[float, float | None, float | None]] = {
        ("A", "0", "B", "x"): (0.6, 0.5, 0.7)
    }
    view = pair_view(tmp_path, pair, measure=measure, estimator="in-sample", n=400)
    facet = view.facets[0]
    assert f"400 rows against a width of {width}" in sentences.caveats(view, facet)[0]


def test_few_groups_and_missing_intervals_are_called_out(tmp_path: Path) -> None:
    view = pair_view(tmp_path / "groups", CLEAR, groups=4)
    assert any("4 independent groups only" in s for s in sentences.caveats(view, view.facets[0]))
    bare = {k: (v[0], None, None) for k, v in CLEAR.items()}
    view = pair_view(tmp_path / "bare", bare)
    assert any("No value has an interval" in s for s in sentences.caveats(view, view.facets[0]))
    view = pair_view(tmp_path / "some", {**CLEAR, ("B", "x", "B", "y"): (0.8, None, None)})
    assert "1 of 9 values have no interval." in sentences.caveats(view, view.facets[0])


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_values_off_the_scale_are_counted_once(tmp_path: Path, estimator: str) -> None:
    values = {**CLEAR, ("A", "0", "B", "y"): (-0.03, -0.1, 0.04), ("A", "0", "A", "1"): (1.2, 1, 2)}
    view = pair_view(tmp_path, values, estimator=estimator, n=10**6)
    said = sentences.caveats(view, view.facets[0])[-1]
    assert "1 value was below 0.00 (lowest −0.03)" in said
    assert "1 value was above 1.00 (highest 1.20)" in said
    assert ("unbiased" in said) == (estimator == "debiased")


def test_overlap_is_what_it_says(tmp_path: Path) -> None:
    view = pair_view(tmp_path, CLEAR)
    facet = view.facets[0]
    strong, weak = cell(facet, 1, 3), cell(facet, 0, 3)
    assert overlap(strong, weak) is False
    assert overlap(strong, replace(weak, high=strong.low)) is True
    assert overlap(strong, replace(weak, high=float("nan"))) is None
    assert [(c.row, c.column) for c in steps(view, facet, 0)] == [(0, 1), (1, 2)]
