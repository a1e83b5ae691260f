"""Matching of clusters, patterns and set algebra: scikit-learn and the published numbers."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    adjusted_rand_score,
    davies_bouldin_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from neurons_counted import counted
from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.statistics.design import by_rows, by_units
from voxstrata.neurons.statistics.matching import MEASURES, matching, unit_tables
from voxstrata.neurons.statistics.patterns import patterns, scaled, separation
from voxstrata.neurons.statistics.regions import region_sizes, regions

LAYER = "block.1.ffn.inner"


def rows_of(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    a, b = np.indices(table.shape)
    return np.repeat(a.ravel(), table.ravel()), np.repeat(b.ravel(), table.ravel())


@pytest.mark.parametrize("case", ["random", "one cluster", "one each", "perfect", "empty class"])
def test_measures_are_scikit_learns(case: str) -> None:
    rng = np.random.default_rng(0)
    tables = {
        "random": rng.integers(0, 9, (5, 4, 6)),
        "one cluster": rng.integers(1, 9, (2, 1, 6)),
        "one each": np.ones((1, 1, 1), int),
        "perfect": np.array([np.diag([3, 4, 5])]),
        "empty class": np.array([[[3, 0, 1], [0, 0, 0], [2, 0, 5]]]),
    }[case]
    for number, table in enumerate(tables):
        a, b = rows_of(table)
        n = len(a)
        truth = {
            "purity": sum(np.bincount(b[a == k]).max() for k in np.unique(a)) / n,
            "inverse_purity": sum(np.bincount(a[b == k]).max() for k in np.unique(b)) / n,
            "nmi": normalized_mutual_info_score(b, a),
            "ari": adjusted_rand_score(b, a),
        }
        for name, value in truth.items():
            assert MEASURES[name](tables)[number] == pytest.approx(value, abs=1e-12), name


def test_bootstrap_draws_units() -> None:
    rng = np.random.default_rng(1)
    U = 30
    counts = rng.poisson(
        rng.gamma(0.3, 60, (U, 3, 4)) * np.array([[[5, 1, 1, 1], [1, 5, 1, 1], [1, 1, 5, 3]]])
    )
    found = matching(counts, "ABC", "wxyz", draws=120, seed=5)
    weights = np.random.default_rng(5).multinomial(U, np.full(U, 1 / U), size=120)
    slow = []
    for w in weights:
        a, b = rows_of((w[:, None, None] * counts).sum(0))
        slow.append((normalized_mutual_info_score(b, a), adjusted_rand_score(b, a)))
    for number, name in enumerate(("nmi", "ari")):
        ends = np.quantile(np.array(slow)[:, number], [0.025, 0.975])
        one = found.measures[name]
        assert (one.low, one.high) == pytest.approx(ends)
        assert one.low < one.value < one.high
    assert found.share.sum(axis=1) == pytest.approx(1)
    assert (found.share_low <= found.share).all()
    assert (found.share <= found.share_high).all()
    assert found.chance["purity"] == found.table.sum(0).max() / found.table.sum()
    cells = found.contingency()
    assert cells["count"].sum() == counts.sum()
    pairs = matching(counts, "ABC", "wxyz", together=np.arange(U) // 2, draws=50)
    assert pairs.units == 15
    assert (pairs.table == found.table).all()
    two = matching(counts[:2], "ABC", "wxyz", draws=5)
    assert two.measures["ari"].low is None
    assert np.isnan(two.share_low).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Recordings differ in what they say: frames are not independent, recordings are."""
    rng = np.random.default_rng(2)
    inside, narrow = 0, 0
    kernel = np.array([[0.8, 0.2], [0.3, 0.7]])
    truth = float(MEASURES["ari"](kernel / 2 * 1e9))
    for seed in range(60):
        classes = rng.dirichlet([0.5, 0.5], 60)  # class shares of each recording
        cells = classes[:, None, :] * kernel.T[None] * rng.beta(8, 2, (60, 1, 1))
        counts = rng.poisson(400 * cells)
        found = matching(counts, "AB", "xy", draws=200, seed=seed).measures["ari"]
        inside += found.low <= truth <= found.high
        narrow += found.high - found.low < 0.02
    assert inside >= 48
    assert narrow == 0


def test_tables_of_units() -> None:
    unit = [0, 0, 0, 1, 1, -1]
    found = unit_tables([0, 0, 1, 1, 1, 0], [2, 2, 0, 1, -1, 0], unit, (2, 2, 3))
    assert found.tolist() == [[[0, 0, 2], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]]
    with pytest.raises(UsageError, match="out of range"):
        unit_tables([2], [0], [0], (1, 2, 1))
    with pytest.raises(ShapeError):
        unit_tables([0, 1], [0], [0], (1, 2, 1))
    with pytest.raises(UsageError, match="nothing was counted"):
        matching(np.zeros((3, 2, 2), int), "AB", "xy")
    with pytest.raises(ShapeError):
        matching(np.ones((3, 2, 2), int), "ABC", "xy")


PUBLISHED = (
    ("phoneme", "phone-type", 7),
    ("gender", "gender", 0),
    ("pitch", "pitch", 0),
    ("duration", "duration", 0),
)


