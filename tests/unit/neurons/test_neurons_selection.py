"""Above chance, strictly: counts exactly at a measured rate are not, whatever floats say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_array

from voxstrata.neurons.counts import Counts, UnitCounts
from voxstrata.neurons.selection import above, property_neurons
from voxstrata.neurons.statistics.sweep import limits

LAYER = "block.1.ffn.inner"


def counts(seen: list[int], active: np.ndarray, rates: np.ndarray) -> Counts:
    R = len(seen)
    return Counts(
        tuple(f"r{i}" for i in range(R)), ("a", "b"), np.arange(R) % 2, np.array(seen),
        {LAYER: active.astype(np.int64)}, {LAYER: rates}, {LAYER: None},
    )  # fmt: skip


@pytest.mark.parametrize("frames", [3, 7, 10, 49, 99, 1000, 123_457])
def test_above_a_measured_rate_is_what_fractions_say(frames: int) -> None:
    """Rates a / N of N frames, rows of n frames: all a, and counts around n a / N."""
    N = 60 * frames
    hits = np.unique(np.linspace(1, N - 1, 97).astype(int))
    seen = [frames, 2 * frames, 12 * frames, 30 * frames]
    want = np.empty((4, 3, len(hits)), bool)
    got = np.empty_like(want)
    for shift in (-1, 0, 1):
        active = np.array([[n * int(a) // N + shift for a in hits] for n in seen])
        got[:, shift + 1] = above(counts(seen, active, hits / N), LAYER)
        for r, n in enumerate(seen):
            want[r, shift + 1] = [
                Fraction(int(k)) > Fraction(n * int(a), N)
                for k, a in zip(active[r], hits, strict=True)
            ]
    np.testing.assert_array_equal(got, want)
    units = UnitCounts(
        "all", ("r",), ("u",), np.array([[1]]), {LAYER: csr_array((1, len(hits)))},
        {LAYER: hits / N}, {LAYER: None},
    )  # fmt: skip
    bound = limits(units, LAYER, np.array(seen))
    np.testing.assert_array_equal(bound, [[n * int(a) // N for a in hits] for n in seen])


def test_two_groups_held_against_their_common_rate() -> None:
    """By construction every neuron is above in one of them, unless the two rates are equal."""
    rng = np.random.default_rng(0)
    seen = np.array([300, 700])
    active = np.array([rng.integers(1, 300, 50), rng.integers(1, 700, 50)])
    active[:, 0] = (9, 21)  # 0.03 in both
    found = property_neurons(counts(seen.tolist(), active, active.sum(axis=0) / 1000), LAYER)
    assert found.any(axis=0).tolist() == [False, *[True] * 49]
    assert found.sum() == 49
