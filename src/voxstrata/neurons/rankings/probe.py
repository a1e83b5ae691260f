"""The dense probe that subsets of neurons are judged by: logistic regression across folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.counts import Floats, Ints
from voxstrata.properties.linear.logistic import Training

PENALTY = 1e-2
"""lambda / 2 times the squared weights of standardised columns, beside mean cross-entropy."""


@dataclass(frozen=True)
class FittedProbe:
    """A probe of one training set.

    Attributes:
        training: standardisation and coordinates.
        weights: in those coordinates.
        classes: [K], what its outputs stand for.
    """

    training: Training
    weights: torch.Tensor
    classes: Ints

    def predict(self, x: Floats) -> Ints:
        """Class of each row, [n]."""
        rows = self.training.project(torch.from_numpy(x))
        found = self.training.log_probabilities(rows, self.weights).argmax(dim=1).numpy()
        return np.asarray(self.classes[found], dtype=np.int64)


def fit_probe(x: Floats, labels: Ints, penalty: float = PENALTY) -> FittedProbe:
    """Multinomial logistic regression of the classes that occur.

    Args:
        x: [n, D]; standardised inside.
        labels: [n].
        penalty: lambda.
    """
    classes, number = np.unique(labels, return_inverse=True)
    training = Training(torch.from_numpy(np.ascontiguousarray(x)), torch.float64)
    weights, _ = training.fit(torch.from_numpy(number.astype(np.int64)), len(classes), penalty)
    return FittedProbe(training, weights, classes)


def checked_folds(fold: NDArray[np.generic], units: int) -> list[NDArray[np.bool_]]:
    """Test rows of each fold.

    Raises:
        ShapeError: there is not one fold a unit.
        UsageError: fewer than two folds.
    """
    given = np.asarray(fold)
    if given.shape != (units,):
        raise ShapeError("folds of units", got=given.shape, expected=(units,))
    names = np.unique(given)
    if len(names) < 2:
        raise UsageError(
            "a probe is tested on units it was not fitted on",
            got="one fold",
            expected="two or more",
        )
    return [np.asarray(given == name) for name in names]


def cross_validated_accuracy(
    x: Floats, labels: Ints, fold: NDArray[np.generic], penalty: float = PENALTY
) -> float:
    """Share of units that probes of the other folds get right.

    Raises:
        as :func:`checked_folds`; UsageError where a training part has one class only.
    """
    right = 0
    for test in checked_folds(fold, len(labels)):
        if len(np.unique(labels[~test])) < 2:
            raise UsageError("the units that a fold leaves for training have one class only")
        right += int(
            (fit_probe(x[~test], labels[~test], penalty).predict(x[test]) == labels[test]).sum()
        )
    return right / len(labels)
