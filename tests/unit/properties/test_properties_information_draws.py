"""``mi-phone``, ``mi-word``, ``mi:TIER``, ``pnmi`` on planted samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from properties_planted import LAYER, recordings, segments, settings

from voxstrata.errors import UsageError
from voxstrata.properties.information import properties as mi
from voxstrata.properties.property import PERMUTED, Score, TooFewError
from voxstrata.types import Segment


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    found = {(s.measure, s.control): s for s in scores}
    assert len(found) == len(scores)
    return found


def test_phones_are_found_and_permuted_ones_are_not() -> None:
    sample, rows = segments()
    draw = mi.mi_phone("").draw(sample, settings(clusters_phone=40), seed=3)
    found = by_name(draw.score(torch.from_numpy(rows), LAYER))
    assert found["mi", ""].value > 0.8
    assert found["mi-adjusted", ""].value > 0.75
    assert abs(found["mi-adjusted", PERMUTED].value) < 0.05
    assert found["mi-selectivity", ""].value == pytest.approx(
        found["mi", ""].value - found["mi", PERMUTED].value
    )
    assert found["label-purity", ""].value > 0.9
    # stress digits are gone: EH0 and EH1 look alike and count as one
    assert draw.facts["types"] == 5
    assert found["mi", ""].n == sum(draw.facts["rows"]) <= len(sample)
    for (measure, control), score in found.items():
        if not control:
            assert score.error is not None
            assert score.error >= 0
            assert (measure, PERMUTED) in found or measure == "mi-selectivity"
    assert [f for f, _ in found["mi-adjusted", ""].by_fold] == [0, 1, 2, 3, 4]


def test_noise_says_nothing_once_chance_is_taken_off() -> None:
    sample, _ = segments()
    draw = mi.mi_phone("").draw(sample, settings(clusters_phone=40), seed=3)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1200, 24)))
    found = by_name(draw.score(noise, LAYER))
    assert found["mi", ""].value > 0.05  # the published number is biased up
    assert abs(found["mi-adjusted", ""].value) < 0.03
    assert abs(found["mi-selectivity", ""].value) < 0.03


def test_halves_share_no_group_and_each_row_is_coded_by_the_other_half() -> None:
    sample, _ = segments()
    draw = mi.mi_phone("").draw(sample, settings(phones_per_type=900), seed=0)
    for half in draw.halves:
        assert not set(sample.utterance[half.train]) & set(sample.utterance[half.evaluate])
        assert set(np.unique(half.fold)) == set(sample.fold[half.evaluate])
        for permuted in half.permuted:
            assert (np.bincount(permuted) == np.bincount(half.labels)).all()
    covered = np.concatenate([half.evaluate for half in draw.halves])
    assert sorted(covered) == list(range(len(sample)))
    capped = mi.mi_phone("").draw(sample, settings(phones_per_type=30), seed=0)
    assert capped.facts["rows"] == [150, 150]
    assert capped.facts["training_rows"] == draw.facts["training_rows"]


def test_draws_repeat_and_differ_by_seed() -> None:
    sample, rows = segments(n=400)
    one = mi.mi_phone("")
    first, again, other = (one.draw(sample, settings(kmeans_seeds=1), seed=s) for s in (5, 5, 6))
    values = [
        [s.value for s in d.score(torch.from_numpy(rows), LAYER)] for d in (first, again, other)
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_scales() -> None:
    sample, _ = segments()
    small = mi.mi_phone("").draw(sample, settings(), seed=0)
    few = min(small.facts["training_rows"])
    assert small.book.clusters == few // 10
    assert small.facts["reduced"] == {"clusters": {"published": 500, "used": few // 10}}
    with pytest.raises(TooFewError, match="--scale small") as raised:
        mi.mi_phone("").draw(sample, settings(scale="published"), seed=0)
    assert str(few) in str(raised.value)
    assert "2500" in str(raised.value)
    fits = mi.mi_phone("").draw(sample, settings(scale="published", clusters_phone=60), seed=0)
    assert fits.book.clusters == 60
    assert "reduced" not in fits.facts
    pasad = mi.mi_phone("").draw(sample, settings(preset="pasad2023"), seed=0)
    assert (pasad.book.seeding_width, pasad.book.batch, pasad.book.max_iter) == (None, 1500, 500)


def test_word_types_are_the_most_frequent() -> None:
    sample, _ = segments()
    sample = dataclasses.replace(
        sample, labels=tuple(["a"] * 500 + ["b"] * 400 + ["c"] * 200 + ["d"] * 100)
    )
    draw = mi.mi_word("").draw(sample, settings(words=3, words_per_type=20), seed=0)
    assert draw.facts["types"] == 3
    assert draw.facts["rows"] == [60, 60]
    assert draw.book.batch == 4000
    assert min(draw.facts["training_rows"]) > 400


def test_a_code_that_knows_the_speaker_knows_what_speakers_carry() -> None:
    """A coin of each speaker: information is high, and as high for coins of other speakers."""
    sample, rows, _ = recordings(speakers=30, each=20, speaker_strength=6.0)
    draw = mi.mi_tier("coin").draw(sample, settings(clusters_phone=30), seed=0)
    found = by_name(draw.score(torch.from_numpy(rows), LAYER))
    assert found["mi", ""].value > 0.4
    assert found["mi", PERMUTED].value > 0.4
    assert abs(found["mi-selectivity", ""].value) < 0.15
    assert draw.facts["permuted"] == "speaker"
    assert "one value a speaker" in draw.notices[0]


def test_frames_take_the_phone_at_their_centre() -> None:
    sample, rows = segments(n=800)
    phones: dict[str, list[Segment]] = {name: [] for name in sample.utterances}
    for i, label in enumerate(sample.labels or ()):
        spoken = "SIL" if label == "B" else label
        span = Segment(float(sample.start_s[i]), float(sample.end_s[i]), spoken)
        phones[sample.utterance[i]].append(span)
    spans = {
        name: dataclasses.replace(u, tiers={"phones": tuple(phones[name])})
        for name, u in sample.utterances.items()
    }
    frames = dataclasses.replace(sample, labels=None, utterances=spans, unit="frame")
    draw = mi.pnmi("").draw(frames, settings(), seed=0)
    kept = sum(label != "B" for label in sample.labels or ())
    assert sum(draw.facts["rows"]) == kept
    found = by_name(draw.score(torch.from_numpy(rows), LAYER))
    assert found["pnmi", ""].value > 0.7
    assert ("mi", "") not in found


def test_missing_names_and_arguments() -> None:
    sample, _, _ = recordings()
    with pytest.raises(TooFewError, match="does not vary"):
        mi.mi_tier("same").draw(sample, settings(), seed=0)
    with pytest.raises(UsageError, match="mi needs a scalar tier"):
        mi.mi_tier("")
    with pytest.raises(UsageError, match="mi needs a scalar tier"):
        mi.mi_tier("gender@syllable")
    assert mi.mi_tier("gender@phone").unit == "phone"
    with pytest.raises(UsageError):
        mi.mi_phone("x")
    one_fold = dataclasses.replace(sample, fold=np.zeros(len(sample), dtype=np.int64))
    with pytest.raises(TooFewError, match="others to test"):
        mi.mi_tier("mood").draw(one_fold, settings(), seed=0)
