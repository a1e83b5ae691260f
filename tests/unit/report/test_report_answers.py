"""Answers of a joined page: said where planted numbers bear them out, and not elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from report_made_joined import PLANTED_CURVES, PLANTED_PAIRS, joined
from voxstrata.report import answers, resemblance
from voxstrata.report.curve_view import PropertyCurves
from voxstrata.report.resemblance import Kin
from voxstrata.report.view import Facet, View


def model(view: View, spec: str) -> int:
    return [m.spec for m in view.models].index(spec)


def asked(view: View, name: str) -> PropertyCurves:
    return next(p for p in view.curves if p.name == name)


def alike(view: View) -> tuple[Facet, list[Kin]]:
    (facet,) = resemblance.main_facets(view)
    return facet, resemblance.kinships(view, facet)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return joined(tmp_path_factory.mktemp("joined"))


def test_what_is_said_of_a_layer_that_rises_above_twin_and_features(view: View) -> None:
    phone = asked(view, "linear-phone")
    assert answers.where(view, phone, model(view, "m")) == (
        "Phone information is highest in layer 1 (0.70, 0.68 to 0.72; layer 2 is not told apart "
        "from it) and lowest in layer 0 (0.45). Its untrained twin reaches 0.47 (layer 0) and "
        "log-mel 0.35: training added to what the architecture and log-mel give."
    )
    assert answers.where(view, phone, model(view, "a")).startswith(
        "Phone information is highest in block2 (0.60, 0.58 to 0.62) and lowest in block1 (0.50). "
        "Its untrained twin reaches 0.43 (block1) and log-mel 0.35: training added"
    )


def test_what_is_said_of_a_model_that_learned_nothing_of_it(view: View) -> None:
    b = model(view, "b")
    assert answers.where(view, asked(view, "linear-phone"), b) == (
        "Phone information is highest in block2 (0.42, 0.40 to 0.44), though no other layer is "
        "told apart from it. Its untrained twin reaches 0.43 (block1) and log-mel 0.35: nothing "
        "shows that training added to what the twin holds."
    )
    assert answers.where(view, asked(view, "linear-speaker"), b).endswith(
        "Its untrained twin reaches 0.55 (block1) and log-mel 0.62: the twin holds more: training "
        "took some away; log-mel alone holds more."
    )


def test_above_the_twin_but_not_above_the_sound(view: View) -> None:
    said = answers.where(view, asked(view, "linear-speaker"), model(view, "m"))
    assert said.endswith(
        "Its untrained twin reaches 0.40 and log-mel 0.62: training added to what the "
        "architecture gives, but this layer is not told apart from log-mel."
    )


def test_headlines_count_the_models(view: View) -> None:
    assert answers.headline(view, asked(view, "linear-phone")) == (
        "Phone information rises clearly above the untrained twin and log-mel in a (block2: 0.60) "
        "and m (layer 1: 0.70); not in b."
    )
    assert answers.headline(view, asked(view, "linear-speaker")) == (
        "Speaker information rises clearly above the untrained twin and log-mel in a "
        "(embedding: 0.95); not in b or m."
    )


def test_nothing_rises_where_intervals_are_wide(tmp_path: Path) -> None:
    view = joined(tmp_path, half=0.4)
    assert answers.headline(view, asked(view, "linear-phone")) == (
        "Phone information is not clear of the untrained twin and log-mel in any layer of a, b or "
        "m."
    )
    said = answers.where(view, asked(view, "linear-phone"), model(view, "m"))
    assert "Permuted labels give 0.10, from which that is not told apart: nothing is shown" in said
    assert "training added" not in said


def test_nothing_is_claimed_without_intervals(tmp_path: Path) -> None:
    view = joined(tmp_path, half=None)
    for name in ("a", "m"):
        said = answers.where(view, asked(view, "linear-phone"), model(view, name))
        assert "without intervals a difference by chance cannot be told" in said
    assert "rises" not in answers.headline(view, asked(view, "linear-phone"))
    facet, found = alike(view)
    pair = next(kin for kin in found if kin.models == (model(view, "b"), model(view, "m")))
    assert all(kin.beyond is None for kin in found)
    assert pair.best.beyond is False, "0.41 is below the 0.45 of a twin, with or without interval"
    assert "Most alike beyond" not in resemblance.most_alike_beyond(view, facet, found)


def test_a_second_measure_agrees_or_not(view: View) -> None:
    phone, other = asked(view, "linear-phone"), asked(view, "cca-phone")
    assert answers.also(view, phone, other, model(view, "a")) == (
        "By phone identity (PWCCA) it is highest in block1 instead (0.55, 0.53 to 0.57), not clear "
        "of its untrained twin (0.54)."
    )
    assert answers.also(view, phone, other, model(view, "m")) == ""


def test_questions_put_properties_of_one_kind_together(view: View) -> None:
    names = [[p.name for p in group] for group in answers.questions(view)]
    assert names == [["linear-phone", "cca-phone"], ["linear-speaker"]]


def test_the_most_alike_layers_are_held_against_twins_and_features(view: View) -> None:
    facet, found = alike(view)
    assert resemblance.most_alike(view, facet, found) == (
        "The most alike layers of different models are block1 of a and block1 of b (debiased CKA "
        "0.90 [0.88, 0.92]). With the untrained twin of the other's model either of them reaches "
        "0.95 at most, with log-mel both reach 0.60, so this likeness need not come from training."
    )
    assert resemblance.most_alike_across(view, facet, found).startswith(
        "Of models of different architecture, the most alike layers are block1 of a and layer 0 "
        "of m"
    )
    assert resemblance.most_alike_beyond(view, facet, found) == (
        "Most alike beyond what untrained twins and plain features share with them are block2 of a "
        "and layer 1 of m (debiased CKA 0.60 [0.58, 0.62]): with the untrained twin of the other's "
        "model either of them reaches 0.38 at most, with log-mel both reach 0.33. Such layers are "
        "found in 1 of 3 pairs of models."
    )


def test_a_model_is_told_its_nearest_kin(view: View) -> None:
    facet, found = alike(view)
    said = resemblance.nearest_kin(view, facet, found, model(view, "m"))
    assert said.startswith("Its layer most like one of another model is layer 0, with block1 of a")
    assert "Most alike beyond that is layer 1, with block2 of a (debiased CKA 0.60" in said


def test_no_likeness_beyond_twins_is_said_to_be_none(tmp_path: Path) -> None:
    pairs = PLANTED_PAIRS | {("a", "block2", "random:m", "0"): 0.59}
    view = joined(tmp_path, PLANTED_CURVES, pairs)
    facet, found = alike(view)
    assert resemblance.most_alike_beyond(view, facet, found) == (
        "No pair of layers of different models is clear of what the untrained twins and plain "
        "features share with it: nothing here shows that training made models alike."
    )
    assert [row["beyond"] for row in resemblance.table(view, facet, found)] == ["none"] * 3


def test_twins_and_features_are_not_compared_as_models(view: View) -> None:
    _, found = alike(view)
    labels = {frozenset(view.models[m].spec for m in kin.models) for kin in found}
    assert labels == {frozenset(p) for p in (("a", "b"), ("a", "m"), ("b", "m"))}


def test_without_twins_nothing_is_said_to_be_learned(tmp_path: Path) -> None:
    pairs = {k: v for k, v in PLANTED_PAIRS.items() if not any("random" in name for name in k)}
    view = joined(tmp_path, PLANTED_CURVES, pairs)
    facet, found = alike(view)
    assert not any(kin.beyond for kin in found)
    assert resemblance.most_alike(view, facet, found).endswith(
        "With log-mel both reach 0.60; without an untrained twin nothing can be told from that."
    )
