"""Linear-probe weights: neurons in the order in which growing shares of weight mass reach them."""

from __future__ import annotations

import numpy as np

from voxstrata.neurons.counts import Floats
from voxstrata.neurons.rankings.elastic_net import Ridge, fit_sparse
from voxstrata.neurons.rankings.ranking import Labelled, Ranking, Scores

STEPS = 100
"""Mass grows by 1 % a step."""


def linear_probe(
    data: Labelled, *, l1: float = 1e-2, l2: float = 1e-2, ridge: Ridge = "norm"
) -> Scores:
    """Order of Dalvi et al. (2019) from a sparse linear probe.

    Args:
        data: units with labels.
        l1, l2, ridge: see :func:`~voxstrata.neurons.rankings.elastic_net.fit_sparse`.
    """
    probe = fit_sparse(data.x, data.labels, len(data.groups), l1=l1, l2=l2, ridge=ridge)
    return from_weights(probe.weights)


def from_weights(weights: Floats) -> Scores:
    """Scores by the step at which cumulative weight mass reaches a neuron.

    For class c and mass q, the top neurons are the shortest prefix, by |W_c| falling, that holds
    at least q of the sum of |W_c| (one neuron for q = 0). Steps q = 0, 1 %, ..., 100 % add the
    neurons that are new for any class. Here the order inside a step, which is arbitrary there, is
    by the largest share of a class's mass; neurons without weight come last, all equal.

    Args:
        weights: W [G, D].

    Returns:
        score (STEPS + 1 - step) + share of mass; 0 for neurons that no step reaches. ``by_group``
        are the shares |W_c| / sum |W_c|.
    """
    size = np.abs(weights)
    total = size.sum(axis=1, keepdims=True)
    share = size / np.where(total > 0, total, 1.0)
    order = np.argsort(-size, axis=1, kind="stable")
    ordered = np.take_along_axis(share, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    # The k-th neuron is in the prefix of mass q if those before it hold less than q.
    step = np.floor(before * STEPS + 1e-9).astype(np.int64) + 1
    step[:, 0] = 0
    step[ordered <= 0] = STEPS + 1
    reached = np.empty_like(step)
    np.put_along_axis(reached, order, step, axis=1)
    first = np.minimum(reached.min(axis=0), STEPS + 1)
    largest = share.max(axis=0)
    # A share is at most 1, and only then nothing else has weight: steps stay apart.
    return Scores(np.where(largest > 0, STEPS + 1 - first + largest * (1 - 1e-9), 0.0), share)


RANKING = Ranking(
    "linear-probe",
    "weights of a sparse linear probe, by cumulative mass",
    linear_probe,
    reference="Dalvi et al., AAAI 2019 (arXiv 1812.09355); NeuroX",
)
