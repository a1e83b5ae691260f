"""Edit distances of token sequences: phone, word and character error rate, and the best CTC path.

Levenshtein, Soviet Physics Doklady 10 (1966): the fewest substitutions, deletions and insertions
that turn the hypothesis into the reference. A corpus has one rate, all its edits by all its
reference tokens, so long utterances weigh more (as sclite and SUPERB count).

Often several alignments have the fewest edits and differ in kinds. Counted is then the one with the
fewest substitutions, that is with the most tokens right: "a b" against "b a" is a deletion and an
insertion around a correct token, not two substitutions. (Deletions minus insertions is the
difference of the lengths, so this settles all three counts, whatever the order of the search.)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError

Ints = NDArray[np.int64]

_CELLS = 65536
"""Cells of one step of the search, over all pairs that go together: what a core's cache holds."""


@dataclass(frozen=True)
class EditCounts:
    """Edits of N utterances.

    Attributes:
        substitutions, deletions, insertions: int64 [N].
        lengths: reference tokens, int64 [N].
    """

    substitutions: Ints
    deletions: Ints
    insertions: Ints
    lengths: Ints

    @property
    def edits(self) -> Ints:
        """Edit distance of each utterance, [N]."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits of all utterances by their reference tokens, a fraction (may exceed 1).

        Raises:
            UsageError: no utterance has reference tokens.
        """
        total = int(self.lengths.sum())
        if not total:
            raise UsageError(
                "an error rate needs reference tokens",
                got=f"{len(self.lengths)} references, all of them empty",
            )
        return int(self.edits.sum()) / total


def edit_counts(
    references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]
) -> EditCounts:
    """Edits between references and hypotheses, utterance by utterance.

    Cost: proportional to reference times hypothesis length; 5,000 pairs of 300 tokens take a few
    seconds.

    Args:
        references, hypotheses: N sequences of tokens that compare by equality: phones, words
            (``text.split()``), numbers; of a string, its characters. Either may be empty.

    Raises:
        ShapeError: there are not as many hypotheses as references.

    Example:
        >>> counts = edit_counts(["kitten"], ["sitting"])
        >>> counts.substitutions.item(), counts.insertions.item(), counts.rate
        (2, 1, 0.5)
    """
    if len(references) != len(hypotheses):
        raise ShapeError(
            "there are not as many hypotheses as references",
            got=f"{len(hypotheses)} hypotheses",
            expected=f"{len(references)}",
        )
    code: dict[Hashable, int] = {}
    wanted, found = (
        [[code.setdefault(token, len(code)) for token in row] for row in rows]
        for rows in (references, hypotheses)
    )
    rows, columns = (
        np.array([len(row) for row in side], dtype=np.int64) for side in (wanted, found)
    )
    substitutions, edits = np.zeros((2, len(rows)), dtype=np.int64)
    for block in _blocks(rows, columns):
        # Edits and, among equals, substitutions in one whole number.
        unit = int(np.minimum(rows[block], columns[block]).max()) + 1
        costs = _least_costs(
            _padded([wanted[i] for i in block], -1),
            _padded([found[i] for i in block], -2),
            rows[block],
            columns[block],
            unit,
            unit + 1,
        )
        edits[block], substitutions[block] = np.divmod(costs, unit)
    apart = edits - substitutions
    deletions = (apart + rows - columns) // 2
    return EditCounts(substitutions, deletions, apart - deletions, rows)


def error_rate(
    references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]
) -> float:
    """Edits by reference tokens of a corpus: PER of phones, WER of words, CER of strings.

    Args:
        references, hypotheses: as of :func:`edit_counts`.

    Raises:
        ShapeError: there are not as many hypotheses as references.
        UsageError: there are no reference tokens.

    Example:
        >>> error_rate(["a b c".split()], ["a c".split()])
        0.3333333333333333
    """
    return edit_counts(references, hypotheses).rate


def edit_distances(wanted: Ints, found: Ints) -> Ints:
    """Edit distances of rows of positive numbers, each padded at its end with 0: [N].

    Args:
        wanted, found: [N, L1] and [N, L2].

    Example:
        >>> edit_distances(np.array([[1, 2, 3]]), np.array([[1, 3, 0]])).tolist()
        [1]
    """
    return _least_costs(wanted, found, (wanted != 0).sum(1), (found != 0).sum(1), 1, 1)


