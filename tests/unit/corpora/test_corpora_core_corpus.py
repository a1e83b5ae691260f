"""Subsets, splits, filters, fingerprints, saving."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.selection import apportion
from voxstrata.errors import CorpusError, LabelError, UsageError

SPEAKERS = 10
EACH = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten speakers, six utterances each, of .1 to .6 s; odd speakers are female."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = []
    for s in range(SPEAKERS):
        for u in range(EACH):
            name = f"s{s}_u{u}.wav"
            sf.write(root / name, rng.uniform(-0.3, 0.3, 1600 * (u + 1)), 16000)
            line = {"id": f"s{s}-{u}", "file": name, "speaker": f"s{s}", "gender": "MF"[s % 2]}
            lines.append({**line, "text": f"text {u}", "words": [[0.0, 0.1, "text"]]})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "manifest.jsonl").write_text(text)
    return root


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return load_corpus(folder, on_error="stop")


def ids(corpus: Corpus) -> list[str]:
    return [u.id for u in corpus]


def test_facts(corpus: Corpus) -> None:
    assert len(corpus) == SPEAKERS * EACH
    assert corpus.seconds == pytest.approx(SPEAKERS * 2.1)
    assert corpus.speakers == tuple(f"s{i}" for i in range(SPEAKERS))
    assert corpus.tiers() == dict.fromkeys(["gender", "speaker", "text", "words"], 60)
    assert "60 utterances" in repr(corpus)
    assert len(corpus.cuts) == 60


def test_subsets_are_exact_seeded_and_nested(corpus: Corpus) -> None:
    ten, twenty = corpus.subset(utterances=10, seed=1), corpus.subset(utterances=20, seed=1)
    assert (len(ten), len(twenty)) == (10, 20)
    assert set(ids(ten)) < set(ids(twenty))
    assert ids(ten) == ids(corpus.subset(utterances=10, seed=1))
    assert ids(ten) != ids(corpus.subset(utterances=10, seed=2))
    assert ids(ten) == [i for i in ids(corpus) if i in set(ids(ten))]  # the order of the corpus
    assert ten.spec.endswith("|subset(utterances=10,seed=1)")


def test_subsets_by_speaker_and_seconds(corpus: Corpus) -> None:
    few = corpus.subset(speakers=3, per_speaker=2, seed=4)
    assert len(few.speakers) == 3
    assert len(few) == 6
    short = corpus.subset(seconds=5.0)
    assert 4.4 < short.seconds <= 5.0  # the next utterance (at most .6 s) would not fit
    assert set(ids(short)) < set(ids(corpus.subset(seconds=9.0)))


@pytest.mark.parametrize(
    "asked",
    [{"utterances": 61}, {"speakers": 11}, {"seconds": 100.0}, {"utterances": 0},
     {"seconds": 0.01}, {"per_speaker": -1}],
)  # fmt: skip
def test_impossible_subsets(corpus: Corpus, asked: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        corpus.subset(**asked)  # type: ignore[arg-type]


def test_splits_keep_speakers_apart_and_are_exact(corpus: Corpus) -> None:
    parts = corpus.split({"train": 0.7, "dev": 0.1, "test": 0.2}, seed=3)
    assert [len(p.speakers) for p in parts.values()] == [7, 1, 2]
    sets = [set(p.speakers) for p in parts.values()]
    assert set.union(*sets) == set(corpus.speakers)
    assert sum(len(p) for p in parts.values()) == 60
    again = corpus.split({"train": 0.7, "dev": 0.1, "test": 0.2}, seed=3)
    assert {k: ids(v) for k, v in parts.items()} == {k: ids(v) for k, v in again.items()}
    other = corpus.split({"train": 0.7, "dev": 0.1, "test": 0.2}, seed=4)
    assert set(other["train"].speakers) != set(parts["train"].speakers)


def test_splits_do_not_depend_on_the_order_of_the_corpus(corpus: Corpus) -> None:
    turned = corpus.derive(list(corpus.cuts)[::-1])
    for by in ("speaker", "utterance"):
        a = corpus.split({"train": 0.5, "test": 0.5}, by=by)
        b = turned.split({"train": 0.5, "test": 0.5}, by=by)
        assert set(ids(a["train"])) == set(ids(b["train"]))


def test_splits_by_utterance_and_by_any_tier(corpus: Corpus) -> None:
    parts = corpus.split({"a": 0.8, "b": 0.15}, by="utterance")
    assert [len(p) for p in parts.values()] == [48, 9]
    assert not set(ids(parts["a"])) & set(ids(parts["b"]))
    by_text = corpus.split({"a": 0.5, "b": 0.5}, by="text")
    texts = [{u.tiers["text"] for u in p} for p in by_text.values()]
    assert [len(t) for t in texts] == [3, 3]
    assert not texts[0] & texts[1]


def test_impossible_splits(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="add up"):
        corpus.split({"a": 0.8, "b": 0.3})
    with pytest.raises(UsageError, match="add up"):
        corpus.split({})
    with pytest.raises(UsageError, match="would be empty"):
        corpus.split({"a": 0.97, "b": 0.03})
    with pytest.raises(LabelError, match="no tier 'chapter'"):
        corpus.split({"a": 0.5, "b": 0.5}, by="chapter")


def test_largest_remainders() -> None:
    assert apportion(10, {"a": 0.8, "b": 0.2}) == {"a": 8, "b": 2}
    assert apportion(7, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}) == {"a": 3, "b": 2, "c": 2}
    assert apportion(3, {"a": 0.34, "b": 0.33, "c": 0.33}) == {"a": 1, "b": 1, "c": 1}


def test_filters(corpus: Corpus) -> None:
    assert {u.tiers["gender"] for u in corpus.filter(gender="F")} == {"F"}
    assert len(corpus.filter(speaker=["s1", "s2"], min_s=0.25)) == 8
    assert len(corpus.filter(max_s=0.15)) == SPEAKERS
    assert len(corpus.filter(lambda u: u.id.endswith("-0"), has="words")) == SPEAKERS
    with pytest.raises(CorpusError, match="is empty"):
        corpus.filter(has=("words", "phones"))


def test_saved_and_opened_again(corpus: Corpus, tmp_path: Path) -> None:
    part = corpus.subset(speakers=2)
    first = part.save(tmp_path / "kept").read_bytes()
    again = load_corpus(tmp_path / "kept", on_error="stop")
    assert again.utterances == part.utterances
    assert again.fingerprint == part.fingerprint
    assert again.name == part.name
    assert part.save(tmp_path / "twice").read_bytes() == first  # the same bytes every time
    np.testing.assert_array_equal(again.utterances[0].read(), part.utterances[0].read())


def test_the_fingerprint_follows_content_not_place_or_date(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    original = load_corpus(folder).fingerprint
    for file in copy.iterdir():
        os.utime(file, (1, 1))
    assert load_corpus(copy).fingerprint == original
    manifest = (copy / "manifest.jsonl").read_text()
    (copy / "manifest.jsonl").write_text(manifest.replace('"text 3"', '"text III"', 1))
    relabelled = load_corpus(copy).fingerprint
    assert relabelled != original
    (copy / "manifest.jsonl").write_text(manifest)
    samples, rate = sf.read(copy / "s0_u5.wav")
    sf.write(copy / "s0_u5.wav", samples * 0.5, rate)  # the same size and length
    assert load_corpus(copy).fingerprint not in (original, relabelled)
    assert load_corpus(folder).subset(utterances=59).fingerprint != original


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="is empty"):
        Corpus("nothing", [])
