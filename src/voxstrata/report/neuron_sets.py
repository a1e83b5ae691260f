"""Sets of neurons of a run, and how many neurons are in which of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.files import read_json
from voxstrata.report.neuron_view import JOB
from voxstrata.report.view import View

FOLDER, RULE = "sets", "published"

Neuron = tuple[str, int]
"""Layer and index."""

Regions = Mapping[tuple[str, ...], int]
"""Names of sets to the number of neurons in exactly these."""


@dataclass(frozen=True)
class Chosen:
    """Sets of one model that passed the published rule.

    Attributes:
        model: position in ``View.models``.
        sets: contrast to its neurons; contrasts without any are there too.
        widths: layer to its neurons.
    """

    model: int
    sets: Mapping[str, frozenset[Neuron]]
    widths: Mapping[str, int]

    @property
    def regions(self) -> dict[tuple[str, ...], int]:
        """Every combination that holds a neuron, the largest first: the regions of a Venn
        diagram, disjoint, whose sum is the number of neurons in any set."""
        every = {neuron for found in self.sets.values() for neuron in found}
        sizes = Counter(
            tuple(name for name, found in self.sets.items() if neuron in found) for neuron in every
        )
        order = {name: at for at, name in enumerate(self.sets)}
        return dict(
            sorted(sizes.items(), key=lambda item: (-item[1], [order[name] for name in item[0]]))
        )

    def overlap(self, one: str, other: str) -> tuple[int, float]:
        """Neurons of both sets, and how many two random sets of these sizes would share: the sum
        over layers of n m / D."""
        first, second = self.sets[one], self.sets[other]
        of, to = Counter(layer for layer, _ in first), Counter(layer for layer, _ in second)
        expected = math.fsum(
            of[layer] * to[layer] / width for layer, width in self.widths.items() if width
        )
        return len(first & second), expected


def read_sets(view: View) -> list[Chosen]:
    """Sets of every model, from the files beside the results; models without files are left out.

    Raises:
        StorageError: a file cannot be read.
    """
    if view.record.get("job") != JOB:
        return []
    held: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in sorted((view.folder / FOLDER).glob("*/*.json")):
        entry = read_json(path)
        details = entry.get("details") if isinstance(entry, Mapping) else None
        if isinstance(details, Mapping) and details.get("rule") == RULE:
            held.setdefault(str(entry.get("model")), {})[str(entry.get("name"))] = entry
    found = []
    for at, model in enumerate(view.models):
        asked = [s.contrast for s in view.selections if s.model == at]
        mine = {name: held.get(model.spec, {}).get(name) for name in asked}
        sets = {name: _members(entry) for name, entry in mine.items() if entry is not None}
        if sets:
            widths = {layer.name: layer.width for layer in view.layers if layer.model == at}
            found.append(Chosen(at, sets, widths))
    return found


def drawable(view: View) -> list[Chosen]:
    """Models with at least two contrasts, of which one holds a neuron."""
    return [c for c in read_sets(view) if len(c.sets) > 1 and any(c.sets.values())]


def _members(entry: Mapping[str, Any]) -> frozenset[Neuron]:
    layers = entry.get("layers")
    pairs: Sequence[tuple[Any, Any]] = list(layers.items()) if isinstance(layers, Mapping) else []
    return frozenset((str(layer), int(index)) for layer, indices in pairs for index in indices)
