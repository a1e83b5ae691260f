"""The reducer that counts active neurons: every layer, every condition, one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from voxstrata.errors import NumericsError, UsageError
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.rules import Rule
from voxstrata.streaming.reducers import Rows

Ints = NDArray[np.int64]

_LIMIT = 1 << 22
"""Entries of a layer that are held before recordings of one unit are added up."""


class FrameLabels(Protocol):
    """A frame condition: which row each frame belongs to.

    Attributes:
        name: of the condition.
        rows: C names.
        layers: keys (``model/layer``) of layers it reads beside the neurons.
    """

    name: str
    rows: tuple[str, ...]
    layers: tuple[str, ...]

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Row of each frame [T], -1 for frames without one.

        Args:
            utterance: id of the recording.
            start_s, end_s: span of each frame, seconds.
            states: [T, D'] of each layer it reads.
        """
        ...


class CountReducer:
    """Counts, for each frame condition, unit, row and neuron, the frames with the neuron active.

    Args:
        layers: names of the neuron layers, in the order of the rows' first values.
        widths: D of each.
        conditions: frame conditions.
        reads: for each condition, the positions among the rows' values of the layers it reads.
        unit_of: unit of each recording.
        units: names of the units.
        rule: when a neuron is active.
    """

    def __init__(
        self,
        layers: Sequence[str],
        widths: Sequence[int],
        conditions: Sequence[FrameLabels],
        reads: Sequence[Sequence[int]],
        unit_of: Mapping[str, int],
        units: Sequence[str],
        rule: Rule,
    ) -> None:
        self.layers, self.widths = tuple(layers), tuple(widths)
        self.conditions, self.reads = tuple(conditions), tuple(reads)
        self.unit_of, self.units, self.rule = unit_of, tuple(units), rule
        shape = (len(conditions), len(layers))
        self._parts: list[list[list[Ints]]] = [[[] for _ in range(shape[1])] for _ in conditions]
        self._held = [[0] * shape[1] for _ in conditions]
        self._seen = [np.zeros((len(units), len(c.rows)), np.int64) for c in conditions]
        self._active = [np.zeros(width, np.int64) for width in self.widths]
        self._frames = 0

    def update(self, rows: Rows) -> None:
        """Count one recording.

        Raises:
            NumericsError: an activation is not finite.
        """
        unit = self.unit_of[rows.utterance]
        total = len(rows)
        self._frames += total
        codes = []
        for condition, places, seen in zip(self.conditions, self.reads, self._seen, strict=True):
            states = [rows.values[place] for place in places]
            found = condition.codes(rows.utterance, rows.start_s, rows.end_s, states)
            if found.shape != (total,):
                raise UsageError(
                    f"the condition {condition.name!r} has other frames than {rows.utterance}",
                    got=f"{found.shape}", expected=f"({total},)",
                )  # fmt: skip
            codes.append(found)
            seen[unit] += np.bincount(found[found >= 0], minlength=seen.shape[1])
        threads = torch.get_num_threads()
        on_cpu = all(value.device.type == "cpu" for value in rows.values[: len(self.layers)])

        def one(layer: int) -> None:
            self._layer(layer, unit, rows, codes)

        if threads > 1 and on_cpu:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(one, range(len(self.layers))))
        else:
            for layer in range(len(self.layers)):
                one(layer)

    def _layer(self, layer: int, unit: int, rows: Rows, codes: Sequence[Ints]) -> None:
        """Count a recording's frames in one layer; touches nothing of the other layers."""
        name, width = self.layers[layer], self.widths[layer]
        try:
            frames, neurons = self.rule.hits(name, rows.values[layer])
        except NumericsError:
            raise NumericsError(
                f"the recording {rows.utterance} has activations that are not finite", got=name
            ) from None
        self._active[layer] += np.bincount(neurons, minlength=width)
        for index, condition in enumerate(self.conditions):
            size = len(condition.rows) * width
            # Sorting the places of some thousand hits is faster than counting in all rows x D
            # cells, and twice as fast in 32 bits; places of frames without a row are negative.
            whole = np.int32 if size < 1 << 31 else np.int64
            places = (codes[index].astype(whole) * width)[frames] + neurons.astype(whole)
            places.sort()
            places = places[np.searchsorted(places, 0) :]
            first = np.flatnonzero(np.diff(places, prepend=-1))
            found = np.empty((2, len(first)), np.int64)
            found[0] = places[first]
            found[0] += unit * size
            found[1] = np.diff(first, append=len(places))
            self._parts[index][layer].append(found)
            self._held[index][layer] += len(first)

    def end_shard(self, shard: int) -> None:
        """Add up what belongs to the same unit, where that saves memory."""
        for index in range(len(self.conditions)):
            for layer in range(len(self.layers)):
                if self._held[index][layer] > _LIMIT:
                    self._compact(index, layer)

    def _compact(self, index: int, layer: int) -> Ints:
        """Places and counts [2, M] of a layer, each place once, in ascending order."""
        parts = self._parts[index][layer]
        if len(parts) == 1 and not self._held[index][layer]:
            return parts[0]
        # Recordings of different units have places of different ranges: in the order of the units
        # there is often nothing to add up.
        ordered = sorted((part for part in parts if part.size), key=lambda part: int(part[0, 0]))
        whole = np.concatenate(ordered, axis=1) if ordered else np.zeros((2, 0), np.int64)
        if not (np.diff(whole[0]) > 0).all():
            whole = whole[:, np.argsort(whole[0], kind="stable")]
            first = np.flatnonzero(np.diff(whole[0], prepend=-1))
            whole = np.stack([whole[0, first], np.add.reduceat(whole[1], first)])
        self._parts[index][layer] = [whole]
        self._held[index][layer] = 0
        return whole

    def merge(self, other: CountReducer) -> None:
        """Add the counts of other recordings; units, conditions and layers are the same.

        Raises:
            UsageError: they are not.
        """
        mine = (self.layers, self.widths, self.units, [c.name for c in self.conditions])
        theirs = (other.layers, other.widths, other.units, [c.name for c in other.conditions])
        if mine != theirs:
            raise UsageError("counts of other neurons, units or conditions cannot be added")
        for index in range(len(self.conditions)):
            self._seen[index] += other._seen[index]
            for layer in range(len(self.layers)):
                self._parts[index][layer] += other._parts[index][layer]
                self._held[index][layer] += 1 + other._held[index][layer]
        for layer in range(len(self.layers)):
            self._active[layer] += other._active[layer]
        self._frames += other._frames

    def finish(self) -> dict[str, UnitCounts]:
        """Counts by frame condition."""
        widths = dict(zip(self.layers, self.widths, strict=True))
        base = {
            name: self.rule.base(width, active, self._frames)
            for (name, width), active in zip(widths.items(), self._active, strict=True)
        }
        top = {name: self.rule.top(width) for name, width in widths.items()}
        found = {}
        for index, condition in enumerate(self.conditions):
            active = {}
            for layer, (name, width) in enumerate(widths.items()):
                places, counts = self._compact(index, layer)
                shape = (len(self.units) * len(condition.rows), width)
                row = places // width
                ends = np.zeros(shape[0] + 1, np.int64)
                np.cumsum(np.bincount(row, minlength=shape[0]), out=ends[1:])
                cells = (counts.copy(), places - row * width, ends)
                active[name] = csr_array(cells, shape=shape)
            found[condition.name] = UnitCounts(
                condition.name, condition.rows, self.units, self._seen[index], active, base, top
            )
        return found

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """All counts."""
        tensors = {}
        for index in range(len(self.conditions)):
            tensors[f"seen.{index}"] = torch.from_numpy(self._seen[index])
            for layer in range(len(self.layers)):
                tensors[f"counts.{index}.{layer}"] = torch.from_numpy(self._compact(index, layer))
        for layer, active in enumerate(self._active):
            tensors[f"active.{layer}"] = torch.from_numpy(active)
        return tensors, {"frames": self._frames}

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from them."""
        self._frames = int(facts["frames"])
        for index in range(len(self.conditions)):
            self._seen[index] = tensors[f"seen.{index}"].numpy().copy()
            for layer in range(len(self.layers)):
                self._parts[index][layer] = [tensors[f"counts.{index}.{layer}"].numpy().copy()]
                self._held[index][layer] = 0
        for layer in range(len(self.layers)):
            self._active[layer] = tensors[f"active.{layer}"].numpy().copy()

    def state_bytes(self) -> int:
        """Sixteen bytes a cell that is not zero, as far as it has come."""
        held = sum(part.shape[1] for layers in self._parts for parts in layers for part in parts)
        return 16 * int(held)
