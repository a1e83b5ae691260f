"""Speaker verification as a task: speakers to train on, and trials of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voxstrata.config import Config
from voxstrata.corpora.selection import rank
from voxstrata.errors import UsageError
from voxstrata.probing.divide import divide
from voxstrata.probing.sources import Material, own_id
from voxstrata.probing.task import PARTS, Examples, Round, TaskData, class_numbers, no_tier
from voxstrata.types import Utterance
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.trials import Trials, match_trials, read_trials

Spoken = Sequence[tuple[Utterance, str]]

SPEAKER = "speaker"

MOST_RECORDINGS = 2000
"""Recordings among which pairs are drawn."""

DEV_SPEAKERS = 60
"""Training speakers that are set aside for dev where it is not named, at most."""


@dataclass(frozen=True)
class TrialExamples(Examples):
    """Recordings with the trials among them; ``targets`` is [N, 0], ``groups`` are speakers.

    Attributes:
        first, second: [P], positions of the two sides.
        same: bool [P], whether one speaker spoke both.
    """

    first: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    second: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    same: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def described(self) -> object:
        """What results depend on, JSON-like."""
        return [list(self.ids), self.first.tolist(), self.second.tolist(), self.same.tolist()]


class TrialTask(Config):
    """Speaker verification, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        head: "x-vector".
        trials: pairs that are drawn of dev and of test recordings, at most; a corpus map can name a
            list of trials for test (``trials: FILE``).
        least: recordings a training speaker needs.
        measures: scores; the first one chooses.
        fractions: shares of speakers in train, dev and test where a split is made here.
    """

    name: str
    title: str
    summary: str
    head: Literal["x-vector"] = "x-vector"
    trials: Annotated[int, Field(ge=2)] = 5000
    least: Annotated[int, Field(ge=1)] = 2
    measures: tuple[Literal["eer", "min-dcf"], ...] = ("eer", "min-dcf")
    better: Literal["lower"] = "lower"
    speakers: Literal["apart"] = "apart"
    fractions: tuple[float, float, float] = (0.5, 0.25, 0.25)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        return (SPEAKER,)

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        dropped: Counter[str] = Counter()
        held: dict[str, list[tuple[Utterance, str]]] = {}
        for part, utterances in material.parts.items():
            held[part] = []
            for utterance in utterances:
                name = utterance.tiers.get(SPEAKER)
                if name is None or name == "":
                    dropped[f"no {SPEAKER}"] += 1
                else:
                    held[part].append((utterance, str(name)))
        if not any(held.values()):
            raise no_tier(self.name, material, SPEAKER)
        notes: list[str] = []
        rounds = list(divide(held, "apart", self._shares(held), seed, material.source, notes))
        kept = [
            (name, {**parts, "train": self._frequent(parts["train"], dropped)})
            for name, parts in rounds
        ]
        classes = sorted({who for _, parts in kept for _, who in parts["train"]})
        if len(classes) < 2:
            raise UsageError(
                f"the task {self.name!r} has fewer than two speakers to train on",
                got=f"{len(classes)} with at least {self.least} recordings",
                expected="at least 2",
                fix="use a larger corpus",
            )
        made = tuple(
            self._round(name, parts, classes, material, seed, notes) for name, parts in kept
        )
        return TaskData({"speaker": tuple(classes)}, made, tuple(dict.fromkeys(notes)), dropped)

    def _shares(self, held: Mapping[str, Spoken]) -> tuple[float, float, float]:
        """Shares of speakers; of a large training part no more become dev than are needed."""
        first, second, third = self.fractions
        if "train" not in held or "dev" in held:
            return self.fractions
        speakers = len({who for _, who in held["train"]})
        wanted = min(second / (first + second), DEV_SPEAKERS / max(speakers, 1))
        return ((first + second) * (1 - wanted), (first + second) * wanted, third)

    def _frequent(self, held: Spoken, dropped: Counter[str]) -> Spoken:
        counts = Counter(who for _, who in held)
        kept = [item for item in held if counts[item[1]] >= self.least]
        if len(kept) < len(held):
            why = f"training speaker with fewer than {self.least} recordings"
            dropped[why] += len(held) - len(kept)
        return kept

    def _round(
        self,
        name: str,
        parts: Mapping[str, Spoken],
        classes: Sequence[str],
        material: Material,
        seed: int,
        notes: list[str],
    ) -> Round:
        train = parts["train"]
        made: dict[str, Examples] = {
            "train": Examples(
                tuple(u.id for u, _ in train),
                class_numbers([who for _, who in train], classes)[:, None],
                tuple(who for _, who in train),
            )
        }
        for part in PARTS[1:]:
            listed = material.source.trials if part == "test" else None
            trials = self._trials(parts[part], listed, seed, notes)
            who = {u.id: speaker for u, speaker in parts[part]}
            made[part] = TrialExamples(
                trials.ids,
                np.zeros((len(trials.ids), 0), np.int64),
                tuple(who[i] for i in trials.ids),
                trials.first,
                trials.second,
                trials.target,
            )
        return Round(name, made)

    def _trials(self, held: Spoken, listed: str | None, seed: int, notes: list[str]) -> Trials:
        if listed is None:
            few = _drawn(held, seed)
            if len(few) < len(held):
                notes.append(f"Pairs are drawn among {len(few)} of {len(held)} recordings.")
            return all_pairs(few, limit=self.trials, seed=seed, source="drawn pairs")
        names = {own_id(u.id): u.id for u, _ in held}
        matched = match_trials(read_trials(listed), list(names))
        matched.trials.need_both_kinds(
            f"name the test corpus of the recordings in {listed} in the corpus map"
        )
        if matched.lost:
            notes.append(
                f"{matched.lost} trials of {listed} are left out: {len(matched.absent)} of their "
                "recordings are not in the test corpus."
            )
        return replace(matched.trials, ids=tuple(names[i] for i in matched.trials.ids))


def _drawn(held: Spoken, seed: int) -> list[Utterance]:
    """Recordings to draw pairs of: all, or as many of each speaker by seed, at least two."""
    if len(held) <= MOST_RECORDINGS:
        return [u for u, _ in held]
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance, who in held:
        by_speaker.setdefault(who, []).append(utterance)
    names = sorted(by_speaker, key=lambda name: rank(name, seed, "probing"))
    names = names[: MOST_RECORDINGS // 2]
    each = max(2, MOST_RECORDINGS // len(names))
    found = []
    for name in names:
        mine = sorted(by_speaker[name], key=lambda u: rank(u.id, seed, "probing"))
        found += mine[:each]
    return found
