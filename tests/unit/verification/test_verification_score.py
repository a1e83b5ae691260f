"""Scores against loops written out."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.errors import NumericsError, ShapeError, UnknownNameError, UsageError
from voxstrata.verification import score
from voxstrata.verification.trials import make_trials


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("count", [40, 5000])
def test_sparse_and_dense_lists_give_the_same_cosines(count: int, monkeypatch) -> None:
    monkeypatch.setattr(score, "BLOCK", 700)  # several blocks
    rng = np.random.default_rng(0)
    rows, mean = rng.normal(size=(60, 7)) + 1, np.full(7, 0.8)
    first, second = rng.integers(0, 60, (2, count))
    for centre in (None, mean):
        found = score.cosine(rows, first, second, mean=centre)
        shift = 0 if centre is None else centre
        expected = [
            _cosine(rows[a] - shift, rows[b] - shift) for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_as_norm_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(score, "BLOCK", 60)
    rng = np.random.default_rng(1)
    rows, cohort, mean = rng.normal(size=(9, 5)), rng.normal(size=(20, 5)), rng.normal(size=5)
    first, second = np.triu_indices(9, 1)
    scores = score.cosine(rows, first, second, mean=mean)
    for deviation, ddof in (("population", 0), ("sample", 1)):
        found = score.as_norm(
            scores, rows, cohort, first, second, top=6, mean=mean, deviation=deviation
        )
        for at, (a, b) in enumerate(zip(first, second, strict=True)):
            sides = []
            for side in (a, b):
                near = sorted(_cosine(rows[side] - mean, c - mean) for c in cohort)[-6:]
                sides.append((scores[at] - np.mean(near)) / np.std(near, ddof=ddof))
            assert found[at] == pytest.approx(np.mean(sides), abs=1e-10)
    everyone = score.as_norm(scores, rows, cohort, first, second, top=300, mean=mean)
    same = score.as_norm(scores, rows, cohort, first, second, top=20, mean=mean)
    np.testing.assert_array_equal(everyone, same)


def test_crops_are_the_mean_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    rows, crops = rng.normal(size=(4, 6)), rng.normal(size=(4, 5, 6))
    first, second = np.triu_indices(4, 1)
    whole = score.cosine(rows, first, second)
    found = score.crop_average(whole, crops, first, second, mean=np.full(6, 0.1))
    for at, (a, b) in enumerate(zip(first, second, strict=True)):
        pairs = [_cosine(x - 0.1, y - 0.1) for x in crops[a] for y in crops[b]]
        assert len(pairs) == 25
        assert found[at] == pytest.approx((whole[at] + np.mean(pairs)) / 2, abs=1e-12)


def test_a_cohort_is_a_mean_for_each_speaker() -> None:
    rows = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    np.testing.assert_array_equal(score.cohort_of(rows, ["b", "b", "a"]), [[0, 5], [2, 0]])
    np.testing.assert_array_equal(score.cohort_of(rows, None), rows)


def test_what_is_refused() -> None:
    rows = np.eye(3)
    trials = make_trials([("a", "b", True), ("a", "c", False)])
    np.testing.assert_array_equal(score.score_trials(trials, rows), [0, 0])
    with pytest.raises(ShapeError, match="one embedding"):
        score.score_trials(trials, rows[:2])
    with pytest.raises(NumericsError, match="without direction"):
        score.score_trials(trials, np.zeros((3, 3)))
    with pytest.raises(NumericsError, match="without direction"):
        score.unit(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ShapeError, match="mean"):
        score.unit(rows, np.ones(4))
    first = second = np.array([0])
    with pytest.raises(UsageError, match="impostors"):
        score.as_norm(np.ones(1), rows, rows[:1], first, second)
    with pytest.raises(NumericsError, match="divides by zero"):
        score.as_norm(np.ones(1), rows, np.ones((4, 3)), first, second)
    with pytest.raises(UnknownNameError, match="population"):
        score.as_norm(np.ones(1), rows, rows, first, second, deviation="both")  # type: ignore[arg-type]
