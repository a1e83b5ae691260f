"""Alignment files: what they say, and what is said about malformed ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from voxstrata.corpora.alignments import read_alignment, read_ctm
from voxstrata.corpora.alignments.hts import phone_of
from voxstrata.errors import LabelError, MissingDependencyError, UnknownNameError
from voxstrata.types import Segment

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "word"
        xmin = 0
        xmax = 1.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.5
            text = "say ""ja"""
    item [2]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "!"
    item [3]:
        class = "IntervalTier"
        name = "mood"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "calm 3 x
over lines"
'''
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"phones"
0
1.5
1
0
1.5
"æ"
"""


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def _praatio() -> None:
    pytest.importorskip("praatio")


@pytest.mark.usefixtures("_praatio")
class TestTextGrid:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_long(self, tmp_path: Path, encoding: str, newline: str) -> None:
        path = put(tmp_path / "a.TextGrid", LONG.replace("\n", newline), encoding)
        tiers = read_alignment(path)
        assert set(tiers) == {"words", "mood"}  # points have no length
        assert tiers["words"] == (Segment(0.0, 0.5, ""), Segment(0.5, 1.5, 'say "ja"'))
        assert tiers["mood"][0].label.split() == ["calm", "3", "x", "over", "lines"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
    def test_short(self, tmp_path: Path, encoding: str) -> None:
        mark = "\ufeff" if encoding == "utf-16-le" else ""
        path = put(tmp_path / "a.textgrid", mark + SHORT, encoding)
        assert read_alignment(path) == {"phones": (Segment(0.0, 1.5, "æ"),)}

    def test_names_of_the_montreal_aligner(self, tmp_path: Path) -> None:
        one = put(tmp_path / "1.TextGrid", SHORT.replace('"phones"', '"spk7 - phones"'))
        assert set(read_alignment(one)) == {"phones"}
        tier = SHORT[SHORT.index('"IntervalTier"') :]
        two = SHORT.replace('"phones"', '"A - words"').replace("<exists>\n1", "<exists>\n2")
        path = put(tmp_path / "2.TextGrid", two + tier.replace('"phones"', '"B - words"'))
        assert set(read_alignment(path)) == {"A - words", "B - words"}

    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("xmax = 0.5\n", "xmax = half\n", 17),
            ("xmin = 0.5\n            xmax = 1.5", "xmin = 1.9\n            xmax = 1.5", 21),
            ("intervals: size = 2", "intervals: size = 3", 24),
            ('text = ""\n', "text = \n", 20),
            ('class = "TextTier"', 'class = "PitchTier"', 24),
            ('over lines"', "over lines", 41),
            ("intervals: size = 2", "intervals: size = two", 14),
            ("size = 3", "size = 4", 42),
        ],
    )
    def test_malformed(self, tmp_path: Path, old: str, new: str, line: int) -> None:
        assert LONG.count(old) >= 1
        path = put(tmp_path / "bad.TextGrid", LONG.replace(old, new, 1))
        with pytest.raises(LabelError, match=f"bad.TextGrid, line {line}:"):
            read_alignment(path)

    @pytest.mark.parametrize("keep", [3, 60, 200, 400, 600, 800])
    def test_cut_off_anywhere(self, tmp_path: Path, keep: int) -> None:
        path = put(tmp_path / "cut.TextGrid", LONG[:keep])
        with pytest.raises(LabelError, match=r"cut\.TextGrid, line \d+"):
            read_alignment(path)

    def test_no_praatio(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "praatio", None)
        with pytest.raises(MissingDependencyError, match=r"voxstrata\[align\]"):
            read_alignment(put(tmp_path / "a.TextGrid", SHORT))


def test_ctm(tmp_path: Path) -> None:
    text = """;; made by hand
rec1 1 0.20 0.17 so 0.98
rec2 A 1.00 0.50 other
rec1 1 0.00 0.20 and ;; a comment

"""
    found = read_ctm(put(tmp_path / "a.ctm", text))
    assert found == {
        "rec1": (Segment(0.0, 0.2, "and"), Segment(0.2, 0.37, "so")),
        "rec2": (Segment(1.0, 1.5, "other"),),
    }
    with pytest.raises(LabelError, match="several recordings"):
        read_alignment(tmp_path / "a.ctm")
    one = put(tmp_path / "b.ctm", "rec1 1 0.5 0.25 hm\n")
    assert read_alignment(one) == {"words": (Segment(0.5, 0.75, "hm"),)}


@pytest.mark.parametrize(
    "bad",
    ["rec 1 0.5 x", "rec 1 half 0.5 x", "rec 1 0.5 nan x", "rec 1 -1 0.5 x", "rec 1 * * <ALT>"],
)
def test_malformed_ctm(tmp_path: Path, bad: str) -> None:
    path = put(tmp_path / "a.ctm", f"rec 1 0.0 0.1 fine\n{bad}\n")
    with pytest.raises(LabelError, match=r"a\.ctm, line 2"):
        read_ctm(path)


@pytest.mark.parametrize(
    ("label", "phone"),
    [
        ("sil", "sil"),
        ("aa", "aa"),
        ("k-ae+t", "ae"),
        ("k-ae", "ae"),
        ("ae+t", "ae"),
        ("x^x-sil+hh=iy@x_x/A:0_0_0/B:x-x-x@x-x", "sil"),
        ("d^iy-t+er=n@1_4/A:1_1_2/B:1-1-4@1-1&2-3#1-2$1-3!1-1;1-1|er/C:1+1+2", "t"),
        ("-", "-"),
        ("+", "+"),
    ],
)
def test_phones_of_labels(label: str, phone: str) -> None:
    assert phone_of(label) == phone


def test_hts_states_are_joined(tmp_path: Path) -> None:
    text = """0 500000 a[2]
500000 700000 a[3]
700000 900000 a[2]
900000 1100000 b
1100000 1300000 b
"""
    tiers = read_alignment(put(tmp_path / "a.lab", text))
    assert tiers["phones"] == (
        Segment(0.0, 0.07, "a"),
        Segment(0.07, 0.09, "a"),  # state 2 again: another phone
        Segment(0.09, 0.11, "b"),
        Segment(0.11, 0.13, "b"),  # no states: two phones
    )


@pytest.mark.parametrize("bad", ["500000 a", "0.5 1.0 a", "9 3 a", "-5 0 a", "the quick brown fox"])
def test_malformed_hts(tmp_path: Path, bad: str) -> None:
    path = put(tmp_path / "a.lab", f"0 10 a\n{bad}\n")
    with pytest.raises(LabelError, match=r"a\.lab, line 2"):
        read_alignment(path)


def test_pocketsphinx(tmp_path: Path) -> None:
    phone = {"b": 0.2, "d": 0.17, "p": 1, "t": "AE"}
    words = [
        {"b": 0.0, "d": 0.2, "t": "<sil>", "w": [{"b": 0.0, "d": 0.2, "t": "SIL"}]},
        {"b": 0.2, "d": 0.17, "t": "and(2)", "w": [phone]},
        {"b": 0.37, "d": 0.1, "t": "[NOISE]", "w": [{"b": 0.37, "d": 0.1, "t": "+NSN+"}]},
    ]
    path = put(tmp_path / "a.json", json.dumps({"b": 0, "d": 1, "t": "and", "w": words}))
    assert read_alignment(path) == {
        "words": (Segment(0.2, 0.37, "and"),),
        "phones": (
            Segment(0.0, 0.2, "SIL"),
            Segment(0.2, 0.37, "AE"),
            Segment(0.37, 0.47, "+NSN+"),
        ),
    }
    for word in words:
        del word["w"]
    path.write_text(json.dumps({"b": 0, "d": 1, "t": "and", "w": words}))
    assert set(read_alignment(path)) == {"words"}


@pytest.mark.parametrize(
    "bad",
    ["{", "[]", '{"b": 0}', '{"w": [{"b": 0, "t": "x"}]}', '{"w": [{"b": -1, "d": 1, "t": "x"}]}'],
)
def test_malformed_pocketsphinx(tmp_path: Path, bad: str) -> None:
    path = put(tmp_path / "a.json", '{"w": []}\n' + bad)
    with pytest.raises(LabelError, match=r"a\.json, line 2"):
        read_alignment(path)


def test_formats_are_told_from_the_file_or_named(tmp_path: Path) -> None:
    hts = put(tmp_path / "a.phn", "0 10000000 a\n")
    with pytest.raises(LabelError, match="cannot tell the format"):
        read_alignment(hts)
    assert read_alignment(hts, "hts") == {"phones": (Segment(0.0, 1.0, "a"),)}
    with pytest.raises(UnknownNameError, match="did you mean 'textgrid'"):
        read_alignment(hts, "textgird")
    assert read_alignment(put(tmp_path / "b", '{"w": []}')) == {"words": ()}


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot read"):
        read_alignment(tmp_path / "gone.lab")
    (tmp_path / "empty.lab").touch()
    with pytest.raises(LabelError, match="is empty"):
        read_alignment(tmp_path / "empty.lab")
    (tmp_path / "latin.lab").write_bytes("0 10 a\n10 20 ä".encode("latin-1"))
    with pytest.raises(LabelError, match=r"latin\.lab, line 2"):
        read_alignment(tmp_path / "latin.lab")
