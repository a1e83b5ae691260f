"""Linear heads on frames, with CTC: phones of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from voxstrata.errors import ConfigError
from voxstrata.numerics.threads import on_threads
from voxstrata.probing.cells import Ran
from voxstrata.probing.frames import check_finite
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.kinds.linear import LinearKind
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.bundles import bundles, together
from voxstrata.probing.sequences.rows import Rows
from voxstrata.probing.sequences.train import (
    Rate,
    Symbols,
    Written,
    long_enough,
    spoken,
    train_frame_heads,
)
from voxstrata.probing.task import Round
from voxstrata.probing.tasks.symbols import HIGHER, SymbolTask


class FrameKind(LinearKind):
    """Linear, linear, CTC: every layer and their sum, many side by side."""

    ON_FRAMES: ClassVar[bool] = True

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        check_finite(work.names, work.means.rows)
        return super().run(work)

    def stages(self, work: Work) -> list[list[tuple[int, ...]]]:
        """As many layers as are trained side by side at all learning rates."""
        size = max(1, _most(work, work.plan) // len(work.lrs))
        grid = work.reads.grid
        return [grid[begin : begin + size] for begin in range(0, len(grid), size)]

    def make(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """Train and test heads on one round."""
        return run_round(work, division, probes, work.plan)

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Training recordings with fewer frames than their symbols need."""
        return too_short(work)


KIND = FrameKind()


def run_round(work: Work, division: Round, probes: Sequence[Probe], plan: Plan) -> list[Ran]:
    """Train and test probes on one round: those of one seed share batches."""
    task, frames = work.task, work.frames
    assert isinstance(task, SymbolTask)
    assert frames is not None
    rows = Rows(frames, plan.stride)
    found: dict[int, Ran] = {}

    def train(members: list[int]) -> None:
        made = train_frame_heads(
            frames,
            division,
            work.classes[0],
            [probes[i] for i in members],
            plan,
            rate_of(work),
            stops=task.stops,
            rows=rows,
        )
        for i, one in zip(members, made, strict=True):
            found[i] = written(work, division, one)
        work.advance(len(members))

    on_threads(train, bundles(frames, probes, _most(work, plan)), work.workers)
    return [found[i] for i in range(len(probes))]


def _most(work: Work, plan: Plan) -> int:
    """Heads side by side."""
    assert work.frames is not None
    every = range(len(work.names))
    lengths = [
        spoken(work.frames, every, division, part, plan).lengths
        for division in work.data.rounds
        for part in division.parts
    ]
    longest = max((int(x.max(initial=0)) for x in lengths), default=0)
    return together(longest, work.classes[0], plan)


def too_short(work: Work) -> dict[str, list[str]]:
    """Training recordings with fewer frames than CTC needs for their symbols, on the grid of the
    sum of layers."""
    assert work.frames is not None
    found: list[str] = []
    every = range(len(work.names))
    for division in work.data.rounds:
        held = spoken(work.frames, every, division, "train", work.plan)
        enough = set(long_enough(held, work.plan))
        found += [name for i, name in enumerate(held.ids) if i not in enough]
    reason = "training recordings have fewer frames than their symbols need and are left out"
    return {reason: list(dict.fromkeys(found))} if found else {}


def rate_of(work: Work) -> Rate:
    """The measure that chooses, in numbers of symbols; less than 0 where more is better.

    Raises:
        ConfigError: the protocol chooses by a measure that the task has not.
    """
    task, names = work.task, next(iter(work.data.classes.values()))
    assert isinstance(task, SymbolTask)
    measure = work.plan.measure
    if measure not in task.measures:
        raise ConfigError(
            f"the protocol chooses by a measure that the task {task.name!r} has not",
            got=measure,
            expected=" or ".join(task.measures),
        )

    sign = -1.0 if measure in HIGHER else 1.0

    def rate(wanted: Symbols, said: Symbols) -> float:
        above, below = task.counts(names, wanted, said)[measure]
        return sign * float(above.sum() / below.sum())

    return rate


def written(work: Work, division: Round, one: Written) -> Ran:
    """A trained head as the table needs it."""
    task, names = work.task, next(iter(work.data.classes.values()))
    assert isinstance(task, SymbolTask)
    assert work.frames is not None
    test = spoken(work.frames, one.probe.layers, division, "test", work.plan)
    counts = task.counts(names, test.symbols, one.test)
    return Ran(
        layer=work.reads.label(one.probe.layers),
        round=division.name,
        probe=one.probe,
        dev=tuple(abs(value) for value in one.dev),
        step=one.step,
        weights=np.asarray(one.weights),
        diverged=one.diverged,
        lower=work.plan.measure not in HIGHER,
        scores={m: float(above.sum() / below.sum()) for m, (above, below) in counts.items()},
        counts=counts,
    )
