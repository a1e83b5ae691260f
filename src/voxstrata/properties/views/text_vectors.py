"""Word vectors from a corpus's own text: positive PMI of co-occurrence, factored.

For words w and contexts c with co-occurrence counts n(w, c), n(w) = sum_c n(w, c) and
p_a(c) = n(c)^a / sum_c' n(c')^a, a = 0.75,

    PPMI(w, c) = max(0, log(n(w, c) / (n(w) p_a(c))) - log k),      W = U_d S_d^(1/2)

with U S V' the truncated singular value decomposition of PPMI. Sources: Levy and Goldberg,
NIPS 2014, sections 3 to 5 (shifted PPMI, k their shift, and the square root of S); Levy, Goldberg
and Dagan, TACL 2015, section 3 (smoothing of contexts). A co-occurrence is a pair of different
positions in one text, at most ``window`` apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from voxstrata.errors import UsageError
from voxstrata.numerics.linalg import fix_signs
from voxstrata.properties.property import TooFewError
from voxstrata.properties.views.word_table import WordTable

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True)
class TextVectors:
    """How vectors are made of text.

    Attributes:
        dim: dimensions, at most; fewer where PPMI has a smaller rank.
        words_per_dim: words that each dimension needs; with fewer, vectors would name words
            rather than say how they relate.
        window: words at most this far apart co-occur; ``None`` for the whole text.
        min_count: a word must stand in this many different texts.
        smoothing: exponent of context counts.
        shift: k of shifted PPMI; 1 for none.
        distinct: count each different text once, however many speakers read it.
    """

    dim: int = 40
    words_per_dim: int = 10
    window: int | None = None
    min_count: int = 3
    smoothing: float = 0.75
    shift: float = 1.0
    distinct: bool = True

    def __post_init__(self) -> None:
        bounds = (
            ("dim", self.dim, 1),
            ("words_per_dim", self.words_per_dim, 1),
            ("window", 1 if self.window is None else self.window, 1),
            ("min_count", self.min_count, 1),
            ("smoothing", self.smoothing, 0),
            ("shift", self.shift, 1),
        )
        for name, value, least in bounds:
            if value < least:
                raise UsageError(f"{name} of text vectors", got=value, expected=f"{least} or more")


def tokens(text: str) -> tuple[str, ...]:
    """Words of a transcript: lower case, punctuation at their ends gone.

    Example:
        >>> tokens("He said: 'don't', TWICE -- yes.")
        ('he', 'said', "don't", 'twice', 'yes')
    """
    stripped = (word.strip(".,;:!?\"'()[]{}<>-…“”‘’«»") for word in text.lower().split())
    return tuple(word for word in stripped if word)


def text_of(tiers: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of a recording, from its tier ``text`` or else ``words``; empty if it has neither."""
    if isinstance(text := tiers.get("text"), str) and text.strip():
        return tokens(text)
    return tokens(" ".join(span.label for span in tiers.get("words") or ()))


