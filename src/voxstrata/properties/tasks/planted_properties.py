"""Properties ``wordsim-topics`` and ``sentences-topics``: the topics that the synthetic corpus
plants, so the truth is known and needs no judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.property import (
    PERMUTED,
    SHUFFLED,
    Property,
    PropertyFacts,
    Score,
    TooFewError,
)
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.pair_similarity import (
    cross_cosines,
    even_pairs,
    pair_cosines,
    spearman,
    spearman_error,
)
from voxstrata.properties.tasks.same_different import MAX_ROWS, WordPairs, choose_rows, codes
from voxstrata.properties.tasks.similarity_properties import (
    CONTROL,
    GROUPS,
    PAIRS,
    ROWS,
    cap_instances,
    fewest_of,
    reduced,
    rng_of,
    score_of,
)
from voxstrata.properties.tasks.word_similarity import vocabulary, word_means
from voxstrata.streaming.stack import StackLayer

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_WORDS = 100
"""Words (or texts) with a planted topic at the published scale; 12 at the small one."""
MOST_PAIRS = 30_000
"""Pairs of a planted task, evenly from each level of similarity."""


@dataclass
class _PlantedDraw:
    """Items (words or texts) whose similarity is known by construction."""

    rows: torch.Tensor
    item: Ints
    groupings: tuple[Ints, ...]
    pairs: Ints
    truth: Floats
    shuffled: Ints
    seed: int
    same: WordPairs | None
    same_rows: torch.Tensor
    same_control: WordPairs | None
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Correlation with the planted similarity; items given to the wrong rows."""
        held = rows[self.rows]
        similarity = cross_cosines(held, self.item, *self.groupings)
        means = word_means(held, self.item)
        d, n = rows.shape[1], len(self.pairs)
        out = []
        for control, order in (("", np.arange(len(means))), (SHUFFLED, self.shuffled)):
            i, j = order[self.pairs[:, 0]], order[self.pairs[:, 1]]
            value = similarity[i, j]
            known = np.isfinite(value)  # a shuffled pair may have no rows to compare
            error, groups = None, 0
            if not control:
                rng = rng_of(self.seed, GROUPS)
                error, groups = spearman_error(value, self.truth, self.pairs, rng)
            rho = spearman(value[known], self.truth[known])
            out.append(score_of("spearman", rho, d, n, error=error, groups=groups, control=control))
            plain = spearman(pair_cosines(means, i, j), self.truth)
            out.append(score_of("spearman-mean-vectors", plain, d, n, control=control))
        if self.same is not None and self.same_control is not None:
            cosine = self.same.similarities(rows[self.same_rows])
            folds = self.same.folds
            for control, pairs in (("", self.same), (PERMUTED, self.same_control)):
                found = pairs.score(cosine).get("different-speakers")
                if found is None:
                    continue
                out.append(
                    score_of(
                        "ap-same-text",
                        found.value,
                        d,
                        found.pairs,
                        error=found.error,
                        groups=int(folds.max()) + 1
                        if folds is not None and found.error is not None
                        else 0,
                        control=control,
                        bounds=(0.0, 1.0),
                    )
                )
        return out


def planted_topics() -> dict[str, tuple[str, frozenset[str]]]:
    """Form of a content word of the synthetic corpus to its topic and its base forms; words of
    several topics are left out."""
    from voxstrata.corpora.synthetic.lexicon import lexicon

    lex = lexicon()
    topics, bases = lex.topics_of(), dict[str, set[str]]()
    for topic in lex.topics:
        for kind, words in topic.words.items():
            for word in words:
                for form in lex.forms(word, kind):
                    bases.setdefault(form, set()).add(word)
    return {
        form: (next(iter(found)), frozenset(bases[form]))
        for form, found in topics.items()
        if len(found) == 1
    }


def _topic_missing(corpus: Corpus) -> str:
    from voxstrata.corpora.synthetic.lexicon import lexicon

    known = {topic.name for topic in lexicon().topics}
    if not any(u.tiers.get("topic") in known for u in corpus.utterances):
        return "no recording has a planted topic (synthetic corpora have)"
    return ""


def _planted_pairs(
    name: str,
    topics: Sequence[str],
    allowed: NDArray[np.bool_],
    settings: PropertiesConfig,
    rng: np.random.Generator,
) -> tuple[Ints, Floats]:
    """Pairs of items, evenly from each level of topic similarity, and their similarity."""
    from voxstrata.corpora.synthetic.grammar import topic_similarity

    fewest = fewest_of(settings, FEWEST_WORDS, 12)
    alike = topic_similarity()
    i, j = np.nonzero(np.triu(allowed, 1)) if len(topics) else (np.empty(0, int),) * 2
    truth = np.array([alike[topics[a], topics[b]] for a, b in zip(i, j, strict=True)])
    levels = np.unique(truth, return_counts=True)[1]
    if len(topics) < fewest or len(levels) < 2 or levels.min() < 3:
        raise TooFewError(
            f"{name} has too few items with a planted topic",
            got=f"{len(topics)} items, {levels.tolist()} pairs of each level of similarity",
            expected=f"at least {fewest} items and 3 pairs of two levels",
            fix="--scale small (12 items suffice), or a larger synthetic corpus",
        )
    chosen = even_pairs(truth, rng, MOST_PAIRS)
    return np.stack([i[chosen], j[chosen]], axis=1).astype(np.int64), truth[chosen]


