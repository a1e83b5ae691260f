"""Variance shares, probe gap and subspace angles against independent computations and planted
truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles as scipy_angles

from voxstrata.errors import NumericsError, ShapeError
from voxstrata.properties.disentanglement import probe_gap, subspace_angles
from voxstrata.properties.disentanglement.variance_shares import (
    CellSums,
    balanced_rows,
    complete_grid,
    jackknife_speakers,
    shuffled_cells,
    shuffled_shares,
    variance_shares,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def planted(
    kind: str, A: int = 12, B: int = 10, m: int = 4, D: int = 40, seed: int = 0, noise: float = 1.0
) -> torch.Tensor:
    """Rows [A, B, m, D]: phones in the first half of the dimensions, speakers in the second."""
    g = rng(seed)
    phone = np.zeros((A, 1, D))
    speaker = np.zeros((1, B, D))
    phone[:, 0, : D // 2] = g.normal(size=(A, D // 2))
    speaker[0, :, D // 2 :] = g.normal(size=(B, D // 2))
    if kind == "additive":
        cells = phone + speaker
    elif kind == "own-maps":  # every speaker rotates the phones in a way of her own
        maps = [np.linalg.qr(g.normal(size=(D, D)))[0] for _ in range(B)]
        cells = np.stack([phone[:, 0] @ q for q in maps], axis=1)
    else:
        cells = np.zeros((A, B, D))
    return torch.as_tensor(cells[:, :, None] + noise * g.normal(size=(A, B, m, D)))


def test_sums_of_squares_agree_with_nested_least_squares() -> None:
    A, B, m, D = 4, 3, 3, 5
    x = rng(1).normal(size=(A, B, m, D))
    x += rng(2).normal(size=(A, 1, 1, D)) + rng(3).normal(size=(A, B, 1, D))
    a, b, _ = np.indices((A, B, m)).reshape(3, -1)
    flat = x.reshape(-1, D)
    ones = np.ones((len(a), 1))
    dummies = {"a": np.eye(A)[a], "b": np.eye(B)[b], "ab": np.eye(A * B)[a * B + b]}

    def left(*parts: str) -> float:
        design = np.hstack([ones, *(dummies[p] for p in parts)])
        fit = design @ np.linalg.lstsq(design, flat, rcond=None)[0]
        return float(((flat - fit) ** 2).sum())

    total = left()
    want = [total - left("a"), left("a") - left("a", "b"), left("a", "b") - left("ab"), left("ab")]
    s = variance_shares(torch.as_tensor(x))
    got = [s.phone, s.speaker, s.interaction, s.rest]
    np.testing.assert_allclose(got, np.array(want) / total, rtol=1e-10)
    assert s.total == pytest.approx(total)
    assert sum(got) == pytest.approx(1.0)


def test_additive_effects_have_no_interaction_once_noise_is_taken_out() -> None:
    x = planted("additive", A=30, B=30, m=2, D=60)
    s = variance_shares(x)
    assert s.interaction > 0.1  # what the noise of two tokens puts there
    assert abs(s.interaction_corrected) < 0.02
    # Effects of unit variance on half of the dimensions each, noise of unit variance on all.
    assert s.phone_corrected == pytest.approx(0.25, abs=0.02)
    assert s.speaker_corrected == pytest.approx(0.25, abs=0.02)
    assert s.rest_corrected == pytest.approx(0.5, abs=0.02)


def test_speaker_dependent_phone_maps_are_interaction() -> None:
    s = variance_shares(planted("own-maps", A=20, B=20, D=60, noise=0.3))
    assert s.interaction_corrected > 0.7
    assert s.phone_corrected < 0.1


def test_noise_alone_explains_nothing_and_lies_within_its_null() -> None:
    x = planted("none", m=3)
    s = variance_shares(x)
    assert max(abs(v) for v in (s.phone_corrected, s.speaker_corrected)) < 0.02
    assert abs(s.interaction_corrected) < 0.05
    orders = np.stack([shuffled_cells(12, 10, 3, "phones", rng(5)) for _ in range(1)])
    null = shuffled_shares(x, "phones", orders)[0]
    # 11 of 359 degrees of freedom fall to phones, with labels or without.
    assert s.phone == pytest.approx(11 / 359, rel=0.3)
    assert null.phone == pytest.approx(11 / 359, rel=0.3)


@pytest.mark.parametrize("what", ["phones", "speakers", "residuals"])
def test_shuffles_deal_within_their_margin_and_kill_their_effect(what: str) -> None:
    A, B, m = 12, 10, 4
    order = shuffled_cells(A, B, m, what, rng(1))  # type: ignore[arg-type]
    assert sorted(order.tolist()) == list(range(A * B * m))
    a, b, _ = np.unravel_index(order.reshape(A, B, m), (A, B, m))
    home_a, home_b, _ = np.indices((A, B, m))
    if what == "phones":
        assert (b == home_b).all()
        assert (a != home_a).any()
    if what == "speakers":
        assert (a == home_a).all()
        assert (b != home_b).any()
    kind = "own-maps" if what == "residuals" else "additive"
    x = planted(kind, noise=0.3)
    before = variance_shares(x)
    after = shuffled_shares(x, what, order[None])[0]  # type: ignore[arg-type]
    name = {"phones": "phone", "speakers": "speaker", "residuals": "interaction"}[what]
    assert getattr(before, f"{name}_corrected") > 0.3
    assert abs(getattr(after, f"{name}_corrected")) < 0.1
    if what == "residuals":
        # Main effects were put back; shuffled residuals add a little of their own.
        assert after.phone == pytest.approx(before.phone, abs=0.05)
        assert after.total == pytest.approx(before.total, rel=0.02)
    else:
        assert after.total == pytest.approx(before.total)


def test_leaving_a_speaker_out_is_the_decomposition_of_the_others() -> None:
    x = planted("additive")
    made = jackknife_speakers(CellSums.of(x))
    assert len(made) == 10
    keep = [b for b in range(10) if b != 3]
    want = variance_shares(x[:, keep])
    assert made[3].phone == pytest.approx(want.phone)
    assert made[3].interaction_corrected == pytest.approx(want.interaction_corrected)
    assert made[3].total == pytest.approx(want.total)


def test_shares_do_not_change_under_rotation_shift_and_scale() -> None:
    x = planted("additive", D=20)
    q = torch.as_tensor(np.linalg.qr(rng(9).normal(size=(20, 20)))[0])
    a, b = variance_shares(x), variance_shares(-3.0 * x @ q + 1000.0)
    assert b.phone_corrected == pytest.approx(a.phone_corrected, rel=1e-8)
    assert b.interaction == pytest.approx(a.interaction, rel=1e-8)
    assert variance_shares(x * torch.arange(1, 21)).phone != pytest.approx(a.phone, rel=1e-3)


def test_shares_refuse_what_has_no_answer() -> None:
    with pytest.raises(ShapeError, match="two tokens"):
        variance_shares(torch.zeros(3, 3, 1, 2))
    with pytest.raises(NumericsError, match="without variance"):
        variance_shares(torch.ones(3, 3, 2, 2))


def test_grid_finds_a_planted_block_and_comes_near_the_optimum() -> None:
    counts = np.zeros((20, 15), dtype=np.int64)
    rows, columns = [1, 4, 5, 9, 12, 18], [0, 3, 7, 8, 14]
    counts[np.ix_(rows, columns)] = 4
    counts[0, :3] = 9
    grid = complete_grid(counts, 4)
    assert (grid.phones.tolist(), grid.speakers.tolist(), grid.cells) == (rows, columns, 30)
    assert complete_grid(counts, 10).cells == 0
    found, best = 0, 0
    for seed in range(30):
        full = rng(seed).random((7, 6)) < 0.7
        grid = complete_grid(full.astype(np.int64), 1)
        assert full[np.ix_(grid.phones, grid.speakers)].all()
        found += grid.cells
        best += max(
            k * int(full[:, list(c)].all(axis=1).sum())
            for k in range(1, 7)
            for c in itertools.combinations(range(6), k)
        )
    assert 0.95 * best <= found <= best


def test_rows_of_a_grid_are_balanced_and_drawn_by_seed() -> None:
    g = rng(0)
    phone, speaker = g.integers(0, 6, 600), g.integers(0, 5, 600)
    counts = np.zeros((6, 5), dtype=np.int64)
    np.add.at(counts, (phone, speaker), 1)
    grid = complete_grid(counts, 5)
    rows = balanced_rows(phone, speaker, grid, rng(1))
    assert rows.shape == (6, 5, 5)
    assert len(np.unique(rows)) == rows.size
    assert (phone[rows] == np.arange(6)[:, None, None]).all()
    assert (speaker[rows] == np.arange(5)[None, :, None]).all()
    assert (rows == balanced_rows(phone, speaker, grid, rng(1))).all()
    assert (rows != balanced_rows(phone, speaker, grid, rng(2))).any()


def test_probe_agrees_with_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    g = rng(3)
    K, each, d = 5, 12, 80  # fewer rows than dimensions
    labels = np.repeat(np.arange(K), each)
    size = np.geomspace(0.1, 30, d)
    x = size * (1000 + g.normal(size=(K * each, d)) + 0.5 * g.normal(size=(K, d))[labels])
    probe = probe_gap.fit_lda(torch.as_tensor(x), torch.as_tensor(labels), K)
    means = np.stack([x[labels == k].mean(axis=0) for k in range(K)])
    # Columns of very unequal size: the probe brings them to unit variance within classes.
    unit = 1 / np.sqrt(((x - means[labels]) ** 2).mean(axis=0))
    want = ledoit_wolf_shrinkage((x - means[labels]) * unit, assume_centered=True)
    assert probe.shrinkage == pytest.approx(want, rel=1e-6)
    assert 0.05 < want < 0.99
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=want, priors=[1 / K] * K)
    new = size * (1000 + g.normal(size=(300, d)) + 0.5 * g.normal(size=(300, d)))
    theirs = lda.fit(x * unit, labels).decision_function(new * unit)
    ours = (torch.as_tensor(new) @ probe.weights + probe.offsets).numpy()
    np.testing.assert_allclose(
        ours - ours[:, :1], theirs - theirs[:, :1], rtol=1e-4, atol=1e-5 * np.abs(theirs).max()
    )
    assert (probe.predict(torch.as_tensor(new)).numpy() == lda.predict(new * unit)).mean() > 0.99


def test_balanced_accuracy_counts_classes_alike() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert probe_gap.balanced_accuracy(torch.zeros(6, dtype=torch.int64), labels, 2) == 0.5


def speech(
    kind: str, seed: int = 0, D: int = 30
) -> tuple[torch.Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, phone, speaker, recording: 8 phones, 8 speakers with 4 recordings each."""
    x = planted(kind, A=8, B=8, m=24, D=D, seed=seed, noise=0.5)
    phone, speaker, token = np.indices((8, 8, 24)).reshape(3, -1)
    return x.reshape(-1, D), phone, speaker, speaker * 4 + token % 4


