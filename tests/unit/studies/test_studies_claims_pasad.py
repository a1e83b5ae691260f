"""Claims of Pasad, Shi and Livescu (2023) on made results: true, false, and too little data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from made_tables import HOSTILE, LOWER, Made
from scipy.stats import spearmanr
from scipy.stats import t as student

from voxstrata.config import build
from voxstrata.errors import ConfigError
from voxstrata.models.card import BUNDLED
from voxstrata.models.huggingface.architectures import lookup, table
from voxstrata.report.probing_claims import Link
from voxstrata.report.probing_view import SUM
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed
from voxstrata.studies.claims.curves import (
    GRID,
    between_within,
    dealt,
    distances,
    on_grid,
    over_models,
    separation,
)
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layer_guides import mean_over_models, turned_round
from voxstrata.studies.claims.numbers import far
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.model_facts import ModelFacts, facts_of, model_facts, paper_models

CONTRASTIVE = (
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-large-lv60",
    "facebook/wav2vec2-large-xlsr-53",
)
MASKED = (
    "facebook/hubert-base-ls960",
    "facebook/hubert-large-ll60k",
    "microsoft/wavlm-base",
    "microsoft/wavlm-large",
)
SPEECH = CONTRASTIVE + MASKED
LAYERS = tuple(str(i) for i in range(9))
DEPTH = np.linspace(0, 1, len(LAYERS))

NAMES = (
    *("curves-by-objective", "curves-by-modality", "curves-by-data"),
    *("single-layer-against-all", "cca-guides-layers", "cca-guides-speaker-layers"),
)

Floats = np.ndarray
Shape = Callable[[str, np.random.Generator], Floats]


def claim(name: str, made: Made | Evidence) -> Claimed:
    evidence = made.evidence() if isinstance(made, Made) else made
    return CLAIMS.get(name)(evidence)


def hump(at: float) -> Floats:
    """A curve over depth with its peak at a depth."""
    return 0.4 + 0.4 * np.exp(-((DEPTH - at) ** 2) / 0.05)


def drawn(
    shape: Shape,
    models: Sequence[str] = SPEECH,
    *,
    twin: Shape | None = lambda _spec, rng: 0.2 + 0.02 * rng.standard_normal(len(LAYERS)),
    name: str = "cca-phone",
    seed: int = 0,
    made: Made | None = None,
) -> Made:
    """Curves of models and twins."""
    made, rng = made or Made(), np.random.default_rng(seed)
    for spec in models:
        made.curve(name, spec, dict(zip(LAYERS, shape(spec, rng), strict=True)))
        if twin is not None:
            made.twins[spec] = f"random:{spec}"
            curve = dict(zip(LAYERS, twin(spec, rng), strict=True))
            made.curve(name, f"random:{spec}", curve)
    return made


def by_objective(spec: str, rng: np.random.Generator) -> Floats:
    """Contrastive models peak in the middle, others near the top; a little noise."""
    return hump(0.5 if spec in CONTRASTIVE else 0.9) + 0.01 * rng.standard_normal(len(LAYERS))


def by_hours(spec: str, rng: np.random.Generator) -> Floats:
    facts = facts_of(spec)
    assert facts is not None
    return hump(0.5 if facts.hours < 10_000 else 0.9) + 0.01 * rng.standard_normal(len(LAYERS))


def alike(_spec: str, rng: np.random.Generator) -> Floats:
    return hump(0.7) + 0.1 * rng.standard_normal(len(LAYERS))


# ---- facts of models


def test_facts_know_models_by_all_their_names() -> None:
    one = facts_of("hubert-large")
    assert one is not None
    assert (one.id, one.objective, one.amount) == (
        "facebook/hubert-large-ll60k",
        "masked prediction",
        "10,000 h and more",
    )
    assert facts_of("facebook/hubert-large-ll60k@main,final_norm=true") is one
    for text in ("random:hubert-large", "log-mel", HOSTILE, "a\0b", "", "/no/such/folder"):
        assert facts_of(text) is None


def test_facts_name_the_eleven_models_and_those_that_cannot_be_loaded() -> None:
    every = paper_models()
    assert len(every) == 11
    away = [one.title for one in every if not one.transformers]
    assert away == ["AV-HuBERT Base", "AV-HuBERT Large", "FaST-VGS", "FaST-VGS+"]
    assert {one.modality for one in every if not one.transformers} == {"audio-visual"}


def test_facts_agree_with_the_registered_names_and_cards() -> None:
    for one in model_facts().values():
        assert one.source
        assert one.data
        if one.transformers:
            known = lookup(one.id)
            assert known is not None
            assert known.hub == one.id
            hours = {960: "960 h", 60_000: "60 kh", 56_000: "56 kh", 94_000: "94 kh"}
            if one.hours in hours:
                assert hours[int(one.hours)] in known.summary
        if one.basis == "card":
            card = json.loads((BUNDLED / one.id / "card.json").read_text())
            assert card["training"]["hours"] == pytest.approx(one.hours, abs=0.01)
            assert table().get(one.id) is None
    bundled = {path.name for path in BUNDLED.iterdir() if (path / "card.json").is_file()}
    assert bundled <= set(model_facts())


def test_facts_with_a_wrong_key_are_refused() -> None:
    with pytest.raises(ConfigError, match="hour"):
        build(ModelFacts, {"id": "a", "hour": 3})


# ---- curves


def test_curves_are_compared_by_shape_over_relative_depth() -> None:
    short = on_grid(["0", "1", "2"], [1.0, 2.0, 1.0])
    long = on_grid([*"012345678"], [10, 12.5, 15, 17.5, 20, 17.5, 15, 12.5, 10])
    assert short is not None
    assert long is not None
    assert np.allclose(short, long), "height, width and number of layers do not matter"
    assert short.mean() == pytest.approx(0, abs=1e-12)
    assert short.std() == pytest.approx(1)
    with_conv = on_grid(["conv1", "conv2", "0", "1", "2"], [9.0, 9.0, 1.0, 2.0, 1.0])
    assert with_conv is not None
    assert np.allclose(with_conv, short), "what lies before layer 0 is left out"
    assert on_grid(["0", "1"], [1.0, 2.0]) is None
    flat = on_grid(["0", "1", "2"], [0.3, 0.3, 0.3])
    assert flat is not None
    assert not flat.any()


def test_distance_is_one_less_the_correlation() -> None:
    rng = np.random.default_rng(1)
    raw = rng.standard_normal((4, len(GRID)))
    curves = [on_grid([str(i) for i in range(len(GRID))], row) for row in raw]
    apart = distances([c for c in curves if c is not None])
    assert np.allclose(apart, 1 - np.corrcoef(raw))


def alone(apart: Floats, members: Floats) -> Floats:
    return separation(apart, members[..., 0])


def test_separation_is_what_loops_over_pairs_give() -> None:
    rng = np.random.default_rng(2)
    apart = rng.random((6, 6))
    apart = apart + apart.T
    groups = ["a", "a", "b", "b", "b", "c"]
    pairs = list(combinations(range(6), 2))
    other = np.mean([apart[i, j] for i, j in pairs if groups[i] != groups[j]])
    same = np.mean([apart[i, j] for i, j in pairs if groups[i] == groups[j]])
    assert between_within(apart, groups) == pytest.approx((other, same))
    every = np.mean([apart[i, j] for i, j in pairs])
    assert separation(apart, groups) == pytest.approx((other - same) / every)
    assert math.isnan(separation(apart, ["a"] * 6))
    assert separation(np.zeros((6, 6)), groups) == 0
    left = [
        separation(np.delete(np.delete(apart, i, 0), i, 1), [*groups[:i], *groups[i + 1 :]])
        for i in range(6)
    ]
    found = over_models(alone, apart, np.array(groups)[:, None])
    assert found.value == pytest.approx((other - same) / every)
    error = math.sqrt(5 / 6 * np.sum((np.array(left) - np.mean(left)) ** 2))
    assert (found.high - found.low) / 2 == pytest.approx(student.ppf(0.975, 5) * error)


def test_memberships_dealt_anew_cover_all_partitions() -> None:
    rng = np.random.default_rng(3)
    apart = distances(list(rng.standard_normal((5, len(GRID)))))
    members = np.array(["a", "a", "b", "b", "b"])[:, None]
    possible = {
        round(float(separation(apart, [int(i not in pair) for i in range(5)])), 12)
        for pair in combinations(range(5), 2)
    }
    assert {round(float(x), 12) for x in dealt(alone, apart, members)} == possible


# ---- groups of curves


def test_curves_that_go_with_the_objective_are_told_so() -> None:
    found = claim("curves-by-objective", drawn(by_objective))
    assert found.verdict == "supported", [e.doubt for e in found.effects]
    (effect,) = found.effects
    assert effect.n == 7
    assert effect.unit == "models"
    assert effect.low > 0
    assert effect.controls[PERMUTATION] < effect.value
    assert effect.controls[TWIN] < effect.value
    assert "contrastive (3) and masked prediction (4)" in found.found[0]
    lines = found.tables["Distance of curves (1 less correlation over depth)"]
    assert lines[0]["between objectives"] > 5 * lines[0]["within objectives"]


def test_one_effect_for_each_property_of_the_paper() -> None:
    made = drawn(by_objective)
    drawn(alike, name="cca-word", made=made)
    drawn(by_objective, name="linear-speaker", made=made)
    found = claim("curves-by-objective", made)
    assert [e.what.partition(":")[0] for e in found.effects] == ["CCA-PHONE", "CCA-WORD"]
    assert [e.verdict for e in found.effects] == ["supported", "cannot tell"]
    assert found.verdict == "cannot tell", "all of them have to hold"
    lines = found.tables["Distance of curves (1 less correlation over depth)"]
    assert [line["property"] for line in lines] == ["CCA-PHONE", "CCA-WORD", "LINEAR-SPEAKER"]


@pytest.mark.parametrize("seed", range(3))
def test_curves_that_are_alike_support_nothing(seed: int) -> None:
    assert claim("curves-by-objective", drawn(alike, seed=seed)).verdict == "cannot tell"


def test_groups_that_are_more_alike_across_objectives_are_told_so() -> None:
    """Each contrastive model is like a masked one and unlike its own kind."""
    at = dict(zip(SPEECH, (0.1, 0.5, 0.9, 0.1, 0.5, 0.9, 0.5), strict=True))
    found = claim("curves-by-objective", drawn(lambda spec, rng: hump(at[spec])))
    (effect,) = found.effects
    assert effect.value < 0
    assert effect.verdict != "supported"


def test_what_twins_show_as_well_is_no_finding() -> None:
    found = claim("curves-by-objective", drawn(by_objective, twin=by_objective, seed=4))
    (effect,) = found.effects
    assert effect.low > 0
    twins = claim("curves-by-objective", drawn(alike, twin=by_objective)).effects[0]
    assert twins.controls[TWIN] == pytest.approx(effect.value, rel=0.1)
    stronger = drawn(lambda s, rng: by_objective(s, rng) + 0.1 * alike(s, rng), twin=by_objective)
    (effect,) = claim("curves-by-objective", stronger).effects
    assert effect.doubt == "the control (untrained twin) shows as much"


def test_without_twins_nothing_is_told() -> None:
    (effect,) = claim("curves-by-objective", drawn(by_objective, twin=None)).effects
    assert effect.doubt == "the control (untrained twin) was not run"


def test_models_that_share_a_twin_are_not_held_against_each_other_untrained() -> None:
    """Their twins' distance is 0 by construction: it counts neither as within nor as between."""
    made = drawn(by_objective, twin=by_hours)
    whole = claim("curves-by-objective", made).effects[0].controls[TWIN]
    one, other = CONTRASTIVE[0], MASKED[0]
    made.twins[other] = made.twins[one]
    (effect,) = claim("curves-by-objective", made).effects
    rows = made.rows["properties"]
    curves = {
        spec: on_grid(LAYERS, [r["value"] for r in rows if r["model"] == made.twins[spec]])
        for spec in SPEECH
    }
    pairs = [pair for pair in combinations(SPEECH, 2) if set(pair) != {one, other}]
    apart = {
        (a, b): float(distances([x for x in (curves[a], curves[b]) if x is not None])[0, 1])
        for a, b in pairs
    }
    same = [v for (a, b), v in apart.items() if (a in CONTRASTIVE) == (b in CONTRASTIVE)]
    rest = [v for (a, b), v in apart.items() if (a in CONTRASTIVE) != (b in CONTRASTIVE)]
    expected = (np.mean(rest) - np.mean(same)) / np.mean(list(apart.values()))
    assert effect.controls[TWIN] == pytest.approx(expected)
    assert effect.controls[TWIN] != pytest.approx(whole, abs=1e-3)
    made.twins = dict.fromkeys(SPEECH, made.twins[one])
    (effect,) = claim("curves-by-objective", made).effects
    assert effect.doubt == (
        "the control (untrained twin) was not run: too few of the twins are different networks"
    )


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (SPEECH[:2], "2 models of known objective with a curve, and 3 are needed"),
        (MASKED, "all models are of one objective: masked prediction"),
        (SPEECH[2:5], "too few models: without one of them a group is alone"),
        (("facebook/wav2vec2-base", MASKED[0], "facebook/data2vec-audio-base"), "no two models"),
        (("log-mel", "mfcc", "a"), "0 models of known objective"),
    ],
)
def test_too_few_models_for_groups(models: tuple[str, ...], reason: str) -> None:
    shape: Shape = lambda spec, rng: hump(0.3 + 0.05 * len(spec) % 0.6)  # noqa: E731
    (effect,) = claim("curves-by-objective", drawn(shape, models)).effects
    assert effect.verdict == "cannot tell"
    assert effect.doubt.startswith(reason)


