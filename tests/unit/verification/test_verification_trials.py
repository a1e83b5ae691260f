"""Trial lists: formats, malformed lines, matching to a corpus, generated pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fakes
from voxstrata.errors import LabelError, UsageError
from voxstrata.types import Utterance
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.trials import (
    Trials,
    make_trials,
    match_trials,
    read_trials,
    save_trials,
)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _triples(trials: Trials) -> list[tuple[str, str, bool]]:
    return [
        (trials.ids[a], trials.ids[b], bool(t))
        for a, b, t in zip(trials.first, trials.second, trials.target, strict=True)
    ]


EXPECTED = [("s1/a", "s1/b", True), ("s1/a", "s2/c", False), ("s2/c", "s1/b", False)]


@pytest.mark.parametrize(
    "text",
    [
        "1 s1/a s1/b\n0 s1/a s2/c\n0 s2/c s1/b\n",
        "\ufeff1\ts1/a\ts1/b\r\n\r\n0 s1/a  s2/c\r\n0 s2/c s1/b",
        "s1/a s1/b target\ns1/a s2/c nontarget\ns2/c s1/b nontarget\n",
        "s1/a s1/b 1\ns1/a s2/c 0\ns2/c s1/b imposter\n",
        "label,first,second\n1,s1/a,s1/b\n0,s1/a,s2/c\n0,s2/c,s1/b\n",
    ],
)
def test_every_format_is_read(tmp_path: Path, text: str) -> None:
    assert _triples(read_trials(_write(tmp_path / "t", text))) == EXPECTED


def test_ids_that_look_like_labels(tmp_path: Path) -> None:
    trials = read_trials(_write(tmp_path / "t", "0 1 target\n1 2 nontarget\n"))
    assert _triples(trials) == [("0", "1", True), ("1", "2", False)]


def test_every_malformed_line_is_told_with_its_number(tmp_path: Path) -> None:
    text = "1 a b\n0 a\n\n2 a c\n0 a a\n0 b a\n0 c d\n1 d c\n"
    with pytest.raises(LabelError) as caught:
        read_trials(_write(tmp_path / "t", text))
    said = str(caught.value)
    assert "5 of 7 lines" in said
    for line in ("line 2: 2 fields", "line 4: unknown label '2'", "line 5: a against itself",
                 "line 6: line 1 gives", "line 8: line 7 gives"):  # fmt: skip
        assert line in said, line
    assert "line 1:" not in said
    many = "".join(f"x a b{n}\n" for n in range(70))
    with pytest.raises(LabelError, match="and 20 more"):
        read_trials(_write(tmp_path / "t", "1 a b\n" * 80 + many))


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_trials(tmp_path / "absent")
    with pytest.raises(UsageError, match="empty"):
        read_trials(_write(tmp_path / "t", "\n \n"))
    (tmp_path / "b").write_bytes(b"\xff\xfe1 a b")
    with pytest.raises(UsageError, match="cannot be read"):
        read_trials(tmp_path / "b")


def test_saved_lists_come_back(tmp_path: Path) -> None:
    trials = make_trials(EXPECTED)
    again = read_trials(save_trials(trials, tmp_path / "list.txt"))
    assert _triples(again) == EXPECTED
    assert again.fingerprint == trials.fingerprint
    assert make_trials(EXPECTED[:2]).fingerprint != trials.fingerprint
    with pytest.raises(UsageError, match="white space"):
        save_trials(make_trials([("a b", "c", True)]), tmp_path / "x")


@pytest.mark.parametrize(
    ("listed", "held"),
    [
        ("id1/x/1.wav", "id1/x/1"),
        ("id1/x/1.wav", "id1-x-1"),
        ("wav/id1/x/1.wav", "id1/x/1"),
        ("wav/id1/x/1.flac", "id1-x-1"),
        ("1", "id1/x/1"),
        ("x/1.wav", "id1/x/1.flac"),
        ("a.b.c", "a.b.c"),
        ("id1/x/1.wav", "id1/x/1.wav"),
    ],
)
def test_ids_match_with_and_without_folder_and_ending(listed: str, held: str) -> None:
    found = match_trials(make_trials([(listed, "other.wav", False)]), [held, "other", "more/z"])
    assert found.trials.ids == (held, "other")
    assert not found.absent


def test_unknown_and_ambiguous_ids_are_absent() -> None:
    trials = make_trials([("1.wav", "b", False), ("b", "c", True), ("b", "gone", False)])
    found = match_trials(trials, ["x/1", "y/1", "b", "c"])
    assert found.absent == ("1.wav", "gone")
    assert found.lost == 2
    assert _triples(found.trials) == [("b", "c", True)]
    with pytest.raises(LabelError, match="against itself"):
        match_trials(make_trials([("a.wav", "a.flac", True)]), ["a", "b"])


def test_keeping_and_summary() -> None:
    trials = make_trials(EXPECTED, "list")
    fewer = trials.without({"s2/c"})
    assert _triples(fewer) == EXPECTED[:1]
    assert fewer.ids == ("s1/a", "s1/b")
    assert trials.without({"zz"}) is trials
    speakers = {"s1/a": "s1", "s1/b": "s1", "s2/c": "s2"}
    facts = trials.summary(speakers)
    assert (facts["trials"], facts["targets"], facts["speakers"]) == (3, 1, 2)
    assert facts["contradicted"] == 0
    assert trials.summary({**speakers, "s2/c": "s1"})["contradicted"] == 2
    with pytest.raises(UsageError, match="both kinds"):
        fewer.need_both_kinds()


def _corpus(rows: list[tuple[str, str, str]]) -> list[Utterance]:
    return [
        Utterance(f"u{n}", 1.0, {"speaker": s, "gender": g, "chapter": c})
        for n, (s, g, c) in enumerate(rows)
    ]


CORPUS = _corpus(
    [("a", "F", "1"), ("a", "F", "1"), ("a", "F", "2"), ("b", "F", "3"), ("c", "M", "4")]
)


def test_all_pairs_by_hand() -> None:
    trials = all_pairs(CORPUS)
    assert len(trials) == 10
    assert int(trials.target.sum()) == 3
    assert len({frozenset(t[:2]) for t in _triples(trials)}) == 10
    one_gender = {frozenset(t[:2]) for t in _triples(all_pairs(CORPUS, same_gender=True))}
    assert one_gender == {frozenset((f"u{i}", f"u{j}")) for i in range(4) for j in range(i)}
    apart = [t[:2] for t in _triples(all_pairs(CORPUS, session="chapter")) if t[2]]
    assert apart == [("u0", "u2"), ("u1", "u2")]


def test_a_limit_keeps_the_shares_and_the_seed() -> None:
    corpus = fakes.make_corpus(60, speakers=6)
    whole = all_pairs(corpus)
    some = all_pairs(corpus, limit=300, seed=1)
    assert len(some) == 300
    assert some.target.mean() == pytest.approx(whole.target.mean(), abs=1 / 300)
    assert set(_triples(some)) <= set(_triples(whole))
    assert some.fingerprint == all_pairs(corpus, limit=300, seed=1).fingerprint
    assert some.fingerprint != all_pairs(corpus, limit=300, seed=2).fingerprint
    two = all_pairs(corpus, limit=2)
    assert sorted(two.target) == [False, True]
    assert len(all_pairs(corpus, limit=10_000)) == len(whole)


def test_corpora_that_give_no_trials() -> None:
    with pytest.raises(UsageError, match="both kinds"):
        all_pairs(_corpus([("a", "F", "1"), ("a", "F", "2")]))
    with pytest.raises(UsageError, match="both kinds"):
        all_pairs(_corpus([("a", "F", "1"), ("b", "F", "2")]))
    with pytest.raises(UsageError, match="drop --cross-session speaker"):
        all_pairs(CORPUS, session="speaker")
    with pytest.raises(LabelError, match="'accent'"):
        all_pairs(CORPUS, session="accent")
    with pytest.raises(LabelError, match="speaker"):
        all_pairs([Utterance("u", 1.0, {}), *CORPUS])
    with pytest.raises(UsageError, match="limit"):
        all_pairs(CORPUS, limit=1)
    with pytest.raises(UsageError, match="too many pairs"):
        all_pairs([CORPUS[0]] * 10_002)


def test_positions_after_matching_are_of_the_corpus() -> None:
    """Two spellings of one recording become one."""
    trials = make_trials([("a.wav", "b", True), ("x/a", "c", False)])
    found = match_trials(trials, ["x/a", "b", "c"])
    assert found.trials.ids == ("x/a", "b", "c")
    np.testing.assert_array_equal(found.trials.first, [0, 0])