def test_splits_keep_recordings_and_speakers_apart_and_are_balanced() -> None:
    _, phone, speaker, recording = speech("none")
    lone = (speaker == 7) & (recording % 4 == 0)
    keep = (speaker != 7) | lone  # the last speaker has one recording
    phone, speaker, recording = phone[keep], speaker[keep], recording[keep]
    split = probe_gap.make_split(phone, speaker, recording, rng(0), least=3, most=10)
    (t0, t1), (e0, e1) = split.train, split.test
    assert set(speaker[t0]) == set(speaker[e0])
    assert set(speaker[t1]) == set(speaker[e1])
    assert not set(speaker[t0]) & set(speaker[t1])
    assert not set(recording[np.r_[t0, t1]]) & set(recording[np.r_[e0, e1]])
    assert 7 not in set(speaker[np.r_[t0, t1, e0, e1]])
    counts = np.bincount(phone[t0])
    assert (counts == np.bincount(phone[t1])).all()
    assert counts.max() <= 10
    assert len(split.phones) == 8
    assert split.ratio == pytest.approx((len(e0) + len(e1)) / (len(t0) + len(t1)))


def gaps(kind: str, shuffled: bool = False) -> np.ndarray:
    x, phone, speaker, recording = speech(kind)
    made = []
    for seed in range(3):
        split = probe_gap.make_split(phone, speaker, recording, rng(seed), least=3, most=50)
        found = probe_gap.probe_gap(x, phone, split, rng(seed) if shuffled else None)
        made.append((found.same, found.new, found.gap))
        tested = np.isfinite(found.right_new)
        assert tested.sum() == len(split.test[0]) + len(split.test[1])
        assert (tested == np.isfinite(found.right_same)).all()
        # Every phone has as many test rows here, so plain and balanced accuracy agree.
        assert np.nanmean(found.right_new) == pytest.approx(found.new, abs=0.03)
    return np.mean(made, axis=0)


