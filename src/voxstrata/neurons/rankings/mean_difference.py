"""Mean difference: how far a group's mean lies from the rest, in deviations of units."""

from __future__ import annotations

import numpy as np

from voxstrata.neurons.rankings.ranking import Labelled, Ranking, Scores
from voxstrata.neurons.statistics.effects import mean_difference as difference


def mean_difference(data: Labelled) -> Scores:
    """|mean of the group - mean of the rest| over the pooled deviation within groups.

    A neuron's score is the largest of its groups. With two groups this is Cohen's d. 0 for a
    neuron that is constant; where groups differ and no group varies, the deviation is taken as
    1e-6 of the difference, so that such neurons come first.
    """
    G, n = len(data.groups), len(data.labels)
    member = (data.labels == np.arange(G)[:, None]).astype(np.float64)
    means = member @ data.x / member.sum(axis=1, keepdims=True)
    within = data.x - means[data.labels]
    deviation = np.sqrt((within**2).sum(axis=0) / max(n - G, 1))
    gap = np.abs(difference(data.x, data.labels, G))
    # Rounding of means must not make a constant neuron the best of all.
    scale = np.abs(data.x).max(axis=0)
    gap = np.where(gap > 1e-12 * scale, gap, 0.0)
    found = gap / np.maximum(deviation, np.maximum(1e-6 * gap, 1e-300))
    return Scores(found.max(axis=0), found)


RANKING = Ranking(
    "mean-difference",
    "difference of means in pooled deviations",
    mean_difference,
    reference="Cohen, Statistical Power Analysis for the Behavioral Sciences (1969)",
)
