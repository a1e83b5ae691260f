"""IEMOCAP, prepared from a miniature of the published tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora_recipe_trees import audio, prepare, said, spans, stray, text, tiers

from voxstrata.errors import CorpusError

RULES = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
LABELS = {
    "Ses{s}F_impro01": [
        ("F000", "neu", "2.5000, 2.5000, 2.5000", "Excuse me."),
        ("M000", "exc", "4.0000, 4.0000, 3.5000", "Do you have your forms?"),
        ("M001", "xxx", "2.5000, 2.5000, 2.0000", "Yeah."),
    ],
    "Ses{s}M_script01_1": [
        ("F000", "sad", "1.5000, 2.0000, 1.5000", "I don't know."),
        ("M000", "ang", "1.5000, 4.0000, 4.5000", "Is there a problem?"),
    ],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "IEMOCAP_full_release"
    for session in range(1, 6):
        place = root / f"Session{session}"
        for name, turns in LABELS.items():
            dialogue = name.format(s=f"{session:02d}")
            emotions, lines = [RULES, ""], []
            for n, (turn, emotion, scales, said_) in enumerate(turns):
                id = f"{dialogue}_{turn}"
                audio(place / "sentences" / "wav" / dialogue / f"{id}.wav", 0.5, seed=n)
                emotions += [
                    f"[{n + 1}.2901 - {n + 2}.2357]\t{id}\t{emotion}\t[{scales}]",
                    "C-E2:\tNeutral;\t()",
                    "A-E3:\tval 3; act 2; dom  2;\t()",
                    "",
                ]
                lines.append(f"{id} [00{n}.2901-00{n}.8357]: {said_}")
                text(
                    place / "sentences" / "ForcedAlignment" / dialogue / f"{id}.wdseg",
                    "\t SFrm  EFrm    SegAScr Word",
                    "\t    0     9     -72250 <s>",
                    "\t   10    19     -86137 EXCUSE(2)",
                    "\t   20    24     -86137 <sil>",
                    "\t   25    39     -86137 ME",
                    "\t   40    44     -86137 ++GARBAGE++",
                    " Total score:   -1234567",
                )
            text(place / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", *emotions)
            lines.insert(1, f"M: [{dialogue}] (laughter)")
            text(place / "dialog" / "transcriptions" / f"{dialogue}.txt", *lines)
    return root


def test_sessions_speakers_and_labels(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("iemocap", tree, out)
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        f"session{n}": (5, 2) for n in range(1, 6)
    }
    found = tiers(out, "session3")
    mine = found["Ses03F_impro01_M000"]
    assert spans(mine.pop("words")) == [(0.1, 0.2, "EXCUSE"), (0.25, 0.4, "ME")]
    # The dialogue is called after the actress with the markers, but he speaks.
    assert mine == {
        "speaker": "Ses03M",
        "gender": "M",
        "text": "Do you have your forms?",
        "language": "English",
        "emotion": "hap",
        "emotion_raw": "exc",
        "valence": 4.0,
        "activation": 4.0,
        "dominance": 3.5,
        "session": 3,
        "dialogue": "Ses03F_impro01",
        "style": "improvised",
    }
    assert "emotion" not in found["Ses03F_impro01_M001"]
    assert found["Ses03F_impro01_M001"]["emotion_raw"] == "xxx"
    assert found["Ses03M_script01_1_F000"]["style"] == "scripted"
    assert {v["emotion"] for v in found.values() if "emotion" in v} == {"neu", "hap", "sad", "ang"}


def test_damage(tree: Path, tmp_path: Path) -> None:
    one = tree / "Session1"
    wavs = one / "sentences" / "wav" / "Ses01F_impro01"
    (wavs / "Ses01F_impro01_F000.wav").unlink()
    (wavs / "._Ses01F_impro01_M000.wav").write_bytes(b"\0\5\x16\7")
    stray(wavs)
    audio(wavs / "Ses01F_impro01_M009.wav")
    audio(wavs / "take.wav")
    (one / "dialog" / "transcriptions" / "Ses01M_script01_1.txt").unlink()
    text(tree / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt", "nothing")
    import shutil

    shutil.rmtree(tree / "Session4")
    report = prepare("iemocap", tree, tmp_path / "out")
    assert said(report, "Ses01F_impro01_F000", "labelled", "missing")
    assert said(report, "stray", "._Ses01F_impro01_M000.wav")
    assert said(report, "Ses01F_impro01_M009 has no emotion label")
    assert said(report, "take.wav", "not named")
    assert said(report, "transcriptions/Ses01M_script01_1.txt", "missing")
    assert said(report, "Ses02F_impro01.txt", "no line of the published form")
    assert said(report, "Session4", "missing")
    assert "session4" not in report.parts
    assert "emotion" not in tiers(tmp_path / "out", "session2")["Ses02F_impro01_F000"]


def test_levels_and_parts(tree: Path, tmp_path: Path) -> None:
    assert len(prepare("iemocap", tree.parent, tmp_path / "a").parts) == 5
    assert prepare("iemocap", tree / "Session1", tmp_path / "b").parts
    only = prepare("iemocap", tree, tmp_path / "c", ["session2"])
    assert set(only.parts) == {"session2"}
    with pytest.raises(CorpusError, match="Session1/ to Session5/"):
        prepare("iemocap", tree / "Session1" / "dialog" / "EmoEvaluation", tmp_path / "d")
