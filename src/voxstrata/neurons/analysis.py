"""One contrast of one model: the published selection, beside what chance gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.counts import Counts, UnitCounts
from voxstrata.neurons.prepare import Prepared
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.sets import NeuronSet, neuron_set
from voxstrata.neurons.statistics.design import Design, by_rows, by_units
from voxstrata.neurons.statistics.null import Null, selection_null

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """What one contrast says about one model.

    Attributes:
        model: its text.
        contrast: name.
        counts: of the groups' rows.
        selected: layer to [G, D], property neurons by group.
        null: the same with labels dealt anew; ``None`` where it was not asked for, or no labelling
            can be dealt.
        units: units behind the null.
        moved: what the null moves as one: "recording", "speaker" or "rows within each recording".
        thin: rows with too few frames for a probability to mean much.
        notes: sentences for the reader.
    """

    model: str
    contrast: str
    counts: Counts
    selected: Mapping[str, Bools]
    null: Null | None
    units: int
    moved: str
    thin: list[str]
    notes: list[str]

    @property
    def neurons(self) -> int:
        """Neurons looked at."""
        return sum(active.shape[1] for active in self.counts.active.values())

    def neuron_set(self, model: SpeechModel) -> NeuronSet:
        """The property neurons as a set, with the group each is of."""
        names = self.counts.groups
        return neuron_set(
            self.contrast,
            model,
            {layer: np.flatnonzero(found.any(axis=0)) for layer, found in self.selected.items()},
            groups={
                group: {
                    layer: tuple(np.flatnonzero(found[g]).tolist())
                    for layer, found in self.selected.items()
                }
                for g, group in enumerate(names)
            },
        )


def analyse(
    contrast: Contrast,
    found: UnitCounts,
    prepared: Prepared,
    model: SpeechModel,
    each: Callable[[str], None] | None = None,
) -> Found:
    """Select, and select again with labels dealt anew.

    Args:
        contrast: what is told apart.
        found: counts of its frame condition.
        prepared: the run.
        model: whose neurons they are.
        each: called with the name of each layer that is done.

    Raises:
        LabelError: a group has no frame.
    """
    config = prepared.config
    counts = contrast.counts(found, prepared.members)
    design = design_of(contrast, found, prepared)
    clusters, moved = moving(contrast, found, prepared.corpus, prepared.by)
    notes: list[str] = []
    null: Null | None = None
    if config.draws:
        try:
            null = selection_null(
                found, design, draws=config.draws, seed=config.seed, clusters=clusters, each=each
            )
        except UsageError as error:
            notes.append(f"No null for {contrast.name}: {error.what}.")
    if null is not None:
        selected = {layer: one.found for layer, one in null.layers.items()}
        for layer in selected:
            assert (selected[layer] == property_neurons(counts, layer, config.sigma)).all()
    else:
        selected = {layer: property_neurons(counts, layer, config.sigma) for layer in counts.active}
    used = counts.group_of >= 0
    thin = [
        name
        for name, seen, use in zip(counts.rows, counts.seen, used, strict=True)
        if use and seen < config.least_frames
    ]
    if thin:
        notes.append(
            f"{contrast.name}: {len(thin)} of {int(used.sum())} rows have fewer than "
            f"{config.least_frames} frames ({', '.join(thin[:3])}, ...): a neuron that was active "
            "there once or twice is above chance."
        )
    if (np.bincount(counts.group_of[used]) == 1).all() and config.sigma < 1:
        pass  # one row a group: sigma has no say, and that is what such contrasts are
    units = null.units if null is not None else len(found.units)
    return Found(model.spec, contrast.name, counts, selected, null, units, moved, thin, notes)


def design_of(contrast: Contrast, found: UnitCounts, prepared: Prepared) -> Design:
    """The contrast as a selection."""
    sigma = prepared.config.sigma
    if contrast.labels is not None:
        labels = contrast.labels.units(found.units, prepared.members)
        return by_units(found, labels, contrast.groups, sigma=sigma)
    return by_rows(found, contrast.group_of, contrast.groups, sigma=sigma)


def moving(
    contrast: Contrast, found: UnitCounts, corpus: Corpus, by: str
) -> tuple[list[str] | None, str]:
    """What must move as one when labels are dealt anew.

    A label that never differs within a speaker belongs to speakers: shuffling it over recordings
    would make a null of recordings that are not independent.

    Returns:
        speaker of each unit, or ``None`` where units move by themselves; and its name.
    """
    if contrast.labels is None:
        return None, f"rows within each {by}"
    if by == "speaker":
        return None, "speaker"
    speaker = {u.id: u.tiers.get("speaker") for u in corpus.utterances}
    if any(speaker[unit] is None for unit in found.units):
        return None, "recording"
    of: dict[str, set[int]] = {}
    for unit in found.units:
        label = contrast.labels.of.get(unit)
        if label is not None:
            of.setdefault(str(speaker[unit]), set()).add(label)
    many = len(of) > len(contrast.groups)
    if many and all(len(labels) == 1 for labels in of.values()):
        return [str(speaker[unit]) for unit in found.units], "speaker"
    return None, "recording"
