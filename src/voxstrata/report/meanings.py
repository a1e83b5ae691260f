"""What the numbers of properties mean, in a sentence each, for a reader new to them."""

from __future__ import annotations

from collections.abc import Iterable

MEANINGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("pwcca",),
        "PWCCA",
        "Directions of the layer and of the view are paired so that they correlate most; their "
        "correlations are averaged, important directions counting more. 1: the view can be read "
        "off the layer; 0: nothing in common. Scored on recordings that the directions were not "
        "found on, so it may fall below 0.",
    ),
    (
        ("cca-mean", "svcca"),
        "mean CCA, SVCCA",
        "The same correlations, averaged with equal weights; SVCCA drops weak directions first.",
    ),
    (
        ("r2",),
        "R²",
        "Share of the variance of the target that a linear readout of the layer predicts on "
        "recordings it was not fitted on. 1: all; 0 or below: no better than the mean.",
    ),
    (
        ("accuracy", "balanced-accuracy", "group-accuracy", "macro-f1"),
        "accuracy",
        "How often a linear classifier on the layer names the right class on recordings it was "
        "not fitted on; balanced: every class counts the same; of slots: every slot counts by "
        "itself.",
    ),
    (
        ("accuracy-within", "accuracy-across"),
        "ABX accuracy",
        "How often a sound is nearer to another of its kind than to one of a different kind, of "
        "the same speaker (within) or another (across). 0.5 is guessing. Nothing is trained.",
    ),
    (
        ("mi", "pnmi"),
        "mutual information",
        "Rows are clustered; how much of the uncertainty about the label the cluster takes away. "
        "0: none, 1: all. Many clusters alone raise it: look at the control.",
    ),
    (
        ("selectivity", "mi-selectivity", "pnmi-selectivity"),
        "selectivity",
        "The value less its control: what is left when memorising is taken off.",
    ),
    (
        ("ap",),
        "average precision",
        "Pairs of words are sorted by distance; how far same-word pairs come before all others. "
        "1: all first.",
    ),
    (
        ("boundary-f1", "token-f1", "r-value"),
        "boundary F1",
        "How many word boundaries are found without training, and how many of those found are "
        "right. 1: all and only these.",
    ),
    (
        ("spearman",),
        "Spearman's ρ",
        "Whether pairs that should be more alike are nearer in the layer: 1 the same order, 0 no "
        "relation.",
    ),
    (
        ("share-phone", "share-speaker", "share-phone-corrected", "share-speaker-corrected"),
        "share of variance",
        "How much of what varies in the layer goes with the phone, the speaker, or neither; "
        "corrected: less what sampling alone gives.",
    ),
    (
        ("gap",),
        "gap",
        "What a phone classifier loses on speakers it has not heard; 0: speakers do not matter.",
    ),
    (
        ("overlap",),
        "overlap",
        "Whether phones and speakers take the same directions: 0 separate, 1 the same.",
    ),
)
"""Measures (registry names), how they are called, and what they say."""


def meanings(measures: Iterable[str]) -> list[tuple[str, str]]:
    """Name and meaning for those measures that are explained, in a fixed order.

    Args:
        measures: registry names; parts after a colon do not count.
    """
    present = {measure.partition(":")[0] for measure in measures}
    return [(name, text) for names, name, text in MEANINGS if present & set(names)]
