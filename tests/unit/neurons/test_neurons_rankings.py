"""Rankings against literal definitions, scikit-learn, optimality conditions and planted neurons."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import sklearn
from scipy.stats import kendalltau, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.neurons.rankings import elastic_net
from voxstrata.neurons.rankings.agreement import agreement
from voxstrata.neurons.rankings.elastic_net import SparseProbe, fit_sparse
from voxstrata.neurons.rankings.linear_probe import from_weights
from voxstrata.neurons.rankings.ranking import Labelled, Scores, labelled
from voxstrata.neurons.rankings.registry import RANKINGS


def planted(seed: int = 0, P: int = 120, D: int = 60, groups: int = 3) -> Labelled:
    """Neurons 0 to 4 carry the groups, each another share; the others are noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(P) % groups
    x = rng.standard_normal((P, D)) + 2
    for k in range(5):
        x[:, k] += 2.5 * (labels == k % groups)
    rates = np.clip(0.02 + 0.01 * (x - 2), 0, 1)
    return labelled(x, labels, rates=rates, frames=rng.integers(50, 200, P))


@pytest.mark.parametrize("name", RANKINGS.names())
def test_every_ranking_finds_planted_neurons(name: str) -> None:
    ranking = RANKINGS.get(name)
    assert ranking.name == name
    for seed in range(3):
        scores = ranking.score(planted(seed))
        assert set(scores.order()[:5].tolist()) == {0, 1, 2, 3, 4}
        assert sorted(scores.order().tolist()) == list(range(60))
        if scores.by_group is not None:
            assert scores.by_group.shape == (3, 60)
            assert scores.by_group[:, :3].argmax(axis=0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", RANKINGS.names())
def test_constant_neurons_come_last(name: str) -> None:
    data = planted()
    x, rates = data.x.copy(), np.asarray(data.rates).copy()
    x[:, 30:] = 1 / 3
    rates[:, 30:] = 0.1
    scores = RANKINGS.get(name).score(labelled(x, data.labels, rates=rates))
    assert scores.neuron[30:].max() < scores.neuron[:30].min() + 1e-12


def test_scores_by_their_definitions() -> None:
    data = planted(1, groups=4)
    G, D = 4, 60
    means = np.stack([data.x[data.labels == g].mean(0) for g in range(G)])
    pairs = sum(np.abs(means[a] - means[b]) for a, b in combinations(range(G), 2))
    assert RANKINGS.get("probeless").score(data).neuron == pytest.approx(pairs)
    auc = RANKINGS.get("auc").score(data)
    for g in range(G):
        for d in range(0, D, 7):
            one = roc_auc_score(data.labels == g, data.x[:, d])
            assert auc.by_group[g, d] == pytest.approx(abs(2 * one - 1))  # type: ignore[index]
    d = RANKINGS.get("mean-difference").score(data).by_group
    spread = np.sqrt(
        sum(((data.x[data.labels == g] - means[g]) ** 2).sum(0) for g in range(G)) / (120 - G)
    )
    rest = np.stack([data.x[data.labels != g].mean(0) for g in range(G)])
    assert d == pytest.approx(np.abs(means - rest) / spread)
    assert data.rates is not None
    assert data.frames is not None
    p = np.stack(
        [
            np.average(data.rates[data.labels == g], 0, data.frames[data.labels == g])
            for g in range(G)
        ]
    )
    found = RANKINGS.get("activating-probability").score(data)
    assert found.neuron == pytest.approx(np.sort(p, 0)[-1] - np.sort(p, 0)[-2])
    for g in range(G):
        assert found.by_group[g] == pytest.approx(p[g] - np.delete(p, g, 0).max(0))  # type: ignore[index]


def subgradient_gap(
    probe: SparseProbe, x: np.ndarray, labels: np.ndarray, l1: float, l2: float, ridge: str
) -> float:  # type: ignore[type-arg]
    """How far the optimality conditions are from holding."""
    rows = (x - x.mean(0)) / x.std(0)
    logits = rows @ probe.weights.T + probe.intercepts
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    error = p - (labels[:, None] == np.arange(p.shape[1]))
    gradient = error.T @ rows / len(x)
    w = probe.weights
    size = np.linalg.norm(w)
    smooth = gradient + l2 * (w / size if ridge == "norm" else w)
    on = w != 0
    gaps = [np.abs(error.mean(0)).max(), np.abs(smooth + l1 * np.sign(w))[on].max(initial=0)]
    return float(max(*gaps, (np.abs(gradient[~on]) - l1).max(initial=0)))


@pytest.mark.parametrize("ridge", ["norm", "squared"])
@pytest.mark.parametrize("l1", [0.0, 0.003, 0.05])
@pytest.mark.parametrize("at_once", [3, 100])
def test_sparse_probe_is_optimal(
    ridge: str, l1: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_net, "_AT_ONCE", at_once)
    data = planted(2)
    probe = fit_sparse(data.x, data.labels, 3, l1=l1, l2=0.02, ridge=ridge, tolerance=1e-7)  # type: ignore[arg-type]
    assert probe.converged
    assert subgradient_gap(probe, data.x, data.labels, l1, 0.02, ridge) < 1e-6
    if l1:
        assert (probe.weights == 0).any()
    assert (probe.predict(data.x) == data.labels).mean() > 0.8


def test_sparse_probe_is_scikit_learns_elastic_net() -> None:
    data = planted(3, P=90, D=12)
    rows = (data.x - data.x.mean(0)) / data.x.std(0)
    l1, l2 = 0.01, 0.03
    # C of scikit-learn weighs the summed loss: 1 / (n (l1 + l2)), with l1_ratio the share of l1
    settings = {"C": 1 / (90 * (l1 + l2)), "l1_ratio": l1 / (l1 + l2), "solver": "saga"}
    if tuple(int(x) for x in sklearn.__version__.split(".")[:2]) < (
        1,
        8,
    ):  # later versions go by l1_ratio alone
        settings["penalty"] = "elasticnet"
    reference = LogisticRegression(tol=1e-9, max_iter=20000, **settings)
    reference.fit(rows, data.labels)
    probe = fit_sparse(data.x, data.labels, 3, l1=l1, l2=l2, ridge="squared", tolerance=1e-8)
    assert probe.weights == pytest.approx(reference.coef_, abs=2e-4)


def test_more_neurons_than_units_and_strong_penalties() -> None:
    rng = np.random.default_rng(4)
    x, labels = rng.standard_normal((30, 200)), np.arange(30) % 2
    probe = fit_sparse(x, labels, 2, l1=1.0)
    assert not probe.weights.any()
    assert probe.intercepts == pytest.approx(np.log([0.5, 0.5]), abs=1e-6)
    wide = fit_sparse(x, labels, 2)
    assert wide.converged
    assert 0 < (wide.weights != 0).any(axis=0).sum() < 100
    with pytest.raises(UsageError, match="not negative"):
        fit_sparse(x, labels, 2, l1=-1)
    with pytest.raises(NumericsError):
        fit_sparse(np.full((4, 1), np.nan), np.array([0, 1, 0, 1]), 2)


def test_order_by_growing_mass() -> None:
    """Step by step, as the definition says."""
    rng = np.random.default_rng(5)
    weights = rng.standard_t(2, (3, 80)) * (rng.random((3, 80)) < 0.7)
    weights[2] = 0
    found: list[set[int]] = []
    for step in range(101):
        chosen: set[int] = set()
        for w in np.abs(weights[:2]):
            order = np.argsort(-w, kind="stable")
            mass, prefix = 0.0, []
            for i in order.tolist():
                prefix.append(i)
                mass += w[i]
                if mass >= step / 100 * w.sum() - 1e-12:
                    break
            chosen |= {i for i in prefix if w[i] > 0}
        found.append(chosen - set().union(*found))
    scores = from_weights(weights)
    order = scores.order().tolist()
    start = 0
    for step, new in enumerate(found):
        if step == 100:  # rounding of the last per cent
            break
        assert set(order[start : start + len(new)]) == new, step
        start += len(new)
    silent = np.flatnonzero(~weights.any(axis=0))
    assert (scores.neuron[silent] == 0).all()
    assert set(order[-len(silent) :]) == set(silent.tolist())


def test_equal_scores_do_not_make_rankings_agree() -> None:
    flat = Scores(np.zeros(1000))
    table = agreement({"a": flat, "b": flat}, tops=(100,))
    top = table[table.measure == "top 100"].value.item()
    assert 0.03 < top < 0.2
    assert table[table.measure == "spearman"].value.isna().all()


def test_agreement_by_its_definitions() -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(0, 12, 50).astype(float)
    y = x + 3 * rng.standard_normal(50)
    table = agreement({"x": Scores(x), "y": Scores(y), "z": Scores(-y)}, tops=(10, 100), seed=3)
    value = table.set_index(["a", "b", "measure"]).value
    assert value["x", "y", "spearman"] == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    assert value["x", "y", "kendall"] == pytest.approx(kendalltau(x, y).statistic)
    assert value["y", "z", "kendall"] == -1
    top_x, top_y = Scores(x).order(3)[:10], Scores(y).order(4)[:10]
    assert value["x", "y", "top 10"] == len(set(top_x.tolist()) & set(top_y.tolist())) / 10
    assert "top 100" not in table.measure.tolist()
    assert table[table.measure == "top 10"].chance.tolist() == [0.2] * 3
    with pytest.raises(ShapeError):
        agreement({"x": Scores(x), "y": Scores(y[:3])})
    with pytest.raises(UsageError, match="at least two rankings"):
        agreement({"x": Scores(x)})


def test_what_cannot_be_ranked_is_refused() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(UsageError, match="at least two groups"):
        labelled(x, ["a"] * 4)
    with pytest.raises(UsageError, match="none of c"):
        Labelled(x, np.array([0, 1, 0, 1]), ("a", "b", "c"))
    with pytest.raises(ShapeError):
        labelled(x, ["a", "b"])
    with pytest.raises(NumericsError):
        labelled(x * np.nan, list("abab"))
    with pytest.raises(UsageError, match="needs rates"):
        RANKINGS.get("activating-probability").score(labelled(x, list("abab")))
    data = labelled(x, list("abcb")).take(np.array([1, 2, 3]))
    assert data.groups == ("b", "c")
    assert data.labels.tolist() == [0, 1, 0]
