"""TIMIT, prepared from miniatures of the published tree in its usual casings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpora_recipe_trees import RATE, audio, cuts, prepare, said, spans, stray, text, tiers, tone

from voxstrata.corpora.cuts import read_cut
from voxstrata.errors import CorpusError


def sphere(path: Path, samples: np.ndarray) -> None:
    """Write 16-bit NIST SPHERE by hand, as on the LDC's disc."""
    fields = (
        "NIST_1A\n   1024\n"
        "database_id -s5 TIMIT\n"
        f"sample_count -i {len(samples)}\n"
        f"sample_rate -i {RATE}\n"
        "channel_count -i 1\n"
        "sample_n_bytes -i 2\n"
        "sample_byte_format -s2 01\n"
        "sample_sig_bits -i 16\n"
        "sample_coding -s3 pcm\n"
        "end_head\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pcm = (samples * 32767).astype("<i2").tobytes()
    path.write_bytes(fields.encode().ljust(1024) + pcm)


SPEAKERS = {
    ("TRAIN", "DR1"): ("FCJF0",),
    ("TRAIN", "DR4"): ("MADC0",),
    ("TEST", "DR1"): ("FAKS0", "MDAB0"),  # FAKS0 is a development speaker, MDAB0 a core one
    ("TEST", "DR2"): ("FJWB0",),  # neither
}
PHONES = (
    "0 1600 h#",
    "1600 3200 sh",
    "3200 4000 ix",
    "4000 4800 q",
    "4800 6400 kcl",
    "6400 8000 k",
)


def sentence(folder: Path, name: str) -> None:
    sphere(folder / f"{name}.WAV", tone(0.5))
    text(folder / f"{name}.TXT", "0 8000 She had your dark suit in greasy wash water all year.")
    text(folder / f"{name}.WRD", "1600 4000 she", "4800 8000 had")
    text(folder / f"{name}.PHN", *PHONES)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "disc" / "data"
    for (part, region), names in SPEAKERS.items():
        for speaker in names:
            for name in ("SA1", "SX37", "SI648"):
                sentence(root / part / region / speaker, name)
    return root


def lower(root: Path, target: Path) -> Path:
    """The tree with every name in lower case (as on the LDC's disc)."""
    for path in root.rglob("*.*"):
        other = target / str(path.relative_to(root)).lower()
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(path.read_bytes())
    return target


def test_labels_and_parts(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("timit", tree, out)
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        "train": (6, 2),
        "dev": (3, 1),
        "core-test": (3, 1),
    }
    whole = prepare("timit", tree, tmp_path / "whole", ["test"])
    assert (whole.parts["test"].utterances, whole.parts["test"].speakers) == (9, 3)
    mine = tiers(out, "train")["FCJF0-SA1"]
    labels = {name: spans(mine.pop(name)) for name in ("words", "phones", "phones48", "phones39")}
    assert mine == {
        "speaker": "FCJF0",
        "gender": "F",
        "dialect": "dr1",
        "text": "She had your dark suit in greasy wash water all year.",
        "language": "English",
        "sentence": "sa1",
        "sentence_type": "dialect",
    }
    assert labels["words"] == [(0.1, 0.25, "she"), (0.3, 0.5, "had")]
    assert [p[2] for p in labels["phones"]] == ["h#", "sh", "ix", "q", "kcl", "k"]
    assert [p[2] for p in labels["phones48"]] == ["sil", "sh", "ix", "cl", "k"]
    assert labels["phones39"] == [
        (0.0, 0.1, "sil"),
        (0.1, 0.2, "sh"),
        (0.2, 0.25, "ih"),
        (0.3, 0.4, "sil"),
        (0.4, 0.5, "k"),
    ]


def test_sphere_is_read_exactly(tree: Path, tmp_path: Path) -> None:
    prepare("timit", tree, tmp_path / "out")
    heard = read_cut(cuts(tmp_path / "out", "train")["FCJF0-SA1"])
    written = (tone(0.5) * 32767).astype("<i2")
    np.testing.assert_array_equal(heard * 32768, written)


def test_same_as_lhotse(tree: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_timit

    out = tmp_path / "out"
    prepare("timit", tree, out)
    theirs = prepare_timit(tree.parent, num_phones=39)
    for name, part in (("TRAIN", "train"), ("DEV", "dev"), ("TEST", "core-test")):
        found = tiers(out, part)
        assert {s.id for s in theirs[name]["supervisions"]} == set(found)
        for s in theirs[name]["supervisions"]:
            mine = found[s.id]
            assert (mine["speaker"], mine["text"]) == (s.speaker, s.text)
            for ours, key in (("words", "word"), ("phones39", "phone")):
                items = [i for i in s.alignment[key] if i.symbol]
                assert spans(mine[ours]) == [
                    (round(i.start, 4), round(i.end, 4), i.symbol) for i in items
                ]


@pytest.mark.parametrize("given", ["", "timit", "timit/train"])
def test_lower_case_tree_from_several_levels(tree: Path, tmp_path: Path, given: str) -> None:
    root = tmp_path / "LDC93S1"
    lower(tree, root / "timit")
    report = prepare("timit", root / given, tmp_path / "out")
    assert report.problems == ()
    assert set(tiers(tmp_path / "out", "train")) >= {"FCJF0-SA1", "MADC0-SI648"}
    assert tiers(tmp_path / "out", "train")["MADC0-SI648"]["gender"] == "M"


def test_converted_copies_beside_the_originals(tree: Path, tmp_path: Path) -> None:
    folder = tree / "TRAIN" / "DR1" / "FCJF0"
    for wav in sorted(folder.glob("*.WAV")):
        sf.write(str(folder / f"{wav.name}.wav"), tone(0.5), RATE)
    (folder / "SX37.WAV").unlink()
    report = prepare("timit", tree, tmp_path / "out", ["train"])
    assert report.problems == ()
    found = cuts(tmp_path / "out", "train")
    assert found["FCJF0-SA1"].recording.sources[0].source.endswith("SA1.WAV")
    assert found["FCJF0-SX37"].recording.sources[0].source.endswith("SX37.WAV.wav")


def test_damage(tree: Path, tmp_path: Path) -> None:
    folder = tree / "TRAIN" / "DR1" / "FCJF0"
    (folder / "SA1.WAV").unlink()
    (folder / "SX37.PHN").unlink()
    text(folder / "SI648.WRD", "1600 4000 she", "x had", "4000 12000 late")
    stray(folder)
    audio(tree / "TRAIN" / "DR9" / "FXXX0" / "SA1.WAV")
    audio(tree / "TRAIN" / "DR1" / "XYZ00" / "SA1.WAV")
    report = prepare("timit", tree, tmp_path / "out")
    found = tiers(tmp_path / "out", "train")
    assert "FCJF0-SA1" not in found
    assert "phones" not in found["FCJF0-SX37"]
    assert spans(found["FCJF0-SI648"]["words"])[-1] == (0.25, 0.5, "late")
    assert said(report, "SA1.WAV", "no recording")
    assert said(report, "SX37.PHN", "missing")
    assert said(report, "SI648.WRD", "malformed", "x had")
    assert said(report, "FCJF0-SI648", "words", "reach beyond")
    assert said(report, ".DS_Store")
    assert said(report, "DR9", "not a dialect region")
    assert said(report, "XYZ00", "not a speaker")


def test_test_set_missing_and_wrong_folder(tree: Path, tmp_path: Path) -> None:
    import shutil

    shutil.rmtree(tree / "TEST")
    report = prepare("timit", tree, tmp_path / "out")
    assert said(report, "TEST", "missing")
    assert set(report.parts) == {"train"}
    with pytest.raises(CorpusError, match="TRAIN/ and TEST/"):
        prepare("timit", tree / "TRAIN" / "DR1" / "FCJF0", tmp_path / "out2")
