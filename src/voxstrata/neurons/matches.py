"""Clusters held against known classes: of frames against phones, of recordings against speakers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from voxstrata.errors import LabelError
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.neurons.conditions.states import StateClusters
from voxstrata.neurons.conditions.tiers import tier_labels
from voxstrata.neurons.counts import Ints
from voxstrata.neurons.passes import Counted
from voxstrata.neurons.prepare import Prepared
from voxstrata.neurons.statistics.matching import Matching, matching

TIERS = ("gender", "speaker")
"""What clusters of recordings are held against, where the corpus has it."""

MOST = 400
"""Classes up to which clusters are held against them."""


@dataclass(frozen=True)
class Match:
    """One clustering against one set of classes.

    Attributes:
        model, layer: whose states were clustered.
        clusters, classes: names of the two.
        unit: "frame" or "utterance".
        found: the measures.
    """

    model: str
    layer: str
    clusters: str
    classes: str
    unit: str
    found: Matching


def matches(prepared: Prepared, counted: Counted) -> Iterator[Match]:
    """Every clustering of a run against every set of classes that the corpus has."""
    tiers = _tiers(prepared)
    speakers = _speakers(prepared)
    seed = prepared.config.seed
    for one, tables in zip(prepared.analysed, counted.meetings, strict=True):
        for (clusters, classes), table in zip(one.meetings, tables, strict=True):
            if table.sum():
                found = matching(table, clusters.rows, classes.rows, together=speakers, seed=seed)
                layer = clusters.layers[0].removeprefix(f"{one.model.spec}/")
                yield Match(one.model.spec, layer, clusters.name, classes.name, "frame", found)
    for one, counts in zip(prepared.analysed, counted.counts, strict=True):
        for condition in one.conditions:
            if isinstance(condition, StateClusters):
                seen = counts[condition.name].seen
                layer = condition.layers[0].removeprefix(f"{one.model.spec}/")
                for labels in tiers:
                    own = labels.units(counts[condition.name].units, prepared.members)
                    table = _placed(seen, own, len(labels.groups))
                    found = matching(
                        table, condition.rows, labels.groups, together=speakers, seed=seed
                    )
                    yield Match(one.model.spec, layer, condition.name, labels.name, "frame", found)
    named = {
        c.labels.name: c.labels
        for one in prepared.analysed
        for c in one.contrasts
        if c.labels is not None and c.labels.details.get("vectors")
    }
    for grouping in named.values():
        for labels in tiers:
            recordings = [u.id for u in prepared.corpus.utterances if u.id in grouping.of]
            table = np.zeros((len(recordings), len(grouping.groups), len(labels.groups)), np.int64)
            for i, recording in enumerate(recordings):
                if recording in labels.of:
                    table[i, grouping.of[recording], labels.of[recording]] = 1
            of = {u.id: str(u.tiers.get("speaker", u.id)) for u in prepared.corpus.utterances}
            together = [of[recording] for recording in recordings]
            found = matching(table, grouping.groups, labels.groups, together=together, seed=seed)
            details = grouping.details
            yield Match(
                str(details["vectors"]), str(details.get("layer", "")), grouping.name, labels.name,
                "utterance", found,
            )  # fmt: skip


def _tiers(prepared: Prepared) -> list[Labels]:
    found = []
    for tier in TIERS:
        try:
            labels = tier_labels(prepared.corpus, tier)
        except LabelError:
            continue
        if len(labels.groups) <= MOST:
            found.append(labels)
    return found


def _speakers(prepared: Prepared) -> list[str] | None:
    """Speaker of each unit, so that intervals draw speakers; ``None`` where some have none."""
    if prepared.by == "speaker" or None in prepared.speakers:
        return None
    return [str(name) for name in prepared.speakers]


def _placed(seen: Ints, labels: Ints, groups: int) -> Ints:
    """Frames [P, C] of units with a label each, as counts [P, C, G]."""
    found = np.zeros((*seen.shape, groups), np.int64)
    kept = np.flatnonzero(labels >= 0)
    found[kept, :, labels[kept]] = seen[kept]
    return found
