"""Curves are read as they stand: properties, measures, controls, depth, peaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from report_made_properties import (
    ASKED,
    TWINS,
    WITH_TWINS,
    property_made_record,
    property_made_rows,
    property_made_view,
)
from voxstrata.errors import ResultsError
from voxstrata.report.curve_view import positions, relative
from voxstrata.report.peaks import (
    controls_at,
    depths,
    exceeds,
    in_order,
    looks,
    overlaps,
    peak,
    peaks,
    twin_of,
)
from voxstrata.report.view import View
from voxstrata.report.words import property_measure
from voxstrata.results import Row


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return property_made_view(tmp_path_factory.mktemp("curves"))


def test_every_row_is_a_point(view: View) -> None:
    rows = property_made_rows()
    found = {}
    for asked in view.curves:
        for variant in asked.variants:
            for curve in (*variant.curves, *variant.controls):
                for p in curve.points:
                    key = view.models[curve.model].spec, view.layers[p.layer].name
                    key_ = (*key, asked.name, variant.measure, curve.control)
                    assert key_ not in found
                    found[key_] = (p.value, p.low, p.high, p.n, p.groups)
    assert found == {
        (r.model, r.layer, r.property, r.measure, r.control): (
            *(r.value, r.ci_low, r.ci_high),
            *(r.n, r.groups),
        )
        for r in rows
    }


def test_properties_stand_in_the_order_of_groups(view: View, tmp_path: Path) -> None:
    assert [p.name for p in view.curves] == [ask.name for ask in ASKED]
    assert view.curves[2].title == "phone identity (PWCCA)"
    turned = property_made_view(tmp_path, record=property_made_record(asked=list(reversed(ASKED))))
    groups = [p.group for p in turned.curves]
    assert list(dict.fromkeys(groups)) == [
        *("acoustic", "phonetic", "lexical", "semantic", "speaker", "disentanglement", "task")
    ]
    assert [p.name for p in turned.curves][:2] == ["regress-f0", "cca-mel"]


def test_the_main_measure_comes_first(tmp_path: Path) -> None:
    ask = replace(ASKED[2], main="cca-r2", others=("pwcca",))
    rows = property_made_rows(WITH_TWINS[:1], [replace(ask, main="pwcca", others=("cca-r2",))])
    rows += [replace(r, estimator="in-sample") for r in rows]
    view = property_made_view(tmp_path, rows, property_made_record(WITH_TWINS[:1], [ask]))
    assert [(v.measure, v.estimator) for v in view.curves[0].variants] == [
        ("cca-r2", "held-out"),
        ("cca-r2", "in-sample"),
        ("pwcca", "held-out"),
        ("pwcca", "in-sample"),
    ]


def test_a_similarity_run_has_no_curves(tmp_path: Path) -> None:
    view = property_made_view(tmp_path, record=property_made_record(job="similarity"))
    assert view.curves == ()
    assert view.models == ()


def test_two_values_for_one_layer_are_refused(tmp_path: Path) -> None:
    rows = property_made_rows(WITH_TWINS[:1], ASKED[:1])
    with pytest.raises(ResultsError, match="two values for one layer"):
        property_made_view(tmp_path, [*rows, rows[3]], property_made_record(WITH_TWINS[:1]))


def test_layers_held_against_several_others_are_kept_apart(tmp_path: Path) -> None:
    models, asked = WITH_TWINS[1:2], [replace(ASKED[2], others=())]
    spec = models[0][0]
    rows = [
        replace(r, other_model=spec, other_layer=other)
        for r in property_made_rows(models, asked)
        for other in ("0", "12")
    ]
    view = property_made_view(tmp_path, rows, property_made_record(models, asked))
    variants = view.curves[0].variants
    assert [v.label for v in variants] == [
        "PWCCA, held-out, against 0",
        "PWCCA, held-out, against 12",
    ]
    assert all(len(v.curves[0].points) == 13 and len(v.controls) == 1 for v in variants)
    assert variants[0].curves[0].points[0].other == f"{spec}/0"


def test_counterparts_in_several_models_are_kept_apart(tmp_path: Path) -> None:
    models, asked = WITH_TWINS[1:2], [replace(ASKED[2], others=())]
    rows = [
        replace(r, other_model=other, other_layer=r.layer)
        for r in property_made_rows(models, asked)
        for other in ("x/one", "x/two")
    ]
    view = property_made_view(tmp_path, rows, property_made_record(models, asked))
    variants = view.curves[0].variants
    assert [v.label for v in variants] == [
        "PWCCA, held-out, against x/one",
        "PWCCA, held-out, against x/two",
    ]
    points = variants[1].curves[0].points
    assert [p.other for p in points] == [f"x/two/{i}" for i in range(13)]


def test_names_of_measures() -> None:
    assert property_measure("ap") == "average precision"
    assert property_measure("ap-cross-speaker") == "average precision (cross speaker)"
    assert property_measure("r2:f0") == "R² (f0)"
    assert property_measure("pwcca-pasad") == "PWCCA (pasad)"
    assert property_measure("boundary-f1") == "boundary f1"


def test_numbered_positions() -> None:
    assert positions(["conv", "block1", "mfa"]) == [0, 1, 2]
    assert positions(["conv1", "conv2", "0", "1", "2"]) == [-2, -1, 0, 1, 2]
    assert positions(["3", "6", "9"]) == [3, 6, 9]
    assert positions(["0", "1", "2", "norm"]) == [0, 1, 2, 2.5]
    assert positions(["0", "0.ffn", "1", "1.ffn"]) == [0, 0.5, 1, 1.5]
    assert positions(["2", "1"]) == [0, 1], "numbers out of order say nothing of depth"
    assert positions([]) == []


def test_relative_positions() -> None:
    assert relative([-2, -1, 0, 1, 2]) == [-1, -0.5, 0, 0.5, 1]
    assert relative([3, 6, 9]) == [0, 0.5, 1]
    assert relative([7]) == [0]
    assert relative([]) == []


def test_depths_of_the_page(view: View) -> None:
    found = dict(
        zip(
            [(view.models[layer.model].label, layer.name) for layer in view.layers],
            depths(view),
            strict=True,
        )
    )
    assert found["hubert-base-ls960", "conv1"] == (-7, pytest.approx(-7 / 12))
    assert found["hubert-base-ls960", "6"] == found["wavlm-base", "6"] == (6, 0.5)
    assert found["log-mel", "fbank"] == (0, 0)


def test_a_twin_looks_like_its_model(view: View) -> None:
    labels = [model.spec for model in view.models]
    for model, twin in TWINS.items():
        a, b = labels.index(model), labels.index(twin)
        assert twin_of(view, a) == b
        assert looks(view)[a] == (looks(view)[b][0], False)
        assert looks(view)[b][1]
    assert sorted({number for number, _ in looks(view)}) == [0, 1, 2, 3]
    assert in_order(view) == [0, 2, 1, 3, 4, 5]


def _rows(values: list[float], half: float | None = 0.02, **more: object) -> list[Row]:
    rows = property_made_rows([("m", len(values), 768, None)], [replace(ASKED[2], others=())])
    return [
        replace(
            r,
            value=v,
            ci_low=None if half is None else v - half,
            ci_high=None if half is None else v + half,
            **more,  # type: ignore[arg-type]
        )
        for r, v in zip([r for r in rows if not r.control], values, strict=True)
    ]


def test_peaks_and_what_they_are_told_apart_from(tmp_path: Path) -> None:
    view = property_made_view(tmp_path, _rows([0.1, 0.5, 0.53, 0.49, 0.2]), {"job": "properties"})
    top = peak(view.curves[0].main, 0)
    assert top is not None
    assert view.layers[top.point.layer].name == "2"
    assert [view.layers[p.layer].name for p in top.tied] == ["1", "3"]
    assert (top.is_flat, top.is_marked) == (False, True)


def test_peaks_without_intervals_and_without_values(tmp_path: Path) -> None:
    rows = _rows([0.1, float("nan"), 0.3], None)
    view = property_made_view(tmp_path / "a", rows, {"job": "properties"})
    top = peak(view.curves[0].main, 0)
    assert top is not None
    assert (top.tied, len(top.unknown), top.is_flat, top.is_marked) == ((), 1, True, True)
    nothing = property_made_view(tmp_path / "b", _rows([float("nan")]), {"job": "properties"})
    assert peak(nothing.curves[0].main, 0) is None
    assert peaks(nothing, nothing.curves[0].main) == []


def test_the_best_error_rate_is_the_lowest(tmp_path: Path) -> None:
    rows = _rows([0.3, 0.1, 0.2], measure="abx-error")
    view = property_made_view(tmp_path, rows, {"job": "properties"})
    top = peak(view.curves[0].main, 0)
    assert top is not None
    assert top.point.value == 0.1


def test_controls_at_a_peak(tmp_path: Path) -> None:
    rows = _rows([0.3, 0.5])
    rows += _rows([0.3, 0.49], control="shuffled-rows")
    rows += _rows([0.6, 0.1], control="permuted-labels")
    rows += _rows([0.1, 0.1], None, control="chance")
    view = property_made_view(tmp_path, rows, {"job": "properties"})
    top = peak(view.curves[0].main, 0)
    assert top is not None
    held = {b.control: (b.point.value, b.exceeded) for b in controls_at(view.curves[0].main, top)}
    assert held == {
        "shuffled-rows": (0.49, False),
        "permuted-labels": (0.1, True),
        "chance": (0.1, True),
    }


def test_comparing_points(tmp_path: Path) -> None:
    rows = [*_rows([0.5, 0.4]), *_rows([0.3], None, control="chance")]
    variant = property_made_view(tmp_path, rows, {"job": "properties"}).curves[0].main
    (high, low), bare = variant.curves[0].points, variant.controls[0].points[0]
    assert overlaps(high, low) is False
    assert overlaps(high, bare) is None
    assert exceeds(high, low, higher=True) is True
    assert exceeds(high, low, higher=False) is False
    assert exceeds(low, high, higher=False) is True
    assert exceeds(replace(bare, value=0.9), bare, higher=True) is None
