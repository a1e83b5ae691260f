"""Acoustic word embeddings: training helps on held-out voices, order and seed do what they say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import planted
from voxstrata.corpora import load_corpus
from voxstrata.errors import UsageError
from voxstrata.properties.awe.encoder import WIDTH, untrained_encoder
from voxstrata.properties.awe.segments import Segments
from voxstrata.properties.awe.train import (
    Training,
    same_word_precision,
    supervised_contrastive,
    train_encoder,
)
from voxstrata.properties.awe.vectors import (
    agreement,
    save_vectors,
    spoken_words,
    type_vectors,
)
from voxstrata.properties.awe.view import cca_awe
from voxstrata.properties.property import PERMUTED, SHUFFLED, TooFewError
from voxstrata.properties.sample import sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views.word_table import WordTable
from voxstrata.properties.views.word_vectors import read_word_vectors
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo

QUICK = Training(steps=40, words=4, instances=6)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = planted.write_corpus(tmp_path_factory.mktemp("planted"), recordings=36)
    return spoken_words(load_corpus(folder).utterances)


def test_training_helps_on_voices_it_has_not_heard(spoken) -> None:  # type: ignore[no-untyped-def]
    words, speakers = np.array(spoken.words), np.array(spoken.speakers)
    known = np.isin(speakers, ["s0", "s2", "s4"])
    train, test = np.flatnonzero(known), np.flatnonzero(~known)
    frames = spoken.segments.frames
    noise = np.random.default_rng(0).normal(0, 12, frames.shape).astype(np.float32)
    segments = Segments(frames + noise, spoken.segments.starts, spoken.segments.lengths)
    encoder = train_encoder(
        segments.take(train),
        words[train].tolist(),
        speakers[train].tolist(),
        seed=0,
        training=QUICK,
    )
    held_out = segments.take(test)
    listed = words[test].tolist(), speakers[test].tolist()
    trained = same_word_precision(encoder.embed(held_out), *listed, 0)
    plain = same_word_precision(untrained_encoder(0).embed(held_out), *listed, 0)
    assert trained is not None
    assert plain is not None
    assert trained.ap > 0.6
    assert trained.ap > plain.ap + 0.2
    assert trained.chance == pytest.approx(0.25, abs=0.05)
    assert trained.across is not None
    assert encoder.embed(held_out).shape == (len(test), WIDTH)


def test_one_seed_gives_one_encoder_and_leaves_the_global_state(spoken) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(7)
    before = torch.get_rng_state()
    few = Training(steps=3, words=4, instances=3)
    arguments = (spoken.segments, spoken.words, spoken.speakers)
    one, two = (train_encoder(*arguments, seed=1, training=few) for _ in range(2))
    other = train_encoder(*arguments, seed=2, training=few)
    a, b, c = (e.embed(spoken.segments) for e in (one, two, other))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_vector_depends_on_its_segment_alone(spoken) -> None:  # type: ignore[no-untyped-def]
    encoder = untrained_encoder(3)
    together = encoder.embed(spoken.segments)
    alone = np.concatenate(
        [encoder.embed(spoken.segments.take(np.array([i]))) for i in range(0, 20)]
    )
    np.testing.assert_allclose(together[:20], alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


def test_the_loss_is_the_formula() -> None:
    v = torch.nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1)
    labels, t = torch.tensor([0, 0, 1, 1, 2]), 0.3
    want = []
    for i in range(4):
        p = i ^ 1
        total = sum(torch.exp(v[i] @ v[a] / t) for a in range(5) if a != i)
        want.append(-torch.log(torch.exp(v[i] @ v[p] / t) / total))
    got = supervised_contrastive(v, labels, t)
    assert float(got) == pytest.approx(float(sum(want)) / 4, abs=1e-12)


def test_segments_are_resampled_linearly() -> None:
    frames = np.arange(10, dtype=np.float32)[:, None]
    parts = Segments(frames, np.array([0, 4]), np.array([4, 6]))
    points = parts.resampled(7)[:, :, 0]
    np.testing.assert_allclose(points[0], np.linspace(0, 3, 7), atol=1e-6)
    np.testing.assert_allclose(points[1], np.linspace(4, 9, 7), atol=1e-6)


def test_vectors_of_types_agree_with_themselves_and_go_to_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "d", "e"]
    words = [w for w in names for _ in range(3)]
    table = type_vectors(rng.normal(size=(15, 6)), words)
    assert agreement(table, table)[0] == pytest.approx(1.0)
    assert agreement(table, type_vectors(np.zeros((0, 6)), []))[0] is None
    save_vectors(tmp_path / "v.txt", table)
    back = read_word_vectors(tmp_path / "v.txt", names)
    np.testing.assert_allclose(back.rows(names)[1], table.matrix, rtol=1e-6)
    with pytest.raises(UsageError, match="without spaces"):
        save_vectors(tmp_path / "v.txt", WordTable(("a b",), np.zeros((1, 2))))


def test_words_said_once_teach_nothing(spoken) -> None:  # type: ignore[no-untyped-def]
    few = spoken.segments.take(np.arange(3))
    with pytest.raises(TooFewError, match="more than once"):
        train_encoder(few, ["a", "b", "c"], ["x", "y", "z"], seed=0)


WIDE = 5


def _sample(spoken, corpus, order):  # type: ignore[no-untyped-def]
    """Word rows of the planted corpus in some order; the layer is the word plus noise."""
    names = sorted(planted.WORDS)
    rng = np.random.default_rng(3)
    hot = np.eye(len(names), WIDE)[[names.index(w) for w in spoken.words]]
    rows = hot + 0.3 * rng.normal(size=hot.shape)
    at = [int(u[1:]) % 12 for u in spoken.utterance]  # folds keep recordings together
    layer = StackLayer(0, "made", LayerInfo("1", WIDE, "frame", FrameGrid(320, 400)))
    sample = sample_of(
        [rows[order]],
        layers=[layer],
        utterances={u.id: u for u in corpus.utterances},
        utterance=[spoken.utterance[i] for i in order],
        fold=[at[i] for i in order],
        labels=[spoken.words[i].upper() for i in order],
        start_s=spoken.start_s[order],
        end_s=spoken.end_s[order],
        unit="word",
    )
    return sample, layer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return load_corpus(planted.write_corpus(tmp_path_factory.mktemp("drawn"), recordings=72))


def test_the_property_finds_words_whatever_the_order_of_rows(corpus) -> None:  # type: ignore[no-untyped-def]
    spoken = spoken_words(corpus.utterances)
    count = len(spoken.words)
    one = dataclasses.replace(
        cca_awe(""),  # type: ignore[type-var]
        training=Training(steps=15, words=4, instances=6),
    )
    settings = PropertiesConfig(models=("made",), corpus="planted", scale="small", folds=12)
    results, facts = [], []
    for order in (np.arange(count), np.random.default_rng(1).permutation(count)):
        sample, layer = _sample(spoken, corpus, order)
        drawn = one.draw(sample, settings, 0)
        results.append({(s.measure, s.control): s for s in drawn.score(sample.read(0), layer)})
        facts.append(drawn.facts)
        assert any("average precision" in said for said in drawn.notices)
    for key, score in results[0].items():
        assert results[1][key].value == pytest.approx(score.value, abs=1e-9), key
    value, chance = results[0]["pwcca", ""], results[0]["pwcca", SHUFFLED]
    assert value.value > 0.6
    assert abs(chance.value) < 0.3
    assert value.error is not None
    assert value.n == facts[0]["rows"] == count
    assert results[0]["pwcca", PERMUTED].value > chance.value  # a bijection of words still tells
    awe = facts[0]["awe"]
    assert awe["halves_keep_together"] == "speaker"
    assert awe["ap_held_out"] > awe["chance"] + 0.3
    assert {k: v for k, v in awe.items() if k in ("ap_held_out", "agreement", "types")} == {
        k: facts[1]["awe"][k] for k in ("ap_held_out", "agreement", "types")
    }


def test_rows_are_held_against_the_voices_of_the_other_half(corpus) -> None:  # type: ignore[no-untyped-def]
    """Noise in place of the recordings of a half leaves the view of that half's rows as it was,
    for its encoder and its vectors come from the other half."""
    spoken = spoken_words(corpus.utterances)
    sample, _ = _sample(spoken, corpus, np.arange(len(spoken.words)))
    one = dataclasses.replace(
        cca_awe(""),  # type: ignore[type-var]
        training=Training(steps=4, words=4, instances=4),
    )
    settings = PropertiesConfig(models=("made",), corpus="planted", scale="small", folds=12)
    before = one.draw(sample, settings, 0)
    mine = {sample.utterance[i] for i in before.parts[0].true._rows.tolist()}
    rng = np.random.default_rng(0)
    noisy = {
        u.id: dataclasses.replace(
            u, read=lambda u=u: rng.normal(0, 0.1, len(u.read())).astype(np.float32)
        )
        if u.id in mine
        else u
        for u in corpus.utterances
    }
    after = one.draw(dataclasses.replace(sample, utterances=noisy), settings, 0)
    views = [[part.true._matrix.numpy() for part in drawn.parts] for drawn in (before, after)]
    np.testing.assert_array_equal(views[0][0], views[1][0])
    assert not np.allclose(views[0][1], views[1][1])


def test_too_little_is_refused_with_both_numbers(corpus) -> None:  # type: ignore[no-untyped-def]
    spoken = spoken_words(corpus.utterances)
    sample, _ = _sample(spoken, corpus, np.arange(len(spoken.words)))
    with pytest.raises(TooFewError, match="2560") as refused:
        cca_awe("").draw(sample, PropertiesConfig(models=("made",), corpus="planted"), 0)
    assert "--scale small" in refused.value.fix
    few, _ = _sample(spoken, corpus, np.arange(6))
    with pytest.raises(TooFewError, match="at least 8"):
        cca_awe("").draw(few, PropertiesConfig(models=("made",), corpus="p", scale="small"), 0)