def collapse_padded(paths: NDArray[Any], *, blank: int = 0, drop: Sequence[int] = ()) -> Ints:
    """Paths of CTC with repeats merged and blanks dropped, padded at the end with ``blank``.

    Args:
        paths: class of every frame, [N, T].
        blank, drop: as of :func:`collapse`.

    Returns:
        int64 [N, L], L the longest row and at least 1.
    """
    classes = np.asarray(paths, dtype=np.int64)
    if classes.ndim != 2:
        raise ShapeError("paths are one row an utterance", got=classes.shape, expected="[N, T]")
    kept = ~np.isin(classes, (blank, *drop))
    kept[:, 1:] &= classes[:, 1:] != classes[:, :-1]
    out = np.full((len(classes), max(1, int(kept.sum(1).max(initial=0)))), blank, dtype=np.int64)
    row, _ = np.nonzero(kept)
    out[row, (kept.cumsum(1) - 1)[kept]] = classes[kept]
    return out


def collapse(
    paths: Sequence[NDArray[Any]],
    *,
    blank: int = 0,
    drop: Sequence[int] = (),
    end: int | None = None,
) -> list[Ints]:
    """Greedy CTC decoding from the best class of every frame (Graves et al., ICML 2006).

    Repeats are merged before blanks are dropped, so a symbol comes twice in a row where a blank
    parts it.

    Args:
        paths: N arrays of classes [T_i] (``scores.argmax(-1)`` of the valid frames).
        blank: the class that says nothing.
        drop: further classes to leave out, after merging.
        end: class at whose first occurrence the sequence ends, itself left out (the decoder of
            SUPERB's PR and SF stops at ``<eos>``).

    Returns:
        the sequences, int64.

    Example:
        >>> [row.tolist() for row in collapse([np.array([0, 3, 3, 0, 3, 2])])]
        [[3, 3, 2]]
    """
    found = []
    for path in paths:
        classes = np.asarray(path, dtype=np.int64)
        if classes.ndim != 1:
            raise ShapeError("a path is one class a frame", got=classes.shape, expected="[T]")
        if end is not None and (classes == end).any():
            classes = classes[: int(np.argmax(classes == end))]
        kept = ~np.isin(classes, (blank, *drop))
        kept[1:] &= classes[1:] != classes[:-1]
        found.append(classes[kept])
    return found


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Ints:
    out = np.full((len(rows), max(map(len, rows))), filler, dtype=np.int64)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


def _blocks(rows: Ints, columns: Ints) -> Iterator[Ints]:
    """Pairs of similar lengths, few enough to stay in a core's cache."""
    order = np.lexsort((rows, columns))
    begin = 0
    while begin < len(order):
        size = max(1, _CELLS // (int(columns[order[begin]]) + 1))
        block = order[begin : begin + size]
        # The widest is the last: what it leaves room for.
        block = block[: max(1, _CELLS // (int(columns[block[-1]]) + 1))]
        yield block
        begin += len(block)


def _least_costs(
    wanted: Ints, found: Ints, rows: Ints, columns: Ints, indel: int, substitution: int
) -> Ints:
    """Least costs of turning one padded row into the other, [N]."""
    count, width = found.shape
    height = int(rows.max(initial=0))
    largest = (height + width + 1) * substitution
    kind = np.int32 if largest < 2**31 else np.int64
    along: NDArray[Any] = (indel * np.arange(width + 1)).astype(kind)
    # What is kept is cost less ``along``: an insertion is then a running minimum along the row,
    # and a match or substitution comes from the left at ``indel`` less.
    level = np.zeros((count, width + 1), dtype=kind)
    place = np.arange(count)
    result: Ints = (level[place, columns] + along[columns]).astype(np.int64)
    codes, others = np.asarray(found), np.asarray(wanted)
    paid, saved = kind(substitution - indel), kind(-indel)
    for position in range(height):
        same = codes == others[:, position, None]
        step = np.empty_like(level)
        step[:, 0] = (position + 1) * indel
        np.add(level[:, :-1], np.where(same, saved, paid), out=step[:, 1:])
        np.minimum(step[:, 1:], level[:, 1:] + kind(indel), out=step[:, 1:])
        np.minimum.accumulate(step, axis=1, out=level)
        done = np.flatnonzero(rows == position + 1)
        result[done] = level[done, columns[done]] + along[columns[done]]
    return result
