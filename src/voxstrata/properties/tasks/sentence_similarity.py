"""Spoken sentence similarity: Spearman correlation of cosines with human scores.

Source: D. Merkx, S. Frank, M. Ernestus, "Semantic sentence similarity: size does not always
matter" (Interspeech 2021: the spoken STS data, four speakers a sentence) as used in Pasad et al.
2024 (arXiv 2307.00162). An utterance is the mean of its frames. docs/properties/
sentence_similarity.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError
from voxstrata.properties.tasks.pair_similarity import pair_cosines, spearman, spearman_error
from voxstrata.properties.tasks.same_different import codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SentenceScores:
    """Result.

    Attributes:
        mean: correlation over sentence pairs, cosines averaged over pairs of speakers.
        every: correlation over all pairs of utterances.
        error: standard error of ``mean`` (jackknife over sentence pairs); ``None`` without.
        pairs: sentence pairs.
        utterance_pairs: pairs of utterances.
        groups: groups behind the error.
    """

    mean: float
    every: float
    error: float | None
    pairs: int
    utterance_pairs: int
    groups: int


def sentence_scores(
    vectors: Any,
    first: Ints,
    second: Ints,
    human: Floats,
    sentence_pair: Sequence[Hashable] | NDArray[Any],
    rng: np.random.Generator | None = None,
) -> SentenceScores:
    """Score utterance vectors against human similarity.

    Args:
        vectors: one row an utterance, [N, D].
        first, second: rows of each line, [P].
        human: score of each line, [P].
        sentence_pair: which pair of sentences each line belongs to, [P]; lines of one pair (the
            16 of four by four speakers) are averaged for ``mean``.
        rng: deals sentence pairs into groups for the error; ``None`` for no error.

    Raises:
        ShapeError: lengths differ.
    """
    if not len(first) == len(second) == len(human) == len(sentence_pair):
        raise ShapeError(
            "lines need two rows, a score and a pair each",
            got=f"{len(first)}, {len(second)}, {len(human)}, {len(sentence_pair)}",
        )
    cosine = pair_cosines(vectors, first, second)
    pair = codes(list(sentence_pair))
    count = np.bincount(pair)
    mean_cosine = np.bincount(pair, cosine) / count
    mean_human = np.bincount(pair, human) / count
    error, groups = None, 0
    if rng is not None:
        own = np.arange(len(count))
        error, groups = spearman_error(mean_cosine, mean_human, np.stack([own, own], 1), rng)
    return SentenceScores(
        spearman(mean_cosine, mean_human),
        spearman(cosine, human),
        error,
        len(count),
        len(human),
        groups,
    )
