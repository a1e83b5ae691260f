"""Cells: one task asked of one model; every probe of it, and what is chosen among them on dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.probing.linear.probes import Part, Probe
from voxstrata.probing.task import Round, TaskData

SUM = "weighted-sum"
"""Name of the learned sum of all layers, where results name a layer."""

Counts = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By measure: what each test example brings to its numerator and denominator, [N] each."""


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
        probe: which.
        dev: its measure on dev at each look.
        step: the look that was kept, in steps.
        weights: softmax of its layer weights at that step.
        diverged: some gradient was not finite; that step was left out.
        lower: whether less of the measure is better.
        scores: its measures on the test part.
        counts: those of them that are a sum by a sum, by test example.
        draws: of other measures the value in each draw of groups, [B] (NaN where there is none);
            the draws are the same for every probe of a round.
        on_test: the step, or what turns outputs into answers, was chosen on the test part, as some
            published rules do.
        chose: what ``dev`` holds, where it is not the measure of the plan.
        tie: the next measure on dev, which decides between layers whose first is equal; more is
            better.
    """

    layer: str
    round: str
    probe: Probe
    dev: tuple[float, ...]
    step: int
    weights: NDArray[np.float64]
    diverged: bool
    lower: bool
    scores: Mapping[str, float]
    counts: Counts
    draws: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    on_test: bool = False
    chose: str = ""
    tie: float = 0.0

    @property
    def best(self) -> float:
        """Its measure on dev, at the step that was kept."""
        return min(self.dev) if self.lower else max(self.dev)

    @property
    def gain(self) -> float:
        """The same, so that more is better."""
        return -self.best if self.lower else self.best


@dataclass(frozen=True)
class Reads:
    """What heads of one model read.

    Attributes:
        names: of the layers there are.
        subsets: positions of layers whose sum is asked for besides that of all, by label.
        joint: the layers are those of several models: only the sum of all is of interest.
        ablated: whether the sum is also trained without each layer; of models that stand for
            comparison it is not.
    """

    names: tuple[str, ...]
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    joint: bool = False
    ablated: bool = True

    @property
    def every(self) -> tuple[int, ...]:
        """All layers."""
        return tuple(range(len(self.names)))

    @property
    def grid(self) -> list[tuple[int, ...]]:
        """Each layer, each subset, and all layers."""
        if self.joint:
            return [self.every]
        found: list[tuple[int, ...]] = [(i,) for i in self.every]
        if len(self.names) > 1:
            # The ablation trains sums without one layer in any case.
            found += [r for r in self.subsets.values() if r not in self.without]
            found.append(self.every)
        return list(dict.fromkeys(found))

    @property
    def without(self) -> list[tuple[int, ...]]:
        """All layers but one, for each; none where a sum of one would be left."""
        if self.joint or not self.ablated or len(self.names) < 3:
            return []
        return [tuple(i for i in self.every if i != gone) for gone in self.every]

    def label(self, reads: Sequence[int]) -> str:
        """What results call the layers that a probe reads.

        A subset of all layers but one is called what the ablation calls it, where there is one.
        """
        if len(reads) == 1:
            return self.names[reads[0]]
        if len(reads) == len(self.names):
            return SUM
        for label, members in self.subsets.items():
            if members == tuple(reads) and members not in self.without:
                return f"{SUM} of {label}"
        gone = ", ".join(name for i, name in enumerate(self.names) if i not in reads)
        return f"{SUM} without {gone}"


def probes_of(
    reads: Sequence[tuple[int, ...]],
    lrs: Sequence[float],
    seeds: int,
    first: int,
    *,
    controls: bool = False,
) -> list[Probe]:
    """Probes of everything that is read, at every learning rate and seed; and with labels dealt
    anew."""
    found = [Probe(r, lr, first + s) for r in reads for lr in lrs for s in range(seeds)]
    if controls:
        found += [Probe(r, lr, first, control=True) for r in reads for lr in lrs]
    return found


def chosen(
    ran: Sequence[Ran], layer: str, *, control: bool = False, screen: bool = False
) -> list[Ran]:
    """The runs of a layer at the learning rate that is best on dev, mean over seeds and rounds
    (the largest of equals)."""
    mine = [
        one
        for one in ran
        if one.layer == layer and (one.probe.control, one.probe.screen) == (control, screen)
    ]
    lrs = sorted({one.probe.lr for one in mine}, reverse=True)
    if not lrs:
        return []
    best = max(lrs, key=lambda lr: _dev(mine, lr))
    return [one for one in mine if one.probe.lr == best]


def _dev(mine: Sequence[Ran], lr: float) -> float:
    return float(np.mean([one.gain for one in mine if one.probe.lr == lr]))


def best_layer(ran: Sequence[Ran], names: Sequence[str], *, screen: bool = False) -> str:
    """The single layer that is best on dev (the first of equals), among those that were trained (or
    screened)."""
    gains = {
        name: [(r.gain, r.tie) for r in runs]
        for name in names
        if (runs := chosen(ran, name, screen=screen))
    }
    return max(gains, key=lambda name: tuple(np.mean(gains[name], axis=0)))


def groups_of(data: TaskData, place: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """What intervals resample, for each test example that has features, by round."""
    return {
        division.name: tuple(
            group
            for group, name in zip(
                division.parts["test"].groups, division.parts["test"].ids, strict=True
            )
            if name in place
        )
        for division in data.rounds
    }