def test_two_groups_of_two_are_too_few_to_beat_other_memberships() -> None:
    """Of three ways to deal them, the observed one is one."""
    made = drawn(by_objective, (*CONTRASTIVE[:2], *MASKED[:2]))
    (effect,) = claim("curves-by-objective", made).effects
    assert effect.doubt == "the control (permutation) shows as much"


def test_modality_needs_a_model_that_transformers_cannot_load() -> None:
    found = claim("curves-by-modality", drawn(by_objective))
    assert found.verdict == "cannot tell"
    assert found.effects[0].doubt == "all models are of one modality: audio"
    assert "AV-HuBERT Base, AV-HuBERT Large, FaST-VGS and FaST-VGS+" in found.found[-1]
    lines = found.tables["Models of the paper"]
    assert len(lines) == 11
    assert [line["hub id"] for line in lines[-4:]] == [""] * 4


def test_modality_is_told_where_such_models_were_run() -> None:
    seeing = ("AV-HuBERT Base", "AV-HuBERT Large", "FaST-VGS", "FaST-VGS+")

    def shape(spec: str, rng: np.random.Generator) -> Floats:
        return hump(0.3 if spec in seeing else 0.8) + 0.01 * rng.standard_normal(len(LAYERS))

    assert claim("curves-by-modality", drawn(shape, SPEECH + seeing)).verdict == "supported"


