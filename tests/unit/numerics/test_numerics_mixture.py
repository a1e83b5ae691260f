"""Gaussian mixtures against scikit-learn and SciPy, and what must hold while they are fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.mixture import Aligner, Mixture, MixtureSums, floor_covariance
from voxstrata.numerics.mixture_fit import maximise, split, start

C, D = 4, 3


def _rows(count: int = 1500, seed: int = 0) -> torch.Tensor:
    """Rows of four well-kept Gaussians with correlated dimensions."""
    rng = np.random.default_rng(seed)
    means = 3 * rng.standard_normal((C, D))
    mixing = rng.standard_normal((C, D, D))
    which = rng.integers(0, C, count)
    noise = rng.standard_normal((count, D))
    return torch.from_numpy(means[which] + np.einsum("nde,ne->nd", mixing[which], noise))


def _mixture(full: bool, seed: int = 1) -> Mixture:
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand(C, generator=random, dtype=torch.float64) + 0.1
    means = torch.randn(C, D, generator=random, dtype=torch.float64) * 2
    root = torch.randn(C, D, D, generator=random, dtype=torch.float64)
    covariances = root @ root.mT + torch.eye(D, dtype=torch.float64)
    if not full:
        covariances = covariances.diagonal(dim1=1, dim2=2).clone()
    return Mixture(weights / weights.sum(), means, covariances)


def _sums(rows: torch.Tensor, mixture: Mixture, aligner: Aligner | None = None) -> MixtureSums:
    sums = MixtureSums.of(mixture)
    sums.add(rows, aligner or Aligner(mixture))
    return sums


@pytest.mark.parametrize("full", [False, True])
def test_densities_are_those_of_scipy(full: bool) -> None:
    rows, mixture = _rows(50), _mixture(full)
    expected = np.stack(
        [
            np.log(float(w)) + multivariate_normal(m, s if full else np.diag(s)).logpdf(rows)
            for w, m, s in zip(
                mixture.weights, mixture.means.numpy(), mixture.covariances.numpy(), strict=True
            )
        ],
        axis=1,
    )
    np.testing.assert_allclose(mixture.log_densities(rows), expected, rtol=1e-10)
    shares, likelihood = Aligner(mixture).posteriors(rows)
    np.testing.assert_allclose(likelihood, np.logaddexp.reduce(expected, axis=1), rtol=1e-10)
    np.testing.assert_allclose(shares.sum(1), 1.0)


@pytest.mark.parametrize("full", [False, True])
def test_iterations_are_those_of_scikit_learn(full: bool) -> None:
    rows, mixture = _rows(), _mixture(full)
    precisions = np.linalg.inv(mixture.covariances) if full else 1 / mixture.covariances.numpy()
    oracle = GaussianMixture(
        C, covariance_type="full" if full else "diag", tol=0.0, reg_covar=0.0, max_iter=7,
        weights_init=mixture.weights.numpy(), means_init=mixture.means.numpy(),
        precisions_init=precisions,
    )  # fmt: skip
    with pytest.warns(match="did not converge"):
        oracle.fit(rows.numpy())
    for _ in range(7):
        mixture = maximise(mixture, _sums(rows, mixture), floor=0.0, least=0.0)
    np.testing.assert_allclose(mixture.weights, oracle.weights_, rtol=1e-8)
    np.testing.assert_allclose(mixture.means, oracle.means_, rtol=1e-8)
    np.testing.assert_allclose(mixture.covariances, oracle.covariances_, rtol=1e-7)


@pytest.mark.parametrize("full", [False, True])
def test_the_likelihood_never_falls(full: bool) -> None:
    rows, mixture = _rows(), _mixture(full)
    told = []
    for _ in range(15):
        sums = _sums(rows, mixture)
        told.append(sums.mean_log_likelihood)
        mixture = maximise(mixture, sums, floor=0.0)
    assert np.diff(told).min() > -1e-12
    assert told[-1] > told[0] + 0.1


@pytest.mark.parametrize("full", [False, True])
def test_merged_sums_are_those_of_one_pass(full: bool) -> None:
    rows, mixture = _rows(), _mixture(full)
    whole, parts = _sums(rows, mixture), _sums(rows[:400], mixture)
    parts.merge(_sums(rows[400:], mixture))
    for name in ("count", "first", "second"):
        torch.testing.assert_close(
            getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-10
        )
    assert parts.rows == whole.rows == len(rows)
    assert parts.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)


def test_blocks_do_not_change_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, mixture = _rows(), _mixture(True)
    whole = _sums(rows, mixture)
    monkeypatch.setattr("voxstrata.numerics.mixture.BLOCK", 4 * 37)
    torch.testing.assert_close(_sums(rows, mixture).second, whole.second, rtol=1e-12, atol=1e-10)


def test_selecting_all_gaussians_changes_nothing() -> None:
    rows, mixture = _rows(300), _mixture(True)
    selector = Mixture(mixture.weights, mixture.means, mixture.covariances.diagonal(dim1=1, dim2=2))
    plain, _ = Aligner(mixture).posteriors(rows)
    chosen, _ = Aligner(mixture, selector, select=C).posteriors(rows)
    torch.testing.assert_close(chosen, plain, rtol=1e-12, atol=1e-14)
    two, _ = Aligner(mixture, selector, select=2).posteriors(rows)
    best = selector.log_densities(rows).topk(2, dim=1).indices
    assert ((two > 0).sum(1) <= 2).all()
    expected = plain.gather(1, best) / plain.gather(1, best).sum(1, keepdim=True)
    torch.testing.assert_close(two.gather(1, best), expected, rtol=1e-9, atol=1e-12)


def test_small_posteriors_are_dropped_and_the_rest_sums_to_one() -> None:
    rows, mixture = _rows(300), _mixture(False)
    plain, _ = Aligner(mixture).posteriors(rows)
    pruned, _ = Aligner(mixture, least=0.025).posteriors(rows)
    small = plain < 0.025
    assert small.any()
    assert not small.all(dim=1).any()
    assert (pruned[small] == 0).all()
    torch.testing.assert_close(pruned.sum(1), torch.ones(300, dtype=torch.float64))
    harsh, _ = Aligner(mixture, least=2.0).posteriors(rows)  # the largest always stays
    torch.testing.assert_close(harsh.amax(1), torch.ones(300, dtype=torch.float64))


def test_a_start_grows_and_finds_planted_means() -> None:
    rng = np.random.default_rng(3)
    means = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8]])
    rows = torch.from_numpy(means[rng.integers(0, 4, 2000)] + rng.standard_normal((2000, 3)))
    started = start(rows, 8, seed=0)
    assert started.components[0] == 4
    assert started.components[-1] == started.mixture.components == 8
    assert started.log_likelihoods[-1] > started.log_likelihoods[0]
    nearest = torch.cdist(torch.from_numpy(means), started.mixture.means).amin(1)
    assert nearest.max() < 1.0
    again = start(rows, 8, seed=0)
    assert torch.equal(again.mixture.means, started.mixture.means)
    assert not torch.equal(start(rows, 8, seed=1).mixture.means, started.mixture.means)


def test_splitting_keeps_the_weight_and_the_centre() -> None:
    mixture = _mixture(False)
    found = split(mixture, 7, torch.Generator().manual_seed(0))
    assert found.components == 7
    torch.testing.assert_close(found.weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(found.weights @ found.means, mixture.weights @ mixture.means)


def test_a_gaussian_without_frames_keeps_its_place() -> None:
    rows, mixture = _rows(), _mixture(False)
    far = Mixture(
        mixture.weights,
        torch.cat([mixture.means[:3], torch.full((1, D), 1e4, dtype=torch.float64)]),
        mixture.covariances,
    )
    moved = maximise(far, _sums(rows, far))
    assert torch.equal(moved.means[3], far.means[3])
    assert bool(moved.means.isfinite().all() and moved.covariances.isfinite().all())
    assert not torch.equal(moved.means[0], far.means[0])
    assert moved.weights[3] == 0
    assert bool(moved.log_densities(rows).isfinite().all())


def test_floors() -> None:
    floor = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    low = torch.tensor([[[0.1, 0.0], [0.0, 9.0]], [[2.0, 0.5], [0.5, 8.0]]], dtype=torch.float64)
    found = floor_covariance(low, floor)
    torch.testing.assert_close(found[0], torch.diag(torch.tensor([1.0, 9.0]).double()))
    assert torch.equal(found[1], low[1])
    values = torch.linalg.eigvalsh(torch.linalg.solve(floor, found))
    assert float(values.min()) > 1 - 1e-9
    flat = floor_covariance(low.diagonal(dim1=1, dim2=2), floor.diagonal())
    assert flat.tolist() == [[1.0, 9.0], [2.0, 8.0]]


def test_what_is_refused() -> None:
    rows = _rows(20)
    with pytest.raises(UsageError, match="fewer frames of speech than Gaussians"):
        start(rows, 21, seed=0)
    with pytest.raises(NumericsError, match="variance in every dimension"):
        start(torch.cat([rows, torch.ones(20, 1, dtype=torch.float64)], dim=1), 2, seed=0)
    with pytest.raises(ShapeError, match="do not fit the mixture"):
        Aligner(_mixture(False)).posteriors(rows[:, :2])
    rows[3, 1] = float("nan")
    with pytest.raises(NumericsError, match="not finite"):
        Aligner(_mixture(False)).posteriors(rows)
    bad = _mixture(True)
    bad.covariances[2] = -torch.eye(D, dtype=torch.float64)
    with pytest.raises(NumericsError, match="not positive"):
        bad.log_densities(_rows(5))
