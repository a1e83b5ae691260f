"""Every check, with the damage it is for; all problems in one report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora import load_corpus, validate
from voxstrata.corpora.load import inspect_corpus
from voxstrata.errors import AudioError, CorpusError, LabelError, UnknownNameError


def noise(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(16000 * seconds))


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    if not (folder / "good.wav").exists():
        sf.write(folder / "good.wav", noise(), 16000)
    full = [{"file": "good.wav", **line} for line in lines]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in full))
    return folder


def rules(folder: Path, **options: Any) -> list[tuple[str, str, str]]:
    report = inspect_corpus(folder, **options)
    return [(p.id, p.rule, p.severity) for p in report.problems]


def damage_nan(path: Path) -> None:
    sound = noise()
    sound[100:110] = np.nan
    sf.write(path, sound, 16000, subtype="FLOAT")


def damage_half(path: Path) -> None:
    sf.write(path, noise(), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_flac(path: Path) -> None:
    """A sound header, rubbish in the middle."""
    sf.write(path, noise(4.0), 16000)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 4000] = bytes(4000)
    path.write_bytes(raw)


AUDIO = {
    "missing-file": ("gone.wav", lambda path: None, False),
    "empty": ("e.wav", lambda path: sf.write(path, np.zeros(0), 16000), False),
    "unreadable": ("x.wav", lambda path: path.write_bytes(b"RIFF" + bytes(40)), False),
    "truncated": ("half.wav", damage_half, False),
    "nan": ("nan.wav", damage_nan, True),
    "decode": ("bad.flac", damage_flac, True),
    "silent": ("s.wav", lambda path: sf.write(path, np.zeros(16000), 16000), True),
    "clipped": ("c.wav", lambda path: sf.write(path, np.sign(noise()) * 0.9999, 16000), True),
}


@pytest.mark.parametrize("rule", AUDIO)
def test_damaged_recordings(tmp_path: Path, rule: str) -> None:
    name, damage, decoding = AUDIO[rule]
    damage(tmp_path / name)
    write(tmp_path, {"id": "good"}, {"id": "bad", "file": name})
    severity = "warning" if rule == "clipped" else "error"
    found = rules(tmp_path, decode=True)
    assert ("bad", rule, severity) in found
    assert {id for id, _, _ in found} == {"bad"}
    assert rules(tmp_path) == ([] if decoding else [("bad", rule, "error")])


@pytest.mark.parametrize(
    ("rule", "severity", "labels"),
    [
        ("outside", "error", {"words": [[0.1, 0.2, "a"], [0.9, 1.2, "late"]]}),
        ("outside", "error", {"turns": [[0.0, 0.5, "A"], [0.5, 1.5, "B"]]}),
        ("outside", "error", {"phones": [[-0.2, 0.1, "A"]]}),
        ("negative", "error", {"words": [[0.5, 0.3, "back"]]}),
        ("unsorted", "error", {"words": [[0.5, 0.6, "b"], [0.1, 0.2, "a"]]}),
        ("overlap", "error", {"words": [[0.1, 0.4, "a"], [0.3, 0.5, "b"]]}),
        ("empty-label", "warning", {"words": [[0.1, 0.4, ""]]}),
        ("empty-label", "warning", {"text": ""}),
        ("empty-span", "warning", {"words": [[0.1, 0.1, "a"]]}),
        (
            "phone-outside-word",
            "warning",
            {"words": [[0.1, 0.3, "a"]], "phones": [[0.1, 0.3, "A"], [0.3, 0.5, "B"]]},
        ),
    ],
)
def test_damaged_labels(tmp_path: Path, rule: str, severity: str, labels: dict[str, Any]) -> None:
    write(tmp_path, {"id": "good"}, {"id": "bad", **labels})
    assert rules(tmp_path) == [("bad", rule, severity)]


@pytest.mark.parametrize(
    "labels",
    [
        {"words": [[0.1, 0.4, "a"], [0.4, 1.04, "b"]]},  # 40 ms beyond: frames
        {"words": [[0.1, 0.404, "a"], [0.4, 0.5, "b"]]},  # 4 ms: rounding
        {"turns": [[0.0, 0.6, "A"], [0.4, 1.0, "B"]]},  # turns may overlap
        {"words": [[0.2, 0.3, "a"]], "phones": [[0.0, 0.2, "SIL"], [0.2, 0.3, "A"]]},
    ],
)
def test_labels_that_are_right(tmp_path: Path, labels: dict[str, Any]) -> None:
    write(tmp_path, {"id": "good", **labels})
    assert rules(tmp_path) == []


def test_declared_and_real(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"id": "close", "duration": 1.0001},
        {"id": "longer", "duration": 1.2},
        {"id": "shorter", "duration": 0.8},
        {"id": "rate", "sampling_rate": 8000},
    )
    assert rules(tmp_path) == [
        ("longer", "duration", "error"),
        ("shorter", "duration", "error"),
        ("rate", "sampling-rate", "warning"),
    ]


def test_a_lhotse_manifest_against_its_files(tmp_path: Path) -> None:
    """The recording was replaced after the manifest was written."""
    write(tmp_path, {"id": "a"}, {"id": "part", "start": 0.1, "duration": 0.2})
    load_corpus(tmp_path).save(tmp_path / "saved")
    sf.write(tmp_path / "good.wav", noise(0.5)[:4000], 8000)
    assert rules(tmp_path / "saved") == [
        ("a", "duration", "error"),
        ("a", "sampling-rate", "warning"),
        ("part", "duration", "warning"),
        ("part", "sampling-rate", "warning"),
    ]


def test_lengths_and_duplicates_and_tiers(tmp_path: Path) -> None:
    sf.write(tmp_path / "short.wav", noise(0.1), 16000)
    sf.write(tmp_path / "long.wav", noise(3.0), 16000)
    write(
        tmp_path,
        {"id": "a", "speaker": "x"},
        {"id": "short", "file": "short.wav", "speaker": "x"},
        {"id": "long", "file": "long.wav", "speaker": "x"},
        {"id": "a", "speaker": "y"},
        {"id": "anon"},
    )
    assert rules(tmp_path, min_s=0.2, max_s=2.0, need_tiers=["speaker"]) == [
        ("short", "too-short", "error"),
        ("long", "too-long", "error"),
        ("a", "duplicate-id", "error"),
        ("anon", "missing-tier", "error"),
    ]
    corpus = load_corpus(tmp_path, min_s=0.2, max_s=2.0, need_tiers=["speaker"])
    assert [u.id for u in corpus] == ["a"]
    assert corpus.utterances[0].tiers["speaker"] == "x"  # the first of two with one id
    with pytest.raises(UnknownNameError, match="did you mean 'speaker'"):
        inspect_corpus(tmp_path, need_tiers=["speakr"])


def test_sources_that_are_not_files(tmp_path: Path) -> None:
    from lhotse import AudioSource, CutSet, MonoCut, Recording

    source = AudioSource("command", [0], "true")
    recording = Recording("r", [source], 16000, 16000, 1.0)
    cuts = CutSet.from_cuts([MonoCut("u", 0.0, 1.0, 0, recording=recording)])
    cuts.to_file(tmp_path / "cuts.jsonl")
    assert rules(tmp_path) == [("u", "source", "error")]
    CutSet.from_cuts([MonoCut("bare", 0.0, 1.0, 0)]).to_file(tmp_path / "cuts.jsonl")
    assert rules(tmp_path) == [("bare", "missing-file", "error")]


def test_skip_lists_everything_and_stop_raises_once(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"nothing")
    write(
        tmp_path,
        {"id": "good"},
        {"id": "gone", "file": "gone.wav"},
        {"id": "x", "file": "x.wav"},
        {"id": "late", "words": [[0.5, 1.9, "late"]]},
        {"id": "quiet", "words": [[0.5, 0.6, ""]]},
    )
    corpus = load_corpus(tmp_path, on_error="skip")
    assert [u.id for u in corpus] == ["good", "quiet"]
    assert {p.id for p in corpus.skipped} == {"gone", "x", "late"}
    assert [(p.id, p.severity) for p in corpus.problems] == [("quiet", "warning")]
    with pytest.raises(CorpusError) as caught:
        load_corpus(tmp_path, on_error="stop")
    for words in ("3 problem(s)", "gone.wav", "x.wav", "late", "on_error"):
        assert words in str(caught.value)
    assert "quiet" not in str(caught.value)


def test_the_error_is_of_the_kind_of_its_problems(tmp_path: Path) -> None:
    write(tmp_path, {"id": "good"}, {"id": "late", "words": [[0.5, 1.9, "late"]]})
    with pytest.raises(LabelError, match="outside"):
        load_corpus(tmp_path, on_error="stop")
    write(tmp_path, {"id": "good"}, {"id": "gone", "file": "gone.wav"})
    with pytest.raises(AudioError, match="missing-file"):
        load_corpus(tmp_path, on_error="stop")


def test_validate_a_corpus_that_is_open(tmp_path: Path) -> None:
    sf.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    write(tmp_path, {"id": "good"}, {"id": "s", "file": "s.wav"}, {"id": "w", "text": ""})
    corpus = load_corpus(tmp_path)
    report = validate(corpus)
    assert report.ok
    assert [p.rule for p in report.warnings] == ["empty-label"]
    report = validate(corpus, decode=True)
    assert [p.rule for p in report.errors] == ["silent"]
    assert report.checked == 3
    assert "1 silent" in str(report)
    with pytest.raises(AudioError, match="is silent"):
        report.raise_if_bad("corpus")
    assert [u.id for u in load_corpus(tmp_path, check="decode")] == ["good", "w"]
    assert load_corpus(tmp_path, check="none").utterances == corpus.utterances


def test_long_lists_are_cut_short_but_counted(tmp_path: Path) -> None:
    write(tmp_path, *({"id": str(i), "file": f"{i}.wav"} for i in range(300)))
    report = inspect_corpus(tmp_path)
    assert (len(report.errors), report.checked) == (300, 300)
    assert "and 100 more" in str(report)
    assert str(report).count("\n") < 210
