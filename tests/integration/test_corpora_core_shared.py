"""The shared test data opens, all of it, with its own labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstrata.corpora import load_corpus, validate
from voxstrata.corpora.alignments import read_alignment
from voxstrata.errors import ConfigError, UnknownNameError
from voxstrata.types import Segment

SETS = {  # utterances, speakers, seconds, as the data's README states them
    "librispeech_test_other": (100, 10, 767),
    "librispeech_train_clean_100": (60, 60, 844),
    "speechocean762_l2": (240, 20, 975),
    "fsdd_digits": (600, 6, 260),
    "picovoice_intents": (120, 0, 996),
    "ami_excerpts": (12, 0, 360),
    "textgrid_examples": (8, 4, 31),
}
NOT_LABELS = {"id", "file", "sampling_rate", "duration", "channels", "textgrid"}
SPANS = {"words", "phones", "turns"}


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    with (folder / "manifest.jsonl").open(encoding="utf-8") as file:
        return {line["id"]: line for line in map(json.loads, file)}


@pytest.mark.parametrize("name", SETS)
def test_every_set_with_every_label(shared: Path, name: str) -> None:
    folder = shared / "data" / name
    corpus = load_corpus(folder, on_error="stop")
    assert not corpus.skipped
    count, speakers, seconds = SETS[name]
    assert (len(corpus), len(corpus.speakers)) == (count, speakers)
    assert corpus.seconds == pytest.approx(seconds, abs=1)
    told = lines(folder)
    for utterance in corpus:
        line = told[utterance.id]
        assert utterance.duration_s == pytest.approx(line["duration"], abs=1e-4)
        labels = {k for k, v in line.items() if v is not None} - NOT_LABELS
        assert set(utterance.tiers) == labels
        for tier in labels:
            found = utterance.tiers[tier]
            if tier in SPANS:
                assert [s.label for s in found] == [span[2] for span in line[tier]]
                assert all(isinstance(s, Segment) for s in found)
                times = np.array([[s.start_s, s.end_s] for s in found])
                wanted = np.array([span[:2] for span in line[tier]])
                np.testing.assert_allclose(times, wanted, rtol=0, atol=1e-8)
            else:
                assert found == line[tier]
    reports = validate(
        corpus, decode=name not in ("librispeech_train_clean_100", "speechocean762_l2")
    )
    assert reports.ok
    assert {p.rule for p in reports.warnings} <= ({"empty-label"} if "textgrid" in name else set())


def test_the_synthetic_corpus_opens_by_its_spec() -> None:
    pytest.importorskip("espeakng_loader")
    corpus = load_corpus("synthetic:tiny,seed=5", on_error="stop", check="decode")
    assert corpus.name == "synthetic"
    assert len(corpus.speakers) == 4
    assert {"words", "phones", "channel", "topic"} <= set(corpus.tiers())
    assert not corpus.problems
    again = load_corpus("synthetic:tiny,seed=5", limit=3)  # from the cache
    assert [u.id for u in again] == [u.id for u in corpus][:3]
    with pytest.raises(UnknownNameError, match="did you mean 'tiny'"):
        load_corpus("synthetic:tny")
    with pytest.raises(ConfigError, match="speakrs"):
        load_corpus("synthetic:tiny,speakrs=3")


@pytest.mark.parametrize("name", ["fsdd_digits", "textgrid_examples"])
def test_other_rates_are_read_at_16_khz(shared: Path, name: str) -> None:
    corpus = load_corpus(shared / "data" / name).subset(utterances=5)
    for utterance in corpus:
        audio = utterance.read()
        assert audio.dtype == np.float32
        assert len(audio) == round(utterance.duration_s * 16000)


def test_8_khz_speech_keeps_its_band(shared: Path) -> None:
    """Digits recorded at 8 kHz have next to nothing above 4 kHz after resampling."""
    for utterance in load_corpus(shared / "data" / "fsdd_digits").subset(utterances=8):
        power = np.abs(np.fft.rfft(utterance.read())) ** 2
        hz = np.fft.rfftfreq(len(utterance.read()), 1 / 16000)
        assert power[hz > 4100].sum() < 1e-3 * power.sum()


def test_the_fingerprint_survives_saving(shared: Path, tmp_path: Path) -> None:
    for name in ("ami_excerpts", "picovoice_intents", "textgrid_examples"):
        corpus = load_corpus(shared / "data" / name)
        corpus.save(tmp_path / name)
        again = load_corpus(tmp_path / name, on_error="stop")
        assert again.utterances == corpus.utterances
        assert again.fingerprint == corpus.fingerprint


@pytest.mark.parametrize(
    ("file", "utterance", "tiers"),
    [
        ("mary.TextGrid", "praatio_mary", ["words", "phones"]),
        ("mary_longfile.TextGrid", "praatio_mary", ["words", "phones"]),
        ("bobby_words.TextGrid", "praatio_bobby", ["words"]),
        ("bobby_phones.TextGrid", "praatio_bobby", ["phones"]),
        ("bobby_phones_elan.TextGrid", "praatio_bobby", ["phones"]),
        ("arctic_a0009_phone.lab", "arctic_slt_a0009", ["phones"]),
        ("arctic_a0009_state.lab", "arctic_slt_a0009", ["phones"]),
        *(
            (f"librivox_{n}.phone.json", f"librivox_{n}", ["words", "phones"])
            for n in ("0870", "0880", "0890", "0920", "0930")
        ),
    ],
)
def test_alignment_files_say_what_the_manifest_says(
    shared: Path, file: str, utterance: str, tiers: list[str]
) -> None:
    if file.endswith("TextGrid"):
        pytest.importorskip("praatio")
    folder = shared / "data" / "textgrid_examples"
    found = read_alignment(folder / file)
    for tier in tiers:
        wanted = [Segment(*span) for span in lines(folder)[utterance][tier]]
        if file == "bobby_phones_elan.TextGrid":
            # ELAN's export ends the last (empty) interval with its last tier, 5 ms early.
            assert found[tier][-1] == Segment(wanted[-1].start_s, 1.18979591837, "")
            wanted[-1] = found[tier][-1]
        assert list(found[tier]) == wanted
