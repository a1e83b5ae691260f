"""Opening corpora by their specs."""

from __future__ import annotations

import gc
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora import load_corpus
from voxstrata.errors import AudioError, CorpusError, LabelError, UnknownNameError, UsageError
from voxstrata.types import Segment


def sound(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).uniform(
        -0.3, 0.3, (round(seconds * rate), channels)
    )
    sf.write(path, noise, rate)
    return path


def manifest(folder: Path, *lines: Any, name: str = "manifest.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    opener = gzip.open if name.endswith(".gz") else open
    with opener(folder / name, "wt", encoding="utf-8") as file:
        file.write(text)
    return folder / name


# folders ---------------------------------------------------------------------------------------


def test_a_folder_of_audio(tmp_path: Path) -> None:
    sound(tmp_path / "anna" / "one.wav")
    sound(tmp_path / "anna" / "deep" / "two.FLAC", rate=8000)
    sound(tmp_path / "bob" / "one.ogg")
    sound(tmp_path / "loose.mp3")
    sound(tmp_path / ".hidden" / "no.wav")
    (tmp_path / "anna" / "notes.txt").write_text("no audio")
    corpus = load_corpus(tmp_path)
    assert [u.id for u in corpus] == ["loose", "anna/one", "anna/deep/two", "bob/one"]
    assert corpus.speakers == ("anna", "bob")
    assert "speaker" not in corpus.utterances[0].tiers
    assert all(abs(len(u.read()) - 8000) < 2 for u in corpus)
    assert corpus.name == tmp_path.name


def test_two_files_that_differ_in_ending_keep_it(tmp_path: Path) -> None:
    sound(tmp_path / "s" / "a.wav")
    sound(tmp_path / "s" / "a.flac")
    assert [u.id for u in load_corpus(tmp_path)] == ["s/a.flac", "s/a.wav"]


def test_a_bad_file_is_left_out_and_named_or_stops(tmp_path: Path) -> None:
    sound(tmp_path / "s" / "good.wav")
    (tmp_path / "s" / "bad.wav").write_bytes(b"RIFFnonsense")
    (tmp_path / "s" / "empty.wav").touch()
    corpus = load_corpus(tmp_path)
    assert [u.id for u in corpus] == ["s/good"]
    assert sorted((p.id, p.rule) for p in corpus.skipped) == [
        ("s/bad", "unreadable"),
        ("s/empty", "empty"),
    ]
    with pytest.raises(AudioError) as caught:
        load_corpus(tmp_path, on_error="stop")
    assert "bad.wav" in str(caught.value)
    assert "empty.wav" in str(caught.value)


def test_folders_that_link_to_themselves_end(tmp_path: Path) -> None:
    sound(tmp_path / "s" / "a.wav")
    (tmp_path / "s" / "again").symlink_to(tmp_path)
    assert len(load_corpus(tmp_path)) == 1


def test_a_folder_without_audio(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(CorpusError, match="no audio"):
        load_corpus(tmp_path)


# JSONL manifests -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.jsonl.gz", "other.jsonl"])
def test_a_jsonl_manifest(tmp_path: Path, name: str) -> None:
    sound(tmp_path / "audio" / "a.wav", 1.0)
    path = manifest(
        tmp_path,
        {"id": "u1", "file": "audio/a.wav", "speaker": 7, "text": None, "mood": "calm",
         "words": [[0.1, 0.4, "hm"]], "phones": None, "duration": 1.0, "sampling_rate": 16000},
        "",
        {"file": "audio/a.wav", "start": 0.25, "duration": 0.5, "speaker": "x"},
        name=name,
    )  # fmt: skip
    corpus = load_corpus(path if name == "other.jsonl" else tmp_path)
    first, second = corpus.utterances
    assert dict(first.tiers) == {
        "speaker": "7",
        "mood": "calm",
        "words": (Segment(0.1, 0.4, "hm"),),
    }
    assert (second.id, second.duration_s) == ("audio/a", 0.5)
    np.testing.assert_array_equal(second.read(), first.read()[4000:12000])


def test_channel_is_a_number_or_a_tier(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", channels=2)
    manifest(
        tmp_path,
        {"id": "mean", "file": "a.wav"},
        {"id": "right", "file": "a.wav", "channel": 1},
        {"id": "label", "file": "a.wav", "channel": "telephone"},
        {"id": "third", "file": "a.wav", "channel": 2},
    )
    corpus = load_corpus(tmp_path)
    assert [u.id for u in corpus] == ["mean", "right", "label"]
    assert corpus.utterances[2].tiers["channel"] == "telephone"
    assert "channel" not in corpus.utterances[1].tiers
    both = sf.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_allclose(corpus.utterances[1].read(), both[:, 1], atol=1e-6)
    assert corpus.skipped[0].rule == "channel"


def test_bad_lines_are_problems_with_their_numbers(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", 1.0)
    path = manifest(
        tmp_path,
        {"id": "good", "file": "a.wav"},
        "{not json",
        "[1, 2]",
        {"id": "nofile"},
        {"id": "gone", "file": "gone.wav"},
        {"id": "badspan", "file": "a.wav", "words": [[0.1, "x"]]},
        {"id": "baddur", "file": "a.wav", "duration": "long"},
        {"id": "longer", "file": "a.wav", "duration": 2.0},
        {"id": "late", "file": "a.wav", "start": 3.0},
    )
    corpus = load_corpus(tmp_path)
    assert [u.id for u in corpus] == ["good"]
    assert [(p.id, p.rule) for p in corpus.skipped] == [
        ("", "manifest"),
        ("", "manifest"),
        ("", "manifest"),
        ("gone", "missing-file"),
        ("badspan", "bad-label"),
        ("baddur", "bad-label"),
        ("longer", "duration"),
        ("late", "duration"),
    ]
    assert corpus.skipped[0].file == f"{path}:2"
    with pytest.raises(CorpusError) as caught:
        load_corpus(tmp_path, on_error="stop")
    for words in (f"{path}:2", "gone.wav", "badspan", "longer", "8 problem(s)"):
        assert words in str(caught.value)


def test_alignment_files_fill_what_a_line_lacks(tmp_path: Path, shared: Path) -> None:
    pytest.importorskip("praatio")
    source = shared / "data" / "textgrid_examples"
    for name in ("mary.wav", "mary.TextGrid"):
        shutil.copy(source / name, tmp_path)
    manifest(
        tmp_path,
        {"id": "a", "file": "mary.wav", "textgrid": ["mary.TextGrid"], "phones": None,
         "words": [[0.0, 0.5, "mine"]]},
        {"id": "b", "file": "mary.wav", "textgrid": "gone.TextGrid"},
    )  # fmt: skip
    corpus = load_corpus(tmp_path)
    (utterance,) = corpus.utterances
    assert utterance.tiers["words"] == (Segment(0.0, 0.5, "mine"),)
    assert len(utterance.tiers["phones"]) == 16
    assert "gone.TextGrid" in corpus.skipped[0].what


def test_the_garbage_collector_runs_again_afterwards(tmp_path: Path) -> None:
    manifest(tmp_path, {"file": "gone.wav"})
    with pytest.raises(AudioError):
        load_corpus(tmp_path)
    assert gc.isenabled()


def test_limit_reads_the_first_lines_only(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    manifest(tmp_path, *({"id": str(i), "file": "a.wav"} for i in range(9)), "{broken")
    corpus = load_corpus(tmp_path, limit=4)
    assert [u.id for u in corpus] == ["0", "1", "2", "3"]
    assert not corpus.skipped
    with pytest.raises(UsageError):
        load_corpus(tmp_path, limit=0)


def test_a_damaged_gzip_manifest(tmp_path: Path) -> None:
    path = manifest(tmp_path, *({"file": f"{i}.wav"} for i in range(500)), name="manifest.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorpusError, match="cannot read the manifest"):
        load_corpus(tmp_path)


# lhotse manifests ------------------------------------------------------------------------------


def lhotse_set(folder: Path) -> Any:
    from lhotse import RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.supervision import AlignmentItem

    from voxstrata.corpora.audio import read_header
    from voxstrata.corpora.cuts import recording_of

    path = sound(folder / "audio" / "r.wav", 2.0)
    recordings = RecordingSet.from_recordings([recording_of(read_header(path), "r")])
    supervisions = SupervisionSet.from_segments(
        [
            SupervisionSegment(
                "s1", "r", 0.0, 1.0, speaker="A", text="yes", custom={"emotion": "joy"},
                alignment={"word": [AlignmentItem("yes", 0.2, 0.3)]},
            ),
            SupervisionSegment(
                "s2", "r", 1.0, 0.8, speaker="B",
                alignment={"word": [AlignmentItem("no", 1.1, 0.2)]},
            ),
        ]
    )  # fmt: skip
    return recordings, supervisions


def test_recordings_and_supervisions(tmp_path: Path) -> None:
    recordings, supervisions = lhotse_set(tmp_path)
    recordings.to_file(tmp_path / "x_recordings_dev.jsonl.gz")
    supervisions.to_file(tmp_path / "x_supervisions_dev.jsonl.gz")
    for spec in (tmp_path, tmp_path / "x_recordings_dev.jsonl.gz"):
        corpus = load_corpus(spec, on_error="stop")
        one, two = corpus.utterances
        assert (one.id, two.id) == ("s1", "s2")
        assert dict(one.tiers) == {
            "speaker": "A",
            "text": "yes",
            "emotion": "joy",
            "words": (Segment(0.2, 0.5, "yes"),),
        }
        assert two.tiers["words"] == (Segment(0.1, 0.3, "no"),)
        assert two.duration_s == 0.8
        whole = sf.read(tmp_path / "audio" / "r.wav", dtype="float32")[0]
        np.testing.assert_allclose(two.read(), whole[16000:28800], atol=1e-6)


def test_recordings_alone_and_supervisions_alone(tmp_path: Path) -> None:
    recordings, supervisions = lhotse_set(tmp_path)
    recordings.to_file(tmp_path / "recordings.jsonl")
    (only,) = load_corpus(tmp_path).utterances
    assert (only.id, only.duration_s, dict(only.tiers)) == ("r", 2.0, {})
    (tmp_path / "sup").mkdir()
    supervisions.to_file(tmp_path / "sup" / "supervisions.jsonl")
    with pytest.raises(CorpusError, match="supervisions alone"):
        load_corpus(tmp_path / "sup" / "supervisions.jsonl")


def test_lhotse_cuts_with_relative_paths(tmp_path: Path) -> None:
    from lhotse import CutSet

    recordings, supervisions = lhotse_set(tmp_path)
    recordings["r"].sources[0].source = "audio/r.wav"
    cuts = CutSet.from_manifests(recordings, supervisions)
    cuts.to_file(tmp_path / "my_cuts.jsonl.gz")
    (only,) = load_corpus(tmp_path, on_error="stop").utterances
    assert only.tiers["turns"] == (Segment(0.0, 1.0, "A"), Segment(1.0, 1.8, "B"))
    trimmed = cuts.trim_to_supervisions(keep_overlapping=False)
    trimmed.to_file(tmp_path / "trimmed.jsonl")
    one, two = load_corpus(tmp_path / "trimmed.jsonl", on_error="stop").utterances
    assert one.tiers["speaker"] == "A"
    assert two.tiers["words"] == (Segment(0.1, 0.3, "no"),)  # from the beginning of the cut
    assert len(two.read()) == 12800


def test_several_cut_manifests_are_a_question(tmp_path: Path) -> None:
    for name in ("cuts_a.jsonl", "cuts_b.jsonl"):
        manifest(tmp_path, {}, name=name)
    with pytest.raises(CorpusError, match="several cut manifests") as caught:
        load_corpus(tmp_path)
    assert "cuts_a.jsonl" in caught.value.fix


def test_a_manifest_line_that_is_no_cut(tmp_path: Path) -> None:
    recordings, supervisions = lhotse_set(tmp_path)
    from lhotse import CutSet

    CutSet.from_manifests(recordings, supervisions).to_file(tmp_path / "cuts.jsonl")
    with (tmp_path / "cuts.jsonl").open("a") as file:
        file.write('{"type": "MonoCut", "id": "half"}\n{"type": "Unheard"}\n')
    corpus = load_corpus(tmp_path)
    assert len(corpus) == 1
    assert [p.rule for p in corpus.skipped] == ["manifest", "manifest"]


# prepared corpora ------------------------------------------------------------------------------


def prepared(tmp_path: Path) -> Path:
    for part in ("dev", "test"):
        source = tmp_path / "source" / part
        sound(source / "s1" / "a.wav")
        load_corpus(source).save(tmp_path / "out" / part)
    return tmp_path / "out"


def test_prepared_parts_by_name_and_by_folder(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    one = load_corpus(f"timit:{out / 'dev'}")
    assert (one.name, len(one)) == ("timit-dev", 1)
    (out / "corpus.json").write_text(json.dumps({"name": "timit", "parts": {}, "licence": "LDC"}))
    assert load_corpus(out / "dev").name == "timit-dev"
    assert load_corpus(out / "dev").details["licence"] == "LDC"
    with pytest.raises(CorpusError, match="holds another corpus"):
        load_corpus(f"ami:{out / 'dev'}")


def test_all_prepared_parts_carry_the_part(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    # The same id in two parts: the second is a duplicate and is left out, by name.
    corpus = load_corpus(out)
    assert [u.tiers["part"] for u in corpus] == ["dev"]
    assert corpus.skipped[0].rule == "duplicate-id"


def test_prepared_parts_that_do_not_exist(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        load_corpus(f"timit:{out / 'tst'}")
    with pytest.raises(CorpusError, match="no corpus at"):
        load_corpus(f"timit:{tmp_path / 'nowhere'}")
    (tmp_path / "bare").mkdir()
    with pytest.raises(CorpusError, match="not a prepared corpus"):
        load_corpus(f"timit:{tmp_path / 'bare'}")


# specs -----------------------------------------------------------------------------------------


def test_unknown_names_are_corrected(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'librispeech'"):
        load_corpus("libirspeech")
    with pytest.raises(UnknownNameError, match="synthetic"):
        load_corpus("syntetic:demo")
    with pytest.raises(CorpusError, match="voxstrata corpora prepare timit"):
        load_corpus("timit")
    (tmp_path / "speech").mkdir()
    with pytest.raises(CorpusError, match=r"did you mean .*speech"):
        load_corpus(tmp_path / "spech")
    (tmp_path / "notes.txt").write_text("hm")
    with pytest.raises(CorpusError, match="not a corpus"):
        load_corpus(tmp_path / "notes.txt")
    with pytest.raises(UnknownNameError, match="skip"):
        load_corpus(tmp_path, on_error="skipp")  # type: ignore[arg-type]


def test_needed_tiers(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    manifest(
        tmp_path,
        {"id": "a", "file": "a.wav", "keyword": "yes"},
        {"id": "b", "file": "a.wav"},
    )
    corpus = load_corpus(tmp_path, need_tiers=["keyword"])
    assert [u.id for u in corpus] == ["a"]
    assert corpus.skipped[0].rule == "missing-tier"
    with pytest.raises(LabelError, match="missing-tier"):
        load_corpus(tmp_path, need_tiers=["keyword"], on_error="stop")
    with pytest.raises(UnknownNameError, match="did you mean 'keyword'"):
        load_corpus(tmp_path, need_tiers=["keywrd"])


def test_nothing_usable_is_an_error_that_lists_why(tmp_path: Path) -> None:
    manifest(tmp_path, {"id": "a", "file": "a.wav"}, {"id": "b", "file": "b.wav"})
    with pytest.raises(AudioError, match="no usable utterance") as caught:
        load_corpus(tmp_path)
    assert "a.wav" in str(caught.value)
    assert "b.wav" in str(caught.value)
    manifest(tmp_path, "")
    with pytest.raises(CorpusError, match="holds no utterance"):
        load_corpus(tmp_path)
