"""Recurrent heads on frames, with CTC: the sum of layers, and the layer that linear heads choose.

A recurrent head on every layer costs too much to be the rule. The layer that gets one is that whose
linear head writes the same symbols best on dev, at one learning rate and seed. Their scores are
reported as those of screened layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voxstrata.numerics.threads import on_threads
from voxstrata.probing.cells import Ran, best_layer, chosen, name_of
from voxstrata.probing.frames import check_finite
from voxstrata.probing.kinds import frame
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.sequences.recurrent import train_recogniser
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig
from voxstrata.probing.task import Round, Task
from voxstrata.probing.tasks.symbols import SymbolTask

SCREEN_LR, SCREEN_HIDDEN = 0.01, 256
"""Learning rate and width of the linear heads that choose the layer."""


class RecurrentKind:
    """Linear, two bidirectional LSTM layers, linear, CTC."""

    ON_FRAMES = True

    def count(self, task: Task, layers: int, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        grid = len(protocol.lrs_of(task.name)) * protocol.seeds_of(task.name)
        screened = layers if layers > 1 else 0
        return screened + grid * min(layers, 2) + int(config.controls)

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        check_finite(work.names, work.means.rows)
        layers, first = len(work.names), work.config.seed

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return run_round(work, division, probes)

        def grid(reads: tuple[int, ...]) -> list[Ran]:
            probes = [Probe(reads, lr, first + s) for lr in work.lrs for s in range(work.seeds)]
            return work.stage(f"grid {reads}", probes, make)

        every = tuple(range(layers))
        found = grid(every)
        if layers > 1:
            screened = self._screen(work)
            best = work.names.index(best_layer(screened, work.names, screen=True))
            found += [*grid((best,)), *screened]
        if work.config.controls:
            lr = chosen(found, name_of(every, work.names))[0].probe.lr
            found += work.stage("control", [Probe(every, lr, first, control=True)], make)
        return found

    def _screen(self, work: Work) -> list[Ran]:
        """A linear head on every layer."""
        seed = work.config.seed
        probes = [Probe((i,), SCREEN_LR, seed, screen=True) for i in range(len(work.names))]
        steps = work.constants.screen
        plan = replace(
            work.plan, steps=steps, hidden=SCREEN_HIDDEN, every=min(work.plan.every, steps)
        )

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return frame.run_round(work, division, probes, plan)

        return work.stage("screen", probes, make)

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Training recordings with fewer frames than their symbols need."""
        return frame.too_short(work)


KIND = RecurrentKind()


def run_round(work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
    """Train and test probes on one round."""
    task, frames = work.task, work.frames
    assert isinstance(task, SymbolTask)
    assert frames is not None

    def train(probe: Probe) -> Ran:
        one = train_recogniser(
            frames,
            division,
            work.classes[0],
            probe,
            work.plan,
            work.constants.masks,
            frame.rate_of(work),
            stops=task.stops,
        )
        work.advance(1)
        return frame.written(work, division, one)

    return on_threads(train, probes, work.workers)
