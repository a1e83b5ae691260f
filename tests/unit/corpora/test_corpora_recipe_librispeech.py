"""LibriSpeech, prepared from a miniature of the published tree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from corpora_recipe_trees import audio, cuts, prepare, said, spans, stray, text, tiers

from voxstrata.corpora.recipes.librispeech import fold_phone
from voxstrata.errors import CorpusError, UnknownNameError

PEOPLE = {
    "103": ("F", "train-clean-100", "1240"),
    "1034": ("M", "train-clean-100", "121119"),
    "84": ("F", "dev-clean", "121123"),
}
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end}
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = {end}
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.3
            text = "chapter"
        intervals [3]:
            xmin = 0.3
            xmax = {end}
            text = "one"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = {end}
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "sil"
        intervals [2]:
            xmin = 0.1
            xmax = 0.2
            text = "CH"
        intervals [3]:
            xmin = 0.2
            xmax = 0.3
            text = "AE1"
        intervals [4]:
            xmin = 0.3
            xmax = {end}
            text = "spn"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    text(
        root / "SPEAKERS.TXT",
        "; Below is information about speakers.",
        ";ID  |SEX| SUBSET           |MINUTES| NAME",
        "103  | F | train-clean-100  | 30.15 | Karen Savage",
        "1034 | M | train-clean-100  | 25.08 | Kevin O'Coin",
        "84   | F | dev-clean        | 8.02  | Christie Nowak",
    )
    for number, (speaker, (_, part, chapter)) in enumerate(PEOPLE.items()):
        folder = root / part / speaker / chapter
        lines = []
        for n in range(2):
            id = f"{speaker}-{chapter}-{n:04d}"
            audio(folder / f"{id}.flac", 0.5 + 0.1 * n, seed=number)
            lines.append(f"{id} CHAPTER ONE NUMBER {'ABC'[n]}")
        text(folder / f"{speaker}-{chapter}.trans.txt", *lines)
    return root


def align(root: Path, id: str, end: float = 0.5) -> Path:
    speaker, chapter, _ = id.split("-")
    part = PEOPLE[speaker][1]
    return text(root / part / speaker / chapter / f"{id}.TextGrid", GRID.format(end=end))


def test_utterances_speakers_genders_texts_parts(tree: Path, tmp_path: Path) -> None:
    report = prepare("librispeech", tree, tmp_path / "out")
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        "train-clean-100": (4, 2),
        "dev-clean": (2, 1),
    }
    assert report.parts["dev-clean"].seconds == pytest.approx(1.1)
    found = tiers(tmp_path / "out", "train-clean-100")
    assert found["1034-121119-0001"] == {
        "speaker": "1034",
        "gender": "M",
        "text": "CHAPTER ONE NUMBER B",
        "language": "English",
        "chapter": "121119",
    }
    record = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert record["name"] == "librispeech"
    assert record["licence"].startswith("CC BY 4.0")
    assert record["parts"]["dev-clean"]["utterances"] == 2


def test_same_as_lhotse(tree: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_librispeech

    prepare("librispeech", tree, tmp_path / "out")
    theirs = prepare_librispeech(tree, dataset_parts=["train-clean-100"])["train-clean-100"]
    ours = cuts(tmp_path / "out", "train-clean-100")
    assert {s.id for s in theirs["supervisions"]} == set(ours)
    for segment in theirs["supervisions"]:
        mine = ours[segment.id].supervisions[0]
        assert (mine.speaker, mine.text, mine.duration) == (
            segment.speaker,
            segment.text,
            segment.duration,
        )
        recording = ours[segment.id].recording
        assert recording.num_samples == theirs["recordings"][segment.id].num_samples


@pytest.mark.parametrize("place", ["beside", "inside", "among"])
def test_published_alignments(tree: Path, tmp_path: Path, place: str) -> None:
    where = {
        "beside": tree.parent / "librispeech_alignments",
        "inside": tree / "LibriSpeech-Alignments" / "LibriSpeech",
        "among": tree,
    }[place]
    align(where, "103-1240-0000")
    report = prepare("librispeech", tree, tmp_path / "out", ["train-clean-100"])
    found = tiers(tmp_path / "out", "train-clean-100")
    mine = found["103-1240-0000"]
    assert spans(mine["words"]) == [(0.1, 0.3, "chapter"), (0.3, 0.5, "one")]
    assert spans(mine["phones"]) == [(0.0, 0.1, "SIL"), (0.1, 0.2, "CH"), (0.2, 0.3, "AE")]
    assert [s.label for s in mine["phones_raw"]] == ["sil", "CH", "AE1", "spn"]
    assert "words" not in found["103-1240-0001"]
    assert said(report, "3 utterance(s) of train-clean-100 have no alignment")
    assert len(report.problems) == 1


def test_alignment_longer_than_its_audio_and_a_broken_one(tree: Path, tmp_path: Path) -> None:
    align(tree, "103-1240-0000", end=0.9)
    align(tree, "103-1240-0001").write_text("not a grid")
    report = prepare("librispeech", tree, tmp_path / "out", ["train-clean-100"])
    found = tiers(tmp_path / "out", "train-clean-100")
    assert spans(found["103-1240-0000"]["words"])[-1] == (0.3, 0.5, "one")
    assert said(report, "103-1240-0000", "words", "reach beyond its 0.500 s")
    assert said(report, "103-1240-0001.TextGrid", "left out")
    assert "phones" not in found["103-1240-0001"]


def test_fold_phone() -> None:
    assert [fold_phone(p) for p in ("AH0", "ER2", "sil", "SIL", "sp", "spn", "", "B")] == [
        "AH", "ER", "SIL", "SIL", None, None, None, "B",
    ]  # fmt: skip


def test_damage_is_reported_and_not_fatal(tree: Path, tmp_path: Path) -> None:
    chapter = tree / "train-clean-100" / "103" / "1240"
    (chapter / "103-1240-0001.flac").unlink()
    (tree / "train-clean-100" / "1034" / "121119" / "1034-121119-0000.flac").write_bytes(b"fLaCxx")
    stray(chapter)
    text(chapter / "notes.doc", "x")
    audio(chapter / "103-1240-0009.flac")
    extra = tree / "dev-clean" / "9999" / "1"
    audio(extra / "9999-1-0000.flac")
    text(extra / "9999-1.trans.txt", "9999-1-0000 HELLO")
    report = prepare("librispeech", tree, tmp_path / "out")
    assert set(cuts(tmp_path / "out", "train-clean-100")) == {"103-1240-0000", "1034-121119-0001"}
    assert said(report, "103-1240-0001.flac", "missing")
    assert said(report, "1034-121119-0000", "cannot be read")
    assert said(report, "1240", "stray", ".DS_Store", "notes.doc")
    assert said(report, "103-1240-0009", "no transcript line")
    assert said(report, "9999", "not in SPEAKERS.TXT")
    assert "gender" not in tiers(tmp_path / "out", "dev-clean")["9999-1-0000"]


def test_odd_casing_and_a_missing_table(tree: Path, tmp_path: Path) -> None:
    (tree / "SPEAKERS.TXT").rename(tree / "speakers.txt")
    flac = tree / "dev-clean" / "84" / "121123" / "84-121123-0000.flac"
    flac.rename(flac.with_suffix(".FLAC"))
    assert prepare("librispeech", tree, tmp_path / "a", ["dev-clean"]).problems == ()
    (tree / "speakers.txt").unlink()
    report = prepare("librispeech", tree, tmp_path / "b", ["dev-clean"])
    assert said(report, "SPEAKERS.TXT", "no genders")
    assert report.parts["dev-clean"].utterances == 2


def test_folder_one_level_too_high_or_low(tree: Path, tmp_path: Path) -> None:
    high = prepare("librispeech", tree.parent, tmp_path / "o1" / "x")
    assert set(high.parts) == {"train-clean-100", "dev-clean"}
    low = prepare("librispeech", tree / "dev-clean", tmp_path / "o2" / "x")
    assert set(low.parts) == {"dev-clean"}


def test_wrong_folders(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a folder"):
        prepare("librispeech", tmp_path / "nowhere", tmp_path / "out")
    other = tmp_path / "far" / "away" / "music"
    other.mkdir(parents=True)
    text(other / "readme.md", "x")
    with pytest.raises(
        CorpusError, match=r"not laid out as published[\s\S]*readme\.md[\s\S]*SPEAKERS"
    ):
        prepare("librispeech", other, tmp_path / "out")
    with pytest.raises(UnknownNameError, match="dev-clean"):
        prepare("librispeech", tree, tmp_path / "out", ["dev-cleen"])


def test_nothing_left_is_an_error(tree: Path, tmp_path: Path) -> None:
    for flac in tree.rglob("*.flac"):
        flac.write_bytes(b"")
    with pytest.raises(CorpusError, match=r"nothing in [\s\S]* is empty"):
        prepare("librispeech", tree, tmp_path / "out")
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_parts_add_up_over_runs_and_the_fingerprint_ignores_the_place(
    tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare("librispeech", tree, out, ["dev-clean"])
    prepare("librispeech", tree, out, ["train-clean-100"])
    record = json.loads((out / "corpus.json").read_text())
    assert set(record["parts"]) == {"dev-clean", "train-clean-100"}
    moved = tmp_path / "elsewhere" / "LibriSpeech"
    shutil.copytree(tree, moved)
    prepare("librispeech", moved, tmp_path / "out2")
    again = json.loads((tmp_path / "out2" / "corpus.json").read_text())
    assert again["fingerprint"] == record["fingerprint"]
    trans = moved / "dev-clean" / "84" / "121123" / "84-121123.trans.txt"
    trans.write_text(trans.read_text().replace("NUMBER A", "NUMBER Z"))
    prepare("librispeech", moved, tmp_path / "out3")
    changed = json.loads((tmp_path / "out3" / "corpus.json").read_text())
    assert changed["fingerprint"] != record["fingerprint"]
    with pytest.raises(CorpusError, match="another corpus"):
        prepare("musan", tree, out)


def test_progress_is_told(tree: Path, tmp_path: Path) -> None:
    from voxstrata.corpora.registry import CORPORA

    told: list[tuple[str, int, int]] = []
    CORPORA.get("librispeech").prepare(
        tree, tmp_path / "out", parts=["dev-clean"], progress=lambda *a: told.append(a)
    )
    assert told[-1] == ("librispeech dev-clean", 2, 0)
