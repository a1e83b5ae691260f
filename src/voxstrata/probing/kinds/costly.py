"""Heads that are too dear to train on every layer: the sum, and the layer that a screen chooses.

On every layer there is a short training; the layer that is best on dev after it gets the whole
grid. Scores of the screen are reported as those of screened layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from voxstrata.numerics.threads import on_threads
from voxstrata.probing.cells import Counts, Ran, Reads, best_layer, chosen
from voxstrata.probing.frames import check_finite
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig
from voxstrata.probing.steps import Course, SummedHead
from voxstrata.probing.task import Round, Task


def plan_of(work: Work, probe: Probe) -> Plan:
    """The protocol's constants, with few steps and one look for a screen."""
    if not probe.screen:
        return work.plan
    return replace(work.plan, steps=work.constants.screen, every=work.constants.screen)


def ran_of(
    work: Work,
    division: Round,
    probe: Probe,
    model: SummedHead,
    course: Course,
    *,
    scores: Mapping[str, float],
    chose: str,
    counts: Counts | None = None,
    draws: Mapping[str, NDArray[np.float64]] | None = None,
    on_test: bool = False,
) -> Ran:
    """A trained head whose measure is better the less it is, as the table needs it.

    Args:
        work, division, probe: what was asked.
        model, course: the head, and how its training went.
        scores, counts, draws, on_test, chose: see :class:`voxstrata.probing.cells.Ran`.
    """
    return Ran(
        layer=work.reads.label(probe.layers),
        round=division.name,
        probe=probe,
        dev=course.seen,
        step=course.best,
        weights=model.weights(),
        diverged=course.diverged,
        lower=True,
        scores=scores,
        counts=counts or {},
        draws=draws or {},
        on_test=on_test,
        chose=chose,
    )


class CostlyKind(ABC):
    """What such kinds share; a kind says how heads are trained and how layers are screened."""

    ON_FRAMES: ClassVar[bool] = True

    def count(self, task: Task, reads: Reads, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        grid = len(protocol.lrs_of(task.name)) * protocol.seeds_of(task.name)
        alone = len(reads.names) == 1 or reads.joint
        return (grid if alone else 2 * grid + len(reads.names)) + int(config.controls)

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        check_finite(work.names, work.means.rows)
        every, first = work.reads.every, work.config.seed

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return self.make(work, division, probes)

        def grid(reads: tuple[int, ...]) -> list[Probe]:
            return [Probe(reads, lr, first + s) for lr in work.lrs for s in range(work.seeds)]

        found = work.stage("sum", grid(every), make)
        rest: list[Probe] = []
        if len(every) > 1 and not work.reads.joint:
            screened = self._screened(work)
            found += screened
            rest += grid((work.names.index(best_layer(screened, work.names, screen=True)),))
        if work.config.controls:
            lr = chosen(found, work.reads.label(every))[0].probe.lr
            rest.append(Probe(every, lr, first, control=True))
        # One stage, so that no thread waits for the last head of another.
        return found + (work.stage("best layer and control", rest, make) if rest else [])

    def _screened(self, work: Work) -> list[Ran]:
        seed, lr = work.config.seed, self.screen_lr(work)
        probes = [Probe((i,), lr, seed, screen=True) for i in range(len(work.names))]

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return self.screen(work, division, probes)

        return work.stage("screen", probes, make)

    def screen_lr(self, work: Work) -> float:
        """Learning rate of the screen: the smallest of the grid, at which every head learns."""
        return min(work.lrs)

    def make(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """Train and test heads on one round, a thread each."""

        def one(probe: Probe) -> Ran:
            found = self.train(work, division, probe)
            work.advance(1)
            return found

        return on_threads(one, probes, work.workers)

    @abstractmethod
    def train(self, work: Work, division: Round, probe: Probe) -> Ran:
        """Train and test one head on one round."""

    def screen(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """The short trainings; by default those of :meth:`make`, which sees ``Probe.screen``."""
        return self.make(work, division, probes)

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        return {}
