"""Slot scores: three utterances counted by hand, and the rules one by one."""

from __future__ import annotations

import pytest

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.slots import parse_slots, slot_counts, type_f1

REFERENCES = [
    "PLAY B-song JUDE E-song BY B-artist BEATLES E-artist",
    "ADD B-artist QUEEN E-artist AND B-artist ABBA E-artist",
    "STOP",
]
HYPOTHESES = [
    "PLAY B-song JUDY E-song BY BEATLES",
    "ADD B-artist ABBA E-artist ON B-service RADIO E-service",
    "STOP B-song IT E-song",
]


def test_three_utterances_by_hand() -> None:
    """Types: {song, artist} and {song}: 2/3; {artist} and {artist, service}: 2/3; {} and {song}: 0.

    Values: JUDE/JUDY 1, BEATLES/'' 7; QUEEN/ABBA 5 (no letter in common), ABBA/ABBA 0; none. Of
    4 + 7 + 5 + 4 = 20 characters 13 are wrong. Paired one to one, ABBA is taken by ABBA, so QUEEN
    is missing (5), RADIO (5) and IT (2) are too much: 1 + 7 + 5 + 5 + 2 = 20.
    """
    found = slot_counts(REFERENCES, HYPOTHESES)
    assert found.type_f1.tolist() == pytest.approx([2 / 3, 2 / 3, 0])
    assert found.value_edits.tolist() == [8, 5, 0]
    assert found.matched_edits.tolist() == [8, 10, 2]
    assert found.value_lengths.tolist() == [11, 9, 0]
    assert found.slot_type_f1 == pytest.approx(4 / 9)
    assert found.slot_value_cer == 13 / 20
    assert found.matched_cer == 20 / 20


def test_inserted_slots_cost_nothing_by_the_published_rule_only() -> None:
    reference = "B-city ROME E-city"
    plain = slot_counts([reference], [reference])
    more = slot_counts([reference], [reference + " B-city OSLO E-city B-day MAY E-day"])
    assert plain.slot_value_cer == more.slot_value_cer == plain.matched_cer == 0
    assert more.matched_cer == (4 + 3) / 4


def test_one_value_serves_several_by_the_published_rule_only() -> None:
    reference = "B-city ROME E-city B-city NOME E-city"
    found = slot_counts([reference], ["B-city ROME E-city"])
    assert found.value_edits.tolist() == [1]
    assert found.matched_edits.tolist() == [4]


def test_pairs_are_chosen_for_the_whole_type() -> None:
    """AAAB with AAAA (1) leaves AAAC with CAAB (2); AAAB with CAAB and AAAC with AAAA are 1 + 1."""
    reference = "B-x AAAB E-x B-x AAAC E-x"
    found = slot_counts([reference], ["B-x AAAA E-x B-x CAAB E-x"])
    assert found.matched_edits.tolist() == [2]


def test_what_is_left_over_counts_in_the_choice_of_pairs() -> None:
    """AB with XY (2) leaves ABCDE (5); AB with ABCDE (3) leaves XY (2), which is less."""
    found = slot_counts(["B-x AB E-x"], ["B-x XY E-x B-x ABCDE E-x"])
    assert found.matched_edits.tolist() == [5]
    assert found.value_edits.tolist() == [2]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("B-a ONE  TWO E-a", {"a": ["ONE TWO"]}),
        ("B-a ONE E-b", {}),
        ("B-a  E-a", {}),
        ("ONE E-a B-a TWO", {}),
        ("B-a ONE E-a B-a TWO E-a", {"a": ["ONE", "TWO"]}),
        ("B-a ONE B-b TWO E-a", {"a": ["ONE B-b TWO"]}),
        ("B-object_name X E-object_name", {"object_name": ["X"]}),
        ("B-list X E-list_owner", {"list": ["X"]}),  # the published pattern does not ask for an end
        ("", {}),
    ],
)
def test_the_published_pattern(text, slots) -> None:
    assert parse_slots(text) == slots


def test_marks_inside_values_of_hypotheses_are_taken_out() -> None:
    assert parse_slots("B-a ONE B-b TWO E-b E-a", clean=True) == {"a": ["ONE TWO"]}
    assert slot_counts(["B-a ONE TWO E-a"], ["B-a ONE B-b TWO E-a"]).slot_value_cer == 0


def test_sets_of_types() -> None:
    assert type_f1(set(), set()) == 1
    assert type_f1({"a"}, set()) == type_f1(set(), {"a"}) == type_f1({"a"}, {"b"}) == 0
    # Precision 1/3 and recall 1/2: 2 (1/6) / (5/6).
    assert type_f1({"a", "b"}, {"a", "c", "d"}) == pytest.approx(0.4)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ShapeError, match="as many hypotheses"):
        slot_counts(["a"], [])
    with pytest.raises(UsageError, match="references with slots"):
        _ = slot_counts(["STOP"], ["B-a X E-a"]).slot_value_cer
    with pytest.raises(UsageError, match="no utterances"):
        _ = slot_counts([], []).slot_type_f1