def test_objective_rather_than_data() -> None:
    found = claim("curves-by-data", drawn(by_objective))
    assert found.verdict == "supported", found.effects[0].doubt
    opposite = claim("curves-by-data", drawn(by_hours))
    assert opposite.verdict == "not supported", opposite.effects[0].doubt
    assert claim("curves-by-data", drawn(alike)).verdict == "cannot tell"
    bundled = ("melhubert-small", "melhubert-small-denoise", "ecapa-small-dino")
    few = claim("curves-by-data", drawn(alike, bundled)).effects[0]
    assert few.doubt == "all models are of one amount of data: under 100 h"


def walk(rng: np.random.Generator) -> Floats:
    """A smooth curve that has nothing to do with any other."""
    return np.cumsum(rng.standard_normal(13))


def test_groups_of_unrelated_curves_are_rarely_told_apart() -> None:
    rng, hits = np.random.default_rng(0), 0
    members = np.array(["a"] * 3 + ["b"] * 4)[:, None]
    for seed in range(100):
        curves = [on_grid([str(i) for i in range(13)], walk(rng)) for _ in members]
        apart = distances([curve for curve in curves if curve is not None])
        found = over_models(alone, apart, members)
        chance = far(dealt(alone, apart, members, seed), found.value)
        hits += found.low > 0 and found.value > chance
    assert hits <= 5