@dataclass(frozen=True)
class PlantedWords(PropertyFacts):
    """Word similarity with topics planted by the synthetic corpus
    (docs/properties/word_similarity.md)."""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """No words, or no planted topics."""
        return super().missing(corpus, settings) or _topic_missing(corpus)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _PlantedDraw:
        """Content words of one topic; pairs of different base forms.

        Raises:
            TooFewError: too few such words or pairs.
        """
        planted = planted_topics()
        topical = [topic is not None for topic in sample.tier("topic")]
        labels = [label.casefold() for label in sample.labels or ()]
        rows = np.array(
            [i for i, w in enumerate(labels) if w in planted and topical[i]], dtype=np.int64
        )
        words, word = vocabulary([labels[i] for i in rows])
        kept = cap_instances(word, settings.all_words_per_type, rng_of(seed, ROWS))
        rows, word = rows[kept], word[kept]
        speaker = codes(sample.groups("speaker")[rows].tolist())
        texts = sample.tier("text")
        text = codes([texts[i] for i in rows])
        allowed = _comparable(word, (speaker, text))
        for i, a in enumerate(words):
            for j in range(i):
                if planted[a][1] & planted[words[j]][1]:
                    allowed[i, j] = allowed[j, i] = False
        topics = [planted[w][0] for w in words]
        pairs, truth = _planted_pairs(self.name, topics, allowed, settings, rng_of(seed, PAIRS))
        facts = {
            "words": len(words),
            "rows": len(rows),
            "pairs": len(pairs),
            "truth": "topics planted by the synthetic corpus",
            "compared": "instances of different speakers in different texts",
            **reduced(settings, "words", len(words), FEWEST_WORDS),
        }
        return _PlantedDraw(
            torch.from_numpy(rows),
            word,
            (speaker, text),
            pairs,
            truth,
            rng_of(seed, CONTROL).permutation(len(words)),
            seed,
            None,
            torch.empty(0, dtype=torch.int64),
            None,
            facts,
            (),
        )


def _comparable(item: Ints, groupings: tuple[Ints, ...]) -> NDArray[np.bool_]:
    """Which pairs of items have rows to compare (:func:`cross_cosines`), [W, W]."""
    if not len(item):
        return np.zeros((0, 0), dtype=bool)
    found = cross_cosines(torch.ones((len(item), 1)), item, *groupings)
    return np.isfinite(found)


@dataclass(frozen=True)
class PlantedSentences(PropertyFacts):
    """Sentence similarity with topics planted by the synthetic corpus, and telling one text from
    another (docs/properties/sentence_similarity.md)."""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """No planted topics."""
        return super().missing(corpus, settings) or _topic_missing(corpus)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _PlantedDraw:
        """Utterances with a topic; readings of a text are pooled.

        Raises:
            TooFewError: too few texts or pairs.
        """
        topic = sample.tier("topic")
        text = sample.tier("text")
        rows = np.array(
            [i for i, (a, b) in enumerate(zip(topic, text, strict=True)) if a and b],
            dtype=np.int64,
        )
        spoken = [text[i] for i in rows]
        item = codes(spoken)
        names = list(dict.fromkeys(spoken))
        topic_of = {text[i]: str(topic[i]) for i in rows}
        speaker = codes(sample.groups("speaker")[rows].tolist())
        allowed = _comparable(item, (speaker,))
        topics = [topic_of[name] for name in names]
        pairs, truth = _planted_pairs(self.name, topics, allowed, settings, rng_of(seed, PAIRS))
        few, _ = choose_rows([str(s) for s in spoken], MAX_ROWS, rng_of(seed, ROWS))
        same = control = None
        if max(np.bincount(item[few])) > 1:
            same = WordPairs(
                [str(spoken[i]) for i in few], speaker[few].tolist(), sample.fold[rows[few]]
            )
            control = same.permuted(rng_of(seed, CONTROL))
        facts = {
            "texts": len(names),
            "utterances": len(rows),
            "pairs": len(pairs),
            "truth": "topics planted by the synthetic corpus",
            "compared": "readings by different speakers",
            **reduced(settings, "texts", len(names), FEWEST_WORDS),
        }
        return _PlantedDraw(
            torch.from_numpy(rows),
            item,
            (speaker,),
            pairs,
            truth,
            rng_of(seed, CONTROL).permutation(len(names)),
            seed,
            same,
            torch.from_numpy(rows[few]),
            control,
            facts,
            (),
        )


def wordsim_topics(argument: str) -> Property:
    """``wordsim-topics``."""
    no_argument("wordsim-topics", argument)
    return PlantedWords(
        "wordsim-topics",
        "word similarity (Spearman, planted topics)",
        "task",
        "word",
        "spearman",
        tiers=("words", "topic"),
    )


def sentences_topics(argument: str) -> Property:
    """``sentences-topics``."""
    no_argument("sentences-topics", argument)
    return PlantedSentences(
        "sentences-topics",
        "sentence similarity (Spearman, planted topics)",
        "task",
        "utterance",
        "spearman",
        tiers=("topic", "text"),
    )
