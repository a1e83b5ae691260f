"""Classes of moments: the label of every segment of a tier, read from the frame at its centre."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voxstrata.config import Config
from voxstrata.corpora.selection import rank
from voxstrata.errors import UsageError
from voxstrata.probing.divide import divide, grouped
from voxstrata.probing.sources import Material
from voxstrata.probing.task import (
    PARTS,
    Examples,
    Round,
    TaskData,
    class_numbers,
    no_tier,
    nothing_for,
)
from voxstrata.streaming.unit_segment import SILENCES, stress_free
from voxstrata.types import Segment, Utterance

Spans = tuple[Segment, ...]


@dataclass(frozen=True)
class SpotExamples(Examples):
    """Moments of recordings; ``ids`` names the recording of each.

    Attributes:
        times: of each, seconds, [N].
    """

    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def described(self) -> object:
        """What results depend on, JSON-like."""
        return [list(self.ids), self.times.tolist(), self.targets.tolist()]


class SpotTask(Config):
    """A task on the segments of a tier, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        head: "spot": two linear layers on one frame.
        spots: interval tier whose segments are the examples.
        stress: keep the stress digits of ARPAbet.
        most: segments of a class that a part keeps, by seed.
        least: segments of a class that training needs; other classes are left out.
        measures, speakers, fractions: as of class tasks.
    """

    name: str
    title: str
    summary: str
    head: Literal["spot"] = "spot"
    spots: str
    stress: bool = False
    most: Annotated[int, Field(ge=1)] = 500
    least: Annotated[int, Field(ge=1)] = 3
    measures: tuple[Literal["accuracy", "balanced-accuracy", "macro-f1"], ...] = ("accuracy",)
    better: Literal["higher"] = "higher"
    speakers: Literal["apart", "same", "any"] = "apart"
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        return (self.spots,)

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        dropped: Counter[str] = Counter()
        held: dict[str, list[tuple[Utterance, Spans]]] = {}
        for part, utterances in material.parts.items():
            held[part] = []
            for utterance in utterances:
                spans = self._spans(utterance, dropped)
                if spans:
                    held[part].append((utterance, spans))
                else:
                    dropped[f"recording without segments in {self.spots}"] += 1
        if not any(held.values()):
            raise no_tier(self.name, material, self.spots)
        notes: list[str] = []
        rounds = list(divide(held, self.speakers, self.fractions, seed, material.source, notes))
        classes = self._classes([parts["train"] for _, parts in rounds])
        made = tuple(
            Round(name, {part: self._examples(part, parts[part], classes, seed, dropped)
                         for part in PARTS})
            for name, parts in rounds
        )  # fmt: skip
        return TaskData({self.spots: classes}, made, tuple(notes), dict(dropped))

    def _spans(self, utterance: Utterance, dropped: Counter[str]) -> Spans:
        found = []
        for span in utterance.segments(self.spots):
            centre = (span.start_s + span.end_s) / 2
            if span.label in SILENCES or not 0 <= centre < utterance.duration_s:
                dropped["segments of silence, or beyond the recording"] += 1
                continue
            label = span.label if self.stress else stress_free(span.label)
            found.append(Segment(span.start_s, span.end_s, label))
        return tuple(found)

    def _classes(self, training: Sequence[Sequence[tuple[Utterance, Spans]]]) -> tuple[str, ...]:
        counts = [Counter(s.label for _, spans in held for s in spans) for held in training]
        known = tuple(
            sorted(
                name
                for name in {n for one in counts for n in one}
                if all(one[name] >= self.least for one in counts)
            )
        )
        if len(known) < 2:
            raise UsageError(
                f"the task {self.name!r} has fewer than two classes of {self.spots} to tell apart",
                got=f"{len(known)} with at least {self.least} segments in training",
                expected="at least 2",
                fix="use a larger corpus",
            )
        return known

    def _examples(
        self,
        part: str,
        held: Sequence[tuple[Utterance, Spans]],
        classes: tuple[str, ...],
        seed: int,
        dropped: Counter[str],
    ) -> SpotExamples:
        by_class: Mapping[str, list[tuple[Utterance, int, Segment]]] = {c: [] for c in classes}
        for utterance, spans in held:
            for position, span in enumerate(spans):
                if span.label in by_class:
                    by_class[span.label].append((utterance, position, span))
                else:
                    dropped[f"segments of {part} of a class that is rare or not in training"] += 1
        kept: list[tuple[Utterance, int, Segment]] = []
        for found in by_class.values():
            if len(found) > self.most:
                dropped[f"segments of {part} over {self.most} of a class"] += len(found) - self.most
                found.sort(key=lambda x: rank(f"{x[0].id}#{x[1]}", seed, "probing"))
            kept += found[: self.most]
        if not kept:
            raise nothing_for(
                self.name,
                part,
                dropped,
                "segments in train, dev and test, of classes that are in training",
            )
        return SpotExamples(
            tuple(u.id for u, _, _ in kept),
            class_numbers([span.label for _, _, span in kept], classes)[:, None],
            tuple(grouped(u) for u, _, _ in kept),
            np.array([(span.start_s + span.end_s) / 2 for _, _, span in kept]),
        )