# ---- one layer against all


def probed(
    kept: float,
    *,
    models: Sequence[str] = ("a", "b", "c"),
    tasks: Sequence[str] = ("pr", "ic"),
    half: float = 0.01,
    twin: float = 0.3,
    flat: bool = False,
    dealt: bool = True,
    made: Made | None = None,
) -> Made:
    """The sum gains 0.5 over labels dealt anew, the best layer keeps a share of that; the twin's
    sum gains a share, and its best layer all of it."""
    made = made or Made()
    for task in tasks:
        sign, floor = (-1, 0.9) if task in LOWER else (1, 0.1)
        for spec in models:
            made.twins[spec] = f"random:{spec}"
            for who, gain, share in ((spec, 0.5, kept), (f"random:{spec}", 0.5 * twin, 1.0)):
                low = 1.0 if flat else 0.4
                scores = {"0": low * share, "1": (low + 1) / 2 * share, "2": share, SUM: 1.0}
                for layer, part in scores.items():
                    made.score(
                        task, who, floor + sign * gain * part, half, layer=layer,
                        dealt=floor if dealt else None,
                    )  # fmt: skip
                measure = LOWER.get(task, "accuracy")
                made.row(
                    "probing", sign * gain * (1 - share), half, model=who, layer=SUM,
                    other_model=who, other_layer="2", property=task,
                    measure=f"{measure}-over-best-layer", estimator="dev-selected",
                )  # fmt: skip
                best = made.records["probing"].setdefault("best", {})
                best[f"{task} {who}"] = "2"
    return made


