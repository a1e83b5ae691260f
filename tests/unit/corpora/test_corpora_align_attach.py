"""Alignment files find their utterances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.alignments import attach_alignments
from voxstrata.errors import LabelError, UsageError
from voxstrata.types import Segment


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    for name in ("anna/one", "anna/two", "bob/one"):
        path = tmp_path / "audio" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, 16000), 16000)
    return load_corpus(tmp_path / "audio")


def lab(path: Path, label: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"0 5000000 {label}\n")


def words(corpus: Corpus, tier: str = "phones") -> dict[str, str]:
    return {u.id: u.segments(tier)[0].label for u in corpus if u.segments(tier)}


def test_by_path_below_the_folder(corpus: Corpus, tmp_path: Path) -> None:
    for name in ("anna/one", "anna/two", "bob/one"):
        lab(tmp_path / "lab" / f"{name}.lab", name.replace("/", ""))
    found = attach_alignments(corpus, tmp_path / "lab")
    assert words(found) == {"anna/one": "annaone", "anna/two": "annatwo", "bob/one": "bobone"}
    assert found.utterances[0].tiers["speaker"] == "anna"
    assert not found.problems


def test_a_bare_name_that_two_utterances_share_is_nobodys(corpus: Corpus, tmp_path: Path) -> None:
    lab(tmp_path / "lab" / "one.lab", "whose")
    lab(tmp_path / "lab" / "two.lab", "annas")
    found = attach_alignments(corpus, tmp_path / "lab")
    assert words(found) == {"anna/two": "annas"}
    assert sorted(p.id for p in found.problems) == ["anna/one", "bob/one"]
    with pytest.raises(LabelError, match="anna/one"):
        attach_alignments(corpus, tmp_path / "lab", on_error="stop")


def test_several_files_of_one_utterance(corpus: Corpus, tmp_path: Path) -> None:
    lab(tmp_path / "both" / "p" / "two.lab", "T")
    (tmp_path / "both" / "w").mkdir()
    word = {"w": [{"b": 0.0, "d": 0.5, "t": "two"}]}
    (tmp_path / "both" / "w" / "two.json").write_text(json.dumps(word))
    found = attach_alignments(corpus, tmp_path / "both")
    assert words(found) == {"anna/two": "T"}
    assert words(found, "words") == {"anna/two": "two"}
    lab(tmp_path / "both" / "q" / "two.lab", "D")  # says otherwise
    with pytest.raises(LabelError, match="different phones"):
        attach_alignments(corpus, tmp_path / "both")


def test_ctm_by_recording_and_renamed(corpus: Corpus, tmp_path: Path) -> None:
    ctm = tmp_path / "all.ctm"
    ctm.write_text("two 1 0.1 0.2 zwei\nbob/one 1 0.3 0.1 eins\n")
    found = attach_alignments(corpus, ctm, rename={"words": "german"})
    assert words(found, "german") == {"anna/two": "zwei", "bob/one": "eins"}
    ctm.write_text("nobody 1 0.1 0.2 zwei\n")
    with pytest.raises(LabelError, match="belongs to an utterance"):
        attach_alignments(corpus, ctm)


def test_recordings_that_hold_several_utterances(tmp_path: Path) -> None:
    sf.write(tmp_path / "talk.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 48000), 16000)
    lines = [
        {"id": f"talk-{i}", "file": "talk.wav", "start": float(i), "duration": 1.0}
        for i in range(3)
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    ctm = tmp_path / "t.ctm"
    ctm.write_text(
        "talk 1 0.2 0.3 zero\ntalk 1 1.1 0.3 one\ntalk 1 1.8 0.1 one2\ntalk 1 2.2 0.2 two\n"
    )
    found = attach_alignments(load_corpus(tmp_path / "manifest.jsonl"), ctm)
    assert [u.segments("words") for u in found] == [
        (Segment(0.2, 0.5, "zero"),),
        (Segment(0.1, 0.4, "one"), Segment(0.8, 0.9, "one2")),
        (Segment(0.2, 0.4, "two"),),
    ]


def test_old_labels_stay_or_give_way(corpus: Corpus, tmp_path: Path) -> None:
    lab(tmp_path / "a" / "two.lab", "old")
    lab(tmp_path / "b" / "two.lab", "new")
    first = attach_alignments(corpus, tmp_path / "a")
    assert words(attach_alignments(first, tmp_path / "b")) == {"anna/two": "new"}
    assert words(attach_alignments(first, tmp_path / "b", replace=False)) == {"anna/two": "old"}


def test_malformed_files_are_noted_or_stop(corpus: Corpus, tmp_path: Path) -> None:
    lab(tmp_path / "lab" / "anna" / "two.lab", "fine")
    (tmp_path / "lab" / "anna" / "one.lab").write_text("rubbish")
    found = attach_alignments(corpus, tmp_path / "lab")
    assert words(found) == {"anna/two": "fine"}
    assert [p.severity for p in found.problems] == ["error", "warning"]
    assert "line 1" in found.problems[0].what
    with pytest.raises(UsageError, match="no alignments at"):
        attach_alignments(corpus, tmp_path / "nowhere")
