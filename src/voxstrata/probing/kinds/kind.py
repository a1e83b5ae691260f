"""The seam between a task and the heads it is trained with.

A kind says how many heads it will train, and trains them. A new kind is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from voxstrata.files import fingerprint
from voxstrata.numerics.threads import Slots
from voxstrata.probing.cells import Features, Ran, Reads
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.kinds import kept
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.lm import WordReader
from voxstrata.probing.settings import HeadPlan, ProbeConfig, ProtocolConfig
from voxstrata.probing.task import Round, Task, TaskData
from voxstrata.registry import Registry

Make = Callable[[Round, Sequence[Probe]], list[Ran]]


@dataclass(frozen=True)
class Work:
    """One task asked of one model, with what its heads need.

    Attributes:
        task, data: the task and what it made of its corpus.
        spec: the model.
        config, protocol: settings of the run.
        reads: the layers, and which of them are summed.
        means: time means of the layers (for kinds on frames: of the layers they read).
        frames: their frames, for kinds on frames.
        folder: where trained heads are kept.
        workers: places for heads in training, shared by the cells that are worked on at once.
        advance: told how many heads are finished.
        reader: makes words of outputs with a language model, where one is asked for and the task
            writes words.
    """

    task: Task
    data: TaskData
    spec: str
    config: ProbeConfig
    protocol: ProtocolConfig
    reads: Reads
    means: Features
    frames: FrameFeatures | None
    folder: Path
    workers: Slots
    advance: Callable[[int], None]
    reader: WordReader | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return self.reads.names

    @property
    def constants(self) -> HeadPlan:
        """The protocol's constants of this task."""
        return self.protocol.of(self.task.name)

    @property
    def plan(self) -> Plan:
        """The same for trainers."""
        return self.constants.plan(self.task.measures[0])

    @property
    def lrs(self) -> tuple[float, ...]:
        """Learning rates."""
        return self.protocol.lrs_of(self.task.name)

    @property
    def seeds(self) -> int:
        """Runs with other initial weights."""
        return self.protocol.seeds_of(self.task.name)

    @property
    def classes(self) -> list[int]:
        """Classes of each group."""
        return [len(names) for names in self.data.classes.values()]

    def stage(self, name: str, probes: Sequence[Probe], make: Make) -> list[Ran]:
        """Some probes of every round; each round is kept on disk as soon as it is done.

        Args:
            name: of the stage, unique within the cell.
            probes: to train.
            make: trains and tests them on a round, and tells ``advance``.
        """
        found: list[Ran] = []
        for division in self.data.rounds:
            key = fingerprint([self.task.name, self.spec, division.name, name])[:16]
            path = self.folder / f"{self.task.name}-{key}.npz"
            if path.exists():
                found += kept.read(path, probes)
                self.advance(len(probes))
                continue
            made = make(division, probes)
            kept.keep(path, made)
            found += made
        return found


class Kind(Protocol):
    """How heads of one kind are trained.

    Attributes:
        ON_FRAMES: whether its heads read frames; else they read time means.
    """

    ON_FRAMES: bool

    def count(self, task: Task, reads: Reads, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """Heads that it will train for each round of a model."""
        ...

    def run(self, work: Work) -> list[Ran]:
        """Train and test all of them."""
        ...

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Recordings that heads cannot be trained on, by reason."""
        ...


KINDS: Registry[Kind] = Registry("kind of head", "voxstrata.heads")
KINDS.add("utterance", "voxstrata.probing.kinds.utterance:KIND")
KINDS.add("frame", "voxstrata.probing.kinds.frame:KIND")
KINDS.add("recurrent", "voxstrata.probing.kinds.recurrent:KIND")
KINDS.add("x-vector", "voxstrata.probing.kinds.xvector:KIND")
KINDS.add("diarization", "voxstrata.probing.kinds.diarization:KIND")
KINDS.add("spot", "voxstrata.probing.kinds.spot:KIND")
KINDS.add("terms", "voxstrata.probing.kinds.terms:KIND")
