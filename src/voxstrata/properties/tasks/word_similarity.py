"""Word similarity: do spoken words that people call alike have vectors that are alike?

Source: A. Pasad, C.-M. Chien, S. Settle, K. Livescu, "What do self-supervised speech models know
about words?" (arXiv 2307.00162): a word's vector is the mean of its spoken instances, its
similarity to another the cosine, the score Spearman's correlation with human judgements.
docs/properties/word_similarity.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import ShapeError
from voxstrata.numerics.linalg import float64
from voxstrata.properties.tasks.pair_similarity import (
    ScoredPairs,
    pair_cosines,
    spearman,
    spearman_error,
)
from voxstrata.properties.tasks.same_different import codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """The pairs of a list of which both words were spoken.

    Attributes:
        name: the list.
        pairs: positions in the vocabulary, [P, 2].
        human: scores, [P].
        total: pairs in the list.
    """

    name: str
    pairs: Ints
    human: Floats
    total: int


@dataclass(frozen=True)
class ListScore:
    """Spearman correlation on one list.

    Attributes:
        name: the list.
        value: the correlation.
        error: jackknife over words; ``None`` where there is none.
        n: pairs found.
        total: pairs in the list.
        groups: groups of words behind the error.
    """

    name: str
    value: float
    error: float | None
    n: int
    total: int
    groups: int


def vocabulary(labels: Sequence[str]) -> tuple[list[str], Ints]:
    """Distinct words, lower-cased, by first appearance; and the word of each row, [N]."""
    folded = [label.casefold() for label in labels]
    return list(dict.fromkeys(folded)), codes(folded)


def word_means(rows: Any, word: Ints) -> torch.Tensor:
    """Mean of the rows of each word, float64 [W, D].

    Raises:
        ShapeError: not one word a row.
    """
    x = float64(rows)
    if len(x) != len(word):
        raise ShapeError("every row needs one word", got=f"{len(x)} rows, {len(word)} words")
    count = torch.from_numpy(np.bincount(word)).to(torch.float64)
    total = torch.zeros((len(count), x.shape[1]), dtype=torch.float64)
    total.index_add_(0, torch.from_numpy(word), x)
    return total / count[:, None]


def find_pairs(listed: ScoredPairs, words: Sequence[str]) -> Found:
    """The pairs of a list that the vocabulary covers; case does not matter."""
    place = {word: i for i, word in enumerate(words)}
    kept = [
        (place[a.casefold()], place[b.casefold()], score)
        for a, b, score in zip(listed.first, listed.second, listed.score, strict=True)
        if a.casefold() in place and b.casefold() in place
    ]
    return Found(
        listed.name,
        np.array([(a, b) for a, b, _ in kept], dtype=np.int64).reshape(-1, 2),
        np.array([score for _, _, score in kept], dtype=np.float64),
        len(listed),
    )


def score_list(vectors: Any, found: Found, rng: np.random.Generator | None = None) -> ListScore:
    """Spearman correlation of cosine and human score.

    Args:
        vectors: one row a word of the vocabulary, [W, D].
        found: which pairs.
        rng: deals words into groups for the error; ``None`` for no error.
    """
    cosine = pair_cosines(vectors, found.pairs[:, 0], found.pairs[:, 1])
    error, groups = None, 0
    if rng is not None:
        error, groups = spearman_error(cosine, found.human, found.pairs, rng)
    value = spearman(cosine, found.human)
    return ListScore(found.name, value, error, len(found.pairs), found.total, groups)


def averages(scores: Sequence[ListScore]) -> tuple[ListScore, ListScore]:
    """Mean over lists, ``macro``, and mean weighted by pairs found, ``micro``.

    Lists share words, so the errors are those of perfectly dependent lists (weighted means of
    errors): an upper bound.
    """
    n = np.array([s.n for s in scores], dtype=np.float64)
    out = []
    for name, weight in (("macro", np.ones(len(n))), ("micro", n)):
        share = weight / weight.sum()
        value = float(sum(w * s.value for w, s in zip(share, scores, strict=True)))
        known = [s.error for s in scores if s.error is not None]
        error = None
        if len(known) == len(scores):
            error = float(share @ np.array(known))
        out.append(
            ListScore(
                name,
                value,
                error,
                int(n.sum()),
                sum(s.total for s in scores),
                min(s.groups for s in scores),
            )
        )
    return out[0], out[1]
