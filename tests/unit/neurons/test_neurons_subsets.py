"""Minimal subsets, masked probes and control tasks, on neurons of known content."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.rankings.control import control_labels, selectivity
from voxstrata.neurons.rankings.probe import cross_validated_accuracy
from voxstrata.neurons.rankings.ranking import labelled
from voxstrata.neurons.rankings.registry import RANKINGS
from voxstrata.neurons.rankings.subsets import default_sizes, subset_curve


def test_probe_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 7)) + np.arange(3).repeat(30)[:, None] * 0.4
    labels, fold = np.arange(3).repeat(30), np.arange(90) % 5
    right = 0
    for f in range(5):
        known = fold != f
        mean, scale = x[known].mean(0), x[known].std(0)
        model = LogisticRegression(C=1 / (1e-2 * known.sum()), tol=1e-8, max_iter=1000)
        model.fit((x[known] - mean) / scale, labels[known])
        right += (model.predict((x[~known] - mean) / scale) == labels[~known]).sum()
    assert cross_validated_accuracy(x, labels, fold) == right / 90
    with pytest.raises(UsageError, match="two or more"):
        cross_validated_accuracy(x, labels, np.zeros(90))
    with pytest.raises(ShapeError):
        cross_validated_accuracy(x, labels, np.zeros(3))
    with pytest.raises(UsageError, match="one class only"):
        cross_validated_accuracy(x[:60], labels[:60], np.arange(60) // 30)


def test_two_neurons_are_enough() -> None:
    rng = np.random.default_rng(1)
    P, D = 160, 40
    labels, fold = np.arange(P) % 4, np.arange(P) // 4 % 4
    x = rng.standard_normal((P, D)) * 0.3
    x[:, 0] += 2.0 * (labels % 2)
    x[:, 1] += 2.0 * (labels // 2)
    data = labelled(x, labels)
    options = {"sizes": [1, 2, 4, 16, 40], "repeats": 2}
    curve = subset_curve(data, RANKINGS.get("auc"), fold, **options)  # type: ignore[arg-type]
    assert 0.8 < curve.full < 1
    assert curve.minimal == 2
    assert curve.majority == pytest.approx(0.25, abs=0.06)
    two = curve.sizes.tolist().index(2)
    assert curve.trained["top"][two] > 0.97
    assert curve.trained["bottom"][two] < 0.45
    assert curve.trained["random"][two] < 0.6
    assert curve.masked["top"][two] > curve.masked["random"][two] + 0.2
    for kind in (curve.trained, curve.masked):
        assert {values[-1] for values in kind.values()} == {curve.full}
    table = curve.table()
    assert len(table) == 2 * 3 * len(curve.sizes)
    again = subset_curve(data, RANKINGS.get("auc"), fold, **options)  # type: ignore[arg-type]
    assert again.table().equals(table)


def test_a_ranking_does_not_see_the_units_it_is_tested_on() -> None:
    """300 neurons of noise: a ranking of all units would find some that tell these units apart."""
    rng = np.random.default_rng(2)
    x, labels, fold = rng.standard_normal((60, 300)), np.arange(60) % 2, np.arange(60) // 2 % 5
    honest, seen = [], []
    for name in ("auc", "linear-probe"):
        ranking = RANKINGS.get(name)
        data = labelled(x, labels)
        honest.append(subset_curve(data, ranking, fold, sizes=[8], repeats=1).trained["top"][0])
        best = ranking.score(data).order()[:8]
        seen.append(cross_validated_accuracy(x[:, best], labels, fold))
    assert min(seen) > 0.75
    assert max(honest) < 0.68


def test_masking_to_the_mean_is_leaving_out_of_the_logits() -> None:
    rng = np.random.default_rng(3)
    labels, fold = np.arange(80) % 2, np.arange(80) // 2 % 4
    x = rng.standard_normal((80, 6)) + 5 + labels[:, None] * np.array([2, 2, 0, 0, 0, 0])
    data = labelled(x, labels)
    zero = subset_curve(data, RANKINGS.get("auc"), fold, sizes=[2])
    mean = subset_curve(data, RANKINGS.get("auc"), fold, sizes=[2], mask="mean")
    assert mean.masked["top"][0] > 0.85
    assert zero.masked["top"][0] <= mean.masked["top"][0]
    assert zero.trained["top"].tolist() == mean.trained["top"].tolist()


def test_sizes() -> None:
    assert default_sizes(1) == [1]
    assert default_sizes(3072)[-3:] == [1536, 2048, 3072]
    data = labelled(np.random.default_rng(0).standard_normal((20, 4)), np.arange(20) % 2)
    for options in ({"sizes": [5]}, {"sizes": []}, {"tolerance": -1}, {"repeats": 0}):
        with pytest.raises(UsageError, match="sizes, tolerance or repeats"):
            subset_curve(data, RANKINGS.get("auc"), np.arange(20) % 5, **options)  # type: ignore[arg-type]


def test_only_memorised_types_predict_control_labels() -> None:
    rng = np.random.default_rng(4)
    speakers, per = 20, 8
    speaker = np.repeat(np.arange(speakers), per)
    gender = speaker % 2
    fold = np.tile(np.arange(per) % 4, speakers)
    noise = 0.1 * rng.standard_normal((len(speaker), 12))
    one_neuron = noise.copy()
    one_neuron[:, 0] += gender
    voices = noise[:, :1].repeat(speakers, 1) + np.eye(speakers)[speaker]
    knows = selectivity(one_neuron, gender, speaker, fold, draws=8)
    memorises = selectivity(voices, gender, speaker, fold, draws=8)
    assert knows.accuracy > 0.99
    assert memorises.accuracy > 0.99
    assert knows.learnable == memorises.learnable == 1
    assert memorises.control > 0.99
    assert memorises.selectivity < 0.02
    assert knows.control < 0.75
    assert knows.selectivity > 0.25
    with pytest.raises(UsageError, match="cannot be learned"):
        selectivity(voices, gender, speaker, speaker % 4)
    with pytest.raises(UsageError, match="one class only"):
        selectivity(voices, gender, np.zeros(160), fold)


def test_control_labels_have_the_labels_shares() -> None:
    labels = np.repeat([0, 1], [900, 100])
    drawn = np.array(
        [control_labels(labels, np.arange(1000) // 2, seed).mean() for seed in range(30)]
    )
    assert drawn.mean() == pytest.approx(0.1, abs=0.02)
    one = control_labels(labels, np.arange(1000) // 2, 0)
    assert (one[::2] == one[1::2]).all()
    assert not (control_labels(labels, np.arange(1000) // 2, 1) == one).all()
