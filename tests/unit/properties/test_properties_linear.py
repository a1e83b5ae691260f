"""Fold-wise ridge and logistic regression against scikit-learn, and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.properties.linear import logistic
from voxstrata.properties.linear import ridge as linear


def data(n: int, d: int, t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.exp(rng.normal(size=d)) + 50
    x[:, 2] = 7.0  # a dead column
    y = 2 * x[:, 3 : 3 + t] + rng.normal(size=(n, t)) * 3
    return x, y, rng.integers(0, 5, n)


def ridge(x: np.ndarray, y: np.ndarray, lam: float) -> object:
    return make_pipeline(StandardScaler(), Ridge(alpha=lam * len(x), solver="cholesky")).fit(x, y)


@pytest.mark.parametrize(("n", "d"), [(150, 12), (60, 200)])
@pytest.mark.parametrize("lam", [1e-3, 1.0])
def test_ridge_is_scikit_learns(n: int, d: int, lam: float) -> None:
    x, y, fold = data(n, d, 3)
    fit = linear.cross_validated_ridge(x, y, fold, (lam,))
    expected, mean = np.empty_like(y), np.empty_like(y)
    for f in range(5):
        train = fold != f
        expected[~train] = ridge(x[train], y[train], lam).predict(x[~train])
        mean[~train] = y[train].mean(axis=0)
    assert np.abs(fit.prediction - expected).max() < 1e-9
    r2 = 1 - ((y - expected) ** 2).sum(axis=0) / ((y - mean) ** 2).sum(axis=0)
    assert fit.r2().per_target == pytest.approx(r2, abs=1e-10)
    assert fit.r2().value == pytest.approx(r2.mean(), abs=1e-10)
    assert fit.r2(slice(1, 2)).value == pytest.approx(r2[1], abs=1e-10)
    weighted = 1 - ((y - expected) ** 2).sum() / ((y - mean) ** 2).sum()
    assert fit.r2().weighted == pytest.approx(weighted, abs=1e-10)


@pytest.mark.parametrize(("n", "d"), [(150, 12), (60, 20), (60, 90)])
def test_penalty_is_chosen_without_the_test_fold(n: int, d: int) -> None:
    """The choice and the predictions are those of a plain nested loop."""
    x, y, fold = data(n, d, 2, seed=1)
    grid = (1e-3, 0.1, 10.0)
    fit = linear.cross_validated_ridge(x, y, fold, grid)
    for f in range(5):
        errors = np.zeros((3, 2))
        for g in set(range(5)) - {f}:
            train, check = (fold != f) & (fold != g), fold == g
            for a, lam in enumerate(grid):
                guess = ridge(x[train], y[train], lam).predict(x[check])
                errors[a] += ((guess - y[check]) ** 2).sum(axis=0)
        assert fit.penalty[f].tolist() == [grid[a] for a in errors.argmin(axis=0)]
        for t in range(2):
            guess = ridge(x[fold != f], y[fold != f], fit.penalty[f, t]).predict(x[fold == f])
            assert fit.prediction[fold == f, t] == pytest.approx(guess[:, t], abs=1e-8)


def test_what_stands_in_the_test_fold_does_not_change_its_model() -> None:
    x, y, fold = data(150, 12, 1, seed=2)
    changed = y.copy()
    changed[fold == 2] = np.random.default_rng(0).normal(size=((fold == 2).sum(), 1)) * 100
    before = linear.cross_validated_ridge(x, y, fold)
    after = linear.cross_validated_ridge(x, changed, fold)
    assert after.prediction[fold == 2] == pytest.approx(before.prediction[fold == 2], abs=1e-7)
    assert after.prediction[fold == 1] != pytest.approx(before.prediction[fold == 1], abs=1e-2)


def test_planted_r2_and_noise() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 20)).astype(np.float32)
    signal = x @ rng.normal(size=20)
    y = np.stack([signal / signal.std() + rng.normal(size=3000), rng.normal(size=3000)], axis=1)
    found = linear.cross_validated_ridge(x, y, np.arange(3000) % 10).r2()
    assert found.per_target[0] == pytest.approx(0.5, abs=0.04)
    assert -0.02 < found.per_target[1] < 0.01
    assert 0 < found.error < 0.03
    assert np.mean([v for _, v in found.by_fold]) == pytest.approx(found.value, abs=0.01)


def test_ridge_refuses() -> None:
    x, y, fold = data(30, 4, 1)
    with pytest.raises(UsageError, match="three folds"):
        linear.cross_validated_ridge(x, y, fold % 2)
    with pytest.raises(ShapeError):
        linear.cross_validated_ridge(x[:-1], y, fold)
    with pytest.raises(NumericsError, match="vary"):
        linear.cross_validated_ridge(x, np.ones(30), fold)
    x[0, 0] = np.inf
    with pytest.raises(NumericsError, match="finite"):
        linear.cross_validated_ridge(x, y, fold)
    with pytest.raises(UsageError, match="positive"):
        linear.cross_validated_ridge(x, y, fold, (0.0,))


def classes(n: int, d: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.integers(0, k + 1, n), k - 1)  # the last class is twice as frequent
    x = rng.normal(size=(n, d)) * 0.7 + rng.normal(size=(k, d))[labels] * 0.5 + 20
    x[:, 1] = 3.0
    return x, labels, rng.integers(0, 4, n)


@pytest.mark.parametrize(("n", "d", "k"), [(400, 10, 4), (70, 150, 3), (300, 8, 2)])
@pytest.mark.parametrize("lam", [1e-2, 1.0])
def test_logistic_is_scikit_learns(n: int, d: int, k: int, lam: float) -> None:
    x, labels, fold = classes(n, d, k)
    p = np.empty((n, k))
    prior = np.empty(n)
    for f in range(4):
        train = fold != f
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=1 / (lam * train.sum()), tol=1e-9, max_iter=9999)
        ).fit(x[train], labels[train])
        p[~train] = model.predict_proba(x[~train])
        prior[~train] = (np.bincount(labels[train]) / train.sum())[labels[~train]]
    if k == 2:
        # Two columns of weights instead of one: the same model at half the penalty.
        exact = logistic.cross_validated_logistic(
            x, labels, fold, penalties=(2 * lam,), dtype=torch.float64
        )[0].scores()
    else:
        exact = logistic.cross_validated_logistic(
            x, labels, fold, penalties=(lam,), dtype=torch.float64
        )[0].scores()
    bits = -np.log2(p[np.arange(n), labels])
    said = p.argmax(axis=1)
    assert exact["cross-entropy-bits"].value == pytest.approx(bits.mean(), abs=1e-5)
    assert exact["information-bits"].value == pytest.approx(
        -np.log2(prior).mean() - bits.mean(), abs=1e-5
    )
    assert exact["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, said))
    assert exact["balanced-accuracy"].value == pytest.approx(
        metrics.balanced_accuracy_score(labels, said)
    )
    assert exact["macro-f1"].value == pytest.approx(metrics.f1_score(labels, said, average="macro"))


def test_single_precision_is_near_enough() -> None:
    x, labels, fold = classes(600, 30, 6, seed=4)
    coarse, exact = (
        logistic.cross_validated_logistic(x, labels, fold, dtype=dtype)[0]
        for dtype in (torch.float32, torch.float64)
    )
    assert coarse.penalty.tolist() == exact.penalty.tolist()
    assert coarse.unfinished == exact.unfinished == 0
    for name, score in exact.scores().items():
        assert coarse.scores()[name].value == pytest.approx(score.value, abs=2e-3)


def test_penalties_fit_the_problem() -> None:
    """Noise asks for the strongest penalty, clean classes for a weak one."""
    _, labels, fold = classes(400, 40, 4, seed=5)
    rng = np.random.default_rng(0)
    clean = np.eye(4)[labels] * 5 + rng.normal(size=(400, 4)) * 0.3
    assert logistic.cross_validated_logistic(clean, labels, fold)[0].penalty.max() <= 1e-2
    noise = logistic.cross_validated_logistic(rng.normal(size=(400, 40)), labels, fold)[0]
    assert noise.penalty.min() >= 1.0
    assert abs(noise.scores()["information-bits"].value) < 0.05
    assert noise.scores()["balanced-accuracy"].value == pytest.approx(0.25, abs=0.08)


def test_several_labellings_at_once_are_each_alone() -> None:
    x, labels, fold = classes(300, 6, 3, seed=6)
    other = np.random.default_rng(1).permutation(labels)
    both = logistic.cross_validated_logistic(x, np.stack([labels, other]), fold)
    alone = [logistic.cross_validated_logistic(x, one, fold)[0] for one in (labels, other)]
    for a, b in zip(both, alone, strict=True):
        assert (a.confusion == b.confusion).all()
        assert a.loss == pytest.approx(b.loss)


def test_logistic_test_fold_does_not_leak() -> None:
    x, labels, fold = classes(400, 10, 4, seed=7)
    changed = labels.copy()
    changed[fold == 3] = np.random.default_rng(2).permutation(labels[fold == 3])
    before, after = (
        logistic.cross_validated_logistic(x, one, fold)[0] for one in (labels, changed)
    )
    assert before.penalty[3] == after.penalty[3]
    assert (before.confusion[3].sum(axis=0) == after.confusion[3].sum(axis=0)).all()


def test_logistic_refuses() -> None:
    x, labels, fold = classes(60, 4, 3)
    with pytest.raises(UsageError, match="three folds"):
        logistic.cross_validated_logistic(x, labels, fold % 2)
    with pytest.raises(UsageError, match="at least two folds"):
        logistic.cross_validated_logistic(x, np.where(fold == 0, 1, 0), fold)
    with pytest.raises(ShapeError):
        logistic.cross_validated_logistic(x, labels[:-1], fold)
    x[3, 0] = np.nan
    with pytest.raises(NumericsError):
        logistic.cross_validated_logistic(x, labels, fold)
