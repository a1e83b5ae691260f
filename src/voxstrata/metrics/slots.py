"""Slots in recognised text: F1 of slot types and character error rate of slot values.

A slot is written ``B-slot value E-slot``. Parsing and the first two scores are SUPERB's (Yang et
al., Interspeech 2021; s3prl ``downstream/ctc/metric.py``), with the F1 taken utterance by utterance
and the CER blind to slots that are not there. :attr:`SlotCounts.matched_cer` counts those too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.edit import edit_counts

Ints = NDArray[np.int64]

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")
_BEGIN, _END = re.compile(r"B-\S+ "), re.compile(r" E-\S+")


@dataclass(frozen=True)
class SlotCounts:
    """What the slot scores of N utterances are made of; divide sums for a corpus or a draw.

    Attributes:
        type_f1: F1 between the sets of slot types, float64 [N].
        value_edits: edits of every reference value to the nearest value of its type, int64 [N].
        matched_edits: edits where values of a type are paired one to one, left-over ones of either
            side at their full length, int64 [N].
        value_lengths: characters of the reference values, int64 [N].
    """

    type_f1: NDArray[np.float64]
    value_edits: Ints
    matched_edits: Ints
    value_lengths: Ints

    @property
    def slot_type_f1(self) -> float:
        """Mean of ``type_f1`` over utterances.

        Raises:
            UsageError: there are no utterances.
        """
        if not len(self.type_f1):
            raise UsageError("slot types of no utterances have no F1")
        return float(self.type_f1.mean())

    @property
    def slot_value_cer(self) -> float:
        """Character error rate of all reference values by the published rule.

        Raises:
            UsageError: no reference has a slot.
        """
        return self._rate(self.value_edits)

    @property
    def matched_cer(self) -> float:
        """Character error rate in which values that are not in the reference count as insertions.

        Raises:
            UsageError: no reference has a slot.
        """
        return self._rate(self.matched_edits)

    def _rate(self, edits: Ints) -> float:
        total = int(self.value_lengths.sum())
        if not total:
            raise UsageError(
                "the error rate of slot values needs references with slots",
                got=f"{len(edits)} references without",
                expected="'B-slot value E-slot'",
            )
        return int(edits.sum()) / total


def parse_slots(text: str, *, clean: bool = False) -> dict[str, list[str]]:
    """Values of each slot type, in the order in which they occur.

    Runs of spaces count as one. A slot begins at ``B-name `` and ends at the next `` E-name``; what
    has no end, or no value, is no slot.

    Args:
        text: recognised or reference text.
        clean: whether to take marks of other slots out of values (the published rule does so for
            hypotheses).

    Example:
        >>> parse_slots("PLAY B-artist QUEEN E-artist ON B-service SPOTIFY E-service")
        {'artist': ['QUEEN'], 'service': ['SPOTIFY']}
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in _SLOT.findall(re.sub(" +", " ", text)):
        found[name].append(_END.sub("", _BEGIN.sub("", value)) if clean else value)
    return dict(found)


def type_f1(reference: set[str], hypothesis: set[str]) -> float:
    """F1 between two sets; 1 where both are empty, 0 where one is.

    Example:
        >>> type_f1({"artist", "album"}, {"artist"})
        0.6666666666666666
    """
    if not reference and not hypothesis:
        return 1.0
    return 2 * len(reference & hypothesis) / (len(reference) + len(hypothesis))


def slot_counts(references: Sequence[str], hypotheses: Sequence[str]) -> SlotCounts:
    """Scores of slots, utterance by utterance.

    By the published rule each reference value is held against the value of the same type with the
    fewest edits (one hypothesis value may serve several reference values), or against nothing
    where the type is missing.

    Args:
        references, hypotheses: N texts with slots.

    Raises:
        ShapeError: there are not as many hypotheses as references.
    """
    if len(references) != len(hypotheses):
        raise ShapeError(
            "there are not as many hypotheses as references",
            got=f"{len(hypotheses)} hypotheses",
            expected=f"{len(references)}",
        )
    wanted = [parse_slots(text) for text in references]
    found = [parse_slots(text, clean=True) for text in hypotheses]
    both = list(zip(wanted, found, strict=True))
    pairs = [
        (value, other)
        for one, two in both
        for name, values in one.items()
        for value in values
        for other in two.get(name, ())
    ]
    distances = edit_counts([p[0] for p in pairs], [p[1] for p in pairs]).edits
    edits, matched, lengths = np.zeros((3, len(both)), dtype=np.int64)
    used = 0
    for number, (one, two) in enumerate(both):
        for name in {**one, **two}:
            values, others = one.get(name, []), two.get(name, [])
            size = len(values) * len(others)
            table = distances[used : used + size].reshape(len(values), len(others))
            used += size
            full = np.array([len(value) for value in values], dtype=np.int64)
            spare = np.array([len(other) for other in others], dtype=np.int64)
            lengths[number] += full.sum()
            edits[number] += (table.min(axis=1) if others else full).sum()
            matched[number] += _one_to_one(table, full, spare)
    scores = np.array([type_f1(set(one), set(two)) for one, two in both], dtype=np.float64)
    return SlotCounts(scores, edits, matched, lengths)


def _one_to_one(table: Ints, full: Ints, spare: Ints) -> int:
    """Least edits where each value has at most one partner; the rest at their lengths."""
    from scipy.optimize import linear_sum_assignment

    # A pair never costs more than both of its values left alone, so as many are paired as can be.
    rows, columns = linear_sum_assignment(table - full[:, None] - spare)
    saved = (full[rows] + spare[columns] - table[rows, columns]).sum()
    return int(full.sum() + spare.sum() - saved)
