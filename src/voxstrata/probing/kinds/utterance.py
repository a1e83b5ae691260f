"""Heads on the time means of recordings: classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from voxstrata.probing.cells import SUM, Ran, Reads, chosen, probes_of
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Part, Probe
from voxstrata.probing.linear.train import score, train_linear
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig
from voxstrata.probing.task import PARTS, Round, Task


class UtteranceKind:
    """Linear, mean over time, linear; trained on means, many side by side."""

    ON_FRAMES: ClassVar[bool] = False

    def count(self, task: Task, reads: Reads, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        lrs, seeds = protocol.lrs_of(task.name), protocol.seeds_of(task.name)
        every = len(probes_of(reads.grid, lrs, seeds, 0, controls=config.controls))
        return every + (seeds * len(reads.without) if config.ablation else 0)

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        config = work.config

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return self._round(work, division, probes)

        reads, seeds, first = work.reads, work.seeds, config.seed
        wanted = probes_of(reads.grid, work.lrs, seeds, first, controls=config.controls)
        found = work.stage("grid", wanted, make)
        if config.ablation and reads.without:
            lr = chosen(found, SUM)[0].probe.lr
            without = probes_of(reads.without, [lr], seeds, first)
            found += work.stage("without", without, make)
        return found

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """None: every recording has a mean."""
        return {}

    def parts(self, work: Work, division: Round) -> dict[str, Part]:
        """Features and targets of train, dev and test."""
        return {name: work.means.part(division, name)[0] for name in PARTS}

    def _round(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """Train and test probes on one round of a task."""
        parts = self.parts(work, division)
        trained = train_linear(
            parts, work.classes, probes, work.plan, workers=work.workers, done=work.advance
        )
        truth = parts["test"].targets.numpy()
        return [
            Ran(
                layer=work.reads.label(one.probe.layers),
                round=division.name,
                probe=one.probe,
                dev=one.dev,
                step=one.step,
                weights=one.weights,
                diverged=one.diverged,
                lower=False,
                scores={m: score(one.test, truth, m) for m in work.task.measures},
                counts={
                    "accuracy": (
                        (one.test == truth).all(axis=1).astype(np.float64),
                        np.ones(len(truth)),
                    )
                },
            )
            for one in trained
        ]


KIND = UtteranceKind()
