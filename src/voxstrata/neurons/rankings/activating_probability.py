"""Activating probability: how much more often a neuron is active in one group than in any other."""

from __future__ import annotations

import numpy as np

from voxstrata.errors import UsageError
from voxstrata.neurons.rankings.ranking import Labelled, Ranking, Scores


def activating_probability(data: Labelled) -> Scores:
    """Largest minus second largest activating probability of the groups.

    A group's probability is active frames over frames of its units (units alike without frames).
    The score of a group is its probability minus the largest of the others.

    Raises:
        UsageError: the units have no rates.
    """
    if data.rates is None:
        raise UsageError(
            "ranking by activating probability needs rates of activity",
            got="mean activations only",
            fix="give rates: the share of frames in which each neuron was active",
        )
    weight = np.ones(len(data.labels)) if data.frames is None else data.frames.astype(np.float64)
    member = (data.labels == np.arange(len(data.groups))[:, None]) * weight
    total = member.sum(axis=1, keepdims=True)
    probability = member @ data.rates / np.where(total > 0, total, 1.0)
    best = np.sort(probability, axis=0)
    others = np.where(probability == best[-1], best[-2], best[-1])
    margin = probability - others
    return Scores(best[-1] - best[-2], margin)


RANKING = Ranking(
    "activating-probability",
    "margin of the group that activates it most",
    activating_probability,
    needs="rates",
    reference="after Lin et al., arXiv 2409.05910 (their selection takes a threshold instead)",
)
