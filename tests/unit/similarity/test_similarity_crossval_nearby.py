"""Fits expanded about a neighbour equal fits in full, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.similarity.crossval_nearby import Moved
from voxstrata.similarity.crossval_pasad import cross_validate_pasad, draw_eps, draw_splits
from voxstrata.similarity.crossval_search import Search, scored
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.pasad import pasad_fit, pasad_score

PAIRS = [(1e-10, 1e-9), (1e-9, 1e-11), (1e-11, 1e-10), (1e-9, 1e-9)]


def moments(d: int, v: int, n: int = 6000, seed: int = 0) -> FoldMoments:
    rng = np.random.default_rng(seed)
    width = max(d, v)
    state = rng.normal(size=(n, width))
    mixed = state @ rng.normal(size=(width, width)) / width**0.5 + 0.7 * rng.normal(size=(n, width))
    # Where variances are small, an epsilon of 1e-9 of the largest moves directions.
    x = mixed[:, :d] * np.logspace(0, -1.3, d) + 2 * rng.normal(size=d)
    y = state[:, :v] + rng.normal(size=(n, v)) + 1
    return FoldMoments.of(x, y, draw_splits(n, [0, 1]))


@pytest.mark.parametrize(("d", "v"), [(140, 140), (170, 130), (130, 170)])
def test_nearby_fits_equal_fits_in_full(d: int, v: int) -> None:
    m = moments(d, v)
    train, dev, test = m.but(0, 1), m.fold(0), m.fold(1)
    search = Search(train, dev)
    search.fit(PAIRS[0])
    scores = []
    for eps in PAIRS[1:]:
        found, score = search.fit(eps)
        assert isinstance(found, Moved)
        plain = pasad_fit(train, eps)
        assert score == pytest.approx(pasad_score(plain, dev).default, abs=1e-12)
        fit = found.fit(None)
        for mine, other in ((fit.Px, plain.Px), (fit.Py, plain.Py)):
            length = other.norm(dim=1, keepdim=True)
            # Rows are long where the variance is small; signs count.
            torch.testing.assert_close(mine / length, other / length, rtol=0, atol=1e-6)
        on_test = scored(fit, test, False)[0]
        assert on_test == pytest.approx(pasad_score(plain, test).default, abs=1e-12)
        scores.append(score)
    # Epsilon matters a thousand times as much as the expansion errs.
    first = pasad_score(pasad_fit(train, PAIRS[0]), dev).default
    assert max(abs(s - first) for s in scores) > 1e-9


def test_alignment_is_followed() -> None:
    m = moments(140, 140)
    train, dev = m.but(0, 1), m.fold(0)
    plain = pasad_fit(train, PAIRS[1])
    turn = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], 140))[:, None]
    align = (plain.Px * turn, -plain.Py * turn)
    search = Search(train, dev)
    search.fit(PAIRS[0], align)
    found, score = search.fit(PAIRS[1], align)
    assert isinstance(found, Moved)
    expected = pasad_score(pasad_fit(train, PAIRS[1], align), dev).default
    assert score == pytest.approx(expected, abs=1e-10)
    assert score != pytest.approx(pasad_score(plain, dev).default, abs=1e-4)


def test_equal_correlations_are_fitted_in_full() -> None:
    """Two canonical correlations equal to rounding: any two directions of that plane will do."""
    rng = np.random.default_rng(0)
    n, d = 4000, 130
    x = np.linalg.qr(rng.normal(size=(n, d)) - rng.normal(size=(n, 1)))[0]
    x = np.linalg.qr(x - x.mean(0))[0]
    noise = rng.normal(size=(n, d))
    noise -= noise.mean(0)
    noise = np.linalg.qr(noise - x @ (x.T @ noise))[0]
    rho = np.linspace(0.9, 0.1, d)
    rho[41] = rho[40]
    y = (x * rho + noise * np.sqrt(1 - rho**2)) @ rng.normal(size=(d, d))
    x = x @ rng.normal(size=(d, d))
    fold = np.zeros(n, int)
    x, y = np.concatenate([x, x[:400], x[:400]]), np.concatenate([y, y[:400], y[:400]])
    m = FoldMoments.of(x, y, np.concatenate([fold, np.full(400, 1), np.full(400, 2)]))
    search = Search(m.but(1, 2), m.fold(1))
    search.fit(PAIRS[0])
    found, score = search.fit(PAIRS[1])
    assert not isinstance(found, Moved)
    assert np.isfinite(score)


def test_steps_too_long_are_fitted_in_full() -> None:
    m = moments(140, 140)
    search = Search(m.but(0, 1), m.fold(0))
    search.fit((1e-10, 1e-10))
    for eps in ((1e-5, 1e-10), (1e-10, 1e-5)):
        found, score = search.fit(eps)
        plain = pasad_score(pasad_fit(m.but(0, 1), eps), m.fold(0)).default
        assert score == pytest.approx(plain, abs=1e-9)
        if eps[0] == 1e-5:
            assert not isinstance(found, Moved)


def test_constant_columns_leave() -> None:
    """A column below epsilon goes at one epsilon and stays at another: never expanded."""
    rng = np.random.default_rng(0)
    n = 3000
    x = rng.normal(size=(n, 135))
    y = x[:, :133] + rng.normal(size=(n, 133))
    x[:, 5] = 3.0
    x[:, 7] *= 1e-5  # a variance of 1e-10
    m = FoldMoments.of(x, y, draw_splits(n, [0, 1]))
    search = Search(m.but(0, 1), m.fold(0))
    for eps in ((1e-9, 1e-9), (1e-11, 1e-9), (1e-9, 1e-11)):
        found, score = search.fit(eps)
        plain = pasad_fit(m.but(0, 1), eps)
        assert int(plain.kept_x.sum()) == (133 if eps[0] == 1e-9 else 134)
        assert score == pytest.approx(pasad_score(plain, m.fold(0)).default, abs=1e-7)
        assert not isinstance(found, Moved)


def test_the_whole_search_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    m = moments(150, 135)
    trials, eps = [(0, 1), (2, 3)], [draw_eps(0), draw_eps(1)]
    near = cross_validate_pasad(m, trials, eps, signs=2)
    monkeypatch.setattr("voxstrata.similarity.crossval_search.LEAST_WIDTH", 10**6)
    full = cross_validate_pasad(m, trials, eps, signs=2)
    for one, two in zip(near.trials, full.trials, strict=True):
        np.testing.assert_allclose(one.dev_scores, two.dev_scores, rtol=0, atol=1e-10)
        assert one.best == two.best
        assert one.sign_range == pytest.approx(two.sign_range, abs=1e-10)
    assert near.score == pytest.approx(full.score, abs=1e-10)
