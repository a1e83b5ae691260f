"""PLDA and WCCN against SciPy's Gaussians and planted covariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.two_covariance import (
    Speakers,
    TwoCovariance,
    by_speaker,
    ratio_terms,
    start,
    wccn,
)

D = 4


def _covariances(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((2, D, D))
    between, within = (root @ root.T + 0.2 * np.eye(D) for root in roots)
    return between, within


def _recordings(speakers: int, most: int = 6, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [N, D] of speakers with 1 to ``most`` recordings, drawn from the model."""
    between, within = _covariances()
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(speakers), rng.integers(1, most + 1, speakers))
    means = rng.multivariate_normal(np.zeros(D), between, speakers)
    rows = means[codes] + rng.multivariate_normal(np.zeros(D), within, len(codes))
    return torch.from_numpy(rows), torch.from_numpy(codes)


def _model() -> TwoCovariance:
    return TwoCovariance(*(torch.from_numpy(one) for one in _covariances()))


def test_sums_by_speaker() -> None:
    rows, codes = _recordings(5)
    found = by_speaker(rows, codes)
    for code in range(5):
        mine = rows[codes == code]
        assert int(found.counts[code]) == len(mine)
        torch.testing.assert_close(found.means[code], mine.mean(0))
    scatter = sum(
        ((rows[codes == k] - rows[codes == k].mean(0)).T @ (rows[codes == k] - found.means[k]))
        for k in range(5)
    )
    torch.testing.assert_close(found.scatter, scatter)
    assert found.recordings == len(rows)


def test_the_likelihood_is_that_of_all_recordings_of_a_speaker_together() -> None:
    """The recordings of a speaker, stacked, are one Gaussian: B everywhere, W on the diagonal."""
    rows, codes = _recordings(6)
    between, within = _covariances()
    total = 0.0
    for code in range(6):
        mine = rows[codes == code].numpy()
        n = len(mine)
        joint = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        total += multivariate_normal(np.zeros(n * D), joint).logpdf(mine.reshape(-1))
    assert _model().log_likelihood(by_speaker(rows, codes)) == pytest.approx(total, rel=1e-9)


def test_the_ratio_is_that_of_two_gaussians() -> None:
    model = _model()
    between, within = _covariances()
    matrix, psi = model.diagonal()
    eye = torch.eye(D, dtype=torch.float64)
    torch.testing.assert_close(matrix @ model.within @ matrix.T, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        matrix @ model.between @ matrix.T, torch.diag(psi), rtol=1e-9, atol=1e-9
    )
    assert (psi.diff() <= 0).all()
    rng = np.random.default_rng(2)
    both = np.block([[between + within, between], [between, between + within]])
    alone = multivariate_normal(np.zeros(D), between + within)
    a, b, c = ratio_terms(psi)
    for _ in range(5):
        u, p = rng.standard_normal((2, D))
        expected = multivariate_normal(np.zeros(2 * D), both).logpdf(np.concatenate([u, p]))
        expected -= alone.logpdf(u) + alone.logpdf(p)
        x, y = (matrix @ torch.from_numpy(one) for one in (u, p))
        found = float((a * x * y).sum() - (b * (x.square() + y.square())).sum()) + c
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_likelihood_rises_and_planted_covariances_are_found() -> None:
    speakers = by_speaker(*_recordings(4000))
    model = start(speakers)
    told = [model.log_likelihood(speakers)]
    for _ in range(60):
        model = model.improved(speakers)
        told.append(model.log_likelihood(speakers))
    assert np.diff(told).min() > -1e-7 * abs(told[-1])
    assert told[-1] > told[0]
    for found, planted in zip((model.between, model.within), _covariances(), strict=True):
        assert np.abs(found.numpy() - planted).max() < 0.08 * np.abs(planted).max()


def test_normalisation_gives_unit_covariance_within_speakers() -> None:
    rows, codes = _recordings(50)
    matrix = wccn(by_speaker(rows, codes))
    found = by_speaker(rows @ matrix.T, codes).scaled()
    torch.testing.assert_close(found, torch.eye(D, dtype=torch.float64), rtol=0, atol=1e-9)


def test_what_is_refused() -> None:
    rows, codes = _recordings(6)
    with pytest.raises(UsageError, match="telling speakers apart"):
        by_speaker(rows, torch.zeros(len(rows), dtype=torch.int64))
    with pytest.raises(UsageError, match="telling speakers apart"):
        by_speaker(rows, torch.arange(len(rows)))
    bad = rows.clone()
    bad[2, 1] = float("nan")
    with pytest.raises(NumericsError, match="not finite"):
        by_speaker(bad, codes)
    with pytest.raises(NumericsError, match="without variance"):
        wccn(by_speaker(rows[:4], torch.tensor([0, 0, 1, 1])))
    alike = Speakers(torch.tensor([2.0, 2.0]), torch.zeros(2, D), torch.zeros(D, D))
    with pytest.raises(NumericsError, match="do not vary"):
        start(alike)
