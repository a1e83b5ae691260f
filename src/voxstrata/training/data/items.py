"""The recordings a run trains on, with integer labels; speed-perturbed copies are new speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import CorpusError
from voxstrata.types import SAMPLE_RATE, Utterance

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus


@dataclass(frozen=True)
class Item:
    """One recording at one speed.

    Attributes:
        index: position among the items of the run.
        utterance: the recording.
        label: class of its speaker at this speed, -1 where speakers are not known.
        speed: 1.0, or a factor such as 0.9 (slower, longer, lower).
        copy: which of its repeats in a pass this is.
    """

    index: int
    utterance: Utterance
    label: int
    speed: float = 1.0
    copy: int = 0

    @property
    def id(self) -> str:
        """The utterance's name, with the speed where it is not 1."""
        return self.utterance.id if self.speed == 1.0 else f"{self.utterance.id}@{self.speed:g}"

    @property
    def duration_s(self) -> float:
        """Length at this speed, seconds."""
        return self.utterance.duration_s / self.speed

    def read(self) -> NDArray[np.float32]:
        """Audio at this speed, float32 [S], 16 kHz.

        Raises:
            AudioError: the recording cannot be read.
        """
        wave = self.utterance.read()
        if self.speed == 1.0:
            return wave
        from voxstrata.augmentation.speed import speed

        return speed(wave, self.speed)


class Items(Sequence[Item]):
    """All items of a run: every recording at every speed, as often as its corpus is repeated.

    Classes are numbered speaker by speaker (sorted by name), all speakers at speed 1 first, so the
    first ``speakers`` rows of a classifier are those of the real speakers (large-margin
    fine-tuning keeps them).

    Args:
        corpus: recordings; the tier ``speaker`` gives the classes.
        speeds: factors, 1.0 among them.
        labelled: whether every recording must have a speaker.
        repeats: how often each recording comes in a pass; once, if not given.

    Attributes:
        names: the speakers, sorted.
        speakers: how many.
        classes: speakers x speeds.

    Raises:
        CorpusError: recordings without speaker where they are needed.
    """

    def __init__(
        self,
        corpus: Corpus,
        speeds: Sequence[float] = (1.0,),
        *,
        labelled: bool = False,
        repeats: Sequence[int] | None = None,
    ) -> None:
        found = corpus.utterances
        missing = [u.id for u in found if "speaker" not in u.tiers]
        if labelled and missing:
            raise CorpusError(
                f"{len(missing)} recordings of {corpus.spec} have no speaker",
                got=", ".join(missing[:5]),
                expected="the tier 'speaker' on every recording",
                fix="choose an objective without labels, or a corpus with speakers",
            )
        self.corpus = corpus
        self.names = corpus.speakers
        self.speakers = len(self.names)
        self.classes = self.speakers * len(speeds)
        self.speeds = tuple(sorted(speeds, key=lambda s: s != 1.0))
        code = {name: i for i, name in enumerate(self.names)}
        counts = repeats or [1] * len(found)
        self._items: list[Item] = []
        for k, factor in enumerate(self.speeds):
            for utterance, count in zip(found, counts, strict=True):
                label = -1
                if "speaker" in utterance.tiers:
                    label = code[str(utterance.tiers["speaker"])] + k * self.speakers
                self._items += [
                    Item(len(self._items) + i, utterance, label, factor, i) for i in range(count)
                ]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        return self._items[index]

    @property
    def seconds(self) -> float:
        """Length of all items together."""
        return sum(item.duration_s for item in self._items)


def samples(seconds: float) -> int:
    """Samples of a crop of ``seconds``."""
    return round(seconds * SAMPLE_RATE)
