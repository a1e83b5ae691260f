"""Which samples a run needs: a unit, the layers that have it, and their size on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.property import Property
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.spans import Rule
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.store import RowStore
from voxstrata.streaming.unit_frame import UtteranceUnit
from voxstrata.streaming.unit_pooled import PooledFrames
from voxstrata.streaming.unit_segment import SegmentUnit
from voxstrata.streaming.unit_sequence import SequenceFrames
from voxstrata.streaming.units import Unit
from voxstrata.types import Utterance

MEL_STRIDE = 160
"""Samples between frames of log-mel: layers finer than 10 ms are pooled to it."""

CACHE_BYTES = 1 << 30
"""Rows of layers that a sample keeps in memory between two properties."""


@dataclass(frozen=True)
class SamplePlan:
    """One sample of a run.

    Attributes:
        name: unique within the run ("phone", "frame-320").
        kind: unit as properties name it.
        unit: what cuts the rows.
        layers: positions in the stack of the layers that have it.
        scored: positions of those that are scored (helpers are not).
        rows: rows expected.
        disk_bytes: size of its store.
    """

    name: str
    kind: str
    unit: Unit
    layers: tuple[int, ...]
    scored: tuple[int, ...]
    rows: int = 0
    disk_bytes: float = 0.0

    def sized(self, rows: int, widths: Sequence[int]) -> SamplePlan:
        """With the number of rows and its size on disk filled in."""
        return dataclasses.replace(self, rows=rows, disk_bytes=4.0 * rows * sum(widths))


def plan_samples(
    stack: Sequence[StackLayer],
    asked: int,
    properties: Sequence[Property],
    config: PropertiesConfig,
) -> list[SamplePlan]:
    """The samples that the properties draw from.

    Args:
        stack: chosen layers, those of helper models last.
        asked: models below this position are scored, the others help.
        properties: what will be measured.
        config: caps and rules.
    """
    wanted = {one.unit for one in properties}
    pasad = config.preset == "pasad2023"
    rule: Rule = "pasad" if pasad else "centre"
    # Local convolutional layers appear in acoustic curves only (P2023, Figure 2).
    main = [i for i, layer in enumerate(stack) if layer.info.default]
    frames = [i for i in main if stack[i].info.kind == "frame" and stack[i].model < asked]
    helpers = {
        kind: {name for one in properties if one.unit == kind for name in one.helpers(config)}
        for kind in wanted
    }
    plans: list[SamplePlan] = []

    def add(name: str, kind: str, unit: Unit, layers: Sequence[int]) -> None:
        accepted = tuple(i for i in layers if unit.accepts(stack[i]))
        scored = tuple(i for i in accepted if stack[i].model < asked)
        if scored:
            plans.append(SamplePlan(name, kind, unit, accepted, scored))

    if "phone" in wanted:
        phone = SegmentUnit(
            "phone",
            "phones",
            rule=rule,
            part="middle-third",
            per_type=config.phones_per_type,
            min_s=config.min_s,
            max_s=config.max_s,
        )
        add("phone", "phone", phone, frames)
    if "word" in wanted:
        word = SegmentUnit(
            "word",
            "words",
            rule=rule,
            per_type=max(config.all_words_per_type, config.words_per_type),
            min_s=config.min_s,
            max_s=config.max_s,
        )
        add("word", "word", word, frames)
    if "utterance" in wanted:
        views = helpers["utterance"]
        chosen = [i for i in main if stack[i].model < asked or stack[i].name in views]
        add("utterance", "utterance", UtteranceUnit(), chosen)
    if "frame" in wanted:
        plans += _frame_samples(stack, asked, helpers["frame"], config)
    if "sequence" in wanted:
        grids = {
            (grid.stride, grid.centre2(0)): grid
            for grid in (stack[i].info.grid for i in reversed(frames))
            if grid is not None
        }
        for number, key in enumerate(sorted(grids)):
            unit = SequenceFrames(grids[key], config.sequence_s, config.seed)
            add(f"sequence-{key[0]}" + (f"-{number}" if number else ""), "sequence", unit, frames)
    return plans


def _frame_samples(
    stack: Sequence[StackLayer], asked: int, views: Collection[str], config: PropertiesConfig
) -> list[SamplePlan]:
    """One frame sample for each frame rate of the scored layers; finer layers than log-mel's join
    the sample at its rate, and helpers are pooled into each."""
    strides: dict[int, list[int]] = {}
    helpers = []
    for position, layer in enumerate(stack):
        grid = layer.info.grid
        if grid is None:
            continue
        if layer.name in views:
            helpers.append(position)
        if layer.model >= asked:
            continue
        strides.setdefault(max(grid.stride, MEL_STRIDE), []).append(position)
    plans = []
    for stride, scored in sorted(strides.items()):
        unit = PooledFrames(
            stride,
            config.frames,
            config.seed,
            rule="pasad2023" if config.preset == "pasad2023" else "centre",
        )
        layers = tuple(i for i in sorted({*scored, *helpers}) if unit.accepts(stack[i]))
        chosen = tuple(i for i in scored if i in layers)
        plans.append(SamplePlan(f"frame-{stride}", "frame", unit, layers, chosen))
    return plans


class LayerRows:
    """Rows of layers from a store, the last ones kept in memory."""

    def __init__(self, store: RowStore) -> None:
        self.store = store
        self._held: dict[int, torch.Tensor] = {}

    def __call__(self, position: int) -> torch.Tensor:
        """Rows of one layer, float32 [N, D]."""
        if position not in self._held:
            rows = self.store.layer(position)
            size = rows.numel() * rows.element_size()
            while self._held and self._bytes + size > CACHE_BYTES:
                self._held.pop(next(iter(self._held)))
            self._held[position] = rows
        return self._held[position]

    @property
    def _bytes(self) -> int:
        return sum(rows.numel() * rows.element_size() for rows in self._held.values())


@dataclass(frozen=True)
class StoredSample:
    """A finished sample: its plan and its store."""

    plan: SamplePlan
    store: RowStore
    stack: Sequence[StackLayer]
    utterances: Mapping[str, Utterance]

    @cached_property
    def sample(self) -> Sample:
        """What properties draw from."""
        index = self.store.index
        counts = index["rows"].to_numpy(np.int64)
        labels = tuple(self.store.labels())
        return Sample(
            unit=self.plan.kind,
            layers=tuple(self.stack[i] for i in self.plan.layers),
            utterance=np.repeat(index["utterance"].to_numpy(object), counts),
            fold=self.store.folds(),
            start_s=_joined(list(index["start_s"])),
            end_s=_joined(list(index["end_s"])),
            labels=labels if labels else None,
            utterances=self.utterances,
            read=LayerRows(self.store),
            helpers=frozenset(
                n for n, i in enumerate(self.plan.layers) if i not in set(self.plan.scored)
            ),
        )


def _joined(lists: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array([value for part in lists for value in part], dtype=np.float64)
