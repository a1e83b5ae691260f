"""Property ``word-discrimination``: same word or not, with no training at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voxstrata.properties.property import PERMUTED, Property, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.same_different import (
    MAX_ROWS,
    Discrimination,
    WordPairs,
    choose_rows,
)
from voxstrata.streaming.stack import StackLayer

TRAINING_FREE = "training-free"
"""Estimator of tasks in which nothing is fitted."""

_WORDS, _WORDS_CONTROL = 4101, 4102


@dataclass
class _WordDraw:
    rows: torch.Tensor
    pairs: WordPairs
    control: WordPairs
    facts: dict[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Average precision of each variant, and with words permuted."""
        similarity = self.pairs.similarities(rows[self.rows])
        groups = 0 if self.pairs.folds is None else int(self.pairs.folds.max()) + 1
        out = []
        for control, pairs in (("", self.pairs), (PERMUTED, self.control)):
            for name, found in pairs.score(similarity).items():
                out.append(_precision_score(name, found, groups, rows.shape[1], control))
        return out


def _precision_score(name: str, found: Discrimination, groups: int, d: int, control: str) -> Score:
    return Score(
        measure="ap" if name == "all" else f"ap-{name}",
        value=found.value,
        error=found.error,
        n=found.pairs,
        groups=groups if found.error is not None else 0,
        d=d,
        estimator=TRAINING_FREE,
        control=control,
        bounds=(0.0, 1.0),
    )


@dataclass(frozen=True)
class WordDiscrimination(PropertyFacts):
    """Acoustic word discrimination (docs/properties/word_discrimination.md)."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _WordDraw:
        """Words long enough, at most 7,500 of them.

        Raises:
            TooFewError: no word occurs twice, or there is only one word.
        """
        labels = np.array([label.casefold() for label in sample.labels or ()], dtype=object)
        published = settings.preset == "pasad2023"
        characters = 5 if published else 1
        shortest = max(settings.min_s, 0.5) if published else settings.min_s
        seconds = sample.end_s - sample.start_s
        long_enough = np.array([len(label) >= characters for label in labels], dtype=bool)
        kept = np.flatnonzero(long_enough & (seconds >= shortest - 1e-9))
        rng = np.random.default_rng([seed, _WORDS])
        chosen, cap = choose_rows([str(w) for w in labels[kept]], MAX_ROWS, rng)
        rows = kept[chosen]
        counts = Counter(labels[rows].tolist())
        if len(counts) < 2 or max(counts.values()) < 2:
            raise TooFewError(
                f"{self.name} needs two words, one of them spoken twice",
                got=f"{len(rows)} rows of {len(counts)} words with at least {characters} "
                f"characters and {shortest:g} s, of {len(labels)} rows",
                expected="at least 2 words, and 2 rows of one",
                fix="lower min_s, use preset voxstrata (no length limit), or more recordings",
            )
        speakers = sample.groups("speaker")[rows]
        pairs = WordPairs(
            [str(w) for w in labels[rows]], [str(s) for s in speakers], sample.fold[rows]
        )
        facts: dict[str, Any] = {
            "rows": len(rows),
            "words": len(counts),
            "speakers": len(set(speakers.tolist())),
            "pairs": len(rows) * (len(rows) - 1) // 2,
            "same-word pairs": int(pairs.same_word.sum()),
            "min characters": characters,
            "min seconds": shortest,
            "left out as too short": len(labels) - len(kept),
            "instances of a word, at most": cap,
        }
        notices = []
        if "swdp" not in pairs.variants():
            notices.append(
                "no word is spoken by two speakers: same-word pairs share their speaker, and the "
                "score cannot tell words from voices"
            )
        control = pairs.permuted(np.random.default_rng([seed, _WORDS_CONTROL]))
        return _WordDraw(torch.from_numpy(rows), pairs, control, facts, notices)


def word_discrimination(argument: str) -> Property:
    """``word-discrimination``."""
    no_argument("word-discrimination", argument)
    return WordDiscrimination(
        "word-discrimination",
        "acoustic word discrimination (average precision)",
        "task",
        "word",
        "ap",
        tiers=("words",),
    )
