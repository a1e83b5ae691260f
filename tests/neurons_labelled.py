"""A corpus of hand-made spans without audio: which frame has which label is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.types import Segment, Utterance

STEP = 0.02


@dataclass(frozen=True)
class LabelledCorpus:
    """As much of a corpus as conditions ask for."""

    utterances: tuple[Utterance, ...]
    name: str = "hand"

    def __len__(self) -> int:
        return len(self.utterances)

    def tiers(self) -> dict[str, int]:
        return dict(Counter(name for u in self.utterances for name in u.tiers))


def talk(name: str, phones: Sequence[tuple[float, float, str]], **tiers: Any) -> Utterance:
    """A recording with phones."""
    spans = tuple(Segment(*phone) for phone in phones)
    return Utterance(name, spans[-1].end_s if spans else 1.0, {"phones": spans, **tiers})


def frames(count: int) -> tuple[list[float], list[float]]:
    """Spans of frames of 20 ms: the centre of frame i is 10 + 20 i ms."""
    return [STEP * i for i in range(count)], [STEP * (i + 1) for i in range(count)]


def corpus() -> LabelledCorpus:
    """Four recordings of two speakers."""
    first = [(0.0, 0.06, "AA1"), (0.06, 0.10, "B"), (0.10, 0.20, "SIL"), (0.20, 0.32, "S")]
    second = [(0.0, 0.04, "B"), (0.04, 0.16, "AA0"), (0.16, 0.20, "L")]
    made = []
    for number in range(4):
        speaker = number % 2
        made.append(
            talk(
                f"r{number}",
                first if number < 2 else second,
                speaker=f"s{speaker}",
                gender="FM"[speaker],
                session=number,
            )
        )
    return LabelledCorpus(tuple(made))