def test_a_layer_that_does_as_well_as_the_sum() -> None:
    found = claim("single-layer-against-all", probed(0.99))
    assert found.verdict == "supported", [e.doubt for e in found.effects]
    for effect in found.effects:
        assert effect.value == pytest.approx(0.09)
        assert (effect.low, effect.high) == pytest.approx((0.07, 0.11))
        assert effect.controls[PERMUTATION] == pytest.approx(0.99 * 0.7 - 0.9), "layer at random"
        assert effect.controls[TWIN] == pytest.approx(0.3 - 0.9)
    assert "in 6, less in 0; 0 cannot be told" in found.found[0]


def test_a_layer_that_loses_too_much() -> None:
    found = claim("single-layer-against-all", probed(0.7))
    assert found.verdict == "not supported", [e.doubt for e in found.effects]
    assert found.effects[0].value == pytest.approx(-0.2)
    assert found.effects[0].controls[TWIN] == pytest.approx(0.1), "the twin loses nothing"
    assert "in 0, less in 6" in found.found[0]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (probed(0.92, half=0.05), "the interval holds zero"),
        (probed(0.99, flat=True), "the control (permutation) shows as much"),
        (probed(0.99, twin=1.2), "the control (untrained twin) shows as much"),
        (probed(0.99, dealt=False), "no head was trained on labels dealt anew"),
        (probed(0.99, half=0.6), "the sum is not told apart from labels dealt anew"),
        (probed(0.99, tasks=("sid",)), "none of the tasks pr, asr, ic, sf has a learned sum"),
        (Made(), "the study has no results of probing"),
    ],
)
def test_what_one_layer_cannot_be_told_of(made: Made, reason: str) -> None:
    found = claim("single-layer-against-all", made)
    assert found.verdict == "cannot tell"
    assert {effect.doubt for effect in found.effects} == {reason}


def test_tasks_beyond_the_paper_stand_in_the_table() -> None:
    found = claim("single-layer-against-all", probed(0.99, tasks=("pr", "sid")))
    assert len(found.effects) == 1
    lines = found.tables["What the best single layer keeps"]
    assert {line["task"] for line in lines} == {"PR", "SID"}


def test_what_was_not_measured_is_no_control() -> None:
    """Layers trained shortly give no layer at random, undealt ones no loss on dealt labels."""
    made = probed(0.99)
    for row in made.rows["probing"]:
        if row["layer"] in ("0", "1"):
            row["estimator"] = "screen"
    (doubt,) = {e.doubt for e in claim("single-layer-against-all", made).effects}
    assert doubt.startswith("the control (permutation) was not run: single layers were trained")
    made = probed(0.7)
    made.rows["probing"] = [
        row for row in made.rows["probing"] if not row["control"] or row["layer"] == SUM
    ]
    (doubt,) = {e.doubt for e in claim("single-layer-against-all", made).effects}
    assert doubt == (
        "the control (permutation) was not run: the best single layer has no head on labels dealt "
        "anew"
    )


