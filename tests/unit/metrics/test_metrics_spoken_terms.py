"""Warping and term-weighted values against searches of everything, and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.metrics.spoken_terms import (
    TermTrials,
    TermWeights,
    maximum_term_weighted_value,
    normalised_dimensions,
    query_scores,
    subsequence_costs,
)


def _all_paths(table: np.ndarray) -> float:
    """The cheapest of all paths, each written out."""
    rows, columns = table.shape
    best = np.inf
    for start in range(columns):
        for steps in itertools.product((0, 1, 2), repeat=rows - 1):
            path = start + np.concatenate([[0], np.cumsum(steps)]).astype(int)
            if path[-1] < columns:
                best = min(best, table[np.arange(rows), path].sum())
    return best / rows


def test_a_table_by_hand() -> None:
    """Three query frames, four document frames; the zeros are met at 0, then 2, then 3.

    0 -> 2 is a step of two and 2 -> 3 one of one: the cost is 0. Without the middle zero the way
    has 0 + 1 + 0 = 1, a third a frame.
    """
    table = np.array([[0, 5, 5, 5], [5, 5, 0, 5], [5, 5, 5, 0]], dtype=float)
    assert subsequence_costs(table, [0]).tolist() == [0]
    table[1, 2] = 1
    assert subsequence_costs(table, [0]).tolist() == [pytest.approx(1 / 3)]
    # Three frames on at once is not allowed: 0 -> 3 must stop over for 5.
    table[1] = [5, 5, 5, 5]
    assert subsequence_costs(table, [0]).tolist() == [pytest.approx(5 / 3)]
    # Nor is going back: from 3 only 3 can follow.
    assert subsequence_costs(np.array([[9.0, 9, 9, 0], [0, 9, 9, 9]]), [0]).tolist() == [4.5]


def test_the_best_of_all_paths_in_every_document() -> None:
    rng = np.random.default_rng(0)
    for rows in (1, 2, 3, 5):
        lengths = rng.integers(1, 7, 12)
        starts = np.cumsum(lengths) - lengths
        table = rng.random((rows, lengths.sum()))
        found = subsequence_costs(table, starts)
        expected = [_all_paths(part) for part in np.split(table, starts[1:], axis=1)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def _one_by_one(queries, documents, least=5) -> np.ndarray:
    """The steps as the protocol writes them, a pair at a time, with scipy's distances."""
    from scipy.spatial.distance import cdist

    frames = np.concatenate([*queries, *documents])
    mean, std = frames.mean(0), frames.std(0, ddof=1)
    out = np.zeros((len(queries), len(documents)))
    for q, query in enumerate(queries):
        if len(query) < least:
            continue
        for d, document in enumerate(documents):
            dist = np.exp(cdist((query - mean) / std, (document - mean) / std, "cosine")) - 1
            low, high = dist.min(1, keepdims=True), dist.max(1, keepdims=True)
            dist = (dist - low) / np.maximum(high - low, 1e-9)
            cost = np.full((len(query) + 1, len(document)), np.inf)
            cost[0] = 0
            for i in range(len(query)):
                for j in range(len(document)):
                    steps = [cost[i, j - s] for s in (0, 1, 2) if j >= s]
                    cost[i + 1, j] = dist[i, j] + min(steps)
            out[q, d] = -cost[-1].min() / len(query)
        out[q] = (out[q] - out[q].mean()) / out[q].std()
    return out


def _speech(seed: int, count: int, low: int, high: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(2, 3, (rng.integers(low, high), 4)) for _ in range(count)]


def test_scores_are_those_of_the_protocol_pair_by_pair(monkeypatch) -> None:
    queries = [*_speech(0, 5, 5, 12), *_speech(9, 1, 4, 5)]
    documents = _speech(1, 9, 1, 25)
    expected = _one_by_one(queries, documents)
    np.testing.assert_allclose(query_scores(queries, documents), expected, atol=1e-9)
    monkeypatch.setattr("voxstrata.metrics.spoken_terms._CELLS", 200)  # several blocks
    np.testing.assert_allclose(query_scores(queries, documents), expected, atol=1e-9)
    assert [len(query) < 5 for query in queries] == [False] * 5 + [True]
    assert (query_scores(queries, documents)[5] == 0).all()
    assert query_scores(queries, documents, least_frames=1).all()


