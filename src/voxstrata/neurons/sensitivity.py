"""The published selection made otherwise: other k, other seeds of k-means, other shares of neurons.

What the papers fixed (K = 3, G = 2, 1 %) is varied within the same pass, and the sets are held
against those of the settings asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voxstrata.errors import LabelError, UsageError, VoxstrataError
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.conditions.parse import Sources, make_contrast
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.rules import Rule, Top
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.sets import NeuronSet, neuron_set
from voxstrata.neurons.statistics.stability import sweep_table
from voxstrata.types import LayerInfo

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = (2, 3, 5, 8)
"""Clusters tried in place of those asked for."""

FACTORS = (0.5, 2.0)
"""Shares of active neurons tried, as multiples of that asked for."""

_CLUSTERED = re.compile(r"(?:^|(?<=/))(clusters|ivector|vectors)=(\d+)")


@dataclass(frozen=True)
class Variant:
    """A contrast made otherwise.

    Attributes:
        base: name of the contrast as asked for.
        name: what is other: "clusters=5", "seed=1", "top=0.02".
        contrast: the contrast.
        rule: when a neuron is active.
    """

    base: str
    name: str
    contrast: Contrast
    rule: Rule


def variants(
    contrasts: Sequence[Contrast],
    rule: Rule,
    neurons: Sequence[LayerInfo],
    sources: Sources,
    reseeded: Sources,
    failed: list[str],
) -> Iterator[Variant]:
    """Everything that is tried beside the contrasts asked for.

    Args:
        contrasts: those asked for.
        rule: the rule asked for.
        neurons: layers, to leave out shares that leave no choice in one of them.
        sources: what conditions are made of.
        reseeded: the same with another seed of k-means.
        failed: gets a sentence for everything that cannot be tried.
    """

    def tried(base: str, name: str, text: str, made_of: Sources) -> Iterator[Variant]:
        try:
            made = make_contrast(text, made_of)
        except VoxstrataError as error:  # fewer recordings than clusters, say
            failed.append(untried(base, name, error))
        else:
            yield Variant(base, name, made, rule)

    for one in contrasts:
        for found in _CLUSTERED.finditer(one.name):
            for number in NUMBERS:
                if number != int(found[2]):
                    text = f"{one.name[: found.start(2)]}{number}{one.name[found.end(2) :]}"
                    yield from tried(one.name, f"{found[1]}={number}", text, sources)
        if _CLUSTERED.search(one.name):
            yield from tried(one.name, f"seed={reseeded.seed}", one.name, reseeded)
    if isinstance(rule, Top):
        for factor in FACTORS:
            try:
                share = Top(rule.share * factor)
                for info in neurons:
                    share.top(info.width)
            except UsageError as error:
                name = f"top={rule.share * factor:g}"
                failed.append(untried("all contrasts", name, error))
                continue
            for one in contrasts:
                yield Variant(one.name, share.name, one, share)


def compared(
    contrasts: Sequence[Contrast],
    tried: Sequence[Variant],
    counts: Callable[[Contrast, Rule | None], UnitCounts],
    members: dict[str, str],
    model: SpeechModel,
    sigma: float,
    failed: list[str],
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every variant's set against that of its contrast.

    Args:
        contrasts: as asked for.
        tried: the variants.
        counts: counts of a contrast under a rule (``None``: the one asked for).
        members: unit of each recording.
        model: whose neurons they are.
        sigma: of the selection.
        failed: gets a sentence for every variant that has no set.

    Yields:
        name of the contrast; variant, layer ("all" for all), neurons, shared, expected, jaccard,
        chance, a row a variant and layer.
    """
    for one in contrasts:
        mine = [variant for variant in tried if variant.base == one.name]
        if not mine:
            continue
        sets = [({"variant": ""}, _set(one, counts(one, None), members, model, sigma))]
        for variant in mine:
            try:
                found = counts(variant.contrast, variant.rule)
                chosen = _set(variant.contrast, found, members, model, sigma)
            except LabelError as error:  # a cluster without a frame
                failed.append(untried(one.name, variant.name, error))
                continue
            sets.append(({"variant": variant.name}, chosen))
        table = sweep_table(sets)
        yield one.name, table[table.variant != ""]


def untried(base: str, name: str, error: VoxstrataError) -> str:
    """What the reader is told of a variant that could not be made."""
    got = f" ({error.got})" if error.got else ""
    return f"{base}: not tried with {name}, because {error.what}{got}."


def _set(
    contrast: Contrast,
    found: UnitCounts,
    members: dict[str, str],
    model: SpeechModel,
    sigma: float,
) -> NeuronSet:
    counts = contrast.counts(found, members)
    layers = {
        layer: np.flatnonzero(property_neurons(counts, layer, sigma).any(axis=0))
        for layer in counts.active
    }
    return neuron_set(contrast.name, model, layers)