def test_a_probe_loses_on_new_speakers_only_where_phones_depend_on_them() -> None:
    same, new, gap = gaps("additive")
    assert min(same, new) > 0.95
    assert abs(gap) < 0.03
    same, new, gap = gaps("own-maps")
    assert same > 0.6
    assert new < 0.35
    assert gap == pytest.approx(same - new)
    same, new, gap = gaps("additive", shuffled=True)
    assert abs(gap) < 0.08
    assert new == pytest.approx(1 / 8, abs=0.08)


def test_error_over_overlapping_splits() -> None:
    x = [0.1, 0.2, 0.4]
    want = np.sqrt((1 / 3 + 0.5) * np.var(x, ddof=1))
    assert probe_gap.resampled_error(x, 0.5) == pytest.approx(want)
    assert np.isnan(probe_gap.resampled_error([0.1], 0.5))


def test_angles_agree_with_scipy() -> None:
    g = rng(4)
    U, V = (np.linalg.qr(g.normal(size=(20, r)))[0] for r in (4, 6))
    got = subspace_angles.principal_angles(torch.as_tensor(U), torch.as_tensor(V))
    want = scipy_angles(U, V)
    assert got.smallest == pytest.approx(np.degrees(want.min()))
    assert got.overlap == pytest.approx((np.cos(want) ** 2).mean())
    near = np.linalg.qr(np.hstack([U[:, :1] + 1e-6 * V[:, :1], V[:, 1:3]]))[0]
    tiny = subspace_angles.principal_angles(torch.as_tensor(U), torch.as_tensor(near)).smallest
    assert tiny == pytest.approx(np.degrees(scipy_angles(U, near).min()), rel=1e-4)


