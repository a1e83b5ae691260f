"""Speaker diarization as a task: who speaks when, among the speakers of a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from voxstrata.config import Config
from voxstrata.errors import UsageError
from voxstrata.probing.divide import divide, grouped
from voxstrata.probing.sources import Material
from voxstrata.probing.task import PARTS, Examples, Round, TaskData, no_tier, nothing_for
from voxstrata.types import Segment, Utterance

Turns = tuple[Segment, ...]


@dataclass(frozen=True)
class TurnExamples(Examples):
    """Recordings with their turns; ``targets`` is [N, 0].

    Attributes:
        turns: of each recording, labels are speakers.
    """

    turns: tuple[Turns, ...] = ()

    def described(self) -> object:
        """What results depend on, JSON-like."""
        spans = [[(s.start_s, s.end_s, s.label) for s in turns] for turns in self.turns]
        return [list(self.ids), spans]


class TurnTask(Config):
    """Speaker diarization, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        head: "diarization".
        turns: interval tier of the turns.
        most: speakers that a head tells apart, at most; it gets as many outputs as the training
            recording with the most speakers has. Training recordings with more are left out.
        measures: the diarization error rate (collar 0, overlap scored).
        fractions: shares of train, dev and test where a split is made here.
    """

    name: str
    title: str
    summary: str
    head: Literal["diarization"] = "diarization"
    turns: str = "turns"
    most: Annotated[int, Field(ge=1, le=4)] = 4
    measures: tuple[Literal["der"], ...] = ("der",)
    better: Literal["lower"] = "lower"
    speakers: Literal["apart", "same", "any"] = "any"
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        return (self.turns,)

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        present = {tier for part in material.parts.values() for u in part for tier in u.tiers}
        if self.turns not in present:
            raise no_tier(
                self.name,
                material,
                self.turns,
                "mixtures of two speakers can be made of any corpus: mixtures:CORPUS",
            )
        dropped: Counter[str] = Counter()
        held: dict[str, list[tuple[Utterance, Turns]]] = {}
        for part, utterances in material.parts.items():
            held[part] = []
            for utterance in utterances:
                turns = utterance.segments(self.turns)
                if turns:
                    held[part].append((utterance, turns))
                else:
                    dropped[f"no {self.turns}"] += 1
        notes: list[str] = []
        rounds = list(divide(held, self.speakers, self.fractions, seed, material.source, notes))
        kept = [
            (name, {part: self._few(part, found, dropped) for part, found in parts.items()})
            for name, parts in rounds
        ]
        heads = max((_count(t) for _, parts in kept for _, t in parts["train"]), default=0)
        if heads < 1:
            raise UsageError(
                f"the task {self.name!r} has no recording to train on",
                got="; ".join(f"{n} left out: {why}" for why, n in dropped.items())
                or "an empty part",
                expected=f"recordings with 1 to {self.most} speakers",
                fix="use a larger corpus",
            )
        if not any(u.tiers.get("speaker") for part in held.values() for u, _ in part):
            notes.append(
                "Intervals draw recordings; those of one meeting, or of the same speakers, are "
                "taken for independent."
            )
        made = tuple(self._round(name, parts, heads, dropped) for name, parts in kept)
        outputs = tuple(f"speaker {i + 1}" for i in range(heads))
        return TaskData({"outputs": outputs}, made, tuple(notes), dict(dropped))

    def _few(
        self, part: str, held: Sequence[tuple[Utterance, Turns]], dropped: Counter[str]
    ) -> list[tuple[Utterance, Turns]]:
        if part != "train":
            return list(held)
        kept = [item for item in held if _count(item[1]) <= self.most]
        if len(kept) < len(held):
            dropped[f"{part} recording with more than {self.most} speakers"] += len(held) - len(
                kept
            )
        return kept

    def _round(
        self,
        name: str,
        parts: Mapping[str, Sequence[tuple[Utterance, Turns]]],
        heads: int,
        dropped: Counter[str],
    ) -> Round:
        made: dict[str, TurnExamples] = {}
        for part in PARTS:
            found = parts[part]
            if not found:
                raise nothing_for(self.name, part, dropped, "recordings in train, dev and test")
            made[part] = TurnExamples(
                ids=tuple(u.id for u, _ in found),
                targets=np.zeros((len(found), 0), np.int64),
                groups=tuple(grouped(u) for u, _ in found),
                turns=tuple(turns for _, turns in found),
            )
        return Round(name, made)


def _count(turns: Turns) -> int:
    return len({segment.label for segment in turns})
