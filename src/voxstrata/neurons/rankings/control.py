"""Control tasks: can the probe learn labels that mean nothing? (Hewitt and Liang, EMNLP 2019.)

Every type (a speaker, a phone, a recording's text) is given a random label, drawn from the labels'
shares. Only a probe that memorises types predicts it; selectivity is what the real label gains
over it. A type must occur in several folds, or there is nothing to memorise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Floats, Ints
from voxstrata.neurons.rankings.probe import PENALTY, checked_folds, cross_validated_accuracy
from voxstrata.neurons.statistics.draws import Labels, check_draws, codes


@dataclass(frozen=True)
class Selectivity:
    """A task against its control.

    Attributes:
        accuracy: of the real labels.
        control: mean accuracy of the control labellings.
        draws: [B], accuracy of each.
        learnable: share of units whose type occurs in another fold.
    """

    accuracy: float
    control: float
    draws: Floats
    learnable: float

    @property
    def selectivity(self) -> float:
        """Accuracy minus that of the control."""
        return self.accuracy - self.control


def control_labels(labels: Ints, types: Labels, seed: int = 0) -> Ints:
    """A label for each type, drawn from the labels' shares over units, [P]."""
    kind = codes(types, len(labels), "types")
    drawn = np.random.default_rng([seed, 6]).choice(labels, int(kind.max()) + 1)
    return np.asarray(drawn[kind], dtype=np.int64)


def selectivity(
    x: Floats,
    labels: Ints,
    types: Labels,
    fold: NDArray[np.generic],
    *,
    draws: int = 5,
    seed: int = 0,
    penalty: float = PENALTY,
) -> Selectivity:
    """Accuracy of a probe on the labels and on random labels of types, the same folds for both.

    Args:
        x: [P, D], activations (of all neurons, or of some).
        labels: [P].
        types: [P], what is given a random label as a whole.
        fold: [P]; units of one type should be in several folds.
        draws: control labellings.
        seed: of them.
        penalty: of the probe.

    Raises:
        UsageError: no type occurs in two folds; every control labelling has one class only; as
            :func:`~voxstrata.neurons.rankings.probe.cross_validated_accuracy`.
    """
    check_draws(draws)
    parts = checked_folds(fold, len(labels))
    kind = codes(types, len(labels), "types")
    spread = np.sum([np.bincount(kind[test], minlength=kind.max() + 1) > 0 for test in parts], 0)
    learnable = float((spread[kind] > 1).mean())
    if not learnable:
        raise UsageError(
            "a control task cannot be learned where every type is in one fold",
            got=f"{len(spread)} types in {len(parts)} folds",
            expected="types whose units are in several folds",
            fix="split the units of each type over folds",
        )
    found = []
    for draw in range(draws):
        drawn = control_labels(labels, types, seed * 1000 + draw)
        if all(len(np.unique(drawn[~test])) > 1 for test in parts):
            found.append(cross_validated_accuracy(x, drawn, fold, penalty))
    if not found:
        raise UsageError(
            "every control labelling has one class only",
            got=f"{len(spread)} types",
            fix="use more types, or more draws",
        )
    values = np.array(found)
    real = cross_validated_accuracy(x, labels, fold, penalty)
    return Selectivity(real, float(values.mean()), values, learnable)
