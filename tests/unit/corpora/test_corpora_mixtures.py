"""Mixtures of two speakers: turns say what is heard, parts share no speaker."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voices_made import HOP, fresh, hertz, tones, voices, write
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.mixtures import build
from voxstrata.corpora.mixtures.clips import clips_of
from voxstrata.corpora.mixtures.config import MixturesConfig
from voxstrata.corpora.mixtures.conversation import Tally, order, place
from voxstrata.corpora.mixtures.plan import pairs, plan, speakers_by_part
from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.probing.divide import divide
from voxstrata.probing.sources import TaskSource
from voxstrata.types import SAMPLE_RATE, Segment, Utterance

__all__ = ["fresh", "voices"]  # fixtures


def loudness(audio: NDArray[np.float32], speaker: str) -> NDArray[np.float64]:
    """Amplitude of a speaker's tone in every 10 ms, [T]."""
    time = np.arange(len(audio)) / SAMPLE_RATE
    turned = audio * np.exp(-2j * np.pi * hertz(int(speaker[1:])) * time)
    frames = len(audio) // HOP
    found: NDArray[np.float64] = 2 * np.abs(
        turned[: frames * HOP].reshape(frames, HOP).mean(axis=1)
    )
    return found


def active(utterance: Utterance, speaker: str, frames: int) -> NDArray[np.bool_]:
    """Whether the turns say that a speaker speaks at the middle of every 10 ms, [T]."""
    middle = (np.arange(frames) + 0.5) * HOP / SAMPLE_RATE
    turns = [t for t in utterance.segments("turns") if t.label == speaker]
    return np.array([any(t.start_s <= m < t.end_s for t in turns) for m in middle])


def speaking(utterance: Utterance) -> NDArray[np.int64]:
    """How many speak, every 10 ms."""
    frames = int(utterance.duration_s * 100)
    both = [active(utterance, s, frames) for s in utterance.tiers["speakers"]]
    found: NDArray[np.int64] = np.asarray(both).sum(axis=0, dtype=np.int64)
    return found


