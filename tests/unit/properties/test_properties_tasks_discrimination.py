"""Acoustic word discrimination: average precision, its variants, its error, the property."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.properties.property import PERMUTED, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks import same_different
from voxstrata.properties.tasks.discrimination_property import word_discrimination
from voxstrata.properties.tasks.same_different import WordPairs, average_precision, choose_rows
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo, Utterance

LAYER = StackLayer(0, "m", LayerInfo("1", 8, "frame", FrameGrid(320, 400)))


def settings(**given: object) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **given)  # type: ignore[arg-type]


def made(n: int = 120, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    word, speaker = rng.integers(0, 12, n), rng.integers(0, 6, n)
    rows = rng.standard_normal((n, 8)) + rng.standard_normal((12, 8))[word]
    rows += 0.7 * rng.standard_normal((6, 8))[speaker]
    return rows, [f"w{w}" for w in word], speaker


def test_average_precision_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    pos, neg = rng.integers(3, 12, 40) / 10, rng.integers(0, 10, 200) / 10
    truth, scores = np.r_[np.ones(40), np.zeros(200)], np.r_[pos, neg]
    assert average_precision(pos, neg) == pytest.approx(
        average_precision_score(truth, scores), abs=1e-12
    )
    assert average_precision([1.0], [0.5]) == 1.0
    assert average_precision([0.5], [0.5]) == 0.5
    assert average_precision([0.2], [0.5, 0.4], also=[0.9, 0.8]) == pytest.approx(3 / 5)
    with pytest.raises(UsageError):
        average_precision([], [1.0])


def brute(rows: np.ndarray, words: list[str], speakers: np.ndarray, keep: np.ndarray) -> dict:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = [
        (float(unit[i] @ unit[j]), words[i] == words[j], speakers[i] == speakers[j])
        for i, j in itertools.combinations(np.flatnonzero(keep), 2)
    ]
    s, w, p = (np.array(x) for x in zip(*found, strict=True))
    out = {
        "all": average_precision_score(w, s),
        "same-speaker": average_precision_score(w[p], s[p]),
        "different-speakers": average_precision_score(w[~p], s[~p]),
    }
    order = np.argsort(-s)
    precision = np.cumsum(w[order]) / np.arange(1, len(s) + 1)
    out["swdp"] = precision[(w & ~p)[order]].mean()
    return out


def test_variants_against_all_pairs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_different, "_BLOCK", 17)
    rows, words, speakers = made()
    pairs = WordPairs(words, speakers)
    found = pairs.score(pairs.similarities(torch.from_numpy(rows)))
    expected = brute(rows, words, speakers, np.ones(len(rows), bool))
    assert {k: v.value for k, v in found.items()} == pytest.approx(expected, abs=1e-12)
    assert found["all"].pairs == 120 * 119 // 2
    assert found["swdp"].positives == found["different-speakers"].positives
    assert found["all"].error is None


def test_error_is_the_jackknife_over_folds() -> None:
    rows, words, speakers = made(200, seed=1)
    folds = speakers % 5
    pairs = WordPairs(words, speakers, folds)
    found = pairs.score(pairs.similarities(rows))
    whole = brute(rows, words, speakers, np.ones(len(rows), bool))
    left = [brute(rows, words, speakers, folds != f) for f in range(5)]
    for name, value in whole.items():
        exact = jackknife(value, [r[name] for r in left], np.bincount(folds)).error
        assert found[name].error == pytest.approx(float(exact), rel=0.03), name


def test_without_speakers_there_is_one_variant() -> None:
    rows, words, _ = made()
    pairs = WordPairs(words)
    assert list(pairs.score(pairs.similarities(rows))) == ["all"]


def test_bad_input() -> None:
    rows, words, speakers = made(20)
    pairs = WordPairs(words, speakers)
    with pytest.raises(ShapeError):
        pairs.similarities(rows[:-1])
    rows[3] = 0
    with pytest.raises(NumericsError, match="without direction"):
        pairs.similarities(rows)
    rows[3] = np.nan
    with pytest.raises(NumericsError):
        pairs.similarities(rows)
    with pytest.raises(ShapeError):
        WordPairs(words, speakers[:-1])
    with pytest.raises(UsageError):
        WordPairs(["a", "b", "c"])
    with pytest.raises(UsageError):
        WordPairs(["a", "a", "a"])
    with pytest.raises(UsageError, match="too many"):
        WordPairs(["a"] * 7501)


def test_choice_of_rows() -> None:
    rng = np.random.default_rng(0)
    words = ["often"] * 50 + ["some"] * 10 + [f"once{i}" for i in range(10)]
    rows, cap = choose_rows(words, 40, rng)
    counts = {w: [words[r] for r in rows].count(w) for w in ("often", "some", "once3")}
    assert (len(rows), cap, counts) == (40, 20, {"often": 20, "some": 10, "once3": 1})
    assert choose_rows(words, 70, rng)[1] is None
    few, cap = choose_rows([f"w{i % 40}" for i in range(400)], 30, np.random.default_rng(1))
    assert cap == 2
    assert len(few) == 30
    assert len({int(i) % 40 for i in few}) == 15  # whole words, so that pairs remain
    again, _ = choose_rows([f"w{i % 40}" for i in range(400)], 30, np.random.default_rng(1))
    assert again.tolist() == few.tolist()


def word_sample(rows: np.ndarray, words: list[str], speakers: np.ndarray, **more: object) -> Sample:
    names = [f"u{s}" for s in speakers]
    utterances = {n: Utterance(n, 100.0, {"speaker": n}) for n in set(names)}
    return sample_of(
        [rows],
        layers=[LAYER],
        utterances=utterances,
        utterance=names,
        fold=speakers.tolist(),
        labels=words,
        unit="word",
        **more,  # type: ignore[arg-type]
    )


def test_the_property_and_its_control() -> None:
    rows, words, speakers = made(400, seed=2)
    sample = word_sample(rows, words, speakers)
    draw = word_discrimination("").draw(sample, settings(), seed=3)
    scores = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    assert {m for m, _ in scores} == {"ap", "ap-swdp", "ap-same-speaker", "ap-different-speakers"}
    chance = draw.facts["same-word pairs"] / draw.facts["pairs"]
    assert scores["ap", ""].value > 2 * chance
    assert scores["ap", PERMUTED].value == pytest.approx(chance, rel=0.15)
    assert scores["ap", ""].groups == 6
    assert scores["ap", ""].error > 0
    assert scores["ap-same-speaker", ""].n < scores["ap", ""].n


def test_short_words_are_left_out_as_published() -> None:
    rows, _, speakers = made(60)
    words = [["river", "sea", "ocean"][i % 3] for i in range(60)]
    lengths = np.where(np.arange(60) % 2 == 0, 0.6, 0.3)
    sample = word_sample(rows, words, speakers, start_s=np.zeros(60), end_s=lengths)
    free = word_discrimination("").draw(sample, settings(), seed=0)
    assert free.facts["rows"] == 60
    half = word_discrimination("").draw(sample, settings(min_s=0.5), seed=0)
    assert half.facts["rows"] == 30
    published = word_discrimination("").draw(sample, settings(preset="pasad2023"), seed=0)
    assert (published.facts["rows"], published.facts["words"]) == (20, 2)
    with pytest.raises(TooFewError, match="two words"):
        word_discrimination("").draw(sample, settings(min_s=0.7), seed=0)
    with pytest.raises(UsageError):
        word_discrimination("x")


def test_words_that_never_change_speaker_are_noted() -> None:
    rows, _, speakers = made(60)
    words = [f"w{s}" for s in speakers]
    draw = word_discrimination("").draw(word_sample(rows, words, speakers), settings(), seed=0)
    assert "cannot tell words from voices" in draw.notices[0]
