"""What kinds with linear heads share: every layer and the sum at the whole grid, then ablations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from voxstrata.probing.cells import SUM, Ran, Reads, chosen, probes_of
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig
from voxstrata.probing.task import Round, Task


class LinearKind(ABC):
    """Heads cheap enough for every layer, learning rate and seed; a kind says how they are trained
    (:meth:`make`) and which of them at a time (:meth:`stages`)."""

    ON_FRAMES: ClassVar[bool] = False

    def count(self, task: Task, reads: Reads, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        lrs, seeds = protocol.lrs_of(task.name), protocol.seeds_of(task.name)
        every = len(probes_of(reads.grid, lrs, seeds, 0, controls=config.controls))
        return every + seeds * len(reads.without)

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        config, reads = work.config, work.reads

        def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
            return self.make(work, division, probes)

        wanted = probes_of(reads.grid, work.lrs, work.seeds, config.seed, controls=config.controls)
        found: list[Ran] = []
        for some in self.stages(work):
            mine = [probe for probe in wanted if probe.layers in some]
            found += work.stage(f"grid {some}", mine, make)
        if reads.without:
            lr = chosen(found, SUM)[0].probe.lr
            without = probes_of(reads.without, [lr], work.seeds, config.seed)
            found += work.stage("without", without, make)
        return found

    def stages(self, work: Work) -> list[list[tuple[int, ...]]]:
        """What is read, in groups that are kept on disk together: all at once by default."""
        return [work.reads.grid]

    @abstractmethod
    def make(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """Train and test heads on one round."""

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        return {}
