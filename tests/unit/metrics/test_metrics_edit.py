"""Edits against alignments written out by hand, against recursion, and in time."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.edit import (
    collapse,
    collapse_padded,
    edit_counts,
    edit_distances,
    error_rate,
)

GOLDEN = [
    # reference, hypothesis, substitutions, deletions, insertions
    ("kitten", "sitting", 2, 0, 1),  # k/s, e/i, +g
    ("intention", "execution", 3, 1, 1),  # keeps e, t, i, o, n in order: 9 + 9 letters, 4 apart
    ("ab", "ba", 0, 1, 1),  # tie with two substitutions: b stays right
    ("abc", "xyz", 3, 0, 0),  # nothing to keep
    ("saturday", "sunday", 1, 2, 0),  # -a, -t, r/n
    ("", "abc", 0, 0, 3),
    ("abc", "", 0, 3, 0),
    ("", "", 0, 0, 0),
    ("aaaa", "aa", 0, 2, 0),
]


@pytest.mark.parametrize(("reference", "hypothesis", "sub", "dele", "ins"), GOLDEN)
def test_alignments_by_hand(reference, hypothesis, sub, dele, ins) -> None:
    found = edit_counts([reference], [hypothesis])
    kinds = found.substitutions[0], found.deletions[0], found.insertions[0]
    assert kinds == (sub, dele, ins)
    assert found.lengths.tolist() == [len(reference)]
    # The other way round, what was missing is too much.
    back = edit_counts([hypothesis], [reference])
    assert (back.substitutions[0], back.deletions[0], back.insertions[0]) == (sub, ins, dele)


def test_a_corpus_has_one_rate() -> None:
    """1 edit of 4 words, 2 (one word wrong, one too many) of 1: 3 / 5, not (1/4 + 2) / 2."""
    references = [["the", "cat", "sat", "down"], ["yes"]]
    hypotheses = [["the", "cat", "sat"], ["oh", "yeah"]]
    assert error_rate(references, hypotheses) == 3 / 5
    counts = edit_counts(references, hypotheses)
    assert counts.edits.tolist() == [1, 2]
    assert counts.deletions.tolist() == [1, 0]


def _least(reference: tuple[int, ...], hypothesis: tuple[int, ...]) -> tuple[int, int]:
    """Edits and, among the alignments with fewest, the fewest substitutions; by recursion."""

    @cache
    def of(i: int, j: int) -> tuple[int, int]:
        if i == 0 or j == 0:
            return i + j, 0
        wrong = int(reference[i - 1] != hypothesis[j - 1])
        straight, up, left = of(i - 1, j - 1), of(i - 1, j), of(i, j - 1)
        return min(
            (straight[0] + wrong, straight[1] + wrong),
            (up[0] + 1, up[1]),
            (left[0] + 1, left[1]),
        )

    return of(len(reference), len(hypothesis))


def test_counts_are_those_of_the_recursion_for_lengths_of_all_kinds() -> None:
    rng = np.random.default_rng(0)
    sides = [
        [tuple(rng.integers(0, 3, rng.integers(0, 14)).tolist()) for _ in range(300)]
        for _ in range(2)
    ]
    found = edit_counts(*sides)
    expected = [_least(*pair) for pair in zip(*sides, strict=True)]
    assert list(zip(found.edits, found.substitutions, strict=True)) == expected
    surplus = [len(b) - len(a) for a, b in zip(*sides, strict=True)]
    assert (found.insertions - found.deletions).tolist() == surplus
    assert min(found.deletions.min(), found.insertions.min()) == 0


def test_long_pairs_cross_blocks_and_stay_in_order() -> None:
    rng = np.random.default_rng(1)
    lengths = [0, 1, 9, 700, 90_000, 3, 700]
    references = [rng.integers(0, 50, min(n, 40)).tolist() for n in lengths]
    hypotheses = [row + [99] * (n - len(row)) for row, n in zip(references, lengths, strict=True)]
    found = edit_counts(references, hypotheses)
    assert found.insertions.tolist() == [
        n - len(r) for n, r in zip(lengths, references, strict=True)
    ]
    assert not found.substitutions.any()
    assert not found.deletions.any()


def test_padded_rows_have_the_distances_of_their_tokens() -> None:
    rng = np.random.default_rng(2)
    sides = [[rng.integers(1, 5, rng.integers(0, 8)).tolist() for _ in range(50)] for _ in range(2)]
    padded = [np.array([row + [0] * (9 - len(row)) for row in side]) for side in sides]
    assert edit_distances(*padded).tolist() == edit_counts(*sides).edits.tolist()


def test_thousands_of_long_utterances_take_seconds() -> None:
    rng = np.random.default_rng(3)
    references = [rng.integers(0, 40, rng.integers(150, 250)).tolist() for _ in range(2000)]
    hypotheses = [[t for t in row if rng.random() > 0.1] for row in references]
    before = time.process_time()
    found = edit_counts(references, hypotheses)
    assert time.process_time() - before < 6  # 0.4 s on a free core
    missing = [len(a) - len(b) for a, b in zip(references, hypotheses, strict=True)]
    assert found.edits.tolist() == missing


def test_the_best_path_merges_repeats_then_drops() -> None:
    paths = [
        np.array([0, 5, 5, 0, 5, 0, 7, 7, 1, 1, 0]),  # a blank parts the two fives
        np.array([0, 0]),
        np.array([], dtype=int),
        np.array([1, 4, 1, 6]),
    ]
    rows = [r.tolist() for r in collapse(paths)]
    assert rows == [[5, 5, 7, 1], [], [], [1, 4, 1, 6]]
    assert [r.tolist() for r in collapse(paths, drop=[1])] == [[5, 5, 7], [], [], [4, 6]]
    assert [r.tolist() for r in collapse(paths, end=1)] == [[5, 5, 7], [], [], []]
    assert [r.tolist() for r in collapse(paths[:1], blank=7)] == [[0, 5, 0, 5, 0, 1, 0]]
    padded = collapse_padded(np.array([[0, 5, 5, 0, 5], [2, 2, 2, 2, 2]]))
    assert padded.tolist() == [[5, 5], [2, 0]]
    assert collapse_padded(np.zeros((2, 3), dtype=int)).tolist() == [[0], [0]]


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ShapeError, match="as many hypotheses"):
        edit_counts(["a"], [])
    with pytest.raises(UsageError, match="reference tokens"):
        error_rate([""], ["a"])
    with pytest.raises(ShapeError, match="one class a frame"):
        collapse([np.zeros((2, 2), dtype=int)])
    assert edit_counts([], []).edits.tolist() == []
