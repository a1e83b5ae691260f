"""Codes and layers against phones: by hand, and planted."""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.training.objectives.masked.phones import agreement, frame_accuracy, labels
from voxstrata.types import FrameGrid, Segment, Utterance


def test_the_phone_at_the_centre_of_a_frame() -> None:
    spans = (Segment(0.0, 0.02, "A"), Segment(0.02, 0.03, "B"), Segment(0.05, 0.07, "C"))
    utterance = Utterance("u", 0.1, {"phones": spans})
    grid = FrameGrid(160, 400)  # centres at 12.5, 22.5, ... ms
    assert labels(utterance, grid, 7) == ["A", "B", None, None, "C", "C", None]
    assert labels(Utterance("v", 0.1, {}), grid, 3) == [None] * 3


def test_agreement_by_hand() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    phones = ["a", "a", "b", "b", "b", None, "c", "c"]
    found = agreement(codes, phones)
    assert found is not None
    assert found.frames == 7
    assert found.purity == pytest.approx((2 + 2 + 2) / 7)
    p = np.array([2, 3, 2]) / 7
    entropy = -(p * np.log(p)).sum()
    left = 3 / 7 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))  # of the phone, given code 0
    assert found.pnmi == pytest.approx((entropy - left) / entropy)
    same = agreement(np.array([4, 1, 4]), ["x", "y", "x"])
    assert same is not None
    assert same.pnmi == pytest.approx(1.0)
    assert agreement(codes, ["a"] * 8) is None
    assert agreement(codes, [None] * 8) is None


def test_planted_phones_are_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    phones = rng.integers(4, size=2_000)
    groups = rng.integers(10, size=2_000)
    rows = np.eye(4, 12)[phones] * 6 + rng.standard_normal((2_000, 12))
    assert frame_accuracy(rows.astype(np.float32), phones, groups) > 0.97
    noise = rng.standard_normal((2_000, 12)).astype(np.float32)
    assert frame_accuracy(noise, phones, groups) == pytest.approx(0.25, abs=0.04)


def test_what_only_a_group_knows_does_not_count() -> None:
    """Rows tell the phone through their group's own code: nothing carries over to other groups."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(10), 200)
    phones = rng.integers(4, size=2_000)
    rows = np.zeros((2_000, 40), dtype=np.float32)
    rows[np.arange(2_000), groups * 4 + phones] = 1.0
    assert frame_accuracy(rows, phones, groups) < 0.35


def test_accuracy_is_that_of_ridge_regression_done_fold_by_fold() -> None:
    rng = np.random.default_rng(2)
    phones, groups = rng.integers(3, size=300), np.repeat(np.arange(6), 50)
    rows = (np.eye(3, 5)[phones] + rng.standard_normal((300, 5))).astype(np.float32)
    right = 0
    for fold in range(3):
        test = groups % 3 == fold
        x = np.hstack([rows - rows.mean(axis=0), np.ones((300, 1))])
        size = (x[:, :5] ** 2).sum() / 5 * 1e-3
        penalty = np.diag([size] * 5 + [0.0])
        a = x[~test]
        weights = np.linalg.solve(a.T @ a + penalty, a.T @ np.eye(3)[phones[~test]])
        right += int(((x[test] @ weights).argmax(axis=1) == phones[test]).sum())
    found = frame_accuracy(rows, phones, groups, folds=3)
    assert found == pytest.approx(right / 300, abs=0.004)
