"""The total variability model on planted data: likelihood, subspace, factors, merging, refusals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.mixture import Mixture
from voxstrata.numerics.variability import (
    Statistics,
    Totals,
    TotalVariability,
    VariabilitySums,
    log_likelihood,
)
from voxstrata.numerics.variability_fit import Expect, Method, improve, random_loading

C, D, R = 8, 6, 3


@dataclass(frozen=True)
class Planted:
    """Recordings made by a known model, with posteriors that are known (0 or 1)."""

    factors: np.ndarray
    loading: np.ndarray
    mixture: Mixture
    statistics: Statistics
    totals: Totals
    frames: list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return _plant(full=False)


def _plant(full: bool, recordings: int = 300) -> Planted:
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((C, D))
    loading = rng.standard_normal((C, D, R))
    scales = 0.5 + rng.random((C, D))
    factors = rng.standard_normal((recordings, R))
    count, first, frames = np.zeros((recordings, C)), np.zeros((recordings, C, D)), []
    products = np.zeros((C, D, D))
    for u in range(recordings):
        which = rng.integers(0, C, rng.integers(30, 121))
        noise = scales[which] * rng.standard_normal((len(which), D))
        x = means[which] + loading[which] @ factors[u] + noise
        frames.append((x, which))
        np.add.at(count[u], which, 1)
        np.add.at(first[u], which, x)
        np.add.at(products, which, x[:, :, None] * x[:, None, :])
    total = count.sum(0)
    centre = first.sum(0) / total[:, None]
    covariances = products / total[:, None, None] - centre[:, :, None] * centre[:, None, :]
    if not full:
        covariances = np.stack([np.diag(one) for one in covariances])
        products = np.stack([np.diag(one) for one in products])
    mixture = Mixture(*(torch.from_numpy(a) for a in (total / total.sum(), centre, covariances)))
    tensors = [torch.from_numpy(a) for a in (count, first, total, first.sum(0), products)]
    return Planted(
        factors, loading, mixture, Statistics(*tensors[:2]), Totals(*tensors[2:], recordings),
        frames,
    )  # fmt: skip


def _expect(statistics: Statistics) -> Expect:
    def expect(model: TotalVariability) -> VariabilitySums:
        sums = VariabilitySums.of(model)
        sums.add(statistics, model)
        return sums

    return expect


@pytest.mark.parametrize("full", [False, True])
def test_planted_subspace_and_factors_are_found_and_the_likelihood_rises(full: bool) -> None:
    data = _plant(full)
    begin = random_loading(data.mixture, R, seed=1)
    method = Method(floor=0.0, least=0.0)
    steps = list(improve(begin, _expect(data.statistics), data.totals, 12, method))
    told = [step.log_likelihood for step in steps]
    assert len(told) == 1 + 12 * 3
    assert np.diff(told).min() > -1e-10
    assert told[-1] > told[0] + 0.5
    model = steps[-1].model
    angle = subspace_angles(model.loading.reshape(-1, R).numpy(), data.loading.reshape(-1, R))
    assert np.degrees(angle).max() < 3.0
    found = model.ivectors(data.statistics).numpy()
    # Any rotation of the factors is the same model, so the best linear map is what counts.
    fitted = found @ np.linalg.lstsq(found, data.factors, rcond=None)[0]
    correlation = [np.corrcoef(fitted[:, i], data.factors[:, i])[0, 1] for i in range(R)]
    assert min(correlation) > 0.99


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize("divergence", [False, True])
def test_sub_steps_can_be_left_out(planted: Planted, covariance: bool, divergence: bool) -> None:
    method = Method(covariance=covariance, divergence=divergence, floor=0.0)
    begin = random_loading(planted.mixture, R, seed=2)
    steps = list(improve(begin, _expect(planted.statistics), planted.totals, 3, method))
    assert np.diff([step.log_likelihood for step in steps]).min() > -1e-10
    last = steps[-1].model
    assert torch.equal(last.covariances, begin.covariances) is not covariance
    assert torch.equal(last.means, begin.means) is not divergence


def test_with_one_expectation_step_an_iteration_the_likelihood_rises_over_iterations(
    planted: Planted,
) -> None:
    begin = random_loading(planted.mixture, R, seed=2)
    expect = _expect(planted.statistics)
    method = Method(fresh=False, floor=0.0)
    watched = list(improve(begin, expect, planted.totals, 6, method))
    ends = [step.log_likelihood for step in watched if step.last]
    assert np.diff(ends).min() > -1e-10
    # From this start a sub-step falls, which is why an expectation step before each is the default.
    assert np.diff([step.log_likelihood for step in watched]).min() < -0.01
    silent = list(improve(begin, expect, planted.totals, 6, method, watch=False))
    assert [step.log_likelihood for step in silent if step.last] == ends
    assert all(step.log_likelihood is None for step in silent if not step.last)


def test_after_minimum_divergence_posteriors_have_the_prior_on_average(planted: Planted) -> None:
    expect = _expect(planted.statistics)
    begin = random_loading(planted.mixture, R, seed=3)
    *_, last = improve(begin, expect, planted.totals, 15, Method(floor=0.0))
    sums = expect(last.model)
    torch.testing.assert_close(
        sums.square / sums.recordings, torch.eye(R, dtype=torch.float64), rtol=0, atol=0.02
    )
    assert float((sums.vector / sums.recordings).abs().max()) < 0.02


def test_the_likelihood_is_that_of_the_joint_gaussian() -> None:
    """A recording's frames, stacked, are one Gaussian with mean m and covariance S + T T'."""
    data = _plant(False, recordings=4)
    model = random_loading(data.mixture, R, seed=4)
    total = 0.0
    for x, which in data.frames:
        wide = model.loading.numpy()[which].reshape(-1, R)
        noise = np.diag(model.covariances.numpy()[which].reshape(-1))
        mean = model.means.numpy()[which].reshape(-1)
        total += multivariate_normal(mean, wide @ wide.T + noise).logpdf(x.reshape(-1))
    frames = sum(len(which) for _, which in data.frames)
    found = log_likelihood(model, data.totals, _expect(data.statistics)(model))
    assert found == pytest.approx(total / frames, rel=1e-9)


def test_full_and_diagonal_forms_agree(planted: Planted) -> None:
    flat = random_loading(planted.mixture, R, seed=5)
    full = TotalVariability(flat.means, torch.diag_embed(flat.covariances), flat.loading)
    one, other = flat.posterior(planted.statistics), full.posterior(planted.statistics)
    for name in ("mean", "covariance", "evidence"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12)


def test_merged_sums_are_those_of_one_pass(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stats = random_loading(planted.mixture, R, seed=6), planted.statistics
    whole = _expect(stats)(model)
    monkeypatch.setattr("voxstrata.numerics.variability.BLOCK", 7 * R * R)
    parts = VariabilitySums.of(model)
    for piece in (slice(0, 111), slice(111, 300)):
        other = VariabilitySums.of(model)
        other.add(Statistics(stats.count[piece], stats.first[piece]), model)
        parts.merge(other)
    for name in ("products", "cross", "vector", "square"):
        torch.testing.assert_close(
            getattr(parts, name), getattr(whole, name), rtol=1e-11, atol=1e-9
        )
    assert parts.evidence == pytest.approx(whole.evidence, rel=1e-12)
    assert parts.recordings == whole.recordings == 300


def test_gaussians_with_few_frames_keep_their_part(planted: Planted) -> None:
    counts = planted.totals.count.clone()
    least = float(counts.sort().values[2])
    begin = random_loading(planted.mixture, R, seed=7)
    method = Method(least=least, divergence=False, floor=0.0)
    *_, last = improve(begin, _expect(planted.statistics), planted.totals, 1, method)
    kept = counts < least
    assert int(kept.sum()) == 2
    for name in ("loading", "covariances"):
        same = (getattr(last.model, name) == getattr(begin, name)).flatten(1).all(1)
        assert torch.equal(same, kept)


def test_iterations_go_on_where_they_stopped(planted: Planted) -> None:
    expect = _expect(planted.statistics)
    begin = random_loading(planted.mixture, R, seed=8)
    *_, whole = improve(begin, expect, planted.totals, 4)
    *_, half = improve(begin, expect, planted.totals, 2)
    *_, rest = improve(half.model, expect, planted.totals, 4, done=2)
    assert rest.iteration == whole.iteration == 4
    assert torch.equal(rest.model.loading, whole.model.loading)
    assert rest.log_likelihood == whole.log_likelihood


def test_no_speech_gives_the_prior(planted: Planted) -> None:
    model = random_loading(planted.mixture, R, seed=9)
    silent = Statistics(
        torch.zeros(1, C, dtype=torch.float64), torch.zeros(1, C, D, dtype=torch.float64)
    )
    found = model.posterior(silent)
    assert found.mean.abs().max() == 0
    torch.testing.assert_close(found.covariance[0], torch.eye(R, dtype=torch.float64))


def test_what_is_refused(planted: Planted) -> None:
    for rank in (0, C * D):
        with pytest.raises(UsageError, match="the rank"):
            random_loading(planted.mixture, rank, seed=0)
    model = random_loading(planted.mixture, R, seed=0)
    stats = planted.statistics
    with pytest.raises(ShapeError, match="another mixture"):
        model.posterior(Statistics(stats.count[:, :3], stats.first[:, :3]))
    bad = stats.first.clone()
    bad[5, 2, 1] = float("nan")
    with pytest.raises(NumericsError, match="not finite"):
        model.posterior(Statistics(stats.count, bad))
    broken = TotalVariability(model.means, -model.covariances, model.loading)
    with pytest.raises(NumericsError, match="not positive definite"):
        broken.posterior(stats)
