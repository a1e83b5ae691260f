"""The seam of probing: what a task is, and what it makes of a corpus.

A task turns recordings with tiers into rounds of train, dev and test examples with targets; it
never sees audio or features. The job extracts what the task's head needs, trains heads of the kind
the task names, and hands the task's metric what the heads said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import LabelError, UsageError
from voxstrata.probing.sources import Material

PARTS = ("train", "dev", "test")
"""Parts of a round: heads learn on the first, choices are made on the second, scores are of the
third."""


@dataclass(frozen=True)
class Examples:
    """The examples of one part.

    Attributes:
        ids: the recording of each example, [N].
        targets: int64 [N, G]: the class of each example in each of G groups of classes.
        groups: what intervals resample together (speakers; recordings where there are none), [N].
    """

    ids: tuple[str, ...]
    targets: NDArray[np.int64]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def recordings(self) -> tuple[str, ...]:
        """Recordings whose features are needed; some may be there more than once."""
        return self.ids

    def described(self) -> object:
        """What results depend on, JSON-like."""
        return [list(self.ids), self.targets.tolist()]


@dataclass(frozen=True)
class Transcripts(Examples):
    """Examples whose answer is a sequence of symbols; ``targets`` is [N, 0].

    Attributes:
        symbols: class numbers of each example, int64 [S_i], without blanks and end symbols.
    """

    symbols: tuple[NDArray[np.int64], ...] = ()

    def described(self) -> object:
        """What results depend on, JSON-like."""
        return [list(self.ids), [row.tolist() for row in self.symbols]]


@dataclass(frozen=True)
class Round:
    """One division of the examples (a fold, where a task has several).

    Attributes:
        name: of the round, "" where there is one.
        parts: examples by part ("train", "dev", "test").
    """

    name: str
    parts: Mapping[str, Examples]


@dataclass(frozen=True)
class TaskData:
    """What a task made of its recordings.

    Attributes:
        classes: names of the classes of each group, by the group's name, in the order of targets.
        rounds: divisions into train, dev and test.
        notes: what the reader of the results must know (whose split it is, ...).
        dropped: examples left out, by reason.
    """

    classes: Mapping[str, tuple[str, ...]]
    rounds: tuple[Round, ...]
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """All recordings that some example needs, each once, in order."""
        return list(
            dict.fromkeys(
                i for r in self.rounds for part in r.parts.values() for i in part.recordings
            )
        )


class Task(Protocol):
    """One thing a model can be asked.

    Attributes:
        name: registry name ("sid").
        title: for tables and figures ("SID").
        summary: one line.
        head: kind of head it trains (:mod:`voxstrata.probing.kinds.kind`).
        tiers: tiers that recordings must have.
        measures: names of its scores, the first of which chooses.
        better: "higher" or "lower".
        speakers: whether test speakers must not be in training ("apart"), must be ("same"), or it
            does not matter ("any").
    """

    @property
    def name(self) -> str:
        """Registry name."""
        ...

    @property
    def title(self) -> str:
        """Name in tables and figures."""
        ...

    @property
    def summary(self) -> str:
        """One line."""
        ...

    @property
    def head(self) -> str:
        """Kind of head."""
        ...

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        ...

    @property
    def measures(self) -> tuple[str, ...]:
        """Its scores; the first chooses."""
        ...

    @property
    def better(self) -> str:
        """ "higher" or "lower"."""
        ...

    @property
    def speakers(self) -> str:
        """ "apart", "same" or "any"."""
        ...

    def data(self, material: Material, seed: int) -> TaskData:
        """Examples with targets.

        Args:
            material: the recordings, in parts where the corpus has them.
            seed: of splits that are made here.

        Raises:
            LabelError: a tier is missing, or a class of the test part never occurs in training.
            UsageError: too few examples or classes.
        """
        ...


def no_tier(task: str, material: Material, needed: str, fix: str = "") -> LabelError:
    """No recording has what a task needs."""
    present = sorted({tier for part in material.parts.values() for u in part for tier in u.tiers})
    usual = f"name another corpus for {task} in the corpus map, or leave the task out"
    return LabelError(
        f"the task {task!r} needs a tier that no recording has",
        got=f"tiers {', '.join(present) or '(none)'}",
        expected=needed,
        fix=fix or usual,
    )


def nothing_for(task: str, part: str, dropped: Mapping[str, int], expected: str) -> UsageError:
    """A part of a task is empty."""
    return UsageError(
        f"the task {task!r} has no recording for {part}",
        got="; ".join(f"{n} left out: {why}" for why, n in dropped.items()) or "an empty part",
        expected=expected,
        fix="use a larger corpus, or name parts of your own in the corpus map",
    )


def class_numbers(labels: Sequence[Any], known: Sequence[str]) -> NDArray[np.int64]:
    """Positions of labels among the known classes; -1 for others, int64 [N]."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(str(label), -1) for label in labels], dtype=np.int64)
