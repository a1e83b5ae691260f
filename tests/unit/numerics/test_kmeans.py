"""k-means against planted clusters and distances worked out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics import kmeans
from voxstrata.numerics.kmeans import assign, fit, fit_best, perplexity


def _planted(count: int = 600, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Five far clusters: rows and their true centres."""
    rng = np.random.default_rng(seed)
    centres = 20.0 * np.eye(5, 4) + np.arange(4)
    return centres[rng.integers(5, size=count)] + rng.standard_normal((count, 4)), centres


def test_planted_clusters_are_found() -> None:
    rows, centres = _planted()
    found = fit(rows, 5, seed=1)
    order = assign(centres, found.centres)[0]
    assert sorted(order) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found.centres[order], centres, atol=0.4)
    assert found.inertia == pytest.approx(4.0, rel=0.1)  # four dimensions of variance 1
    assert found.held is None


def test_codes_are_the_nearest_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    rows, centres = rng.standard_normal((97, 6)), rng.standard_normal((11, 6))
    apart = ((rows[:, None] - centres) ** 2).sum(axis=2)
    monkeypatch.setattr(kmeans, "_BLOCK", 110)  # ten rows at a time
    codes, distances = assign(rows, centres)
    assert codes.tolist() == apart.argmin(axis=1).tolist()
    np.testing.assert_allclose(distances, apart.min(axis=1), rtol=1e-12)


def test_far_from_zero_no_digit_is_lost() -> None:
    rows, _ = _planted()
    near, far = fit(rows, 5, seed=1), fit(rows + 1e6, 5, seed=1)
    np.testing.assert_allclose(far.centres - 1e6, near.centres, atol=1e-5)
    assert assign(rows + 1e6, far.centres)[0].tolist() == assign(rows, near.centres)[0].tolist()
    assert far.inertia == pytest.approx(near.inertia, rel=1e-6)


def test_equal_distances_go_to_the_first_centre() -> None:
    codes, distances = assign(np.zeros((1, 1)), np.array([[1.0], [-1.0], [1.0], [-1.0]]))
    assert codes.tolist() == [0]
    assert distances.tolist() == [1.0]


def test_the_same_seed_gives_the_same_bits() -> None:
    rows, _ = _planted()
    one, other = fit(rows, 8, seed=3), fit(rows, 8, seed=3)
    assert np.array_equal(one.centres, other.centres)
    assert not np.array_equal(one.centres, fit(rows, 8, seed=4).centres)


def test_the_start_that_suits_held_out_rows_is_chosen() -> None:
    rows, _ = _planted()
    held, _ = _planted(200, seed=9)
    best, every = fit_best(rows, held, 7, seeds=range(6), max_iter=3)
    by_hand = [assign(held, one.centres)[1].mean() for one in every]
    assert [one.held for one in every] == pytest.approx(by_hand)
    assert len(set(by_hand)) > 1
    assert best.held == min(by_hand)
    assert [one.seed for one in every] == list(range(6))


def test_perplexity() -> None:
    assert perplexity(np.array([3, 3, 3, 3])) == pytest.approx(4.0)
    assert perplexity(np.array([9, 0, 0])) == pytest.approx(1.0)
    p = np.array([0.5, 0.25, 0.25])
    assert perplexity(np.array([2, 1, 1, 0])) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert perplexity(np.zeros(3)) == 0.0


def test_what_is_refused() -> None:
    rows, _ = _planted(20)
    with pytest.raises(UsageError, match="so many clusters"):
        fit(rows, 21, seed=0)
    with pytest.raises(ShapeError):
        fit(rows[0], 1, seed=0)
    broken = rows.copy()
    broken[3, 1] = np.nan
    with pytest.raises(NumericsError, match="not finite"):
        fit(broken, 2, seed=0)
    with pytest.raises(NumericsError, match="not finite"):
        assign(broken, rows[:2])
    with pytest.raises(NumericsError, match="fewer different rows"):
        fit(np.repeat(rows[:3], 10, axis=0), 5, seed=0)
    with pytest.raises(ShapeError, match="do not fit"):
        assign(rows, rows[:2, :3])
    with pytest.raises(UsageError, match="held-out"):
        fit_best(rows, rows[:0], 2, seeds=[0])
