"""Information of codes about labels: formulas against scikit-learn, scipy and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.properties.information import counts as info


def random_codes(seed: int = 0, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, n)
    codes = np.where(
        rng.random(n) < 0.5, labels * 2 + rng.integers(0, 2, n), rng.integers(0, 30, n)
    )
    return codes, labels


def test_against_scikit_learn() -> None:
    codes, labels = random_codes()
    found = info.all_measures(info.Counts.of(codes, labels))
    assert found["mi-nats"] == pytest.approx(metrics.mutual_info_score(labels, codes), abs=1e-12)
    assert found["mi"] == pytest.approx(metrics.homogeneity_score(labels, codes), abs=1e-12)
    assert found["nmi"] == pytest.approx(
        metrics.normalized_mutual_info_score(labels, codes), abs=1e-12
    )
    assert found["ami"] == pytest.approx(
        metrics.adjusted_mutual_info_score(labels, codes), abs=1e-9
    )


def test_expected_information_is_the_mean_over_permutations() -> None:
    codes, labels = random_codes(1, 120)
    rng = np.random.default_rng(2)
    drawn = [
        info.mutual_information(info.Counts.of(codes, rng.permutation(labels))) for _ in range(400)
    ]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(info.expected(info.Counts.of(codes, labels)) - np.mean(drawn)) < 4 * error


def test_adjusted_is_zero_by_chance_where_the_plain_number_is_not() -> None:
    rng = np.random.default_rng(3)
    found = [
        info.all_measures(info.Counts.of(rng.integers(0, 60, 300), rng.integers(0, 10, 300)))
        for _ in range(20)
    ]
    assert np.mean([f["mi"] for f in found]) > 0.3
    assert abs(np.mean([f["mi-adjusted"] for f in found])) < 0.01
    assert abs(np.mean([f["ami"] for f in found])) < 0.01
    # Miller's correction is first-order: with half a row a cell it takes part of the bias away
    assert (
        0.05
        < np.mean([f["mi-miller-madow"] for f in found])
        < 0.75 * np.mean([f["mi"] for f in found])
    )


def test_miller_madow_is_nearer_the_truth_than_plug_in() -> None:
    """A noisy channel of known information, well-filled cells."""
    rng = np.random.default_rng(4)
    k, keep = 8, 0.5
    joint = np.full((k, k), (1 - keep) / k**2)
    joint[np.diag_indices(k)] += keep / k
    truth = float((joint * np.log(joint * k**2)).sum()) / np.log(k)
    plain, corrected = [], []
    for _ in range(200):
        flat = rng.choice(k * k, 300, p=joint.ravel())
        counts = info.Counts.of(flat // k, flat % k)
        plain.append(info.normalised(counts))
        corrected.append(info.miller_madow(counts))
    assert np.mean(plain) - truth > 0.02
    assert abs(np.mean(corrected) - truth) < 0.25 * (np.mean(plain) - truth)


def test_purities_by_hand() -> None:
    #           label 0: codes 0 0 0 1;  label 1: codes 1 1 2
    codes, labels = np.array([0, 0, 0, 1, 1, 1, 2]), np.array([0, 0, 0, 0, 1, 1, 1])
    counts = info.Counts.of(codes, labels)
    assert info.label_purity(counts) == pytest.approx((3 + 2 + 1) / 7)
    assert info.cluster_purity(counts) == pytest.approx((3 + 2) / 7)
    # every row its own code: labels are known, codes are torn
    torn = info.Counts.of(np.arange(7), labels)
    assert info.label_purity(torn) == 1.0
    assert info.cluster_purity(torn) == pytest.approx(2 / 7)
    assert info.normalised(torn) == pytest.approx(1.0)


def test_one_label_and_perfect_codes() -> None:
    assert info.normalised(info.Counts.of(np.arange(5), np.zeros(5, int))) == 0.0
    labels = np.arange(40) % 4
    perfect = info.all_measures(info.Counts.of(labels[:], labels))
    for name in ("mi", "nmi", "ami", "mi-adjusted", "label-purity", "cluster-purity"):
        assert perfect[name] == pytest.approx(1.0, abs=1e-12)
    assert perfect["mi-nats"] == pytest.approx(np.log(4))


def test_bad_counts() -> None:
    with pytest.raises(ShapeError):
        info.Counts.of(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(UsageError):
        info.Counts.of(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(UsageError):
        info.Counts.of(np.array([0, -1]), np.array([0, 1]))


def test_cluster_finds_planted_clouds_and_codes_new_rows() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(12, 80)) * 4
    which = rng.integers(0, 12, 900)
    rows = (centres[which] + rng.normal(size=(900, 80)) + 300).astype(np.float32)
    for width in (None, 64):
        book = info.Codebook(12, batch=256, seeding_width=width)
        found = info.cluster(rows[:600], [rows[600:], rows[:10]], book, seeds=(0, 1, 2))
        assert [[len(c) for c in one] for one in found] == [[300, 10]] * 3
        best = max(info.normalised(info.Counts.of(one[0], which[600:])) for one in found)
        assert best > 0.9
    again = info.cluster(rows[:600], [rows[600:]], book, seeds=(1,))
    assert (again[0][0] == found[1][0]).all()


def test_seeding_on_few_components_is_as_good_as_on_all() -> None:
    rng = np.random.default_rng(6)
    rows = (rng.normal(size=(1500, 128)) * np.arange(1, 129) ** -0.7).astype(np.float32)

    def within(width: int | None) -> float:
        book = info.Codebook(100, batch=500, seeding_width=width)
        total = []
        for one in info.cluster(rows, [rows], book, seeds=range(3)):
            code = one[0]
            means = np.stack(
                [rows[code == c].mean(axis=0) for c in range(100) if (code == c).any()]
            )
            place = np.unique(code, return_inverse=True)[1]
            total.append(((rows - means[place]) ** 2).sum())
        return float(np.mean(total))

    assert within(64) < 1.02 * within(None)


def test_too_many_clusters_and_bad_rows() -> None:
    rows = np.zeros((5, 3), np.float32)
    with pytest.raises(UsageError, match="more clusters"):
        info.cluster(rows, [rows], info.Codebook(6, 10), [0])
    rows[0, 0] = np.nan
    with pytest.raises(NumericsError, match="finite"):
        info.cluster(rows, [rows], info.Codebook(2, 10), [0])
