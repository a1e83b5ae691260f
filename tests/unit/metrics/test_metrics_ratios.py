"""Intervals of ratios against draws that are written out, and in a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.metrics.accuracy import accuracy, correct, macro_recall, recall_counts
from voxstrata.metrics.edit import edit_counts
from voxstrata.metrics.ratios import GroupDraws, paired_ratio_difference, ratio_interval


def _made(seed: int, groups: int = 6):
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat([f"s{i}" for i in range(groups)], rng.integers(1, 9, groups)))
    below = rng.integers(1, 20, len(who))
    return rng, who, rng.integers(0, below + 1), below


def test_every_draw_is_the_ratio_of_copied_utterances() -> None:
    _, who, above, below = _made(0)
    drawn = GroupDraws(who, draws=30, seed=4)
    counts = drawn.counts()
    assert (counts.sum(axis=1) == 6).all()
    names = np.unique(who)
    found = drawn.replicates(above, below)
    for row, ratio in zip(counts, found, strict=True):
        chosen = [np.flatnonzero(who == name) for name in np.repeat(names, row)]
        index = np.concatenate(chosen)
        assert ratio == pytest.approx(above[index].sum() / below[index].sum())
    interval = ratio_interval(above, below, who, 30, 4)
    assert interval.value == above.sum() / below.sum()
    assert (interval.low, interval.high) == tuple(np.quantile(found, [0.025, 0.975]))


def test_many_groups_are_drawn_in_blocks(monkeypatch) -> None:
    _, who, above, below = _made(1)
    whole = GroupDraws(who, draws=31, seed=1).replicates(above, below)
    monkeypatch.setattr("voxstrata.metrics.ratios._CELLS", 60)
    np.testing.assert_array_equal(GroupDraws(who, draws=31, seed=1).replicates(above, below), whole)


def test_a_difference_is_taken_within_draws() -> None:
    """Groups differ much more than systems, so only the paired interval shows the difference."""
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(20), 10)
    hard = np.repeat(rng.uniform(0.1, 0.6, 20), 10)
    length = np.full(200, 50)
    one, two = rng.binomial(length, hard), rng.binomial(length, hard + 0.05)
    found = paired_ratio_difference(two, one, length, who)
    assert found.value == pytest.approx(two.sum() / length.sum() - one.sum() / length.sum())
    assert 0 < found.low < 0.05 < found.high
    apart = [ratio_interval(x, length, who) for x in (one, two)]
    assert apart[1].low < apart[0].high
    back = paired_ratio_difference(one, two, length, who)
    assert (back.low, back.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    same = paired_ratio_difference(one, one, length, who)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = paired_ratio_difference(one, one, length, who, reference_denominators=2 * length)
    assert other.value == pytest.approx(one.sum() / length.sum() / 2)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        lengths = rng.integers(5, 15, 120)
        rates = np.repeat(rng.beta(2, 8, 30), 4)  # mean 0.2
        found = ratio_interval(rng.binomial(lengths, rates), lengths, np.repeat(range(30), 4), 300)
        held += found.low <= 0.2 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_too_few_groups_have_no_interval() -> None:
    found = ratio_interval([1, 2, 3], [4, 4, 4], ["a", "b", "b"])
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_classes_that_a_draw_lacks_are_left_out_of_its_mean() -> None:
    labels, found = np.array(list("aaabbc")), np.array(list("aabbbb"))
    right, there = recall_counts(labels, found)
    assert right.sum(0).tolist() == [2, 2, 0]
    assert there.sum(0).tolist() == [3, 2, 1]
    drawn = GroupDraws(np.arange(6), draws=200, seed=0)
    for row, value in zip(drawn.counts(), drawn.replicates(right, there), strict=True):
        index = np.repeat(np.arange(6), row)
        assert value == pytest.approx(macro_recall(labels[index], found[index]))
    assert ratio_interval(right, there, np.arange(6)).value == pytest.approx(5 / 9)


def test_draws_without_denominator_are_left_out() -> None:
    above, below = np.array([1.0, 0, 0, 0]), np.array([2.0, 0, 0, 0])
    drawn = GroupDraws(list("abcd"), draws=400)
    found = drawn.replicates(above, below)
    assert np.isnan(found).any()
    interval = ratio_interval(above, below, list("abcd"), 400)
    assert interval.replicates == int(np.isfinite(found).sum())
    assert interval.low == interval.high == 0.5


def test_an_error_rate_with_its_interval_over_speakers() -> None:
    rng = np.random.default_rng(4)
    references = [rng.integers(0, 9, 12).tolist() for _ in range(40)]
    hypotheses = [row[: rng.integers(6, 13)] for row in references]
    counts = edit_counts(references, hypotheses)
    found = ratio_interval(counts.edits, counts.lengths, np.repeat(range(8), 5))
    assert found.value == counts.rate
    assert found.low < found.value < found.high


def test_accuracy_and_recall_by_hand_and_by_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    # a 1 of 2, b 2 of 3, c 1 of 1: 4/6 right, recall (1/2 + 2/3 + 1) / 3 = 13/18.
    labels, found = list("aabbbc"), list("abbbac")
    assert accuracy(labels, found) == pytest.approx(4 / 6)
    assert macro_recall(labels, found) == pytest.approx(13 / 18)
    rng = np.random.default_rng(5)
    wanted, said = rng.integers(0, 5, (2, 300))
    assert accuracy(wanted, said) == pytest.approx(accuracy_score(wanted, said))
    assert macro_recall(wanted, said) == pytest.approx(balanced_accuracy_score(wanted, said))


def test_all_labels_of_an_item_must_be_right() -> None:
    labels = [[0, 1, 2], [0, 1, 2], [3, 1, 0]]
    found = [[0, 1, 2], [0, 1, 1], [3, 1, 0]]
    assert correct(labels, found).tolist() == [True, False, True]
    assert accuracy(labels, found) == pytest.approx(2 / 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        ratio_interval([1, 2], [1, 2, 3], ["a", "b", "c"])
    with pytest.raises(ShapeError, match="do not fit"):
        ratio_interval([1, 2], [1, 2], ["a", "b", "c"])
    with pytest.raises(NumericsError, match="finite"):
        ratio_interval([1, np.nan], [1, 2], ["a", "b"])
    with pytest.raises(NumericsError, match="not negative"):
        ratio_interval([1, 2], [1, -2], ["a", "b"])
    with pytest.raises(UsageError, match="denominator"):
        ratio_interval([0, 0, 0], [0, 0, 0], ["a", "b", "c"])
    with pytest.raises(UsageError, match="utterances and draws"):
        ratio_interval([], [], [])
    with pytest.raises(ShapeError, match="labels and answers"):
        accuracy([1, 2], [1])
    with pytest.raises(UsageError, match="no items"):
        accuracy([], [])
    with pytest.raises(ShapeError, match="one label an item"):
        macro_recall([[1, 2]], [[1, 2]])
