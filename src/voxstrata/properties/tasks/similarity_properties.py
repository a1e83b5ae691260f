"""Properties ``wordsim`` and ``sentence-similarity``: cosine against human scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.property import (
    SHUFFLED,
    Property,
    PropertyFacts,
    Score,
    TooFewError,
)
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.discrimination_property import TRAINING_FREE
from voxstrata.properties.tasks.pair_similarity import (
    read_scored_pairs,
)
from voxstrata.properties.tasks.sentence_similarity import sentence_scores
from voxstrata.properties.tasks.word_similarity import (
    Found,
    ListScore,
    averages,
    find_pairs,
    score_list,
    vocabulary,
    word_means,
)
from voxstrata.streaming.stack import StackLayer

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_PAIRS = 20
"""Pairs a list must have found at the published scale; 5 at the small one."""

ROWS, GROUPS, CONTROL, PAIRS = 4201, 4202, 4203, 4204
_BOUNDS = (-1.0, 1.0)


def rng_of(seed: int, purpose: int) -> np.random.Generator:
    """A generator of its own for each purpose."""
    return np.random.default_rng([seed, purpose])


def score_of(
    measure: str,
    value: float,
    d: int,
    n: int,
    *,
    error: float | None = None,
    groups: int = 0,
    control: str = "",
    bounds: tuple[float, float] = _BOUNDS,
) -> Score:
    """A score of a task without training."""
    return Score(
        measure, value, error, n, groups, d, estimator=TRAINING_FREE, control=control, bounds=bounds
    )


def fewest_of(settings: PropertiesConfig, published: int, small: int) -> int:
    """The smallest number of things that the scale allows."""
    return published if settings.scale == "published" else small


def reduced(settings: PropertiesConfig, what: str, got: int, wanted: int) -> dict[str, Any]:
    """The fact that a small scale went below what the published one asks for."""
    if settings.scale == "published" or got >= wanted:
        return {}
    return {"reduced": {what: {"published": wanted, "used": got}}}


def cap_instances(word: Ints, most: int, rng: np.random.Generator) -> Ints:
    """At most ``most`` rows of each word, drawn at random: positions, ascending."""
    order = rng.permutation(len(word))
    by_word = order[np.argsort(word[order], kind="stable")]
    counts = np.bincount(word, minlength=1)
    place = np.arange(len(word)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_word[place < most])


@dataclass
class _WordSimDraw:
    rows: torch.Tensor
    word: Ints
    lists: list[Found]
    shuffled: Ints
    seed: int
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Macro and micro averages and every list; vectors given to the wrong words."""
        vectors = word_means(rows[self.rows], self.word)
        out = []
        for control, held in (("", vectors), (SHUFFLED, vectors[torch.from_numpy(self.shuffled)])):
            scores = [
                score_list(held, found, None if control else rng_of(self.seed, GROUPS))
                for found in self.lists
            ]
            named = [(f"spearman/{s.name}", s) for s in scores]
            for measure, s in [*_averages(scores), *named]:
                out.append(
                    score_of(
                        measure,
                        s.value,
                        rows.shape[1],
                        s.n,
                        error=s.error,
                        groups=s.groups if s.error is not None else 0,
                        control=control,
                    )
                )
        return out


def _averages(scores: list[ListScore]) -> list[tuple[str, ListScore]]:
    macro, micro = averages(scores)
    return [("spearman-macro", macro), ("spearman-micro", micro)]


@dataclass(frozen=True)
class WordSimilarity(PropertyFacts):
    """Word similarity against human judgements (docs/properties/word_similarity.md)."""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """No lists, or no words.

        Raises:
            UsageError: a list cannot be read.
        """
        if not settings.wordsim:
            return "no word-similarity list is given: --wordsim FILE"
        for path in settings.wordsim:
            read_scored_pairs(path)
        return super().missing(corpus, settings)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _WordSimDraw:
        """Instances of the listed words.

        Raises:
            TooFewError: no list has enough pairs of spoken words.
            UsageError: a list cannot be read.
        """
        words, word = vocabulary(sample.labels or ())
        lists = [find_pairs(read_scored_pairs(path), words) for path in settings.wordsim]
        fewest = fewest_of(settings, FEWEST_PAIRS, 5)
        used = [found for found in lists if len(found.pairs) >= fewest]
        coverage = {
            found.name: {"pairs": found.total, "found": len(found.pairs)} for found in lists
        }
        if not used:
            raise TooFewError(
                f"no word-similarity list has {fewest} pairs of words that are spoken here",
                got=", ".join(f"{n}: {c['found']} of {c['pairs']}" for n, c in coverage.items()),
                expected=f"at least {fewest} pairs in one list",
                fix="--scale small (5 pairs suffice), or a larger corpus",
            )
        wanted = np.unique(np.concatenate([found.pairs.ravel() for found in used]))
        rows = np.flatnonzero(np.isin(word, wanted))
        rows = rows[cap_instances(word[rows], settings.all_words_per_type, rng_of(seed, ROWS))]
        place = np.full(len(words), -1, dtype=np.int64)
        place[wanted] = np.arange(len(wanted))
        moved = [Found(f.name, place[f.pairs], f.human, f.total) for f in used]
        facts = {
            "words": len(wanted),
            "rows": len(rows),
            "instances of a word, at most": settings.all_words_per_type,
            "lists": coverage,
            **reduced(settings, "pairs in a list", min(len(f.pairs) for f in used), FEWEST_PAIRS),
        }
        notices = [
            f"{f.name}: {len(f.pairs)} of {f.total} pairs are spoken here"
            + ("" if len(f.pairs) >= fewest else ", too few: left out")
            for f in lists
            if len(f.pairs) < 0.5 * f.total
        ]
        return _WordSimDraw(
            torch.from_numpy(rows),
            place[word[rows]],
            moved,
            rng_of(seed, CONTROL).permutation(len(wanted)),
            seed,
            facts,
            notices,
        )