def text_vectors(texts: Iterable[Sequence[str]], settings: TextVectors | None = None) -> WordTable:
    """Vectors of the words of some texts.

    Args:
        texts: words of each text, lower case.
        settings: how.

    Returns:
        a table of the words with at least ``min_count`` texts that co-occur with something,
        sorted. Facts: ``texts``, ``words``, ``dim`` used, and the settings.

    Raises:
        TooFewError: fewer than two such words, or none go together more than by chance.
    """
    how = settings or TextVectors()
    given = [tuple(text) for text in texts]
    used = sorted(set(given)) if how.distinct else given
    documents = Counter(word for text in used for word in set(text))
    names = sorted(word for word, n in documents.items() if n >= how.min_count)
    counts = _cooccurrences(used, names, how.window) if len(names) > 1 else None
    if counts is None or counts.nnz == 0:
        raise TooFewError(
            "too little text for word vectors",
            got=f"{len(names)} words that stand in {how.min_count} or more of {len(used)} texts",
            expected="at least two such words that occur together",
            fix="a corpus with more text, or a file of word vectors",
        )
    alive = np.flatnonzero(np.asarray(counts.sum(axis=1)).ravel() > 0)
    table = _ppmi(counts[alive][:, alive], how)
    vectors = _factor(table, min(how.dim, max(1, len(alive) // how.words_per_dim)))
    facts = {
        "source": "PPMI-SVD of the corpus's own text",
        "texts": len(given),
        "distinct_texts": len(set(given)),
        "words": len(alive),
        "dim": int(vectors.shape[1]),
        "dim_asked": how.dim,
        "words_per_dim": how.words_per_dim,
        "window": "text" if how.window is None else how.window,
        "min_count": how.min_count,
        "smoothing": how.smoothing,
        "shift": how.shift,
    }
    return WordTable(tuple(names[i] for i in alive), vectors, (), facts)


def _cooccurrences(
    texts: Sequence[Sequence[str]], names: Sequence[str], window: int | None
) -> sparse.csr_matrix:
    """n(w, c): ordered pairs of different positions, [V, V]."""
    from scipy import sparse

    index = {word: i for i, word in enumerate(names)}
    size = len(names)
    coded = [np.array([index.get(word, -1) for word in text], dtype=np.int64) for text in texts]
    if window is None:
        rows = np.repeat(np.arange(len(coded)), [len(c) for c in coded])
        columns = np.concatenate(coded) if coded else np.zeros(0, dtype=np.int64)
        known = columns >= 0
        # Repetitions add up, so this counts tokens.
        table = sparse.csr_matrix(
            (np.ones(int(known.sum())), (rows[known], columns[known])), shape=(len(coded), size)
        )
        itself = sparse.diags(np.asarray(table.sum(axis=0)).ravel())
        pairs = sparse.csr_matrix(table.T @ table - itself)
    else:
        # Positions of rare words stay where they are: distances are those of the text.
        left, right = [], []
        for code in coded:
            for gap in range(1, min(window, len(code) - 1) + 1):
                a, b = code[:-gap], code[gap:]
                both = (a >= 0) & (b >= 0)
                left += [a[both], b[both]]
                right += [b[both], a[both]]
        one = np.concatenate(left) if left else np.zeros(0, dtype=np.int64)
        two = np.concatenate(right) if right else np.zeros(0, dtype=np.int64)
        pairs = sparse.csr_matrix((np.ones(len(one)), (one, two)), shape=(size, size))
    pairs.eliminate_zeros()
    return pairs


def _ppmi(counts: sparse.csr_matrix, how: TextVectors) -> sparse.csr_matrix:
    from scipy import sparse

    cells = sparse.coo_matrix(counts)
    words = np.asarray(counts.sum(axis=1)).ravel()
    contexts = np.asarray(counts.sum(axis=0)).ravel() ** how.smoothing
    contexts /= contexts.sum()
    value = np.log(cells.data / (words[cells.row] * contexts[cells.col])) - math.log(how.shift)
    good = value > 0
    return sparse.csr_matrix((value[good], (cells.row[good], cells.col[good])), shape=counts.shape)


def _factor(table: sparse.csr_matrix, dim: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """U_d S_d^(1/2), float64 [V, d], with fixed signs; d at most the numerical rank."""
    from scipy.sparse.linalg import svds

    size = table.shape[0]
    if dim < size // 2 and size > 200:
        # A given start makes the iteration repeatable.
        start = np.random.default_rng(0).standard_normal(size)
        u, s, _ = svds(table, k=dim, v0=start)
        order = np.argsort(-s, kind="stable")
        left, values = torch.from_numpy(u[:, order].copy()), torch.from_numpy(s[order].copy())
    else:
        left, values, _ = torch.linalg.svd(torch.from_numpy(table.toarray()), full_matrices=False)
        left, values = left[:, :dim], values[:dim]
    if len(values) == 0 or float(values[0]) <= 0:
        raise TooFewError(
            "too little text for word vectors",
            got="no two words occur together more often than chance",
            expected="positive pointwise mutual information somewhere",
        )
    keep = values > 1e-10 * values[0]
    left = left[:, keep] * fix_signs(left[:, keep].T)
    return (left * values[keep].sqrt()).numpy()
