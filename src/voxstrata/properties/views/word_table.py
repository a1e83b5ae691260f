"""A word table: one row of numbers a word, as word vectors, attributes and text give it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError

Case = Literal["exact", "fallback", "lower"]


@dataclass(frozen=True)
class WordTable:
    """Rows by word.

    Attributes:
        words: the words, spelled as the corpus spells them.
        matrix: one row a word, float64 [W, D].
        missing: words asked for that the source lacks, sorted.
        facts: JSON-like facts about the source.
    """

    words: tuple[str, ...]
    matrix: NDArray[np.float64]
    missing: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise ShapeError(
                "a word table needs one row a word",
                got=f"{len(self.words)} words, matrix {self.matrix.shape}",
            )

    def __len__(self) -> int:
        return len(self.words)

    @property
    def width(self) -> int:
        """Columns D."""
        return int(self.matrix.shape[1])

    def rows(self, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which of ``labels`` have a row, and these rows.

        Returns:
            positions in ``labels``, int64 [M], and the rows, float64 [M, D].

        Example:
            >>> table = WordTable(("a", "b"), np.array([[1.0], [2.0]]))
            >>> kept, rows = table.rows(["b", "c", "a"])
            >>> kept.tolist(), rows.tolist()
            ([0, 2], [[2.0], [1.0]])
        """
        index = {word: i for i, word in enumerate(self.words)}
        where = np.array([index.get(label, -1) for label in labels], dtype=np.int64)
        kept = np.flatnonzero(where >= 0)
        return kept, self.matrix[where[kept]]

    def coverage(self, labels: Iterable[str]) -> dict[str, Any]:
        """How much of a list of labels has a row: types, tokens, the most frequent missing ones."""
        counts = Counter(labels)
        known = set(self.words)
        lost = Counter({word: n for word, n in counts.items() if word not in known})
        frequent = sorted(lost.items(), key=lambda item: (-item[1], item[0]))[:20]
        return {
            "types": len(counts),
            "types_found": len(counts) - len(lost),
            "tokens": counts.total(),
            "tokens_found": counts.total() - lost.total(),
            "most_frequent_missing": [word for word, _ in frequent],
        }


class Spellings:
    """Which spellings of a source serve which wanted words.

    Args:
        wanted: words of the corpus.
        case: ``"exact"``: a word is looked up as it is written; ``"fallback"``: as written,
            then in lower case; ``"lower"``: in lower case, then as written (for corpora
            in capitals, where "THE" must not get the row of a shouted "THE").
    """

    def __init__(self, wanted: Iterable[str], case: Case = "fallback") -> None:
        self.orders: dict[str, tuple[str, ...]] = {}
        for word in sorted(set(wanted)):
            forms = {
                "exact": (word,),
                "fallback": (word, word.lower()),
                "lower": (word.lower(), word),
            }[case]
            self.orders[word] = tuple(dict.fromkeys(forms))
        self.all = {form for forms in self.orders.values() for form in forms}

    def pick(self, known: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
        """The row of each wanted word among ``known`` spellings, and the words without one."""
        found: dict[str, int] = {}
        missing = []
        for word, forms in self.orders.items():
            hit = next((known[form] for form in forms if form in known), None)
            if hit is None:
                missing.append(word)
            else:
                found[word] = hit
        return found, missing


def case_of(labels: Iterable[str]) -> Case:
    """``"lower"`` for labels without any lower-case letter (their capitals say nothing), else
    ``"fallback"``.

    Example:
        >>> case_of(["THE", "CAT'S"]), case_of(["The", "cat"]), case_of(["the"])
        ('lower', 'fallback', 'fallback')
    """
    upper = False
    for label in labels:
        if label != label.upper():
            return "fallback"
        upper = upper or label != label.lower()
    return "lower" if upper else "fallback"
