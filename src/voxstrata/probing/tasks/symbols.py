"""Tasks whose answer is a sequence of symbols: phones, characters, or characters with slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.errors import UsageError
from voxstrata.metrics.edit import edit_counts
from voxstrata.metrics.slots import slot_counts
from voxstrata.probing.divide import divide, grouped
from voxstrata.probing.sources import Material
from voxstrata.probing.task import PARTS, Round, TaskData, Transcripts, no_tier, nothing_for
from voxstrata.probing.tasks.slotted import (
    SPACE,
    is_mark,
    marked,
    spoken_text,
    symbols_of,
    text_of,
)
from voxstrata.streaming.unit_segment import SILENCES, stress_free
from voxstrata.types import Utterance

BLANK, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<blank>", "<eos>", "<unk>")
"""Symbols before those of the transcripts: CTC's blank, the end, and what training never had."""

CHARACTERS = (SPACE, "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Characters of SUPERB's speech recognition."""

Floats = NDArray[np.float64]
Spoken = tuple[str, ...]

Measure = Literal["per", "wer", "cer", "slot-type-f1", "slot-value-cer", "slot-matched-cer"]
HIGHER = frozenset({"slot-type-f1"})
"""Measures of which more is better."""


class SymbolTask(Config):
    """A task that writes down what is said, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        head: "frame" (two linear layers) or "recurrent" (bidirectional LSTM), both with CTC.
        writes: "phones", the labels of an interval tier without silence; "characters", the
            upper-case letters and apostrophes of a text with a mark between words; or "slots",
            characters with marks around the values of slots
            (:mod:`voxstrata.probing.tasks.slotted`).
        tier: where they are.
        stress: keep the stress digits of ARPAbet ("AH0" is another phone than "AH1").
        stops: what a head says ends with the end symbol (as published for phones); else the symbol
            is left out.
        measures: error rates, or scores of slots (:mod:`voxstrata.metrics.slots`); the first one
            chooses.
        better: of the first measure.
        speakers, fractions: as of class tasks.
    """

    name: str
    title: str
    summary: str
    head: Literal["frame", "recurrent"] = "frame"
    writes: Literal["phones", "characters", "slots"]
    tier: str
    stress: bool = False
    stops: bool = True
    measures: Annotated[tuple[Measure, ...], Field(min_length=1)]
    speakers: Literal["apart", "same", "any"] = "apart"
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    @model_validator(mode="after")
    def _slots_have_marks(self) -> SymbolTask:
        of_slots = [m for m in self.measures if m.startswith("slot-")]
        if of_slots and self.writes != "slots":
            raise ValueError(f"{', '.join(of_slots)}: only what writes slots has such scores")
        return self

    @property
    def better(self) -> str:
        """ "higher" or "lower", of the first measure."""
        return "higher" if self.measures[0] in HIGHER else "lower"

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        return ("text", self.tier) if self.writes == "slots" else (self.tier,)

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        everything = [u for part in material.parts.values() for u in part]
        if not any(self.tier in u.tiers for u in everything):
            raise no_tier(self.name, material, self.tier)
        dropped: Counter[str] = Counter()
        told: dict[str, list[tuple[Utterance, Spoken]]] = {}
        for part, utterances in material.parts.items():
            told[part] = []
            for utterance in utterances:
                spoken = self._spoken(utterance, dropped)
                if isinstance(spoken, str):
                    dropped[spoken] += 1
                else:
                    told[part].append((utterance, spoken))
        if not any(told.values()):
            raise UsageError(
                f"no recording is left for the task {self.name!r}",
                got="; ".join(f"{n} left out: {why}" for why, n in dropped.items()),
                expected=f"recordings with {self.writes} in the tier {self.tier!r}",
            )
        notes: list[str] = []
        rounds = list(divide(told, self.speakers, self.fractions, seed, material.source, notes))
        # Marks are of all parts: what a reference says of slots is not for training to decide.
        parts = PARTS if self.writes == "slots" else PARTS[:1]
        known = self._symbols([s for _, held in rounds for part in parts for _, s in held[part]])
        made = tuple(self._round(name, parts, known, dropped) for name, parts in rounds)
        return TaskData({self.writes: known}, made, tuple(notes), dict(dropped))

    def counts(
        self,
        names: Sequence[str],
        wanted: Sequence[NDArray[np.int64]],
        said: Sequence[NDArray[np.int64]],
    ) -> dict[str, tuple[Floats, Floats]]:
        """Edits and reference tokens of each example, by measure.

        Args:
            names: of the symbols.
            wanted, said: class numbers of each example, without blanks and ends.
        """
        found: dict[str, tuple[Floats, Floats]] = {}
        if self.writes == "slots":
            found = _slot_scores(names, wanted, said)
        for measure in self.measures:
            if measure in found:
                continue
            one, other = (
                [_tokens(measure, [names[i] for i in row], self.writes) for row in rows]
                for rows in (wanted, said)
            )
            counted = edit_counts(one, other)
            found[measure] = counted.edits.astype(np.float64), counted.lengths.astype(np.float64)
        return {measure: found[measure] for measure in self.measures}

    def _spoken(self, utterance: Utterance, dropped: Counter[str]) -> Spoken | str:
        """Its symbols, or why it is left out."""
        if self.writes == "slots":
            text, reason = marked(utterance)
            if reason:
                return reason
            symbols, odd = symbols_of(text, CHARACTERS)
            if odd:
                dropped["characters that are no letters (each left out of its text)"] += odd
            return symbols or "the text is empty"
        if self.tier not in utterance.tiers:
            return f"no {self.tier}"
        if self.writes == "phones":
            labels = [s.label for s in utterance.segments(self.tier) if s.label not in SILENCES]
            found = tuple(labels if self.stress else map(stress_free, labels))
        else:
            text = " ".join(str(utterance.tiers[self.tier]).upper().replace("\u2019", "'").split())
            kept = [c for c in text.replace(" ", SPACE) if c in CHARACTERS]
            odd = len(text) - len(kept)
            if odd:
                dropped["characters that are no letters (each left out of its text)"] += odd
            # Marks that stood around a dropped character are one mark.
            words = [word for word in "".join(kept).split(SPACE) if word]
            found = tuple("".join(word + SPACE for word in words))
        return found or f"{self.tier} is empty"

    def _symbols(self, heard: Sequence[Spoken]) -> tuple[str, ...]:
        if self.writes == "characters":
            return (*SPECIAL, *CHARACTERS)
        if self.writes == "slots":
            marks = sorted({symbol for spoken in heard for symbol in spoken if is_mark(symbol)})
            return (*SPECIAL, *CHARACTERS, *marks)
        held = sorted({symbol for spoken in heard for symbol in spoken} - set(SPECIAL))
        if len(held) < 2:
            raise UsageError(
                f"the task {self.name!r} has fewer than two symbols to tell apart",
                got=", ".join(held) or "none in training",
                expected="at least 2",
                fix="use a larger corpus",
            )
        return (*SPECIAL, *held)

    def _round(
        self,
        name: str,
        parts: Mapping[str, Sequence[tuple[Utterance, Spoken]]],
        known: tuple[str, ...],
        dropped: Counter[str],
    ) -> Round:
        place = {symbol: i for i, symbol in enumerate(known)}
        made: dict[str, Transcripts] = {}
        for part in PARTS:
            if not parts[part]:
                raise nothing_for(self.name, part, dropped, "recordings in train, dev and test")
            rows = [
                np.array([place.get(symbol, UNKNOWN) for symbol in spoken], dtype=np.int64)
                for _, spoken in parts[part]
            ]
            strange = sum(int((row == UNKNOWN).sum()) for row in rows)
            if strange:
                dropped[f"symbols of {part} that are not in training (each an error)"] += strange
            made[part] = Transcripts(
                ids=tuple(u.id for u, _ in parts[part]),
                targets=np.zeros((len(rows), 0), np.int64),
                groups=tuple(grouped(u) for u, _ in parts[part]),
                symbols=tuple(rows),
            )
        return Round(name, made)


def _tokens(measure: str, symbols: Sequence[str], writes: str) -> Sequence[str]:
    """What a measure counts: symbols, words, or characters with one space between words."""
    if measure == "per" or writes == "phones":
        return symbols
    words = spoken_text(symbols).split()
    return words if measure == "wer" else " ".join(words)


def _slot_scores(
    names: Sequence[str],
    wanted: Sequence[NDArray[np.int64]],
    said: Sequence[NDArray[np.int64]],
) -> dict[str, tuple[Floats, Floats]]:
    one, other = ([text_of([names[i] for i in row]) for row in rows] for rows in (wanted, said))
    counted = slot_counts(one, other)
    lengths = counted.value_lengths.astype(np.float64)
    return {
        "slot-type-f1": (counted.type_f1, np.ones(len(counted.type_f1))),
        "slot-value-cer": (counted.value_edits.astype(np.float64), lengths),
        "slot-matched-cer": (counted.matched_edits.astype(np.float64), lengths),
    }