@pytest.mark.parametrize(("file", "name", "layer"), PUBLISHED)
def test_published_silhouettes(shared: Path, file: str, name: str, layer: int) -> None:
    folder = shared / "golden/neurons/published"
    points = np.load(folder / f"mds-{file}-2d.npy")
    groups = (
        np.repeat([0, 1, 2], [15, 15, 9]) if len(points) == 39 else np.arange(len(points)) // 39
    )
    truth = json.loads((folder / "layer_score.json").read_text())[name][layer]
    assert separation(points, groups).silhouette == pytest.approx(truth, abs=1e-12)


def test_patterns_and_their_separation() -> None:
    rng = np.random.default_rng(3)
    chance = np.full((4, 6, 40), 0.01)
    chance[:2, :, :10], chance[2:, :, 10:20] = 0.4, 0.4
    seen = np.full((4, 6), 100)
    seen[0, 0] = 0
    seen[1, 0] = 0
    counts = counted(chance * rng.uniform(0.5, 1.5, (1, 6, 40)), seen, seed=4, base=0.1)
    design = by_units(counts, [0, 0, 1, 1], ["a", "b"], leave_out=["r5"])
    found = patterns(design.counts(counts), LAYER)
    assert found.matrix.shape == (10, len(found.neurons))
    assert not found.matrix[0].any()
    assert (found.matrix.any(axis=0)).all()
    assert found.rows[5] == "b | r0"
    both = {m: separation(found.matrix, found.group_of, m) for m in ("euclidean", "jaccard")}
    for metric, one in both.items():
        points = found.matrix if metric == "jaccard" else found.matrix.astype(float)
        assert one.silhouette == pytest.approx(
            silhouette_score(points, found.group_of, metric=metric)
        )
        assert np.mean(list(one.by_group.values())) == pytest.approx(one.silhouette)
    assert both["jaccard"].davies_bouldin is None
    assert both["euclidean"].davies_bouldin == pytest.approx(
        davies_bouldin_score(found.matrix.astype(float), found.group_of)
    )
    assert separation(found.matrix[1:], found.group_of[1:]).silhouette > 0.5
    place = scaled(found.matrix, seed=0)
    assert place.shape == (10, 2)
    assert (place == scaled(found.matrix, seed=0)).all()
    # Two clusters of points far apart: their distances fit a line, so the map keeps them.
    truth = np.concatenate([np.zeros((5, 30)), np.ones((5, 30))])
    line = scaled(truth)
    assert np.linalg.norm(line[0] - line[9]) == pytest.approx(np.sqrt(30), rel=0.05)
    assert separation(line, np.repeat([0, 1], 5)).silhouette > 0.95
    with pytest.raises(UsageError, match="at least two groups"):
        separation(found.matrix, np.zeros(10, int))
    with pytest.raises(UsageError, match="unknown metric"):
        separation(found.matrix, found.group_of, "cosine")  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        separation(found.matrix, [0, 1])
    silent = counted(np.zeros((1, 2, 5)), np.ones((2, 2), int))
    with pytest.raises(UsageError, match="no neuron"):
        patterns(by_rows(silent).counts(silent), LAYER)


def test_published_venn_numbers(shared: Path) -> None:
    """The figure of layer 1 gives what sets share; regions are what is in no other set."""
    folder = shared / "golden/neurons/published"
    given = json.loads((folder / "venn_set_sizes_layer_1.json").read_text())
    sizes = json.loads((folder / "layer_n_ps_keys.json").read_text())
    names = ("phone-type", "gender", "pitch")
    shared_by = {
        tuple(n for n, bit in zip(names, key, strict=True) if bit == "1"): value
        for key, value in given.items()
    }
    assert [shared_by[(name,)] for name in names] == [sizes[name][0] for name in names]
    found = region_sizes(shared_by, names)
    assert [found[(name,)] for name in names] == [297, 124, 31]
    assert sum(found.values()) == 625
    # The same as sets of neurons: every region filled with indices of its own.
    members: dict[str, list[int]] = {name: [] for name in names}
    start = 0
    for combination, size in found.items():
        for name in combination:
            members[name] += range(start, start + size)
        start += size
    assert [len(members[name]) for name in names] == [375, 278, 190]
    assert {k: len(v) for k, v in regions(members).items()} == found
    assert len(set(members["gender"]) & set(members["pitch"])) == 140
    with pytest.raises(UsageError, match="no sets have these sizes"):
        region_sizes({("a",): 3, ("b",): 1, ("a", "b"): 2}, "ab")
    with pytest.raises(UsageError, match="none of the sets"):
        region_sizes({("c",): 3}, "ab")


def test_regions_of_five_sets() -> None:
    rng = np.random.default_rng(0)
    sets = {name: set(rng.choice(60, 25, replace=False).tolist()) for name in "abcde"}
    found = regions(sets)
    assert sum(len(v) for v in found.values()) == len(set.union(*sets.values()))
    for names, members in found.items():
        inside = set.intersection(*(sets[n] for n in names))
        outside = set().union(*(sets[n] for n in sets if n not in names))
        assert members == inside - outside
    every = [c for k in range(1, 6) for c in combinations("abcde", k)]
    shared_by = {c: len(set.intersection(*(sets[n] for n in c))) for c in every}
    sizes = region_sizes(shared_by, "abcde")
    assert {k: v for k, v in sizes.items() if v} == {k: len(v) for k, v in found.items()}