@dataclass
class _SentenceDraw:
    rows: Ints
    first: Ints
    second: Ints
    human: Floats
    pair: list[Any]
    shuffled: Ints
    seed: int
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Correlation of means over speakers, and of all pairs; vectors given to the wrong
        utterances."""
        vectors = rows[torch.from_numpy(self.rows)]
        out = []
        for control, held in (("", vectors), (SHUFFLED, vectors[torch.from_numpy(self.shuffled)])):
            rng = None if control else rng_of(self.seed, GROUPS)
            s = sentence_scores(held, self.first, self.second, self.human, self.pair, rng)
            out.append(
                score_of(
                    "spearman",
                    s.mean,
                    rows.shape[1],
                    s.pairs,
                    error=s.error,
                    groups=s.groups if s.error is not None else 0,
                    control=control,
                )
            )
            if s.utterance_pairs > s.pairs:
                out.append(
                    score_of(
                        "spearman-all", s.every, rows.shape[1], s.utterance_pairs, control=control
                    )
                )
        return out


@dataclass(frozen=True)
class SentenceSimilarity(PropertyFacts):
    """Spoken sentence similarity (docs/properties/sentence_similarity.md)."""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """No file of sentence pairs.

        Raises:
            UsageError: the file cannot be read.
        """
        if not settings.sentences:
            return "no sentence-similarity file is given: --sentences FILE"
        read_scored_pairs(settings.sentences)
        return super().missing(corpus, settings)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _SentenceDraw:
        """The lines whose two utterances are in the sample.

        Raises:
            TooFewError: too few pairs of sentences.
            UsageError: no file is given, or it cannot be read.
        """
        listed = read_scored_pairs(settings.sentences or "")
        row_of = {str(name): row for row, name in enumerate(sample.utterance)}
        kept = [
            i
            for i, (a, b) in enumerate(zip(listed.first, listed.second, strict=True))
            if a in row_of and b in row_of
        ]
        texts = {name: u.tiers.get("text") for name, u in sample.utterances.items()}

        def pair_of(i: int) -> Any:
            if listed.group is not None:
                return listed.group[i]
            said = (texts[listed.first[i]], texts[listed.second[i]])
            return i if None in said else said

        pair = [pair_of(i) for i in kept]
        fewest = fewest_of(settings, FEWEST_PAIRS, 5)
        if len(set(pair)) < fewest:
            raise TooFewError(
                f"{self.name} has too few pairs of sentences",
                got=f"{len(set(pair))} pairs ({len(kept)} of {len(listed)} lines)",
                expected=f"at least {fewest}",
                fix="--scale small (5 pairs suffice), or check the utterance ids in the file",
            )
        rows = np.unique([row_of[n] for i in kept for n in (listed.first[i], listed.second[i])])
        place = {int(row): i for i, row in enumerate(rows)}
        first = np.array([place[row_of[listed.first[i]]] for i in kept], dtype=np.int64)
        second = np.array([place[row_of[listed.second[i]]] for i in kept], dtype=np.int64)
        facts = {
            "lines": {"pairs": len(listed), "found": len(kept)},
            "sentence pairs": len(set(pair)),
            "utterances": len(rows),
            **reduced(settings, "sentence pairs", len(set(pair)), FEWEST_PAIRS),
        }
        notices = []
        if len(kept) < len(listed):
            notices.append(
                f"{len(listed) - len(kept)} of {len(listed)} lines name utterances that are not "
                "in the corpus"
            )
        shuffled = rng_of(seed, CONTROL).permutation(len(rows))
        human = listed.score[kept]
        return _SentenceDraw(rows, first, second, human, pair, shuffled, seed, facts, notices)


def wordsim(argument: str) -> Property:
    """``wordsim``."""
    no_argument("wordsim", argument)
    return WordSimilarity(
        "wordsim",
        "word similarity (Spearman, human scores)",
        "task",
        "word",
        "spearman-macro",
        tiers=("words",),
    )


def sentence_similarity(argument: str) -> Property:
    """``sentence-similarity``."""
    no_argument("sentence-similarity", argument)
    return SentenceSimilarity(
        "sentence-similarity",
        "sentence similarity (Spearman, human scores)",
        "task",
        "utterance",
        "spearman",
    )