def far_from_edges(said: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames at least 40 ms from where a turn begins or ends."""
    edges = np.flatnonzero(np.diff(said.astype(int)))
    middle = np.arange(len(said))
    return np.array([all(abs(m - e) > 4 for e in edges) for m in middle])


# -- what is heard -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [True, False])
def test_turns_say_who_is_heard(tmp_path: Path, words: bool) -> None:
    place = write(tmp_path / "v", words=words)
    corpus = load_corpus(f"mixtures,count=10,overlap=0.3:{place}")
    assert {u.tiers["turns_from"] for u in corpus} == {"words" if words else "energy"}
    heard_both = 0
    for utterance in corpus:
        audio = utterance.read()
        assert {t.label for t in utterance.segments("turns")} == set(utterance.tiers["speakers"])
        inside = []
        for speaker in utterance.tiers["speakers"]:
            level = loudness(audio, speaker)
            said = active(utterance, speaker, len(level))
            sure = far_from_edges(said)
            assert level[sure & said].min() > 4 * level[sure & ~said].max()
            inside.append(said)
        heard_both += int((inside[0] & inside[1]).sum())
        # Nobody else is there.
        for other in {f"s{i}" for i in range(8)} - set(utterance.tiers["speakers"]):
            assert loudness(audio, other).mean() < 0.1 * loudness(audio, speaker).mean()
    assert heard_both > 100


def test_levels_and_peaks(voices: Path) -> None:
    def apart(level: int) -> list[float]:
        found = []
        for utterance in load_corpus(f"mixtures,count=12,level={level}:{voices}"):
            audio = utterance.read()
            assert np.abs(audio).max() <= 0.9
            loud = []
            for speaker in utterance.tiers["speakers"]:
                heard = loudness(audio, speaker)
                sure = far_from_edges(said := active(utterance, speaker, len(heard)))
                loud.append(np.median(heard[sure & said]))
            found.append(20 * np.log10(loud[0] / loud[1]))
        return found

    # Recordings differ by up to 28 dB; mixtures do not.
    assert np.abs(apart(0)).max() < 0.3
    drawn = np.abs(apart(12))
    assert 6 < drawn.max() < 12.3
    assert drawn.min() < 5


def test_a_loud_mixture_is_softer_as_a_whole(voices: Path) -> None:
    corpus = load_corpus(str(voices))
    made = next(plan(MixturesConfig(count=5), corpus, []))
    quiet = build.mix(made, 0)
    louder = dataclasses.replace(made, levels_db=tuple(x + 30 for x in made.levels_db))
    loud = build.mix(louder, 0)
    assert np.abs(loud).max() == pytest.approx(0.9)
    speech = np.abs(quiet) > 0.01
    ratio = loud[speech] / quiet[speech]
    assert ratio.std() / ratio.mean() < 0.05
    assert (quiet != 0).all()


def test_overlap_is_near_its_share(voices: Path) -> None:
    shares = {}
    for overlap in (0.0, 0.1, 0.25):
        corpus = load_corpus(f"mixtures,count=60,overlap={overlap}:{voices}")
        counts = np.concatenate([speaking(u) for u in corpus])
        assert counts.max() == (2 if overlap else 1)
        shares[overlap] = (counts == 2).sum() / (counts > 0).sum()
        assert corpus.details["overlap"] == pytest.approx(shares[overlap], abs=0.01)
    # Pauses within utterances take some of it.
    assert shares[0.0] == 0
    assert 0.05 < shares[0.1] < 0.12
    assert 0.14 < shares[0.25] < 0.28


def test_nobody_overlaps_with_themself_and_both_take_turns(voices: Path) -> None:
    switches = goes_on = 0
    corpus = load_corpus(f"mixtures,count=60,turns=5:{voices}")
    for utterance in corpus:
        turns = utterance.segments("turns")
        for speaker in utterance.tiers["speakers"]:
            mine = [t for t in turns if t.label == speaker]
            gaps = [b.start_s - a.end_s for a, b in itertools.pairwise(mine)]
            assert all(gap > 0.2 for gap in gaps)
        said = [source.split("-")[0] for source in utterance.tiers["sources"]]
        assert len(said) == 5
        assert len(set(said)) == 2
        switches += sum(a != b for a, b in itertools.pairwise(said))
        goes_on += sum(a == b for a, b in itertools.pairwise(said))
    used = Counter(source for u in corpus for source in u.tiers["sources"])
    for speaker in range(8):  # all that a speaker says comes as often
        counts = [used[f"r{speaker}-{number}"] for number in range(3)]
        assert max(counts) - min(counts) <= 1
        assert min(counts) > 0
    assert 0.2 < goes_on / (goes_on + switches) < 0.4


# -- placing, without audio ----------------------------------------------------------------------


def test_placing() -> None:
    shared = total = 0.0
    tally = Tally()
    for seed in range(200):
        draw = Draw("test", seed)
        who = order(6, [6, 6], draw)
        lengths = [draw.between(0.2, 5.0) for _ in who]
        begins = place(who, lengths, 0.2, tally, draw)
        ends = [b + n for b, n in zip(begins, lengths, strict=True)]
        assert begins == sorted(begins)
        assert ends == sorted(ends)
        for i, j in itertools.combinations(range(len(who)), 2):
            common = ends[i] - begins[j]
            if common > 0:
                assert who[i] != who[j]
                assert j == i + 1
                assert common <= 0.9 * min(lengths[i], lengths[j]) + 1e-9
                shared += common
        total += sum(lengths)
    assert tally.both_s == pytest.approx(shared)
    assert tally.speech_s == pytest.approx(total - shared)
    assert shared / (total - shared) == pytest.approx(0.2, abs=0.01)


def test_who_has_said_all_leaves_the_word() -> None:
    for seed in range(50):
        draw = Draw("order", seed)
        assert Counter(order(6, [1, 9], draw)) == {0: 1, 1: 5}
        assert Counter(order(6, [2, 2], draw)) == {0: 2, 1: 2}
        assert set(order(2, [9, 9], draw)) == {0, 1}
        assert set(order(7, [9, 9], draw)) == {0, 1}


def test_pairs_use_all_speakers_alike() -> None:
    names = [f"s{i}" for i in range(7)]
    meet = pairs(names, 3)
    found = [next(meet) for _ in range(700)]
    assert all(a != b for a, b in found)
    counts = Counter(name for pair in found for name in pair)
    assert set(counts) == set(names)
    assert max(counts.values()) < 1.2 * min(counts.values())


# -- cutting ---------------------------------------------------------------------------------------


def test_long_recordings_are_cut_between_words() -> None:
    rng = np.random.default_rng(0)
    at, words = 0.5, []
    for _ in range(60):
        length = float(rng.uniform(0.1, 0.6))
        words.append(Segment(at, at + length, "w"))
        at += length + (0.5 if rng.random() < 0.2 else 0.0)
    audio = tones([[w.start_s, w.end_s] for w in words], at + 0.5, 0, 0.3)
    whole = Utterance("u", len(audio) / SAMPLE_RATE, {"words": tuple(words)}, lambda: audio)
    clips = list(clips_of(whole, "s", 4.0))
    assert len(clips) > 4
    assert all(clip.length_s <= 4.0 for clip in clips)
    covered = [(s.start_s + c.begin_s, s.end_s + c.begin_s) for c in clips for s in c.spans]
    for word in words:  # every word is whole in one span
        inside = [a - 1e-6 <= word.start_s and word.end_s <= b + 1e-6 for a, b in covered]
        assert sum(inside) == 1
    for before, after in itertools.pairwise(clips):
        assert before.end_s <= after.begin_s + 1e-9
    for clip in clips:
        assert clip.rms == pytest.approx(0.3 / np.sqrt(2), rel=0.15)
        assert len(clip.read()) == pytest.approx((clip.end_s - clip.begin_s) * SAMPLE_RATE, abs=2)


def test_a_span_that_is_too_long_is_cut_anywhere(tmp_path: Path) -> None:
    audio = tones([[0.0, 11.0]], 11.0, 0, 0.3)
    whole = Utterance("u", 11.0, {}, lambda: audio)
    lengths = [clip.length_s for clip in clips_of(whole, "s", 4.0)]
    assert len(lengths) == 3
    assert sum(lengths) == pytest.approx(11.0, abs=0.05)


def test_speakers_of_one_recording_take_several_turns(tmp_path: Path) -> None:
    place = write(tmp_path / "v", each=1)
    corpus = load_corpus(f"mixtures,count=10,longest=1,turns=4:{place}")
    sources = [u.tiers["sources"] for u in corpus]
    assert all(len(names) == 4 and len(set(names)) == 2 for names in sources)


# -- parts -----------------------------------------------------------------------------------------


def test_parts_share_no_speaker(voices: Path) -> None:
    corpus = load_corpus(f"mixtures,count=30,seed=4:{voices}")
    assert Counter(u.tiers["split"] for u in corpus) == {"train": 18, "dev": 6, "test": 6}
    by_part: dict[str, set[str]] = {}
    for utterance in corpus:
        by_part.setdefault(utterance.tiers["split"], set()).update(utterance.tiers["speakers"])
        own = {source.split("-")[0].replace("r", "s") for source in utterance.tiers["sources"]}
        assert own == set(utterance.tiers["speakers"])
        assert set(utterance.tiers) == {"split", "speakers", "turns", "turns_from", "sources"}
    assert sum(map(len, by_part.values())) == len(set().union(*by_part.values())) == 8
    source, notes = TaskSource(corpus="x"), list[str]()
    held = {"all": [(u, 0) for u in corpus.utterances]}
    ((_, parts),) = divide(held, "apart", (0.6, 0.2, 0.2), 0, source, notes)
    assert {name: len(part) for name, part in parts.items()} == {"train": 18, "dev": 6, "test": 6}
    assert "own" in notes[0]


@pytest.mark.parametrize("count", [6, 7, 8, 11, 24, 100])
def test_every_part_has_two_speakers(count: int) -> None:
    names = [f"s{i}" for i in range(count)]
    parts = speakers_by_part(names, 1)
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    assert min(map(len, parts.values())) >= 2
    assert list(parts) == ["train", "dev", "test"]
    assert parts == speakers_by_part(names[::-1], 1)


# -- the corpora it is for ----------------------------------------------------------------------


def test_synthetic_speech(fresh: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra 'synth' is not installed")
    corpus = load_corpus("mixtures,count=10:synthetic:tiny,speakers=7")
    _speech_in_turns(corpus)


def test_real_speech(shared: Path) -> None:
    corpus = load_corpus(f"mixtures,count=8:{shared}/data/librispeech_test_other/manifest.jsonl")
    _speech_in_turns(corpus)


def _speech_in_turns(corpus: Corpus) -> None:
    """What is heard in turns is far louder than what is heard between them."""
    assert {u.tiers["turns_from"] for u in corpus} == {"words"}
    inside, outside = [], []
    for utterance in corpus:
        audio = utterance.read().astype(np.float64)
        frames = len(audio) // HOP
        power = (audio[: frames * HOP].reshape(frames, HOP) ** 2).mean(axis=1)
        talk = sum(active(utterance, s, frames).astype(int) for s in utterance.tiers["speakers"])
        inside.append(np.mean(power[talk > 0]))
        outside.append(np.median(power[talk == 0]))
    assert 10 * np.log10(np.mean(inside) / np.mean(outside)) > 15
