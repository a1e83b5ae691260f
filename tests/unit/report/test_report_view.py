"""The table is put into matrices as it stands: mirrored where symmetric, never invented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from report_made import MADE, made_record, made_rows, made_view
from voxstrata.errors import ResultsError
from voxstrata.report.view import read_view, scale_ends
from voxstrata.report.words import (
    duration,
    interval,
    listing,
    measure_label,
    number,
    short_labels,
    size,
)
from voxstrata.results import Results


def test_symmetric_values_are_mirrored(tmp_path: Path) -> None:
    view = made_view(tmp_path)
    rows = [r for r in made_rows() if (r.unit, r.estimator) == ("frame", "debiased")]
    facet = view.facets[0]
    assert (facet.unit, facet.estimator, facet.symmetric) == ("frame", "debiased", True)
    place = {
        (view.models[view.layer(facet, i).model].spec, view.layer(facet, i).name): i
        for i in range(len(facet.layers))
    }
    for row in rows:
        i, j = place[row.model, row.layer], place[row.other_model, row.other_layer]
        assert facet.value[i, j] == facet.value[j, i] == row.value
        assert facet.low[j, i] == row.ci_low
        assert facet.n[j, i] == row.n
    assert facet.present.all()


def test_asymmetric_values_stay_where_they_are(tmp_path: Path) -> None:
    rows = made_rows(MADE[:2], units=("frame",), estimators=("biased",), measure="regression")
    other = [
        replace(
            r,
            model=r.other_model,
            layer=r.other_layer,
            other_model=r.model,
            other_layer=r.layer,
            value=r.value / 2,
        )
        for r in rows
        if (r.model, r.layer) != (r.other_model, r.other_layer)
    ]
    view = made_view(tmp_path, rows + other[1:], made_record(MADE[:2]))
    facet = view.facets[0]
    assert not facet.symmetric
    assert np.allclose(np.tril(facet.value, -1)[2:], np.triu(facet.value, 1).T[2:] / 2)
    assert int((~facet.present).sum()) == 1, "the one missing cell must not be filled in"


def test_record_decides_symmetry(tmp_path: Path) -> None:
    rows = made_rows(MADE[:1], units=("frame",), estimators=("biased",))
    record = made_record(MADE[:1], measures=[{"name": "cka", "symmetric": False}])
    facet = made_view(tmp_path, rows, record).facets[0]
    assert not facet.symmetric
    assert int((~facet.present).sum()) == 13 * 12 // 2


def test_layers_follow_the_record_then_the_table(tmp_path: Path) -> None:
    rows = made_rows(MADE[3:4], units=("utterance",), estimators=("debiased",))
    record = made_record(MADE[3:4])
    record["models"][0]["layers"] = record["models"][0]["layers"][4:]
    view = made_view(tmp_path, rows, record)
    assert [layer.name for layer in view.layers] == [
        *("mfa", "pool", "embedding", "conv", "block1", "block2", "block3")
    ]
    assert [layer.kind for layer in view.layers][:3] == ["frame", "utterance", "utterance"]
    assert [layer.depth for layer in view.layers][::3] == [0.0, 0.5, 1.0]


def test_a_record_without_anything(tmp_path: Path) -> None:
    view = made_view(tmp_path, None, {})
    assert [m.spec for m in view.models] == [m[0] for m in MADE]
    assert len(view.layers) == 47
    assert [f.key for f in view.facets] == [
        "cka-debiased-frame",
        "cka-debiased-utterance",
        "cka-biased-frame",
        "cka-biased-utterance",
    ]


def test_utterance_layers_are_absent_from_frames(tmp_path: Path) -> None:
    view = made_view(tmp_path)
    frame, utterance = view.facets[0], view.facets[1]
    assert [view.layer(frame, i).name for i in view.rows_of(frame, 3)] == [
        *("conv", "block1", "block2", "block3", "mfa")
    ]
    assert len(view.rows_of(utterance, 3)) == 7


def test_several_seeds_are_facets_of_their_own(tmp_path: Path) -> None:
    rows = made_rows(MADE[4:], units=("frame",), estimators=("debiased",))
    view = made_view(tmp_path, rows + [replace(r, seed=1) for r in rows], {})
    assert [f.label for f in view.facets] == ["CKA, debiased, seed 0", "CKA, debiased, seed 1"]
    assert len({f.key for f in view.facets}) == 2


def test_two_values_for_one_cell_are_refused(tmp_path: Path) -> None:
    rows = made_rows(MADE[4:])
    with pytest.raises(ResultsError, match="two values for one pair"):
        made_view(tmp_path, rows + rows[:1])


def test_other_tables_are_refused_or_empty(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="lacks columns"):
        read_view(Results(pd.DataFrame({"model": ["a"]}), {}, tmp_path))
    rows = [replace(r, property="SID") for r in made_rows(MADE[4:])]
    assert made_view(tmp_path, rows).facets == ()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, (0.0, 1.0)),
        ([0, 1], (0.0, 1.0)),
        ([None, 1.0], (0.0, 1.0)),
        ([-1, 1], (0.0, 1.0)),
        ([0, 2], (0.0, 2.0)),
        ([0, None], (0.0, 3.5)),
        ("0 to 1", (0.0, 1.0)),
    ],
)
def test_scale_ends(told: object, expected: tuple[float, float]) -> None:
    assert scale_ends(told, np.array([[0.1, 3.5], [np.nan, 1.0]])) == expected


def test_short_labels_are_short_and_distinct() -> None:
    specs = [
        "facebook/hubert-base-ls960",
        "random:facebook/hubert-base-ls960,seed=1",
        "/data/a/model",
        "/data/b/model/",
        "x" * 80 + "1",
        "x" * 80 + "2" + "x" * 30,
        "x" * 81 + "2" + "x" * 30,
        "wavlm-base@4",
    ]
    labels = short_labels(specs)
    assert labels[:4] == [
        "hubert-base-ls960",
        "random:hubert-base-ls960",
        "/data/a/model",
        "/data/b/model/",
    ]
    assert len(set(labels)) == len(specs)
    assert max(map(len, labels)) <= 32


def test_words() -> None:
    assert number(0.6249) == "0.62"
    assert number(-0.001) == "0.00"
    assert number(-0.02) == "−0.02"
    assert number(0.9971) == "0.997"
    assert number(1.0) == "1.00"
    assert number(float("nan")) == "no value"
    assert interval(0.5, 0.4, 0.6) == "0.50 [0.40, 0.60]"
    assert interval(0.5, float("nan"), 0.6) == "0.50"
    assert listing([]) == ""
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert duration(4.25) == "4.2 s"
    assert duration(59.99) == "1 min 0 s"
    assert duration(11_100) == "3 h 5 min"
    assert [size(n) for n in (0, 2.78e6, 2.91e9)] == ["0 bytes", "2.8 MB", "2.9 GB"]
    assert measure_label("pwcca-pasad") == "PWCCA (pasad)"
    assert measure_label("cka-rbf-biased", "biased") == "RBF CKA"
    assert measure_label("regression-reverse", "in-sample") == "linear regression R² (reverse)"
    assert measure_label("something-new") == "something-new"
