"""Audio SNIPS and QUESST 2014, prepared from miniatures of their trees."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from corpora_recipe_trees import audio, prepare, said, stray, text, tiers

from voxstrata.corpora.recipes.audiosnips import parse_line
from voxstrata.errors import CorpusError

LINES = {
    "train": (
        "BOS add sabrina salerno to the grime instrumentals playlist EOS",
        "O O artist artist O O playlist playlist O AddToPlaylist",
    ),
    "valid": ("BOS what 's the weather in oslo ? EOS", "O O O O O O city O GetWeather"),
    "test": ("BOS play rock & roll EOS", "O O genre genre genre PlayMusic"),
}


@pytest.fixture
def snips(tmp_path: Path) -> Path:
    root = tmp_path / "SNIPS"
    lines = []
    people = ("Ivy", "Aditi", "Brian")  # a voice of train, one of valid, one of test
    for split, (words, tags) in LINES.items():
        for n, voice in enumerate(people):
            id = f"{voice}-snips-{split}-0"
            audio(root / split / f"{id}.wav", 0.5, seed=n)
            lines.append(f"{id} {words}\t{tags}")
    text(root / "all.iob.snips.txt", *lines)
    text(root / "slots.txt", "O", "artist", "playlist", "city", "genre")
    return root


def test_snips_by_superbs_speakers(snips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("audiosnips", snips, out)
    assert report.problems == ()
    assert {p: c.utterances for p, c in report.parts.items()} == {"train": 1, "valid": 1, "test": 1}
    assert tiers(out, "train") == {
        "Ivy-snips-train-0": {
            "speaker": "Ivy",
            "gender": "F",
            "accent": "en-US",
            "text": "add sabrina salerno to the grime instrumentals playlist",
            "language": "English",
            "intent": "AddToPlaylist",
            "slots": {"artist": "sabrina salerno", "playlist": "grime instrumentals"},
            "text_slots": "ADD B-artist SABRINA SALERNO E-artist TO THE B-playlist GRIME "
            "INSTRUMENTALS E-playlist PLAYLIST",
        }
    }
    assert tiers(out, "test")["Brian-snips-test-0"]["text_slots"] == (
        "PLAY B-genre ROCK AND ROLL E-genre"
    )
    assert tiers(out, "valid")["Aditi-snips-valid-0"]["text_slots"] == (
        "WHAT 'S THE WEATHER IN B-city OSLO E-city"
    )
    everyone = prepare("audiosnips", snips, tmp_path / "all", ["test-all"])
    assert everyone.parts["test-all"].speakers == 3


def test_snips_line() -> None:
    id, labels = parse_line(
        "A-snips-test-1 BOS from oslo to new york EOS\tO O B-city O B-city I-city X"
    )
    assert id == "A-snips-test-1"
    assert labels.slots == {"city": "oslo ; new york"}
    assert labels.tagged == "FROM B-city OSLO E-city TO B-city NEW YORK E-city"
    _, next_to = parse_line("i BOS rome paris EOS\tO B-city B-city X")
    assert next_to.tagged == "B-city ROME E-city B-city PARIS E-city"
    with pytest.raises(CorpusError, match="2 words, 1 tags"):
        parse_line("x BOS a b EOS\tO O")
    with pytest.raises(CorpusError, match="0 tags"):
        parse_line("x BOS a b EOS")


def test_snips_damage(snips: Path, tmp_path: Path) -> None:
    (snips / "train" / "Ivy-snips-train-0.wav").write_bytes(b"")
    (snips / "valid" / "Amy-snips-valid-7.wav").write_bytes(b"RIFF")
    (snips / "test" / "Aditi-snips-test-0.wav").unlink()
    stray(snips / "test")
    lines = (snips / "all.iob.snips.txt").read_text().splitlines()
    words, tags = LINES["test"]
    lines += [f"Zeno-snips-test-0 {words}\t{tags}", "Brian-snips-test-4 BOS a b EOS\tO"]
    text(snips / "all.iob.snips.txt", *lines)
    audio(snips / "test" / "Zeno-snips-test-0.wav")
    report = prepare("audiosnips", snips, tmp_path / "out")
    assert "train" not in report.parts
    assert said(report, "Ivy-snips-train-0", "is empty")
    assert said(report, "Amy-snips-valid-7", "no line in all.iob.snips.txt")
    assert said(report, "1 listed recording(s) are missing", "Aditi-snips-test-0")
    assert said(report, "Zeno is not one of the sixteen voices")
    assert said(report, "Brian-snips-test-4", "2 words")
    assert said(report, ".DS_Store")


def test_snips_levels(snips: Path, tmp_path: Path) -> None:
    assert prepare("audiosnips", snips.parent, tmp_path / "a").parts
    assert prepare("audiosnips", snips / "train", tmp_path / "b").parts
    (snips / "all.iob.snips.txt").unlink()
    with pytest.raises(CorpusError, match=r"all\.iob\.snips\.txt"):
        prepare("audiosnips", snips, tmp_path / "c")


@pytest.fixture
def quesst(tmp_path: Path) -> Path:
    root = tmp_path / "quesst14Database"
    key = {"docs": [], "dev": [], "eval": []}
    for n, language in enumerate(["nnenglish", "nnenglish", "czech"], 1):
        audio(root / "Audio" / f"quesst14_{n:05d}.wav", 1.0, rate=8000, seed=n)
        key["docs"].append(f"quesst14Database/Audio/quesst14_{n:05d}.wav {language}")
    for part in ("dev", "eval"):
        for n, language in enumerate(["nnenglish", "czech"], 1):
            id = f"quesst14_{part}_{n:04d}"
            audio(root / f"{part}_queries" / f"{id}.wav", 0.5, rate=8000, seed=n)
            key[part].append(f"quesst14Database/{part}_queries/{id}.wav {language}")
        text(
            root / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm",
            "SPKR-INFO quesst14_00001 1 <NA> <NA> <NA> unknown speaker <NA>",
            f"LEXEME quesst14_00002 1 0.50 0.40 quesst14_{part}_0001 lex speaker 0.5",
            f"LEXEME quesst14_00002 1 0.80 0.10 quesst14_{part}_0001 lex speaker 0.5",
            f"LEXEME quesst14_00003 1 0.10 0.40 quesst14_{part}_0002 lex speaker 0.5",
            "LEXEME quesst14_00001 1 0.10 0.40 NO_KEYWORD lex speaker 0.5",
        )
    truth = root / "scoring" / "groundtruth_quesst14_dev_T1" / "quesst14_dev.rttm"
    text(truth, "LEXEME quesst14_00002 1 0.50 0.40 quesst14_dev_0001 lex speaker 0.5")
    text(root / "scoring" / "language_key_utterances.lst", *key["docs"])
    text(root / "scoring" / "language_key_dev.lst", *key["dev"])
    text(root / "scoring" / "language_key_eval.lst", *key["eval"])
    return root


def test_quesst(quesst: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("quesst14", quesst, out)
    assert report.problems == ()
    assert {p: c.utterances for p, c in report.parts.items()} == {"docs": 2, "dev": 1, "eval": 1}
    assert tiers(out, "dev") == {
        "quesst14_dev_0001": {
            "language": "nnenglish",
            "role": "query",
            "matches": ["quesst14_00002"],
        }
    }
    assert tiers(out, "docs")["quesst14_00001"] == {"language": "nnenglish", "role": "document"}
    rows = list(csv.reader((out / "trials" / "dev.csv").open()))
    assert rows == [
        ["label", "first", "second"],
        ["0", "quesst14_dev_0001", "quesst14_00001"],
        ["1", "quesst14_dev_0001", "quesst14_00002"],
    ]
    assert (out / "trials" / "dev_T1.csv").exists()
    everything = prepare("quesst14", quesst, tmp_path / "all", ["docs-all", "dev-all"])
    assert {p: c.utterances for p, c in everything.parts.items()} == {"docs-all": 3, "dev-all": 2}


def test_quesst_damage(quesst: Path, tmp_path: Path) -> None:
    (quesst / "Audio" / "quesst14_00001.wav").unlink()
    audio(quesst / "Audio" / "quesst14_99999.wav", 0.5, rate=8000)
    stray(quesst / "dev_queries")
    (quesst / "scoring" / "language_key_dev.lst").open("a").write("odd line here\n")
    (quesst / "scoring" / "groundtruth_quesst14_eval" / "quesst14_eval.rttm").unlink()
    (quesst / "Audio").rename(quesst / "audio")
    report = prepare("quesst14", quesst, tmp_path / "out")
    assert said(report, "quesst14_00001.wav", "missing")
    assert said(report, "quesst14_99999 is not in language_key_utterances.lst")
    assert said(report, ".DS_Store")
    assert said(report, "odd line here")
    assert said(report, "groundtruth_quesst14_eval", "no ground truth")
    assert "matches" not in tiers(tmp_path / "out", "eval")["quesst14_eval_0001"]


def test_quesst_without_keys_and_levels(quesst: Path, tmp_path: Path) -> None:
    assert prepare("quesst14", quesst.parent, tmp_path / "a").parts
    assert prepare("quesst14", quesst / "Audio", tmp_path / "b").parts
    (quesst / "scoring" / "language_key_dev.lst").unlink()
    report = prepare("quesst14", quesst, tmp_path / "c", ["dev", "dev-all"])
    assert said(report, "language_key_dev.lst", "no nnenglish part dev")
    assert {p: c.utterances for p, c in report.parts.items()} == {"dev-all": 2}
