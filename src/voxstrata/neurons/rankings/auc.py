"""AUC: how well one neuron by itself tells a group from the rest."""

from __future__ import annotations

import numpy as np

from voxstrata.neurons.rankings.ranking import Labelled, Ranking, Scores
from voxstrata.neurons.statistics.effects import area, ranks


def auc(data: Labelled) -> Scores:
    """|2 AUC - 1| of each group's units against the rest; a neuron's is the largest.

    0 says nothing, 1 separates; neurons that are low in the group count as well.
    """
    found = np.abs(2 * area(ranks(data.x), data.labels, len(data.groups)) - 1)
    return Scores(found.max(axis=0), found)


RANKING = Ranking(
    "auc",
    "how well the neuron alone tells one group from the rest",
    auc,
    reference="Mann and Whitney, Ann. Math. Stat. 18 (1947)",
)
