"""VoxCeleb 1 and 2, prepared from miniatures of the published trees."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from corpora_recipe_trees import audio, cuts, prepare, said, stray, text, tiers

from voxstrata.errors import CorpusError

IDENTIFICATION = ("iden-train", "iden-dev", "iden-test")
FILES = (
    "id10001/1zcIwhmdeo4/00001.wav",
    "id10001/7gWzIy6yIIk/00001.wav",
    "id10002/0_laIeN-Q44/00001.wav",
    "id10270/5r0dWxy17C8/00001.wav",
    "id10270/x6uYqmx31kE/00001.wav",
    "id10300/ize_eiCFEg0/00003.wav",
)


def lists(root: Path) -> None:
    text(
        root / "vox1_meta.csv",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
        "id10001\tA.J._Buckley\tm\tIreland\tdev",
        "id10002\tA.R._Rahman\tm\tIndia\tdev",
        "id10270\tEartha_Kitt\tf\tUSA\ttest",
        "id10300\tEva_Green\tf\tFrance\ttest",
    )
    text(
        root / "iden_split.txt",
        "1 id10001/1zcIwhmdeo4/00001.wav",
        "2 id10001/7gWzIy6yIIk/00001.wav",
        "1 id10002/0_laIeN-Q44/00001.wav",
        "3 id10270/5r0dWxy17C8/00001.wav",
        "1 id10270/x6uYqmx31kE/00001.wav",
        "1 id10300/ize_eiCFEg0/00003.wav",
    )
    text(
        root / "veri_test2.txt",
        "1 id10270/5r0dWxy17C8/00001.wav id10270/x6uYqmx31kE/00001.wav",
        "0 id10270/5r0dWxy17C8/00001.wav id10300/ize_eiCFEg0/00003.wav",
    )


@pytest.fixture(params=["apart", "merged", "archives"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "VoxCeleb1"
    for number, name in enumerate(FILES):
        test = name.startswith(("id10270", "id10300"))
        place = {
            "merged": root / "wav",
            "apart": root / ("test" if test else "dev") / "wav",
            "archives": root / ("vox1_test_wav" if test else "vox1_dev_wav") / "wav",
        }[request.param]
        audio(place / name, 0.4, seed=number)
    lists(root)
    return root


def test_parts_labels_and_trials(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("voxceleb1", tree, out)
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        "dev": (3, 2),
        "test": (3, 2),
    }
    split = prepare("voxceleb1", tree, out, IDENTIFICATION)
    assert split.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in split.parts.items()} == {
        "iden-train": (4, 4),
        "iden-dev": (1, 1),
        "iden-test": (1, 1),
    }
    assert tiers(out, "dev")["id10001-1zcIwhmdeo4-00001"] == {
        "speaker": "id10001",
        "gender": "M",
        "nationality": "Ireland",
        "name": "A.J._Buckley",
        "video": "1zcIwhmdeo4",
        "set": "dev",
    }
    assert set(cuts(out, "iden-dev")) == {"id10001-7gWzIy6yIIk-00001"}
    rows = list(csv.DictReader((out / "trials" / "veri_test2.csv").open()))
    assert rows == [
        {
            "label": "1",
            "first": "id10270-5r0dWxy17C8-00001",
            "second": "id10270-x6uYqmx31kE-00001",
        },
        {
            "label": "0",
            "first": "id10270-5r0dWxy17C8-00001",
            "second": "id10300-ize_eiCFEg0-00003",
        },
    ]


def test_damage(tmp_path: Path) -> None:
    root = tmp_path / "VoxCeleb1"
    for name in FILES[1:]:
        audio(root / "wav" / name, 0.4)
    lists(root)
    audio(root / "wav" / "id99999" / "abcdefghijk" / "00001.wav")
    audio(root / "wav" / "id10002" / "00009.wav")
    stray(root / "wav" / "id10002" / "0_laIeN-Q44")
    (root / "wav" / FILES[5]).unlink()
    (root / "iden_split.txt").open("a").write("7 nonsense\n")
    report = prepare("voxceleb1", root, tmp_path / "out", ["dev", "test", *IDENTIFICATION])
    assert said(report, "id10001/1zcIwhmdeo4/00001.wav", "iden-train", "missing")
    assert said(report, "speaker id99999 is not in vox1_meta.csv")
    assert said(report, "00009.wav", "not at SPEAKER/VIDEO/NNNNN")
    assert said(report, "stray", ".DS_Store")
    assert said(report, "veri_test2.txt", "1 missing recording(s)", "1 trials remain")
    assert said(report, "iden_split.txt", "7 nonsense")
    assert tiers(tmp_path / "out", "dev")["id99999-abcdefghijk-00001"]["set"] == "dev"


def test_without_lists_the_verification_sets_remain(tmp_path: Path) -> None:
    root = tmp_path / "VoxCeleb1"
    for name in FILES:
        audio(root / "wav" / name, 0.4)
    report = prepare("voxceleb1", root, tmp_path / "out")
    assert {p: c.utterances for p, c in report.parts.items()} == {"dev": 3, "test": 3}
    for name in ("vox1_meta.csv", "veri_test2.txt"):
        assert said(report, name, "missing")
    with pytest.raises(CorpusError, match=r"iden_split\.txt"):
        prepare("voxceleb1", root, tmp_path / "out2", IDENTIFICATION)


def test_folder_too_high_too_low_and_wrong(tree: Path, tmp_path: Path) -> None:
    assert len(prepare("voxceleb1", tree.parent, tmp_path / "a").parts) == 2
    low = next(p for p in tree.rglob("wav") if p.is_dir()).parent
    if low != tree:
        assert prepare("voxceleb1", low, tmp_path / "b").parts
    (tmp_path / "x" / "y" / "z").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"an empty folder[\s\S]*vox1_meta"):
        prepare("voxceleb1", tmp_path / "x" / "y" / "z", tmp_path / "c")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    root = tmp_path / "VoxCeleb2"
    text(
        root / "vox2_meta.csv",
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ",
        "id00012 ,n000012 ,m ,dev ",
        "id00017 ,n000017 ,f ,test ",
    )
    for part, name in (("dev", "id00012/21Uxsk56VDQ"), ("test", "id00017/01dfn2spqyE")):
        for n in (1, 2):
            path = root / part / "aac" / name / f"{n:05d}.m4a"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    return root


def test_voxceleb2_converted_in_place(second: Path, tmp_path: Path) -> None:
    for m4a in second.rglob("*.m4a"):
        audio(m4a.with_suffix(".flac"), 0.4)
    report = prepare("voxceleb2", second, tmp_path / "out")
    assert report.problems == ()
    assert {p: c.utterances for p, c in report.parts.items()} == {"dev": 2, "test": 2}
    assert tiers(tmp_path / "out", "test")["id00017-01dfn2spqyE-00002"] == {
        "speaker": "id00017",
        "gender": "F",
        "video": "01dfn2spqyE",
        "set": "test",
    }


def test_voxceleb2_converted_into_folders_of_their_own(second: Path, tmp_path: Path) -> None:
    for m4a in second.rglob("*.m4a"):
        other = Path(str(m4a).replace("/aac/", "/wav/")).with_suffix(".wav")
        audio(other, 0.4)
    report = prepare("voxceleb2", second, tmp_path / "out")
    assert {p: c.utterances for p, c in report.parts.items()} == {"dev": 2, "test": 2}
    assert not said(report, "not converted")


def test_voxceleb2_unconverted(second: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"only AAC files[\s\S]*ffmpeg"):
        prepare("voxceleb2", second, tmp_path / "out")
    audio(next(second.rglob("*.m4a")).with_suffix(".wav"), 0.4)
    part = next(second.rglob("*.wav")).relative_to(second).parts[0]
    report = prepare("voxceleb2", second, tmp_path / "out", [part])
    assert report.parts[part].utterances == 1
    assert said(report, f"1 recording(s) of {part} are not converted", "ffmpeg")
    record = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert any("not converted" in p["what"] for p in record["problems"])


def test_voxceleb2_is_not_taken_for_voxceleb1(second: Path, tmp_path: Path) -> None:
    for m4a in second.rglob("*.m4a"):
        audio(Path(str(m4a).replace("/aac/", "/wav/")).with_suffix(".wav"), 0.4)
    with pytest.raises(CorpusError, match="VoxCeleb1"):
        prepare("voxceleb1", second, tmp_path / "out")


def test_voxceleb2_extra_speaker_and_missing_table(second: Path, tmp_path: Path) -> None:
    audio(second / "dev" / "aac" / "id00099" / "abcdefghijk" / "00001.wav")
    report = prepare("voxceleb2", second, tmp_path / "out", ["dev"])
    assert said(report, "id00099 is not in vox2_meta.csv")
    (second / "vox2_meta.csv").unlink()
    report = prepare("voxceleb2", second, tmp_path / "out2", ["dev"])
    assert said(report, "vox2_meta.csv", "no genders")