def test_planted_directions_are_orthogonal_or_shared() -> None:
    clean = planted("additive", noise=0.0, D=60).mean(dim=2)
    found = subspace_angles.mean_angles(clean)
    assert found.overlap < 1e-20
    assert found.smallest == pytest.approx(90.0)
    g = rng(1)
    basis = g.normal(size=(3, 60))
    both = g.normal(size=(12, 1, 3)) @ basis + g.normal(size=(1, 10, 3)) @ basis
    found = subspace_angles.mean_angles(torch.as_tensor(both), share=0.9999)
    assert found.ranks == (3, 3)
    assert found.overlap == pytest.approx(1.0)
    assert found.smallest == pytest.approx(0.0, abs=1e-5)


def test_rank_follows_the_share_of_variance() -> None:
    means = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64))
    means = torch.cat([means, -means])
    for share, rank in ((0.6, 1), (0.7, 2), (0.95, 3), (1.0, 3)):
        U = subspace_angles.leading_directions(means, share, None)
        assert U.shape == (4, rank)
        torch.testing.assert_close(U.T @ U, torch.eye(rank, dtype=torch.float64))
    assert subspace_angles.leading_directions(means, None, 9).shape == (4, 3)
    with pytest.raises(NumericsError, match="no subspace"):
        subspace_angles.leading_directions(torch.ones(4, 3), 0.9, None)


def test_random_subspaces_have_the_overlap_of_theory() -> None:
    drawn = subspace_angles.random_angles(30, (4, 7), rng(0), 200)
    overlaps = [a.overlap for a in drawn]
    want = subspace_angles.random_overlap(30, (4, 7))
    assert want == pytest.approx(7 / 30)
    assert np.mean(overlaps) == pytest.approx(want, abs=3 * np.std(overlaps) / np.sqrt(200))


def test_share_inside_counts_signal_and_not_noise() -> None:
    # A third of the phones' variance lies in the speakers' plane; strong noise lies there, too.
    g = rng(7)
    A, B, D = 40, 40, 30
    phone = np.zeros((A, 1, D))
    phone[:, 0, 0] = g.normal(size=A)
    phone[:, 0, 10:12] = g.normal(size=(A, 2))
    speaker = np.zeros((1, B, D))
    speaker[0, :, :2] = 8 * g.normal(size=(B, 2))
    noise = np.ones(D)
    noise[:2] = 8.0
    truth = phone[:, 0] - phone[:, 0].mean(axis=0)
    want = (truth[:, :2] ** 2).sum() / (truth**2).sum()
    got, naive = [], []
    for _ in range(40):
        cells = phone + speaker + noise * g.normal(size=(2, A, B, D))
        got.append(subspace_angles.share_inside(*torch.as_tensor(cells)))
        p = cells.mean(axis=(0, 2))
        p = p - p.mean(axis=0)
        naive.append((p[:, :2] ** 2).sum() / (p**2).sum())
    assert np.mean(naive) > want + 0.1
    assert np.mean(got) == pytest.approx(want, abs=3 * np.std(got) / np.sqrt(40))
    assert np.std(got) / np.sqrt(40) < 0.04  # the gap to the naive share is told apart
