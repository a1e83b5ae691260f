"""Labels from files: fairseq's manifests, tables; what is wrong is told with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurons_labelled import LabelledCorpus, corpus, frames
from voxstrata.errors import LabelError, UnknownNameError, UsageError
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.neurons.conditions.files import FileFrames, read_km, read_labels

NAMES = ("r0", "r1", "r2", "r3")


def write(folder: Path, lines: list[str], manifest: list[str] | None = None) -> Path:
    rows = manifest or [f"a/b/{name}.flac\t16000" for name in NAMES]
    (folder / "x.tsv").write_text("\n".join(["/root", *rows]) + "\n")
    (folder / "x.km").write_text("\n".join(lines) + "\n")
    return folder / "x.km"


@pytest.mark.parametrize(
    "line", ["d/{}.flac\t16000", "d/{}.flac 16000", "a b/{}.wav\t9", "a b/{}.wav 9", "{}.wav"]
)
def test_frames_of_a_manifest_with_tabs_or_spaces(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, ["0 2 1", "1 1 1", "4", "0 0 0"], [line.format(n) for n in NAMES])
    found = read_km(path, corpus())
    assert isinstance(found, FileFrames)
    assert found.rows == tuple(f"cluster {i}" for i in range(5))
    assert found.codes("r0", *frames(3), []).tolist() == [0, 2, 1]
    assert found.codes("r0", *frames(5), []).tolist() == [0, 2, 1, -1, -1]
    assert found.codes("r0", *frames(1), []).tolist() == [0]
    assert found.codes("elsewhere", *frames(2), []).tolist() == [-1, -1]


def test_labels_at_another_rate_are_refused(tmp_path: Path) -> None:
    found = read_km(write(tmp_path, ["0 " * 20, "1 1", "1 1", "0 0"]), corpus())
    with pytest.raises(LabelError, match="do not fit the recording r0") as error:
        found.codes("r0", *frames(10), [])  # type: ignore[union-attr]
    assert error.value.got == "20 labels, 10 frames"
    assert "frame rate" in error.value.fix


def test_one_label_a_line_makes_groups_of_recordings(tmp_path: Path) -> None:
    found = read_km(write(tmp_path, ["1", "0", "1", "1"]), corpus())
    assert isinstance(found, Labels)
    assert found.groups == ("cluster 0", "cluster 1")
    assert found.of == {"r0": 1, "r1": 0, "r2": 1, "r3": 1}


def test_labels_that_the_corpus_lacks_make_no_group(tmp_path: Path) -> None:
    """A file of a whole corpus is good for a part of it: no group stays without a recording."""
    manifest = [f"{n}.wav\t1" for n in (*NAMES, "q1", "q2")]
    found = read_km(write(tmp_path, ["7", "3", "7", "3", "5", "0"], manifest), corpus())
    assert isinstance(found, Labels)
    assert found.groups == ("cluster 3", "cluster 7")
    assert found.of == {"r0": 1, "r1": 0, "r2": 1, "r3": 0}
    with pytest.raises(LabelError, match="tells no groups apart"):
        read_km(write(tmp_path, ["7", "7", "7", "7", "5", "0"], manifest), corpus())


@pytest.mark.parametrize(
    ("lines", "manifest", "error", "words"),
    [
        (["0", "1", "0"], None, UsageError, "3 lines of labels, 4 recordings"),
        (["0", "1", "x", "0"], None, UsageError, "line 3"),
        (["0", "1", "-2", "0"], None, UsageError, "line 3: a negative label"),
        (["0", "1.5", "2", "0"], None, UsageError, "line 2"),
        (["0", "1", "0", "1"], [f"{n}.wav" for n in "abcd"], LabelError, "another corpus"),
        (["0", "1", "0", "1"], ["r0.wav", "d/r0.wav", "r2.wav", "r3.wav"], UsageError, "two rec"),
    ],
)
def test_what_is_wrong_with_a_km_file_is_told(
    tmp_path: Path, lines: list[str], manifest: list[str] | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        read_km(write(tmp_path, lines, manifest), corpus())


def test_labels_of_another_corpus_name_both(tmp_path: Path) -> None:
    path = write(tmp_path, ["0", "1", "0", "1"], [f"{n}.wav" for n in "abcd"])
    with pytest.raises(LabelError) as error:
        read_km(path, corpus())
    assert error.value.got == "labels of 0 of its 4 recordings; the file has 'a', 'b', 'c'"
    assert error.value.expected == "ids such as 'r0'"
    assert error.value.fix
    half = write(tmp_path, ["0", "1"], ["r0.wav", "r1.wav"])
    found = read_km(half, corpus())  # half of them is enough
    assert isinstance(found, Labels)
    assert found.details == {"unlabelled": 2}
    spans = read_km(write(tmp_path, ["0 1", "1", "1 1"], ["r0.wav", "r1.wav", "r2.wav"]), corpus())
    assert isinstance(spans, FileFrames)
    assert spans.unlabelled == 1


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file") as error:
        read_km(tmp_path / "no.km", corpus())
    assert "no.tsv" in error.value.what
    write(tmp_path, ["0"])
    (tmp_path / "x.km").unlink()
    with pytest.raises(UsageError, match=r"no file .*x\.km"):
        read_km(tmp_path / "x.km", corpus())
    (tmp_path / "x.km").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        read_km(tmp_path / "x.km", corpus())
    (tmp_path / "x.km").unlink()
    (tmp_path / "x.km").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        read_km(tmp_path / "x.km", corpus())
    with pytest.raises(UsageError, match="names no file"):
        read_km("", corpus())


def test_the_digest_changes_with_one_label(tmp_path: Path) -> None:
    first = read_km(write(tmp_path, ["0 2 1", "1 1", "4 4", "0 0"]), corpus())
    same = read_km(write(tmp_path, ["0 2 1", "1 1", "4 4", "0 0"]), corpus())
    other = read_km(write(tmp_path, ["0 2 2", "1 1", "4 4", "0 0"]), corpus())
    digests = [one.digest() for one in (first, same, other) if isinstance(one, FileFrames)]
    assert digests[0] == digests[1] != digests[2]


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_tables_by_recording_and_by_speaker(tmp_path: Path) -> None:
    own = table(tmp_path, "utterance,accent\nr0,us\nr1,uk\nr2,uk\nr3,\n")
    found = read_labels(own, corpus())
    assert found.name == "labels=t.csv:accent"
    assert found.groups == ("uk", "us")
    assert found.of == {"r0": 1, "r1": 0, "r2": 0}  # an empty cell is no label
    assert found.details == {"unlabelled": 1}
    spoken = table(tmp_path, "speaker,age,town\ns0,31,x\ns1,40,y\n")
    for column, groups in (("age", ("31", "40")), ("town", ("x", "y"))):
        found = read_labels(f"{spoken}:{column}", corpus())
        assert found.groups == groups
        assert found.of == {"r0": 0, "r1": 1, "r2": 0, "r3": 1}


def test_what_is_wrong_with_a_table_is_told(tmp_path: Path) -> None:
    two = table(tmp_path, "utterance,a,b\nr0,1,2\nr1,2,3\nr2,1,1\n")
    with pytest.raises(UsageError, match="several columns") as error:
        read_labels(two, corpus())
    assert error.value.fix == f"labels={two}:a"
    with pytest.raises(UnknownNameError, match="c"):
        read_labels(f"{two}:c", corpus())
    with pytest.raises(LabelError, match="another corpus") as error:
        read_labels(table(tmp_path, "utterance,a\nq0,1\nq1,2\n"), corpus())
    assert error.value.got == "labels of 0 of its 4 recordings; the file has 'q0', 'q1'"
    with pytest.raises(LabelError, match="another corpus") as error:
        read_labels(table(tmp_path, "speaker,a\nq0,1\nq1,2\n"), corpus())
    assert error.value.expected == "ids such as 's0'"
    with pytest.raises(LabelError, match="tells no groups apart"):
        read_labels(table(tmp_path, "speaker,a\ns0,1\ns1,1\n"), corpus())
    with pytest.raises(UsageError):
        read_labels(tmp_path / "missing.csv", corpus())
    with pytest.raises(UsageError):
        read_labels("", corpus())
    with pytest.raises(UsageError, match="says not whose"):
        read_labels(table(tmp_path, "name,a\nr0,1\n"), corpus())


def test_a_table_fits_whatever_part_of_the_corpus_is_used(tmp_path: Path) -> None:
    path = table(tmp_path, "utterance,a\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(NAMES)))
    part = LabelledCorpus(corpus().utterances[1:3])
    found = read_labels(path, part)
    np.testing.assert_equal(found.of, {"r1": 1, "r2": 0})
