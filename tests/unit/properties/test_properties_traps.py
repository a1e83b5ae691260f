"""Traps that properties must not fall into: each of these once gave a wrong number."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from properties_planted import LAYER, recordings, segments
from test_properties_disentangle_draws import made_sample

from voxstrata.errors import NumericsError
from voxstrata.properties.cca.engine import CcaDraw, pick_types
from voxstrata.properties.cca.labels import cca_phone, cca_word
from voxstrata.properties.cca.layers import base_layer, cca_intra
from voxstrata.properties.disentanglement.phone_layout import coded
from voxstrata.properties.disentanglement.properties import angles, gap, shares
from voxstrata.properties.information import properties as mi
from voxstrata.properties.job import _one_draw
from voxstrata.properties.linear.labels import linear_phone
from voxstrata.properties.linear.targets import frequencies, stress_free
from voxstrata.properties.property import PERMUTED, Score, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views import tier_properties as tier_views
from voxstrata.properties.views.lexical import BesidePermuted
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import LayerInfo, Segment, Utterance


def settings(**how: Any) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **{"scale": "small", **how})


def layer(name: str, width: int = 4, model: str = "m", default: bool = True) -> StackLayer:
    return StackLayer(0, model, LayerInfo(name, width, default=default))


def words_sample() -> Sample:
    """Rows capped at 6 of a word, of recordings that say "zebra" 40 times and others 8 times."""
    rng = np.random.default_rng(0)
    said = ["zebra"] * 40 + [w for w in ("ant", "bee", "cat") for _ in range(8)]
    of = [said[i] for i in rng.permutation(len(said))]
    utterances = {
        f"u{u}": Utterance(
            f"u{u}", 9.0, {"words": tuple(Segment(j, j + 1, w) for j, w in enumerate(of[u::8]))}
        )
        for u in range(8)
    }
    labels = ["ant", "bee", "cat", "zebra"] * 6
    return sample_of(
        [rng.normal(size=(24, 2))],
        layers=[layer("1", 2)],
        utterances=utterances,
        utterance=[f"u{i % 8}" for i in range(24)],
        fold=[i % 8 for i in range(24)],
        labels=labels,
        unit="word",
    )


def test_the_most_frequent_words_are_those_of_the_corpus_not_of_capped_rows() -> None:
    sample = words_sample()
    assert frequencies(sample, "words") == {"zebra": 40, "ant": 8, "bee": 8, "cat": 8}
    draw = cca_word("").draw(sample, settings(words=3, pca=1), 0)
    assert isinstance(draw, CcaDraw)
    kept = {(sample.labels or ())[i] for i in draw._rows.tolist()}
    assert kept == {"zebra", "ant", "bee"}
    # without other counts, those of the labels decide
    assert pick_types(["b", "a", "b"], 1, 9, 0)[1] == ("b",)


def test_convolutions_are_not_compared_with_the_first_of_them() -> None:
    """At 10 ms there is no layer 0: conv2 against conv1 is not what cca-intra asks."""
    rng = np.random.default_rng(0)
    local = [layer(f"conv{i}", default=False) for i in (1, 2, 3)]
    blocks = [layer(name, model="e") for name in ("conv", "block1")]

    def sample(layers: list[StackLayer]) -> Sample:
        return sample_of(
            [rng.normal(size=(90, 4)) for _ in layers],
            layers=layers,
            utterances={f"u{i}": Utterance(f"u{i}", 1.0, {}) for i in range(9)},
            utterance=[f"u{i // 10}" for i in range(90)],
            fold=[i // 10 for i in range(90)],
            unit="frame",
        )

    with pytest.raises(TooFewError, match="cca-intra"):
        cca_intra("").draw(sample(local), settings(), 0)
    both = sample([*local, *blocks])
    assert base_layer(both, "m") is None
    assert base_layer(both, "e") == 3
    draw = cca_intra("").draw(both, settings(), 0)
    assert [bool(draw.score(both.read(i), one)) for i, one in enumerate(both.layers)] == [
        False, False, False, False, True,
    ]  # fmt: skip
    assert draw.facts["base"] == {"e": "conv"}


def test_stress_digits_go_and_other_digits_stay() -> None:
    labels = ["AH0", "AH1", "ER2", "B", "9", "an4", "C14"]
    assert [stress_free(x) for x in labels] == ["AH", "AH", "ER", "B", "9", "an4", "C14"]
    sample = sample_of(
        [np.zeros((7, 2))],
        layers=[layer("1", 2)],
        utterances={"u": Utterance("u", 1.0, {"speaker": "s"})},
        utterance=["u"] * 7,
        fold=[0] * 7,
        labels=labels,
    )
    assert coded(sample).phones == ["9", "AH", "B", "C14", "ER", "an4"]


def moods(**tiers: Any) -> Sample:
    """12 speakers, 8 recordings each in one of two moods; a layer with the mood in it."""
    rng = np.random.default_rng(1)
    n = 96
    mood = np.arange(n) % 2
    rows = rng.normal(size=(n, 3))
    rows[:, 0] += 3 * mood
    return sample_of(
        [rows],
        layers=[layer("1", 3)],
        utterances={
            f"u{i}": Utterance(
                f"u{i}",
                1.0,
                {"speaker": f"s{i // 8}", "mood": "ab"[mood[i]], "sex": "FM"[i // 8 % 2], **tiers},
            )
            for i in range(n)
        },
        utterance=[f"u{i}" for i in range(n)],
        fold=[i % 10 for i in range(n)],
        unit="utterance",
    )


def test_a_label_that_varies_within_speakers_is_not_permuted_over_speakers() -> None:
    """It would become another kind of label: one value a speaker."""
    sample = moods()
    held = tier_views.tier("mood").draw(sample, settings(group="speaker"), 0)
    assert held.facts["folds_keep_together"]["by"] == "speaker"
    assert isinstance(held, CcaDraw)
    sex = dataclasses.replace(tier_views.gender(""), tier="sex")
    carried = sex.draw(sample, settings(), 0)
    assert isinstance(carried, BesidePermuted)
    assert {s.control for s in carried.score(sample.read(0), sample.layers[0])} >= {PERMUTED}


def test_the_published_splits_keep_nothing_together_and_say_so() -> None:
    sample = moods()
    draw = dataclasses.replace(tier_views.gender(""), tier="sex").draw(
        sample, settings(preset="pasad2023"), 0
    )
    assert draw.facts["folds_keep_together"]["by"] == "row"
    assert draw.facts["folds"] == 10
    assert any("a speaker stands in training and test" in text for text in draw.notices)
    plain = tier_views.tier("mood").draw(sample, settings(preset="pasad2023"), 0)
    assert not any("stands in training" in text for text in plain.notices)


def test_information_about_speakers_has_errors_over_speakers() -> None:
    """Ten recordings of a speaker say his sex once: over 20 worlds of 24 speakers the value moves
    by five times the error that folds of recordings give."""
    values: list[float] = []
    errors: list[float] = []
    for seed in range(20):
        sample, rows, _ = recordings(speakers=24, each=10, seed=seed)
        draw = mi.mi_tier("gender").draw(sample, settings(kmeans_seeds=1), 0)
        assert draw.facts["folds_keep"] == "speaker"
        for half in draw.halves:
            here, there = (sample.groups("speaker")[part] for part in (half.train, half.evaluate))
            assert not set(here) & set(there)
        found = draw.score(torch.from_numpy(rows), LAYER)
        (one,) = (s for s in found if (s.measure, s.control) == ("mi-adjusted", ""))
        values.append(one.value)
        errors.append(one.error or math.nan)
    assert 0.6 < np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1) < 1.6


@pytest.mark.parametrize(
    "one",
    [mi.mi_phone(""), linear_phone(""), cca_phone(""), *(f("") for f in (shares, gap, angles))],
    ids=lambda one: one.name,
)
def test_rows_that_are_not_finite_are_an_error_of_numbers(one: Any) -> None:
    """The job leaves such a layer out; any other error would stop the run."""
    sample = made_sample() if one.group == "disentanglement" else segments()[0]
    draw = one.draw(sample, settings(), 0)
    rows = sample.read(0).clone()
    rows[:, 2] = torch.nan
    with pytest.raises(NumericsError):
        draw.score(rows, sample.layers[0])


def test_the_job_names_what_is_not_defined_and_what_cannot_be_drawn(tmp_path: Path) -> None:
    sample = segments()[0]
    stored: Any = SimpleNamespace(
        plan=SimpleNamespace(scored=(0,), layers=(0,)), sample=sample, stack=sample.layers
    )
    scores = [Score("a", 0.5), Score("b", math.nan), Score("b", math.nan, control="chance")]
    given = SimpleNamespace(score=lambda *_: scores, facts={}, notices=[])
    drawn: Any = SimpleNamespace(draw=lambda *_: given)
    part = _one_draw(
        drawn,
        stored,
        settings(),
        0,
        tmp_path / "a.json",
        lambda _: None,
    )
    assert [item.score.measure for item in part.scored] == ["a"]
    assert part.notices == ["planted/1: b not defined"]

    def refuse(*_: Any) -> Any:
        raise NumericsError("a view without variance", got="0")

    refusing: Any = SimpleNamespace(draw=refuse)
    part = _one_draw(
        refusing,
        stored,
        settings(),
        0,
        tmp_path / "b.json",
        lambda _: None,
    )
    assert part.refused == "a view without variance (got 0)"


def test_a_control_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = moods()
    sex = dataclasses.replace(tier_views.gender(""), tier="sex")
    draw = sex.draw(sample, settings(), 0)
    assert isinstance(draw, BesidePermuted)
    assert not any(PERMUTED in text for text in draw.notices)

    def fail(*_: Any) -> Any:
        raise NumericsError("a covariance without variance")

    monkeypatch.setattr(draw.permuted, "score", fail)
    found = draw.score(sample.read(0), sample.layers[0])
    assert PERMUTED not in {s.control for s in found}
    assert "m/1 has no control permuted-labels: a covariance without variance." in draw.notices


def test_published_splits_of_two_rows_are_refused() -> None:
    """Two rows correlate by 1 or -1, whatever they are."""
    sample = moods()
    few = dataclasses.replace(
        sample,
        utterance=sample.utterance[:24],
        fold=sample.fold[:24],
        start_s=sample.start_s[:24],
        end_s=sample.end_s[:24],
        read=lambda position: sample.read(position)[:24],
    )
    with pytest.raises(TooFewError, match="rows in each split"):
        tier_views.tier("mood").draw(few, settings(preset="pasad2023"), 0)
