"""Labels from the corpus: phones and other spans, broad classes, lengths; tiers of recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import LabelError
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.streaming.unit_segment import SILENCES, stress_free
from voxstrata.types import Segment

Ints = NDArray[np.int64]
Take = Literal["all", "middle", "published"]
"""Which frames of a span count: all, its middle one, or the middle one as published (frames joined
into runs of equal labels, the last run of a recording left out)."""

CLASSES: dict[str, tuple[str, ...]] = {
    "vowels": (
        "IY", "IH", "EH", "AE", "AA", "AH", "AO", "UH", "EY", "AY", "OY", "AW", "OW", "ER", "UW",
    ),
    "voiced consonants": (
        "B", "D", "G", "JH", "DH", "Z", "ZH", "V", "M", "N", "NG", "L", "R", "W", "Y",
    ),
    "unvoiced consonants": ("P", "T", "K", "CH", "TH", "S", "SH", "F", "HH"),
}  # fmt: skip
"""Broad classes of the 39 CMU phones, as published (arXiv 2409.05910)."""

SEMIVOWELS = ("L", "R", "W", "Y")
"""The class that arXiv 2506.21712, Figure 2, shows beside them; which phones it took is not
published, these are the usual ones."""


class Spans:
    """Frames by the span their middle lies in.

    Args:
        name: of the condition.
        rows: labels, in order.
        spans: for each recording start, end (seconds) and row of its spans, sorted.
        take: which frames of a span count.
        runs: whose runs of equal labels have the middles of "published"; its own by default.
    """

    layers: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        rows: Sequence[str],
        spans: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], Ints]],
        take: Take = "all",
        runs: Spans | None = None,
    ) -> None:
        self.name, self.rows, self._spans, self.take = name, tuple(rows), spans, take
        self._runs = runs

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Row of each frame, -1 outside all spans."""
        centre = (np.asarray(start_s) + np.asarray(end_s)) / 2
        found = np.full(len(centre), -1, np.int64)
        if utterance not in self._spans:
            return found
        starts, ends, rows = self._spans[utterance]
        # A hair of tolerance: label times are decimal, centres are sums of binary fractions.
        place = np.searchsorted(starts, centre + 1e-9, side="right") - 1
        inside = (place >= 0) & (centre + 1e-9 < ends[np.maximum(place, 0)])
        found[inside] = rows[place[inside]]
        if self.take == "published":
            if self._runs is None:
                return middles(found)
            return middles(found, self._runs.codes(utterance, start_s, end_s, states))
        if self.take == "middle":
            return _middle_of_spans(found, np.where(inside, place, -1))
        return found


def middles(labels: Ints, runs: Ints | None = None) -> Ints:
    """Labels of the middle frame of each run of equal labels, -1 elsewhere; the last run has none.

    The published sampling (arXiv 2409.05910): run [s, e] gives frame ``(s + e) // 2``.

    Args:
        labels: [T].
        runs: [T], labels whose runs are meant (phones, where ``labels`` are their lengths).
    """
    found = np.full(len(labels), -1, np.int64)
    bounds = np.flatnonzero(np.diff(labels if runs is None else runs)) + 1
    starts = np.concatenate([[0], bounds]).astype(np.int64)
    for start, stop in zip(starts[:-1], bounds, strict=True):
        middle = (start + stop - 1) // 2
        found[middle] = labels[middle]
    return found


