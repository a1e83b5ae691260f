"""Disentanglement properties on samples in memory: sampling, scores, controls, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.errors import UsageError
from voxstrata.properties.disentanglement import properties as disentangle
from voxstrata.properties.disentanglement.phone_layout import coded, layout
from voxstrata.properties.disentanglement.properties import RANDOM
from voxstrata.properties.property import PERMUTED, Score, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import LayerInfo, Utterance

D = 24
LAYER = StackLayer(0, "made", LayerInfo("1", D))
FACTORIES = (disentangle.shares, disentangle.gap, disentangle.angles)


def config(**more: Any) -> PropertiesConfig:
    return PropertiesConfig(models=("made",), corpus="none", **more)


def made_sample(
    phones: int = 12,
    speakers: int = 8,
    recordings: int = 4,
    tokens: int = 3,
    *,
    scale: float = 1.0,
    seed: int = 0,
) -> Sample:
    """Additive phones (first half of the dimensions) and speakers (second half), with noise."""
    g = np.random.default_rng(seed)
    a, b, r, _ = np.indices((phones, speakers, recordings, tokens)).reshape(4, -1)
    of_phone, of_speaker = np.zeros((phones, D)), np.zeros((speakers, D))
    of_phone[:, : D // 2] = g.normal(size=(phones, D // 2))
    of_speaker[:, D // 2 :] = g.normal(size=(speakers, D // 2))
    rows = scale * (of_phone[a] + of_speaker[b]) + g.normal(size=(len(a), D))
    utterances = {
        f"s{s}-{k}": Utterance(f"s{s}-{k}", 1.0, {"speaker": f"s{s}", "phones": ()})
        for s in range(speakers)
        for k in range(recordings)
    }
    vowels = ["AA", "IY", "UW", "EH"]
    labels = [f"{vowels[p]}{t % 3}" if p < 4 else f"C{p}x" for t, p in enumerate(a.tolist())]
    return sample_of(
        [rows],
        layers=[LAYER],
        utterances=utterances,
        utterance=[f"s{s}-{k}" for s, k in zip(b.tolist(), r.tolist(), strict=True)],
        fold=(b % 4).tolist(),
        labels=labels,
    )


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(s.measure, s.control): s for s in scores}


def run(factory: Any, sample: Sample, seed: int = 0, **more: Any) -> dict[tuple[str, str], Score]:
    one = factory("")
    return by_name(one.draw(sample, config(**more), seed).score(sample.read(0), LAYER))


def test_shares_of_a_sample() -> None:
    got = run(disentangle.shares, made_sample())
    value = {name: s.value for (name, control), s in got.items() if not control}
    raw = [value[f"share-{k}"] for k in ("phone", "speaker", "interaction", "rest")]
    assert sum(raw) == pytest.approx(1.0)
    assert value["share-phone-corrected"] == pytest.approx(0.25, abs=0.06)
    assert value["share-speaker-corrected"] == pytest.approx(0.25, abs=0.08)
    assert abs(value["share-interaction-corrected"]) < 0.04
    assert value["share-interaction"] > 0.05
    null = {name: s for (name, control), s in got.items() if control == PERMUTED}
    assert set(null) == {
        f"share-{k}{tail}"
        for k in ("phone", "speaker", "interaction")
        for tail in ("", "-corrected")
    }
    for name, s in null.items():
        assert s.estimator == got[name, ""].estimator
        if name.endswith("corrected"):
            assert abs(s.value) < 4 * (s.error or 0.0)
    assert value["share-phone"] > null["share-phone"].value + 10 * (null["share-phone"].error or 0)
    error = got["share-speaker-corrected", ""].error
    assert error is not None
    assert 0.01 < error < 0.2


def test_gap_of_a_sample() -> None:
    got = run(disentangle.gap, made_sample(scale=2.0))
    same, new = got["accuracy-same-speakers", ""], got["accuracy-new-speakers", ""]
    assert min(same.value, new.value) > 0.9
    assert got["gap", ""].value == pytest.approx(same.value - new.value)
    assert got["accuracy-new-speakers", PERMUTED].value == pytest.approx(1 / 12, abs=0.06)
    assert [fold for fold, _ in new.by_fold] == [0, 1, 2, 3]
    assert np.mean([v for _, v in new.by_fold]) == pytest.approx(new.value, abs=0.03)
    assert not got["gap", PERMUTED].by_fold


def test_angles_of_a_sample() -> None:
    got = run(disentangle.angles, made_sample(scale=3.0))
    overlap = got["overlap", ""]
    assert overlap.value < 0.05
    assert got["angle-smallest", ""].value > 60
    assert abs(got["phone-in-speaker", ""].value) < 0.05
    assert abs(got["speaker-in-phone", ""].value) < 0.05
    assert got["overlap", RANDOM].value > 0.2
    assert got["overlap", PERMUTED].value > overlap.value
    assert (overlap.error or 0) > 0


@pytest.mark.parametrize("factory", FACTORIES)
def test_draws_follow_their_seed(factory: Any) -> None:
    sample = made_sample(tokens=4)
    a, b, c = (run(factory, sample, seed) for seed in (1, 1, 2))
    assert {k: v.value for k, v in a.items()} == {k: v.value for k, v in b.items()}
    assert any(a[k].value != c[k].value for k in a)


@pytest.mark.parametrize("factory", FACTORIES)
def test_too_little_speech_is_refused_and_small_scale_says_what_it_took(factory: Any) -> None:
    sample = made_sample(phones=6, speakers=4, recordings=4, tokens=1)
    with pytest.raises(TooFewError, match="--scale small") as caught:
        factory("").draw(sample, config(), 0)
    assert caught.value.got is not None
    draw = factory("").draw(sample, config(scale="small"), 0)
    assert draw.facts["reduced"]["phones"] == {"published": 10, "used": 6}
    assert all(np.isfinite(s.value) for s in draw.score(sample.read(0), LAYER))
    tiny = made_sample(phones=2, speakers=3)
    with pytest.raises(TooFewError):
        factory("").draw(tiny, config(scale="small"), 0)


def test_layout_takes_as_many_tokens_as_keep_half_of_phones_and_speakers() -> None:
    assert layout(made_sample(), config(), 0).facts["tokens_per_cell"] == 5
    few = layout(made_sample(recordings=3, tokens=1), config(), 0)
    assert few.facts["tokens_per_cell"] == 3
    assert few.facts["cells"] == 12 * 8
    assert few.rows.shape == (12, 8, 3)
    assert "only 8 speakers" in few.notices[0]


def test_stress_goes_and_rows_without_speaker_are_left_out() -> None:
    sample = made_sample()
    data = coded(sample)
    assert data.phones[:4] == ["AA", "C10x", "C11x", "C4x"]
    assert len(data.phones) == 12
    nobody = {k: Utterance(k, 1.0, {}) for k in sample.utterances if k.startswith("s0-")}
    partly = Sample(**{**sample.__dict__, "utterances": {**sample.utterances, **nobody}})
    left = coded(partly)
    assert left.speakers == [f"s{i}" for i in range(1, 8)]
    assert len(left.rows) == len(sample) * 7 // 8
    none = {k: Utterance(k, 1.0, {}) for k in sample.utterances}
    with pytest.raises(TooFewError, match="known speaker"):
        coded(Sample(**{**sample.__dict__, "utterances": none}))


def test_recordings_without_a_second_one_are_no_basis_for_the_gap() -> None:
    with pytest.raises(TooFewError, match="other recordings"):
        disentangle.gap("").draw(made_sample(recordings=1, tokens=9), config(), 0)


@pytest.mark.parametrize("factory", FACTORIES)
def test_facts_of_the_properties(factory: Any) -> None:
    one = factory("")
    assert (one.group, one.unit, one.tiers) == ("disentanglement", "phone", ("phones", "speaker"))
    assert (one.main, "") in run(factory, made_sample())
    with pytest.raises(UsageError, match="no argument"):
        factory("x")


def test_scores_do_not_depend_on_the_unit_of_the_features() -> None:
    sample = made_sample()
    scaled = 1e-3 * sample.read(0) + 5.0
    for factory in FACTORIES:
        draw = factory("").draw(sample, config(), 0)
        a, b = (by_name(draw.score(x, LAYER)) for x in (sample.read(0), scaled.to(torch.float32)))
        for key, score in a.items():
            assert b[key].value == pytest.approx(score.value, abs=2e-3)
