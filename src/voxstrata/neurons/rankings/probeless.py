"""Probeless: how far apart the groups' means are."""

from __future__ import annotations

import numpy as np

from voxstrata.neurons.rankings.ranking import Labelled, Ranking, Scores


def probeless(data: Labelled) -> Scores:
    """r_i = sum over pairs of groups of |mean_z - mean_z'|_i (Antverg and Belinkov 2022).

    Activations are taken as they are, so that neurons of large numbers come first; standardise the
    columns before if that is not wanted. With the groups' means sorted, m_(1) <= ... <= m_(G), the
    sum is that of (2 k - G - 1) m_(k): no pair is formed.
    """
    G = len(data.groups)
    member = (data.labels == np.arange(G)[:, None]).astype(np.float64)
    means = np.sort(member @ data.x / member.sum(axis=1, keepdims=True), axis=0)
    return Scores(np.asarray((2 * np.arange(1, G + 1) - G - 1) @ means))


RANKING = Ranking(
    "probeless",
    "distances between the groups' means, summed over pairs",
    probeless,
    reference="Antverg and Belinkov, ICLR 2022 (arXiv 2110.07483)",
)
