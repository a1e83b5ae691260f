"""Draws to rows: means, Rubin's intervals, bounds and controls."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from voxstrata.properties.names import label_tiers
from voxstrata.properties.property import SHUFFLED, Score
from voxstrata.properties.registry import PROPERTIES, make_property
from voxstrata.properties.table import Scored, combine, to_rows
from voxstrata.types import Utterance

ONE: Any = SimpleNamespace(name="cca-x", unit="phone")


def scored(value: float, draw: int = 0, **more: Any) -> Scored:
    facts = {"measure": "pwcca", "n": 100, "groups": 10, "error": 0.01} | more
    return Scored("m", "1", draw, Score(value=value, **facts))


def test_one_draw_keeps_its_own_error() -> None:
    (row,) = to_rows(ONE, [scored(0.5)], "study", 3)
    half = student.ppf(0.975, 9) * 0.01
    assert row.value == 0.5
    assert (row.ci_low, row.ci_high) == pytest.approx((0.5 - half, 0.5 + half))
    assert (row.property, row.unit, row.seed, row.n, row.groups) == ("cca-x", "phone", 3, 100, 10)


def test_draws_widen_the_interval_by_their_spread() -> None:
    values, errors = [0.4, 0.5, 0.6], [0.01, 0.02, 0.02]
    half = combine(values, errors, 10)
    want = math.sqrt(np.mean(np.square(errors)) + (1 + 1 / 3) * np.var(values, ddof=1))
    assert half == pytest.approx(student.ppf(0.975, 9) * want)


def test_draws_without_errors_have_the_spread_alone() -> None:
    assert combine([0.4], [None], 10) is None
    assert combine([0.4, 0.6], [None, None], 10) is None  # one degree of freedom says nothing
    half = combine([0.4, 0.5, 0.6], [None, None, None], 10)
    assert half == pytest.approx(student.ppf(0.975, 2) * math.sqrt(4 / 3 * 0.01))


def test_controls_measures_and_partners_are_rows_of_their_own() -> None:
    items = [
        scored(0.5),
        scored(0.1, control=SHUFFLED),
        scored(0.4, measure="svcca"),
        scored(0.3, other_model="b", other_layer="2"),
        scored(0.7, draw=1),
    ]
    rows = to_rows(ONE, items, "s", 0)
    assert [(r.measure, r.control, r.other_model, round(r.value, 6)) for r in rows] == [
        ("pwcca", "", "", 0.6),
        ("pwcca", SHUFFLED, "", 0.1),
        ("svcca", "", "", 0.4),
        ("pwcca", "", "b", 0.3),
    ]


def test_intervals_stay_within_the_measures_range() -> None:
    (row,) = to_rows(ONE, [scored(0.99, error=0.1, bounds=(0.0, 1.0))], "s", 0)
    assert row.ci_high == 1.0


def test_folds_behind_an_error_limit_its_degrees_of_freedom() -> None:
    by_fold = ((0, 0.4), (1, 0.5), (2, 0.6))
    (row,) = to_rows(ONE, [scored(0.5, by_fold=by_fold)], "s", 0)
    assert row.ci_high == pytest.approx(0.5 + student.ppf(0.975, 2) * 0.01)


def test_label_tiers_are_those_that_group_recordings() -> None:
    def one(number: int, **tiers: Any) -> Utterance:
        return Utterance(f"u{number}", 1.0, tiers)

    corpus: Any = SimpleNamespace(
        utterances=[
            one(i, emotion="ab"[i % 2], text=f"t{i}", code=f"c{i}", age=20.5 + i, speaker="s")
            for i in range(8)
        ]
    )
    assert label_tiers(corpus) == ["age", "emotion"]


@pytest.mark.parametrize("name", PROPERTIES.names())
def test_every_registered_property_can_be_made(name: str) -> None:
    from voxstrata.properties.registry import TAKES_ARGUMENT

    argument = ":gender" if name in TAKES_ARGUMENT else ""
    one = make_property(name + argument)
    assert one.name == name + argument
    assert one.title
    assert one.main
    assert one.unit in ("frame", "phone", "word", "utterance", "sequence")
    assert one.group in (
        "acoustic",
        "phonetic",
        "lexical",
        "semantic",
        "speaker",
        "disentanglement",
        "task",
    )


def test_a_draw_without_an_error_does_not_take_away_those_of_others() -> None:
    values, errors = [0.5, 0.5, 0.5], [0.03, None, 0.03]
    assert combine(values, errors, 10) == pytest.approx(student.ppf(0.975, 9) * 0.03)
    assert combine(values, [0.03, math.nan, 0.03], 10) == combine(values, errors, 10)
