"""Cells: one task asked of one model; every probe of it, and what is chosen among them on dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.probing.linear.probes import Part, Plan, Probe, Trained
from voxstrata.probing.linear.train import train_linear
from voxstrata.probing.task import PARTS, Round, TaskData

SUM = "weighted-sum"
"""Name of the learned sum of all layers, where results name a layer."""


@dataclass(frozen=True)
class Features:
    """Time means of one model's layers.

    Attributes:
        names: of the layers.
        rows: for each layer [N, D_l].
        place: row of each recording.
    """

    names: tuple[str, ...]
    rows: Sequence[torch.Tensor]
    place: dict[str, int]

    def part(self, division: Round, name: str) -> tuple[Part, NDArray[np.bool_]]:
        """Features and targets of a part, and which of its examples have features."""
        examples = division.parts[name]
        here = np.array([i in self.place for i in examples.ids], dtype=bool)
        index = torch.tensor([self.place[i] for i in examples.ids if i in self.place])
        targets = torch.from_numpy(examples.targets[here])
        return Part([rows[index] for rows in self.rows], targets), here


@dataclass(frozen=True)
class Ran:
    """A trained probe with what is needed to report it.

    Attributes:
        layer: layer read, :data:`SUM`, or ``SUM without LAYER``.
        round: of the task.
        probe, dev, step, weights, diverged: see :class:`Trained`.
        right: whether each test example was answered rightly, [N].
        test: classes it chose for the test examples, int64 [N, G].
    """

    layer: str
    round: str
    probe: Probe
    dev: tuple[float, ...]
    step: int
    weights: NDArray[np.float64]
    diverged: bool
    right: NDArray[np.bool_]
    test: NDArray[np.int64]

    @property
    def best(self) -> float:
        """Its measure on dev, at the step that was kept."""
        return max(self.dev)


def probes_of(
    layers: int, lrs: Sequence[float], seeds: int, first: int, *, controls: bool
) -> list[Probe]:
    """Every layer and their sum, at every learning rate and seed; and with labels dealt anew."""
    reads: list[tuple[int, ...]] = [(i,) for i in range(layers)]
    if layers > 1:
        reads.append(tuple(range(layers)))
    found = [Probe(r, lr, first + s) for r in reads for lr in lrs for s in range(seeds)]
    if controls:
        found += [Probe(r, lr, first, control=True) for r in reads for lr in lrs]
    return found


def run_round(
    features: Features,
    division: Round,
    classes: Sequence[int],
    plan: Plan,
    probes: Sequence[Probe],
    *,
    workers: int,
    done: Callable[[int], None] = lambda _n: None,
) -> list[Ran]:
    """Train and test probes on one round of a task."""
    parts = {name: features.part(division, name)[0] for name in PARTS}
    trained = train_linear(parts, classes, probes, plan, workers=workers, done=done)
    truth = parts["test"].targets.numpy()
    return [_ran(one, features, division.name, truth) for one in trained]


def _ran(one: Trained, features: Features, division: str, truth: NDArray[np.int64]) -> Ran:
    reads = one.probe.layers
    every = len(features.names)
    if len(reads) == 1:
        name = features.names[reads[0]]
    elif len(reads) == every:
        name = SUM
    else:
        gone = [features.names[i] for i in range(every) if i not in reads]
        name = f"{SUM} without {', '.join(gone)}"
    return Ran(
        layer=name,
        round=division,
        probe=one.probe,
        dev=one.dev,
        step=one.step,
        weights=one.weights,
        diverged=one.diverged,
        right=(one.test == truth).all(axis=1),
        test=one.test,
    )


def chosen(ran: Sequence[Ran], layer: str, *, control: bool = False) -> list[Ran]:
    """The runs of a layer at the learning rate that is best on dev, mean over seeds and rounds
    (the largest of equals)."""
    mine = [one for one in ran if one.layer == layer and one.probe.control == control]
    lrs = sorted({one.probe.lr for one in mine}, reverse=True)
    if not lrs:
        return []
    best = max(lrs, key=lambda lr: _dev(mine, lr))
    return [one for one in mine if one.probe.lr == best]


def _dev(mine: Sequence[Ran], lr: float) -> float:
    return float(np.mean([one.best for one in mine if one.probe.lr == lr]))


def best_layer(ran: Sequence[Ran], names: Sequence[str]) -> str:
    """The single layer that is best on dev (the first of equals)."""
    return max(names, key=lambda n: float(np.mean([r.best for r in chosen(ran, n)])))


def ablations(layers: int, lr: float, seeds: int, first: int) -> list[Probe]:
    """The sum without each layer in turn."""
    if layers < 3:
        return []
    return [
        Probe(tuple(i for i in range(layers) if i != gone), lr, first + s)
        for gone in range(layers)
        for s in range(seeds)
    ]


def groups_of(data: TaskData, features: Features) -> dict[str, tuple[str, ...]]:
    """What intervals resample, for each test example that has features, by round."""
    found = {}
    for division in data.rounds:
        _, here = features.part(division, "test")
        groups = division.parts["test"].groups
        found[division.name] = tuple(g for g, good in zip(groups, here, strict=True) if good)
    return found