def test_planted_queries_are_found_at_any_speed() -> None:
    rng = np.random.default_rng(2)
    terms = [rng.normal(size=(20, 8)) for _ in range(4)]
    documents, relevant = [], np.zeros((4, 40), dtype=bool)
    for number in range(40):
        parts = [rng.normal(size=(rng.integers(10, 30), 8)) for _ in range(2)]
        if number < 16:
            term = number % 4
            relevant[term, number] = True
            speed = rng.choice([0.7, 1.0, 1.6])
            frames = terms[term][np.minimum(np.arange(0, 20, speed).astype(int), 19)]
            parts.insert(1, frames + 0.3 * rng.normal(size=frames.shape))
        documents.append(np.concatenate(parts))
    scores = query_scores(terms, documents)
    assert maximum_term_weighted_value(scores, relevant)[0] == 1
    shuffled = relevant[:, rng.permutation(40)]
    assert maximum_term_weighted_value(scores, shuffled)[0] < 0.5


def test_dimensions_are_normalised_over_everything() -> None:
    queries, documents = _speech(3, 2, 5, 9), _speech(4, 3, 5, 9)
    both = [np.concatenate(side) for side in normalised_dimensions(queries, documents)]
    frames = np.concatenate(both)
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(frames.var(0, ddof=1), 1)


def test_the_weight_of_false_alarms() -> None:
    assert TermWeights().beta == pytest.approx(12.49)
    assert TermWeights(0.5, 1, 2).beta == 2
    with pytest.raises(UsageError, match="out of range"):
        TermWeights(0)


SCORES = np.array([[9.0, 7, 5, 3, 1], [8, 6, 4, 2, 0], [9, 9, 9, 9, 9]])
HELD = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


def test_values_by_hand() -> None:
    """beta = 1. The third query is in no document and does not count.

    Above 7.5: query 1 finds 1 of 2 without false alarm (1 - 1/2), query 2 its only one: 0.75.
    Above 4.5: query 1 has both and 1 of 3 others (1 - 1/3), query 2 its own and 1 of 4 (1 - 1/4):
    17/24 = 0.708. Above 8.5: 1/2 and 0: 0.25. All accepted: 1 - 0 - 1 = 0; none: 1 - 1 = 0.
    """
    trials = TermTrials(SCORES, HELD, TermWeights(0.5, 1, 1))
    assert trials.used.tolist() == [True, True, False]
    assert trials.each(7.5).tolist() == [0.5, 1]
    assert trials.actual(4.5) == pytest.approx(17 / 24)
    assert trials.actual(8.5) == 0.25
    assert trials.actual(-1) == trials.actual(99) == 0
    value, threshold = trials.maximum()
    assert value == 0.75
    assert trials.actual(threshold) == 0.75
    assert 7 <= threshold < 8


def test_the_maximum_is_that_of_trying_every_threshold() -> None:
    rng = np.random.default_rng(5)
    for number in range(40):
        shape = rng.integers(2, 6), rng.integers(3, 9)
        scores = rng.integers(0, 9, shape).astype(float)
        held = rng.random(shape) < 0.3
        held[0, :2] = True, False
        held[1] |= number % 3 == 0  # in every document
        weights = TermWeights(0.5, 1, float(rng.choice([0.3, 1, 4])))
        values = []
        for threshold in (-1, *np.unique(scores)):
            each = []
            for row, true in zip(scores > threshold, held, strict=True):
                if true.any():
                    miss = np.mean(~row[true])
                    alarm = np.mean(row[~true]) if not true.all() else 0
                    each.append(1 - miss - weights.beta * alarm)
            values.append(np.mean(each))
        found, threshold = maximum_term_weighted_value(scores, held, weights)
        assert found == pytest.approx(max(values), abs=1e-12)
        assert TermTrials(scores, held, weights).actual(threshold) == found
        assert found >= 0


def test_scores_without_meaning_are_worth_nothing() -> None:
    trials = TermTrials(np.zeros((4, 30)), np.eye(4, 30, dtype=bool))
    assert trials.maximum()[0] == 0
    interval = trials.interval(50)
    assert (interval.low, interval.high) == (0, 0)