def test_untrained_networks_that_were_named_are_no_cells() -> None:
    """A second twin is a model of the study, and no case of the claim."""
    made = probed(0.7)
    probed(0.99, models=("random:a,seed=1",), made=made)
    del made.twins["random:a,seed=1"]
    found = claim("single-layer-against-all", made)
    assert found.verdict == "not supported"
    lines = found.tables["What the best single layer keeps"]
    assert {line["model"] for line in lines} == {"a", "b", "c"}


def test_a_model_without_twin_is_no_control() -> None:
    made = probed(0.99)
    made.twins.pop("b")
    effects = claim("single-layer-against-all", made).effects
    assert {e.doubt for e in effects} == {"the control (untrained twin) was not run"}


# ---- curves as a guide


def guided(
    relation: float,
    *,
    models: Sequence[str] = ("a", "b", "c", "d", "e"),
    tasks: Sequence[str] = ("pr", "ic"),
    twin: float = 0.0,
    seed: int = 0,
) -> Made:
    """Scores of layers go with the property by a share, and with noise for the rest."""
    made, rng = Made(), np.random.default_rng(seed)
    for i, spec in enumerate(models):
        made.twins[spec] = f"random:{spec}"
        for who, share in ((spec, relation), (f"random:{spec}", twin)):
            # A peak that is elsewhere in every model.
            held = hump(0.2 + 0.6 * i / len(models)) + 0.01 * rng.standard_normal(len(LAYERS))
            for name in ("cca-phone", "cca-word"):
                made.curve(name, who, dict(zip(LAYERS, held, strict=True)))
            for task in tasks:
                noise = rng.standard_normal(len(LAYERS))
                own = share * (held - held.mean()) / held.std() + (1 - abs(share)) * noise
                sign = -1 if task in LOWER else 1
                for layer, value in zip(LAYERS, own, strict=True):
                    made.score(task, who, 0.5 + 0.1 * sign * float(value), layer=layer)
    return made


def test_curves_that_foretell_layers() -> None:
    found = claim("cca-guides-layers", guided(0.95))
    assert found.verdict == "supported", [e.doubt for e in found.effects]
    assert ["PR" in found.effects[0].what, "IC" in found.effects[1].what] == [True, True]
    for effect in found.effects:
        assert effect.value > 0.9
        assert effect.n == 5
        assert abs(effect.controls[TWIN]) < 0.5
        assert 0 < effect.controls[PERMUTATION] < 0.7
    lines = found.tables["Correlation over layers, and what the choice by CCA costs"]
    assert len(lines) == 10
    assert all(0 <= line["regret"] <= line["regret at random"] for line in lines)


def test_curves_that_mislead() -> None:
    found = claim("cca-guides-layers", guided(-0.95))
    assert found.verdict == "not supported", [e.doubt for e in found.effects]


@pytest.mark.parametrize("seed", range(2))
def test_unrelated_curves_foretell_nothing(seed: int) -> None:
    assert claim("cca-guides-layers", guided(0.0, seed=seed)).verdict == "cannot tell"


def test_correlations_of_unrelated_curves_are_rarely_a_finding() -> None:
    """Layers shuffled one by one would call more than a fifth of these correlations significant."""
    rng, hits, shuffled = np.random.default_rng(1), 0, 0
    for seed in range(100):
        pairs = [(walk(rng), walk(rng)) for _ in range(5)]
        tests = [spearmanr(held, done) for held, done in pairs]
        shuffled += sum(one.pvalue < 0.05 for one in tests)
        mine = [cast(Link, SimpleNamespace(held=held, done=done)) for held, done in pairs]
        rho = np.array([one.statistic for one in tests])
        found = mean_over_models(rho)
        hits += found.low > 0 and found.value > far(turned_round(mine, seed), found.value)
    assert hits <= 7
    assert shuffled > 100


def test_twins_that_two_analyses_call_otherwise() -> None:
    """Models of one shape share a twin, named after the first of them in each analysis."""
    evidence = guided(0.9, twin=0.1).evidence()
    told = [e.controls[TWIN] for e in claim("cca-guides-layers", evidence).effects]
    evidence.records["probing"]["twins"]["b"] = "random:other"
    again = claim("cca-guides-layers", evidence).effects
    assert [e.controls[TWIN] for e in again] == pytest.approx(told)


