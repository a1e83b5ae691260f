"""Acoustic word discrimination: are two segments the same word, told by their distance alone?

Source: M. Carlin, S. Thomas, A. Jansen, H. Hermansky, "Rapid evaluation of speech representations
for spoken term discovery", Interspeech 2011. All pairs of segments are ranked by cosine
similarity; the score is the average precision of the same-word pairs. Formula, variants and traps:
docs/properties/word_discrimination.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.numerics.linalg import float64

Floats = NDArray[np.float64]

VARIANTS = ("all", "swdp", "same-speaker", "different-speakers")
"""``all``: every pair. ``swdp``: every pair is ranked, but recall counts only same-word pairs of
different speakers. The other two rank only pairs within or across speakers."""

MAX_ROWS = 7500
"""Rows that one pass holds the pairs of: 28 million, 0.7 GB at its peak."""

_BINS = 8192
_BLOCK = 512


def average_precision(
    positive: ArrayLike, negative: ArrayLike, also: ArrayLike | None = None
) -> float:
    """Average precision of ranking ``positive`` above ``negative``, by descending similarity.

    AP = mean over positives of (correct pairs at least as similar) / (all pairs at least as
    similar): pairs of equal similarity are taken together, so their order does not matter.

    Args:
        positive: similarities of the pairs to be found, [P].
        negative: similarities of the wrong pairs, [M].
        also: similarities of pairs that are correct but need not be found (same word, same
            speaker in ``swdp``): they raise precision, not recall.

    Raises:
        UsageError: there are no positive pairs.
    """
    pos = np.sort(np.asarray(positive, dtype=np.float64))
    neg = np.sort(np.asarray(negative, dtype=np.float64))
    more = np.sort(np.asarray([] if also is None else also, dtype=np.float64))
    return _precision_of_sorted(pos, (neg,), (more,))


def _precision_of_sorted(
    pos: Floats, negatives: Sequence[Floats], others: Sequence[Floats]
) -> float:
    if not len(pos):
        raise UsageError("average precision needs at least one pair to be found", got="none")
    right = _at_least(pos, pos) + sum(_at_least(o, pos) for o in others)
    wrong = sum(_at_least(n, pos) for n in negatives)
    return float((right / (right + wrong)).mean())


def _at_least(values: Floats, queries: Floats) -> NDArray[np.int64]:
    """How many of the sorted ``values`` are at least each of the sorted ``queries``."""
    return len(values) - np.searchsorted(values, queries, side="left")


@dataclass(frozen=True)
class Discrimination:
    """Result of one variant.

    Attributes:
        value: average precision.
        error: its standard error (jackknife over folds); ``None`` without folds.
        positives: pairs to be found.
        pairs: pairs that were ranked.
    """

    value: float
    error: float | None
    positives: int
    pairs: int


def codes(labels: Sequence[Hashable] | NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers 0.. for labels, in order of first appearance, [N]."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)


def choose_rows(
    words: Sequence[str], limit: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], int | None]:
    """At most ``limit`` rows, by a cap on the instances of each word.

    The cap (at least 2) is the largest that fits; where even 2 of each word are too many, whole
    words are drawn. Words with one instance make wrong pairs only; they stay where there is room.

    Args:
        words: word of each row, [N].
        limit: rows wanted at most.
        rng: which instances, which words.

    Returns:
        rows in ascending order, and the cap (``None`` if nothing was left out).
    """
    code = codes(words)
    n = len(code)
    if n <= limit:
        return np.arange(n), None
    order = rng.permutation(n)
    # Rank of every row among the instances of its word, in seeded order.
    place = np.empty(n, dtype=np.int64)
    sorted_rows = order[np.argsort(code[order], kind="stable")]
    counts = np.bincount(code)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place[sorted_rows] = np.arange(n) - np.repeat(starts, counts)
    cap = 2
    while np.minimum(counts, cap + 1).sum() <= limit:
        cap += 1
    kept = np.flatnonzero(place < cap)
    if len(kept) > limit:
        drawn = np.zeros(len(counts), dtype=bool)
        room = limit
        for word in rng.permutation(np.flatnonzero(counts >= 2)):
            if room < cap:
                break
            drawn[word], room = True, room - cap
        kept = kept[drawn[code[kept]]]
    return kept, cap


class WordPairs:
    """All pairs of rows with who said what; shared by all layers.

    Args:
        words: word of each row, [N].
        speakers: speaker of each row, [N]; ``None`` leaves the variant ``all`` alone.
        folds: fold of each row (whole groups), int [N], for standard errors; ``None`` for none.

    Raises:
        ShapeError: lengths differ.
        UsageError: more than :data:`MAX_ROWS` rows (:func:`choose_rows` draws), or no two rows
            hold the same word, or all hold the same.
    """

    def __init__(
        self,
        words: Sequence[str],
        speakers: Sequence[Hashable] | NDArray[Any] | None = None,
        folds: ArrayLike | None = None,
    ) -> None:
        self.words = codes(words)
        n = self.n = len(self.words)
        self.speakers = None if speakers is None else codes(speakers)
        self.folds = None if folds is None else codes(np.asarray(folds).tolist())
        for name, given in (("speakers", self.speakers), ("folds", self.folds)):
            if given is not None and len(given) != n:
                raise ShapeError(f"one of {name} is needed for every word", got=len(given))
        if n > MAX_ROWS:
            raise UsageError(
                "too many words to rank all their pairs",
                got=f"{n} rows",
                expected=f"at most {MAX_ROWS}",
                fix="draw some with choose_rows",
            )
        counts = np.bincount(self.words, minlength=1)
        if len(counts) < 2 or counts.max() < 2:
            raise UsageError(
                "word discrimination needs two words, and one of them twice",
                got=f"{n} rows of {len(counts)} words",
            )

    def permuted(self, rng: np.random.Generator) -> WordPairs:
        """The same rows with words permuted: the control."""
        return WordPairs(
            [str(w) for w in rng.permutation(self.words)],
            None if self.speakers is None else self.speakers,
        )

    @cached_property
    def same_word(self) -> NDArray[np.bool_]:
        """Whether each pair (upper triangle, row by row) is one word twice."""
        return self._equal(self.words)

    @cached_property
    def same_speaker(self) -> NDArray[np.bool_] | None:
        """Whether each pair is one speaker's."""
        return None if self.speakers is None else self._equal(self.speakers)

    def _equal(self, code: NDArray[np.int64]) -> NDArray[np.bool_]:
        out = np.empty(self.n * (self.n - 1) // 2, dtype=bool)
        for first, last, mask, place in _blocks(self.n):
            out[place] = (code[first:last, None] == code[None, first:])[mask]
        return out

    def variants(self) -> tuple[str, ...]:
        """The variants that have both same-word and different-word pairs."""
        if self.same_speaker is None:
            return ("all",)
        found = ["all"]
        for name, chosen in (
            ("different-speakers", ~self.same_speaker),
            ("same-speaker", self.same_speaker),
        ):
            if (chosen & self.same_word).any() and (chosen & ~self.same_word).any():
                found.append(name)
        if "different-speakers" in found:
            found.append("swdp")
        return tuple(v for v in VARIANTS if v in found)

    def similarities(self, rows: Any) -> Floats:
        """Cosine of every pair, float64, upper triangle row by row.

        Raises:
            ShapeError: not one row a word.
            NumericsError: a row is not finite or all zero.
        """
        x = float64(rows)
        if x.ndim != 2 or len(x) != self.n:
            raise ShapeError("rows do not fit the words", got=tuple(x.shape), expected=(self.n,))
        unit = unit_rows(x)
        out = np.empty(self.n * (self.n - 1) // 2)
        for first, last, mask, place in _blocks(self.n):
            out[place] = (unit[first:last] @ unit[first:].T).numpy()[mask]
        return out

    def score(self, similarity: Floats) -> dict[str, Discrimination]:
        """Average precision of every variant from :meth:`similarities`."""
        parts = self._parts(similarity)
        errors = self._errors(similarity)
        out = {}
        for name in self.variants():
            (find, also, wrong) = _ROLES[name]
            pos = np.sort(np.concatenate([parts[i] for i in find]))
            others = [parts[i] for i in also]
            value = _precision_of_sorted(pos, [parts[i] for i in wrong], others)
            ranked = sum(len(parts[i]) for i in (*find, *also, *wrong))
            out[name] = Discrimination(value, errors.get(name), len(pos), ranked)
        return out

    def _kinds(self, place: slice) -> NDArray[np.int64]:
        """0: same word, same speaker; 1: same word; 2: same speaker; 3: neither."""
        word = self.same_word[place]
        speaker = np.zeros(1, dtype=bool) if self.same_speaker is None else self.same_speaker[place]
        return (2 * ~word + ~speaker).astype(np.int64)

    def _parts(self, similarity: Floats) -> list[Floats]:
        """Similarities of each kind of pair (:meth:`_kinds`), sorted."""
        word, speaker = self.same_word, self.same_speaker
        if speaker is None:
            speaker = np.zeros_like(word)
        parts = []
        for kind in (word & speaker, word & ~speaker, ~word & speaker, ~(word | speaker)):
            part = similarity[kind]
            part.sort()  # in place: these are the big arrays
            parts.append(part)
        return parts

    def _errors(self, similarity: Floats) -> dict[str, float]:
        """Jackknife over folds: pairs that touch a fold are left out.

        Replicates come from histograms of 8192 bins over the range of similarities, so that one
        look at the pairs serves all folds; value and replicates share the binning.
        """
        if self.folds is None or self.folds.max() < 1:
            return {}
        f = int(self.folds.max()) + 1
        low, high = float(similarity.min()), float(similarity.max())
        scale = (_BINS - 1) / max(high - low, 1e-300)
        counts = np.zeros(4 * f * f * _BINS, dtype=np.int64)
        for first, last, mask, place in _blocks(self.n):
            pair = (self.folds[first:last, None] * f + self.folds[None, first:])[mask]
            bins = ((similarity[place] - low) * scale).astype(np.int64)
            index = (self._kinds(place) * f * f + pair) * _BINS + bins
            counts += np.bincount(index, minlength=len(counts))
        table = counts.reshape(4, f, f, _BINS).astype(np.float64)
        whole = table.sum(axis=(1, 2))
        touching = table.sum(axis=1) + table.sum(axis=2) - np.einsum("kffb->kfb", table)
        left = whole[:, None] - touching  # [4, F, bins]
        sizes = np.bincount(self.folds)
        out = {}
        for name in self.variants():
            value = _binned(whole, name)
            replicates = np.array([_binned(left[:, g], name) for g in range(f)])
            if np.isfinite(replicates).all():
                out[name] = float(jackknife(value, replicates, sizes, bounds=(0.0, 1.0)).error)
        return out


# For each variant: kinds to be found, kinds that are correct besides, kinds that are wrong.
_ROLES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "all": ((0, 1), (), (2, 3)),
    "swdp": ((1,), (0,), (2, 3)),
    "same-speaker": ((0,), (), (2,)),
    "different-speakers": ((1,), (), (3,)),
}


def _binned(table: Floats, variant: str) -> float:
    """Average precision from histograms [4, bins]; NaN without pairs to be found."""
    find, also, wrong = (table[list(kinds)].sum(axis=0)[::-1] for kinds in _ROLES[variant])
    if not find.sum():
        return float("nan")
    right = np.cumsum(find + also)
    ranked = right + np.cumsum(wrong)
    precision = np.divide(right, ranked, out=np.zeros_like(right), where=ranked > 0)
    return float((find * precision).sum() / find.sum())


def _blocks(n: int) -> Iterator[tuple[int, int, NDArray[np.bool_], slice]]:
    """Row blocks of the upper triangle: first row, last row, mask [rows, n - first], place."""
    done = 0
    for first in range(0, n - 1, _BLOCK):
        last = min(first + _BLOCK, n)
        mask = np.arange(n - first)[None, :] > np.arange(last - first)[:, None]
        count = int(mask.sum())
        yield first, last, mask, slice(done, done + count)
        done += count


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, float64 [N, D].

    Raises:
        NumericsError: a row is not finite or all zero, so it has no direction.
    """
    x = float64(rows)
    norm = x.norm(dim=1, keepdim=True)
    bad = ~(torch.isfinite(norm) & (norm > 0))[:, 0]
    if bool(bad.any()):
        raise NumericsError(
            "the cosine of a row without direction is not defined",
            got=f"{int(bad.sum())} of {len(x)} rows are zero or not finite",
        )
    unit: torch.Tensor = x / norm
    return unit
