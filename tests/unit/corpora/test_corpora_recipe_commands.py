"""Speech Commands and Fluent Speech Commands, prepared from miniatures of the published trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora_recipe_trees import audio, cuts, prepare, said, stray, text, tiers

from voxstrata.corpora.recipes.speechcommands import bucket
from voxstrata.errors import CorpusError


def hashed(part: str, skip: int = 0) -> str:
    """A speaker name that the hash puts into ``part``."""
    names = (f"{n:08x}" for n in range(10_000))
    return [n for n in names if bucket(f"{n}_nohash_0.wav") == part][skip]


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    root = tmp_path / "SpeechCommands"
    main = root / "speech_commands_v0.01"
    train, dev, held = hashed("train"), hashed("dev"), hashed("held-out")
    for word in ("yes", "no", "bed"):
        audio(main / word / f"{train}_nohash_0.wav", 1.0, seed=1)
        audio(main / word / f"{train}_nohash_1.wav", 0.8, seed=2)
        audio(main / word / f"{dev}_nohash_0.wav", 1.0, seed=3)
        audio(main / word / f"{held}_nohash_0.wav", 1.0, seed=4)
    audio(main / "_background_noise_" / "running_tap.wav", 5.5, seed=5)
    audio(main / "_background_noise_" / "pink_noise.wav", 2.0, seed=6)
    text(main / "_background_noise_" / "README.md", "noise")
    text(main / "validation_list.txt", *(f"{w}/{dev}_nohash_0.wav" for w in ("bed", "no", "yes")))
    text(main / "testing_list.txt", *(f"{w}/{held}_nohash_0.wav" for w in ("bed", "no", "yes")))
    text(main / "LICENSE", "CC")
    text(main / "README.md", "x")
    test = root / "speech_commands_test_set_v0.01"
    audio(test / "yes" / f"{held}_nohash_0.wav", 1.0)
    audio(test / "_unknown_" / f"bed_{held}_nohash_0.wav", 1.0)
    audio(test / "_silence_" / "running_tap_0.wav", 1.0)
    return root


def test_hash_agrees_with_the_published_lists() -> None:
    # Speakers of cat/ on validation_list.txt and of five/ on testing_list.txt, as published.
    listed = "8b775397 2643992f 060cd039 f5e5e8b0 dbb40d24 d57febf0 16db1582 171b56dc 66cff190"
    assert {bucket(f"{name}_nohash_0.wav") for name in listed.split()} == {"dev"}
    listed = "83957201 4290ca61 4845bb10 4c841771 e5e54cee 5828dfa2 37dca74f 9b3ea809 0c40e715"
    assert {bucket(f"{name}_nohash_0.wav") for name in listed.split()} == {"held-out"}
    share = [bucket(f"{n:08x}_nohash_0.wav") for n in range(4000)]
    assert share.count("dev") / 4000 == pytest.approx(0.1, abs=0.02)
    assert share.count("held-out") / 4000 == pytest.approx(0.1, abs=0.02)
    # All recordings of a speaker fall into one part.
    assert bucket("0c40e715_nohash_0.wav") == bucket("0c40e715_nohash_4.wav")


def test_twelve_classes(commands: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("speechcommands", commands, out)
    assert report.problems == ()
    train, dev, test = (tiers(out, part) for part in ("train", "dev", "test"))
    speaker = hashed("train")
    assert train[f"bed-{speaker}_nohash_0"] == {
        "speaker": speaker,
        "text": "bed",
        "language": "English",
        "keyword": "_unknown_",
        "word": "bed",
    }
    assert train[f"yes-{speaker}_nohash_1"]["keyword"] == "yes"
    assert {v["speaker"] for v in dev.values() if "speaker" in v} == {hashed("dev")}
    assert sorted(v["keyword"] for v in test.values()) == ["_silence_", "_unknown_", "yes"]
    unknown = next(v for v in test.values() if v["keyword"] == "_unknown_")
    assert (unknown["word"], unknown["speaker"]) == ("bed", hashed("held-out"))
    assert len(tiers(out, "held-out")) == 3


def test_silence_is_whole_seconds_never_the_same_in_two_parts(
    commands: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare("speechcommands", commands, out)
    found = {
        part: {
            (v.custom or v.supervisions[0].custom)["background"]: v.start
            for v in cuts(out, part).values()
            if v.id.startswith("_silence_")
        }
        for part in ("train", "dev")
    }
    assert found["dev"] == {"running_tap": 4.0}
    starts = sorted(
        (v.recording.id, v.start, v.duration)
        for v in cuts(out, "train").values()
        if v.id.startswith("_silence_")
    )
    assert [s[1] for s in starts] == [0.0, 1.0, 0.0, 1.0, 2.0, 3.0]
    assert {s[2] for s in starts} == {1.0}


def test_commands_damage(commands: Path, tmp_path: Path) -> None:
    main = commands / "speech_commands_v0.01"
    (main / "no" / f"{hashed('dev')}_nohash_0.wav").unlink()
    (main / "yes" / f"{hashed('train')}_nohash_0.wav").write_bytes(b"RIFF")
    audio(main / "yes" / "ffffffff_take2.wav", 1.0)
    stray(main / "yes")
    stray(main)
    (commands / "speech_commands_test_set_v0.01" / "maybe").mkdir()
    report = prepare("speechcommands", commands, tmp_path / "out")
    assert said(report, f"no/{hashed('dev')}_nohash_0.wav", "missing")
    assert said(report, "yes", "cannot be read")
    assert said(report, "ffffffff_take2", "no _nohash_")
    assert said(report, "speech_commands_v0.01/yes:", ".DS_Store")
    assert said(report, "speech_commands_v0.01:", ".DS_Store")
    assert said(report, "maybe", "not one of the 12 classes")


def test_commands_given_one_archive(commands: Path, tmp_path: Path) -> None:
    main = prepare("speechcommands", commands / "speech_commands_v0.01", tmp_path / "a")
    assert set(main.parts) == {"train", "dev", "held-out", "test"}  # its neighbour is found
    high = prepare("speechcommands", commands.parent, tmp_path / "b")
    assert set(high.parts) == set(main.parts)
    import shutil

    shutil.rmtree(commands / "speech_commands_test_set_v0.01")
    report = prepare("speechcommands", commands, tmp_path / "c")
    assert said(report, "no test archive")
    assert "test" not in report.parts


def test_same_words_as_lhotse(commands: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_speechcommands

    out = tmp_path / "out"
    prepare("speechcommands", commands, out)
    theirs = prepare_speechcommands("1", commands)
    for part, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        mine = {
            (v.get("speaker"), v.get("text"))
            for v in tiers(out, part).values()
            if v["keyword"] != "_silence_"
        }
        assert mine == {(s.speaker, s.text) for s in theirs[name]["supervisions"] if s.text}


HEAD = ",path,speakerId,transcription,action,object,location"


@pytest.fixture
def fluent(tmp_path: Path) -> Path:
    root = tmp_path / "fluent_speech_commands_dataset"
    rows = {
        "train": [
            ("2BqVo8kVB2Skwgyb", "0a3129c0-4474", "Turn on the lights", "activate", "lights"),
            ("2BqVo8kVB2Skwgyb", "0b3129c0-4474", "Louder, please", "increase", "volume"),
        ],
        "valid": [
            ("4BrX8aDqK2cLZRYl", "1a3129c0-4474", "Use English", "change language", "English")
        ],
        "test": [("4aGjX3AG5xcxeL7a", "2a3129c0-4474", "Bring me my shoes", "bring", "shoes")],
    }
    for part, lines in rows.items():
        out = [HEAD]
        for n, (speaker, name, said_, action, thing) in enumerate(lines):
            path = f"wavs/speakers/{speaker}/{name}.wav"
            audio(root / path, 0.6, seed=n)
            quoted = f'"{said_}"' if "," in said_ else said_
            out.append(f"{n},{path},{speaker},{quoted},{action},{thing},none")
        text(root / "data" / f"{part}_data.csv", *out)
    text(
        root / "data" / "speaker_demographics.csv",
        "speakerId,Self-reported fluency level ,First Language spoken,"
        "Current language used for work/school,gender,ageRange",
        "2BqVo8kVB2Skwgyb,native,English (United States),English (United States),female,22-40",
        "4BrX8aDqK2cLZRYl,advanced,French (Canada),English (Canada),male,41-65",
        "4aGjX3AG5xcxeL7a,native,English (Canada),English (Canada),male,22-40",
    )
    return root


def test_fluent(fluent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("fluent", fluent, out)
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        "train": (2, 1),
        "valid": (1, 1),
        "test": (1, 1),
    }
    assert tiers(out, "train")["0b3129c0-4474"] == {
        "speaker": "2BqVo8kVB2Skwgyb",
        "gender": "F",
        "text": "Louder, please",
        "language": "English",
        "intent": "increase|volume|none",
        "action": "increase",
        "object": "volume",
        "location": "none",
        "age": "22-40",
        "first_language": "English (United States)",
        "fluency": "native",
    }


def test_fluent_same_as_lhotse_where_that_works(fluent: Path, tmp_path: Path) -> None:
    from lhotse import SupervisionSet
    from lhotse.recipes.slu import prepare_slu

    assert prepare_slu(fluent, tmp_path / "lhotse") is None  # why we do not use it
    out = tmp_path / "out"
    prepare("fluent", fluent, out)
    theirs = SupervisionSet.from_file(tmp_path / "lhotse" / "slu_supervisions_train.jsonl.gz")
    mine = {i: (v["text"], v["intent"]) for i, v in tiers(out, "train").items()}
    assert mine == {s.recording_id: (s.text, "|".join(s.custom["frames"])) for s in theirs}


def test_fluent_damage(fluent: Path, tmp_path: Path) -> None:
    (fluent / "wavs" / "speakers" / "2BqVo8kVB2Skwgyb" / "0a3129c0-4474.wav").unlink()
    audio(fluent / "wavs" / "speakers" / "unknownSpeaker" / "zz.wav")
    stray(fluent / "wavs" / "speakers")
    people = fluent / "data" / "speaker_demographics.csv"
    people.write_text("".join(people.read_text().splitlines(keepends=True)[:-1]))
    (fluent / "data" / "valid_data.csv").open("a").write("9,wavs/x.wav,spk\n")
    report = prepare("fluent", fluent, tmp_path / "out")
    assert said(report, "0a3129c0-4474.wav", "missing")
    assert said(report, "zz.wav", "in no list")
    assert said(report, ".DS_Store")
    assert said(report, "4aGjX3AG5xcxeL7a is not in speaker_demographics.csv")
    assert said(report, "valid_data.csv", "line 3 has 3 of 7 cells")
    assert report.parts["test"].utterances == 1


def test_fluent_wrong_columns_missing_split_and_levels(fluent: Path, tmp_path: Path) -> None:
    assert prepare("fluent", fluent / "data", tmp_path / "a").parts
    assert prepare("fluent", fluent.parent, tmp_path / "b").parts
    (fluent / "data" / "test_data.csv").unlink()
    report = prepare("fluent", fluent, tmp_path / "c")
    assert said(report, "test_data.csv", "no part test")
    text(fluent / "data" / "train_data.csv", ",path,speaker", "0,a,b")
    with pytest.raises(CorpusError, match=r"lacks the column\(s\) speakerId"):
        prepare("fluent", fluent, tmp_path / "d")
