"""What must hold of edits, slots, diarisation errors and warping for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstrata.metrics.diarization import diarization_errors, total_errors
from voxstrata.metrics.edit import edit_counts
from voxstrata.metrics.slots import slot_counts
from voxstrata.metrics.spoken_terms import (
    TermTrials,
    TermWeights,
    maximum_term_weighted_value,
    subsequence_costs,
)

tokens = st.lists(st.integers(0, 3), max_size=9)


def _edits(one, other) -> int:
    return int(edit_counts([one], [other]).edits[0])


@given(tokens, tokens, tokens)
def test_edits_are_a_distance(one, two, three) -> None:
    assert (_edits(one, two) == 0) == (one == two)
    assert _edits(one, two) == _edits(two, one)
    assert _edits(one, three) <= _edits(one, two) + _edits(two, three)
    assert abs(len(one) - len(two)) <= _edits(one, two) <= max(len(one), len(two))


@given(tokens, tokens, tokens)
def test_what_both_begin_and_end_with_costs_nothing(one, two, more) -> None:
    assert _edits(more + one, more + two) == _edits(one, two) == _edits(one + more, two + more)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=12), st.randoms())
def test_utterances_do_not_touch_each_other(pairs, random) -> None:
    whole = edit_counts(*zip(*pairs, strict=True))
    alone = [edit_counts([a], [b]) for a, b in pairs]
    for kind in ("substitutions", "deletions", "insertions", "lengths"):
        assert getattr(whole, kind).tolist() == [int(getattr(one, kind)[0]) for one in alone]
    hits = whole.lengths - whole.substitutions - whole.deletions
    assert (hits >= 0).all()
    assert (hits + whole.substitutions + whole.insertions == [len(b) for _, b in pairs]).all()


slots = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.text("XY", min_size=1, max_size=4)), max_size=4
)


def _text(found) -> str:
    return " ".join(["SAY", *(f"B-{name} {value} E-{name}" for name, value in found)])


@given(slots, slots, st.randoms())
def test_slots_of_any_order(one, two, random) -> None:
    found = slot_counts([_text(one)], [_text(two)])
    more = slot_counts([_text(one)], [_text([*two, ("new", "XXX")])])
    assert more.value_edits[0] == found.value_edits[0]
    assert more.matched_edits[0] == found.matched_edits[0] + 3
    assert found.value_lengths[0] == sum(len(value) for _, value in one)
    mixed = slot_counts([_text(one)], [_text(random.sample(two, len(two)))])
    assert mixed.matched_edits[0] == found.matched_edits[0]
    assert mixed.value_edits[0] == found.value_edits[0]
    assert mixed.type_f1[0] == found.type_f1[0]
    assert (found.matched_edits[0] == 0) == (sorted(one) == sorted(two))
    swapped = slot_counts([_text(two)], [_text(one)])
    assert swapped.type_f1[0] == found.type_f1[0]
    assert swapped.matched_edits[0] == found.matched_edits[0]


turns = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from("abc")), max_size=6
).map(lambda found: [(float(s), float(s + d), who) for s, d, who in found])


def _frames(found) -> dict[str, np.ndarray]:
    """Whole seconds in which each speaker speaks: exact for turns that begin and end with one."""
    out: dict[str, np.ndarray] = {}
    for start, end, who in found:
        out.setdefault(who, np.zeros(32, dtype=int))[int(start) : int(end)] = 1
    return out


@given(turns, turns)
def test_errors_are_those_of_counting_seconds_over_all_mappings(reference, hypothesis) -> None:
    from itertools import permutations

    wanted, found = _frames(reference), _frames(hypothesis)
    names = [*found, *[None] * len(wanted)]
    zero = np.zeros(32, dtype=int)
    right = max(
        sum(
            int((wanted[w] & found.get(f, zero)).sum()) for w, f in zip(wanted, order, strict=False)
        )
        for order in permutations(names, len(wanted))
    )
    r, h = (sum(side.values(), zero) for side in (wanted, found))
    parts = diarization_errors(reference, hypothesis)
    assert parts.miss == np.maximum(r - h, 0).sum()
    assert parts.false_alarm == np.maximum(h - r, 0).sum()
    assert parts.confusion == np.minimum(r, h).sum() - right
    assert parts.speech == r.sum()


@given(turns, turns, st.permutations("xyz"), st.randoms())
def test_no_error_where_turns_are_the_same_but_for_names(one, two, names, random) -> None:
    renamed = [(s, e, dict(zip("abc", names, strict=True))[who]) for s, e, who in one]
    assert diarization_errors(one, random.sample(renamed, len(renamed))).errors == 0
    same = sorted(tuple(x) for x in _frames(one).values()) == sorted(
        tuple(x) for x in _frames(two).values()
    )
    assert (diarization_errors(one, two).errors == 0) == same
    # Which side is the reference decides what is missing and what is too much, not how much.
    there, back = diarization_errors(one, two), diarization_errors(two, one)
    assert (there.miss, there.confusion) == (back.false_alarm, back.confusion)


@given(turns, turns, st.floats(0, 3), st.floats(-50, 50), st.integers(0, 25))
def test_time_moves_and_falls_into_parts(reference, hypothesis, collar, shift, cut) -> None:
    whole = diarization_errors(reference, hypothesis, collar=collar)
    moved = diarization_errors(
        *([(s + shift, e + shift, w) for s, e, w in side] for side in (reference, hypothesis)),
        collar=collar,
    )
    assert moved.miss == pytest.approx(whole.miss, abs=1e-9)
    assert moved.errors == pytest.approx(whole.errors, abs=1e-9)
    parts = [
        diarization_errors(reference, hypothesis, collar=collar, regions=[region])
        for region in ((-5.0, float(cut)), (float(cut), 40.0))
    ]
    # Speakers are mapped within each part, which can only lessen confusion.
    both = total_errors(parts)
    assert both.miss == pytest.approx(whole.miss, abs=1e-9)
    assert both.speech == pytest.approx(whole.speech, abs=1e-9)
    if not collar:
        assert both.confusion <= whole.confusion + 1e-9


@settings(max_examples=50)
@given(st.integers(1, 7), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_documents_are_warped_apart_and_longer_ones_cost_no_more(rows, lengths, seed) -> None:
    starts = np.cumsum(lengths) - lengths
    table = np.random.default_rng(seed).random((rows, sum(lengths)))
    found = subsequence_costs(table, starts)
    parts = np.split(table, starts[1:], axis=1)
    np.testing.assert_allclose(found, [subsequence_costs(part, [0])[0] for part in parts])
    assert subsequence_costs(table, [0])[0] <= found.min() + 1e-12
    assert (found >= [part.min(axis=1).mean() - 1e-12 for part in parts]).all()


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 999), st.randoms())
def test_term_values_do_not_know_the_order_of_queries_and_documents(q, d, seed, random) -> None:
    rng = np.random.default_rng(seed)
    scores, held = rng.integers(0, 5, (q, d)), rng.random((q, d)) < 0.4
    held[0, 0], held[0, 1] = True, False
    weights = TermWeights(0.3, 1, 1)
    value, _ = maximum_term_weighted_value(scores, held, weights)
    rows, columns = random.sample(range(q), q), random.sample(range(d), d)
    mixed = maximum_term_weighted_value(scores[rows][:, columns], held[rows][:, columns], weights)
    assert mixed[0] == pytest.approx(value, abs=1e-12)
    for other in range(-1, 6):
        assert TermTrials(scores, held, weights).actual(other) <= value + 1e-12
    assert 0 <= value <= 1