def test_twins_that_foretell_as_well() -> None:
    found = claim("cca-guides-layers", guided(0.9, twin=1.0))
    assert {e.doubt for e in found.effects} == {"the control (untrained twin) shows as much"}


def test_too_few_models_or_tasks_for_a_guide() -> None:
    two = claim("cca-guides-layers", guided(0.95, models=("a", "b")))
    assert {e.doubt for e in two.effects} == {"2 models, and 3 are needed"}
    assert two.found, "the correlations are told all the same"
    half = claim("cca-guides-layers", guided(0.95, tasks=("pr",)))
    assert [e.verdict for e in half.effects] == ["supported", "cannot tell"]
    assert half.effects[1].doubt == "no model has both cca-word and asr, sf or ic by layers"
    none = claim("cca-guides-speaker-layers", guided(0.95))
    assert none.effects[0].doubt.startswith("no model has both cca-speaker or linear-speaker")


def test_regret_is_what_the_choice_loses() -> None:
    made = Made()
    held = dict(zip(LAYERS, [1, 2, 3, 4, 9, 4, 3, 2, 1], strict=True))
    made.curve("cca-speaker", "a", {k: float(v) for k, v in held.items()})
    per = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.5, 0.6, 0.7)
    for layer, value in zip(LAYERS, per, strict=True):
        made.score("sid", "a", 1 - value, layer=layer)
    found = claim("cca-guides-speaker-layers", made)
    (line,) = found.tables["Correlation over layers, and what the choice by CCA costs"]
    assert (line["layer by CCA"], line["best layer"]) == ("4", "5")
    assert line["regret"] == pytest.approx(0.1)
    assert line["regret at random"] == pytest.approx(0.6 - (1 - np.mean(per)))


# ---- whatever is given


@pytest.mark.parametrize("name", NAMES)
def test_nothing_at_all_gives_reasons_and_no_exception(name: str) -> None:
    found = claim(name, Evidence({}, {}, {}, {}))
    assert found.name == name
    assert found.verdict == "cannot tell"
    assert found.effects
    assert all(effect.doubt for effect in found.effects)
    assert found.title
    assert found.paper


def renamed(made: Made) -> Made:
    """The same with the model "a" called otherwise."""
    other = Made(labels={HOSTILE: f"label {HOSTILE}"})
    names = {"a": HOSTILE, "random:a": f"random:{HOSTILE}"}
    for analysis, rows in made.rows.items():
        other.rows[analysis] = [
            {k: names.get(v, v) if k in ("model", "other_model") else v for k, v in row.items()}
            for row in rows
        ]
        record = made.records[analysis]
        best = {k.replace(" a", f" {HOSTILE}"): v for k, v in record.get("best", {}).items()}
        other.records[analysis] = {**record, "best": best}
    other.twins = {names.get(k, k): names.get(v, v) for k, v in made.twins.items()}
    return other


@pytest.mark.parametrize(
    ("name", "made", "verdict"),
    [
        ("curves-by-objective", drawn(by_objective, ("a", *SPEECH)), "supported"),
        ("curves-by-data", drawn(alike, ("a", *SPEECH)), "cannot tell"),
        ("single-layer-against-all", probed(0.99), "supported"),
        ("cca-guides-layers", guided(0.95), "supported"),
    ],
)
def test_hostile_names_change_nothing(name: str, made: Made, verdict: str) -> None:
    plain, hostile = claim(name, made), claim(name, renamed(made))
    assert (plain.verdict, hostile.verdict) == (verdict, verdict)
    assert [e.value for e in plain.effects] == pytest.approx([e.value for e in hostile.effects])
    told = (
        *hostile.found,
        *(str(line.get("model")) for t in hostile.tables.values() for line in t),
    )
    assert any(f"label {HOSTILE}" in text for text in told), "a study's label is what is said"


@pytest.mark.parametrize("name", NAMES)
def test_damaged_tables_are_reasons(name: str) -> None:
    made = guided(0.95)
    for rows in made.rows.values():
        rows.append(dict(rows[0]))
    found = claim(name, made)
    assert found.verdict == "cannot tell"
    reasons = " ".join(effect.doubt for effect in found.effects)
    assert "cannot be read" in reasons or "no results of" in reasons