def _middle_of_spans(labels: Ints, place: Ints) -> Ints:
    found = np.full(len(labels), -1, np.int64)
    inside = np.flatnonzero(place >= 0)
    if len(inside):
        cuts = np.flatnonzero(np.diff(place[inside])) + 1
        for run in np.split(inside, cuts):
            middle = run[(len(run) - 1) // 2]
            found[middle] = labels[middle]
    return found


def spans(
    corpus: Corpus,
    tier: str,
    name: str | None = None,
    *,
    take: Take = "all",
    row_of: Callable[[Segment], str | None] | None = None,
    rows: Sequence[str] | None = None,
    runs: Spans | None = None,
) -> Spans:
    """A frame condition from an interval tier.

    Args:
        corpus: the recordings.
        tier: interval tier.
        name: of the condition; the tier's by default.
        take: which frames of a span count.
        row_of: row of a span, ``None`` to leave it out; its label without stress by default, and
            silences left out.
        rows: names and order of rows; by default those that occur, sorted.
        runs: see :class:`Spans`.

    Raises:
        LabelError: no recording has the tier, or no span is left.
    """
    chosen = row_of or _speech
    named: dict[str, list[tuple[float, float, str]]] = {}
    for utterance in corpus.utterances:
        kept = [(s.start_s, s.end_s, chosen(s)) for s in utterance.segments(tier)]
        labelled = [(a, b, row) for a, b, row in kept if row is not None]
        if labelled:
            named[utterance.id] = sorted(labelled)
    if not named:
        raise LabelError(
            f"the corpus {corpus.name} has no spans for {name or tier!r}",
            got=f"tiers {', '.join(corpus.tiers()) or 'none'}",
            expected=f"the interval tier {tier!r}",
            fix="add alignments (docs/corpora.md), or ask for other conditions",
        )
    order = tuple(rows or sorted({row for listed in named.values() for _, _, row in listed}))
    place = {row: i for i, row in enumerate(order)}
    table = {
        recording: (
            np.array([a for a, _, _ in listed]),
            np.array([b for _, b, _ in listed]),
            np.array([place.get(row, -1) for _, _, row in listed], dtype=np.int64),
        )
        for recording, listed in named.items()
    }
    return Spans(name or tier, order, table, take, runs)


def classes_of(phones: Sequence[str], *, semivowels: bool = False) -> tuple[list[str], list[int]]:
    """Broad class of each phone, -1 for those of no class.

    Args:
        phones: CMU phones.
        semivowels: L, R, W and Y as a class of their own.

    Returns:
        names of the classes that occur, and the class of each phone.

    Raises:
        LabelError: no phone is of the CMU set.
    """
    table = {phone: name for name, members in CLASSES.items() for phone in members}
    if semivowels:
        table |= dict.fromkeys(SEMIVOWELS, "semivowels")
    order = ["vowels", *(["semivowels"] if semivowels else []), *list(CLASSES)[1:]]
    found = [table.get(phone) for phone in phones]
    present = [name for name in order if name in found]
    if not present:
        raise LabelError(
            "broad classes need the phones of the CMU set",
            got=", ".join(phones[:12]),
            expected=", ".join(list(table)[:12]) + ", ...",
        )
    return present, [-1 if name is None else present.index(name) for name in found]


def durations(corpus: Corpus, take: Take = "all", tier: str = "phones") -> Spans:
    """Frames by the length of their phone: the shortest third, the middle, the longest.

    The bounds are the 33rd and 66th percentiles over all phones, as published (arXiv 2409.05910).

    Raises:
        LabelError: there are no phones, or all are equally long.
    """
    lengths = [
        s.end_s - s.start_s for u in corpus.utterances for s in u.segments(tier) if _speech(s)
    ]
    bounds = np.percentile(lengths, [33, 66]) if lengths else np.zeros(2)
    if bounds[1] - bounds[0] < 1e-9:  # differences of decimal times are not exact
        raise LabelError(
            f"phones of the corpus {corpus.name} cannot be told apart by length",
            got=f"{len(lengths)} phones, thirds at {bounds[0]:g} and {bounds[1]:g} s",
            expected="phones of different lengths",
        )
    names = (
        f"up to {1000 * bounds[0]:.0f} ms",
        f"{1000 * bounds[0]:.0f} to {1000 * bounds[1]:.0f} ms",
        f"over {1000 * bounds[1]:.0f} ms",
    )

    def third(segment: Segment) -> str | None:
        if _speech(segment) is None:
            return None
        length = segment.end_s - segment.start_s
        # Equal lengths of decimal times must not fall apart by rounding.
        return names[int(np.searchsorted(bounds + 1e-9, length))]

    # Neighbours of one third are still two phones: each has a middle of its own.
    runs = spans(corpus, tier) if take == "published" else None
    return spans(corpus, tier, "duration", take=take, row_of=third, rows=names, runs=runs)


def tier_labels(corpus: Corpus, tier: str) -> Labels:
    """Groups from a tier with one value a recording (gender, speaker, accent).

    Raises:
        LabelError: fewer than two values occur.
    """
    values = {
        u.id: str(u.tiers[tier])
        for u in corpus.utterances
        if isinstance(u.tiers.get(tier), str | int | float)
    }
    groups = tuple(sorted(set(values.values())))
    if len(groups) < 2:
        raise LabelError(
            f"the corpus {corpus.name} has no groups by {tier!r}",
            got=f"{len(groups)} values; tiers {', '.join(corpus.tiers()) or 'none'}",
            expected="a tier with at least two values, one a recording",
            fix="`voxstrata corpora show` lists the tiers of a corpus",
        )
    return Labels(tier, groups, {k: groups.index(v) for k, v in values.items()})


def _speech(segment: Segment) -> str | None:
    label = stress_free(segment.label)
    return None if label in SILENCES else label