def test_the_interval_draws_queries_and_thresholds_anew() -> None:
    rng = np.random.default_rng(6)
    held = rng.random((6, 50)) < 0.1
    held[:, 0] = True
    scores = held * 1.2 + rng.normal(size=held.shape)
    trials = TermTrials(scores, held, TermWeights(0.1, 1, 0.2))
    found = trials.interval(40, seed=3)
    counts = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=40)
    copied = [
        maximum_term_weighted_value(
            np.repeat(scores, row, axis=0), np.repeat(held, row, axis=0), TermWeights(0.1, 1, 0.2)
        )[0]
        for row in counts
    ]
    low, high = np.quantile(copied, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.low < found.value < found.high


def test_draws_of_groups_of_queries() -> None:
    """Queries of one group come and go together; queries in no document are not drawn."""
    rng = np.random.default_rng(7)
    held = rng.random((7, 30)) < 0.1
    held[:, 0], held[4] = True, False
    scores = held * 1.2 + rng.normal(size=held.shape)
    weights = TermWeights(0.1, 1, 0.2)
    trials = TermTrials(scores, held, weights)
    found = trials.replicates(["b", "a", "b", "c", "x", "a", "c"], draws=30, seed=4)
    counts = np.random.default_rng(4).multinomial(3, np.full(3, 1 / 3), size=30)
    members = ([1, 5], [0, 2], [3, 6])
    for row, value in zip(counts, found, strict=True):
        rows = [i for n, those in zip(row, members, strict=True) for i in those * int(n)]
        expected = maximum_term_weighted_value(scores[rows], held[rows], weights)[0]
        assert value == pytest.approx(expected)
    with pytest.raises(ShapeError, match="as many groups"):
        trials.replicates(["a"])


class FromDisk:
    """A list that makes its recordings when they are asked for."""

    def __init__(self, held: list[np.ndarray]) -> None:
        self.held, self.asked = held, 0

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked += index < len(self.held)
        return self.held[index].astype(np.float32)


def test_documents_are_read_one_after_another_and_others_count_in_the_scale() -> None:
    queries, documents = _speech(10, 3, 6, 9), _speech(11, 5, 6, 20)
    documents = [document.astype(np.float32) for document in documents]
    read = FromDisk(documents)
    np.testing.assert_array_equal(query_scores(queries, read), query_scores(queries, documents))
    assert read.asked == 15
    others = [5 * other for other in _speech(12, 2, 30, 40)]
    first, second = normalised_dimensions([*queries, *others], documents)
    np.testing.assert_allclose(
        query_scores(queries, documents, beside=others),
        query_scores(first[:3], second, normalise=False),
        atol=1e-9,
    )


def test_a_draw_in_which_all_documents_hold_all_queries_is_worth_one() -> None:
    held = np.ones((3, 4), dtype=bool)
    held[2, 0] = False
    found = TermTrials(np.arange(12.0).reshape(3, 4), held).interval(200)
    assert found.high == 1


def test_what_cannot_be_scored_is_refused() -> None:
    queries, documents = _speech(7, 2, 6, 9), _speech(8, 2, 6, 9)
    with pytest.raises(NumericsError, match="document 0 has no direction"):
        query_scores(queries, [np.zeros((4, 4)), documents[0]], normalise=False)
    with pytest.raises(NumericsError, match="must be finite"):
        query_scores([queries[0] * np.nan], documents)
    with pytest.raises(ShapeError, match="one width"):
        query_scores(queries, [np.ones((3, 5))])
    with pytest.raises(ShapeError, match="document 1 has no frames"):
        query_scores(queries, [documents[0], np.ones((0, 4))])
    with pytest.raises(UsageError, match="no frames"):
        query_scores([], [])
    with pytest.raises(ShapeError, match="frames of the query"):
        subsequence_costs(np.ones((2, 4)), [0, 4])
    with pytest.raises(UsageError, match="both kinds"):
        TermTrials(SCORES, np.zeros((3, 5)))
    with pytest.raises(ShapeError, match="relevance"):
        TermTrials(SCORES, HELD[:2])
