"""What a layer is asked for: a tier as a target, who carries it, and its permutation.

A label that a whole speaker carries (gender, age, accent) is not as many independent labels as
there are rows: a code or a probe that knows the speaker knows it. So folds keep its carriers
together, and its control gives the labels of whole carriers to other carriers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import UsageError
from voxstrata.properties.property import TooFewError
from voxstrata.properties.sample import Sample
from voxstrata.properties.views.tiers import is_number
from voxstrata.streaming.unit_segment import SILENCES
from voxstrata.streaming.unit_segment import stress_free as stress_free


@dataclass(frozen=True)
class Target:
    """A scalar tier on the rows that have it.

    Attributes:
        rows: rows of the sample that have a value, int64 [n].
        values: float64 [n] if the tier is numeric, else text, object [n].
        numeric: whether all values are numbers.
        carrier: what holds one value: "speaker" or "utterance".
        carriers: id of the carrier of each row, [n].
    """

    rows: NDArray[np.int64]
    values: NDArray[Any]
    numeric: bool
    carrier: str
    carriers: NDArray[Any]


def tier_target(sample: Sample, tier: str) -> Target:
    """The scalar tier ``tier`` as a target.

    Numbers stay numbers; text and truth values are names.
    The carrier is the speaker if every speaker has one value and some speaker several recordings.

    Raises:
        TooFewError: fewer than two rows have a value, or all have the same.
        UsageError: some values are numbers and some are names.
    """
    found = sample.tier(tier)
    rows = np.array([i for i, v in enumerate(found) if _usable(v)], dtype=np.int64)
    kept = [found[i] for i in rows]
    numbers = sum(is_number(v) for v in kept)
    if 0 < numbers < len(kept):
        raise UsageError(
            f"the tier {tier!r} mixes numbers and names",
            got=f"{numbers} numbers and {len(kept) - numbers} names",
            expected="one kind",
            fix="write all values as numbers, or all in quotes",
        )
    numeric = numbers > 0
    values = np.array(
        [float(v) if numeric else str(v) for v in kept], dtype=np.float64 if numeric else object
    )
    distinct = len(set(values.tolist()))
    if distinct < 2:
        raise TooFewError(
            f"the tier {tier!r} does not vary",
            got=f"{len(rows)} rows with a value, {distinct} different",
            expected="at least 2 different values",
            fix="choose another tier, or a larger corpus",
        )
    speakers, utterances = sample.groups("speaker")[rows], sample.groups("utterance")[rows]
    if tier != "speaker" and constant_within(values, speakers):
        several = len(set(zip(speakers, utterances, strict=True))) > len(set(speakers))
        if several:
            return Target(rows, values, numeric, "speaker", speakers)
    return Target(rows, values, numeric, "utterance", utterances)


def tier_missing(corpus: Corpus, tier: str) -> str:
    """Why a scalar tier is no target: no recording has it, or all have one value; "" if it is."""
    found = (u.tiers.get(tier) for u in corpus.utterances)
    values = {str(value) for value in found if value is not None}
    if not values:
        return f"no recording has the tier {tier!r}"
    return f"all recordings have the same {tier!r}" if len(values) < 2 else ""


def _usable(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and value != ""


def constant_within(values: Sequence[Any] | NDArray[Any], groups: NDArray[Any]) -> bool:
    """Whether every group has one value."""
    first: dict[Any, Any] = {}
    pairs = zip(groups, values, strict=True)
    return all(first.setdefault(group, value) == value for group, value in pairs)


def permute_over(
    values: NDArray[Any], carriers: NDArray[Any] | None, rng: np.random.Generator
) -> NDArray[Any]:
    """Values given to other carriers at random; rows of a carrier stay together.

    Args:
        values: one a row, [n]; constant within carriers.
        carriers: carrier of each row, [n]; ``None`` where every row is its own.
        rng: generator.
    """
    if carriers is None:
        return values[rng.permutation(len(values))]
    _, first, inverse = np.unique(carriers.astype(str), return_index=True, return_inverse=True)
    return values[first[rng.permutation(len(first))]][inverse]


def numbered(labels: Sequence[Any] | NDArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """Sorted names of labels and the number of each row's, int64 [n]."""
    names, number = np.unique(np.array([str(x) for x in labels]), return_inverse=True)
    return names.tolist(), number.astype(np.int64)


def frequencies(sample: Sample, tier: str) -> Counter[str]:
    """How often each label of an interval tier stands in the recordings of a sample, whose rows
    hold at most so many of each."""
    return Counter(s.label for u in sample.utterances.values() for s in u.segments(tier))


def labels_at(sample: Sample, tier: str) -> list[str]:
    """Label of the interval tier at the centre of each row; "" in silence and outside, [N]."""
    spans: dict[str, tuple[NDArray[Any], NDArray[Any], list[str]]] = {}
    found = []
    centres = (sample.start_s + sample.end_s) / 2
    for name, centre in zip(sample.utterance, centres, strict=True):
        if name not in spans:
            segments = sorted(sample.utterances[name].segments(tier), key=lambda s: s.start_s)
            spans[name] = (
                np.array([s.start_s for s in segments]),
                np.array([s.end_s for s in segments]),
                ["" if s.label in SILENCES else s.label for s in segments],
            )
        starts, ends, labels = spans[name]
        at = int(np.searchsorted(starts, centre, side="right")) - 1
        found.append(labels[at] if at >= 0 and centre < ends[at] else "")
    return found


def merged_folds(fold: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Folds dealt into at most ``count`` blocks of about as many rows, int64 [N].

    Blocks depend on the rows of each fold: give all rows of a sample, not those of one draw, or
    a recording moves between blocks from draw to draw. Folds that are few enough stay as they are.
    """
    names, sizes = np.unique(fold, return_counts=True)
    if len(names) <= count:
        return fold.astype(np.int64)
    rows, block = np.zeros(min(count, len(names))), {}
    for position in np.argsort(-sizes, kind="stable"):
        lightest = int(rows.argmin())
        block[int(names[position])] = lightest
        rows[lightest] += sizes[position]
    return np.array([block[int(f)] for f in fold], dtype=np.int64)


def dealt_folds(
    labels: NDArray[Any], carriers: NDArray[Any], count: int, seed: int
) -> NDArray[np.int64]:
    """Folds that split every class: the carriers of a class are dealt to folds in turn, int64 [N].

    A class with two carriers or more is then in two folds or more. Each class goes on where the
    one before stopped, so folds are about equal.

    Args:
        labels: class of each row.
        carriers: what stays together (one class each).
        count: number of folds.
        seed: seed of the order.
    """
    rng = np.random.default_rng([seed, 21])
    of_carrier: dict[str, str] = {}
    for carrier, label in zip(carriers, labels, strict=True):
        of_carrier.setdefault(str(carrier), str(label))
    names = np.array(sorted(of_carrier), dtype=object)
    names = names[rng.permutation(len(names))]
    order = sorted(names, key=lambda name: of_carrier[name])  # stable: random within a class
    place = {name: position % count for position, name in enumerate(order)}
    return np.array([place[str(c)] for c in carriers], dtype=np.int64)


def split_classes(labels: NDArray[Any], fold: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows whose class occurs in at least two folds: others cannot be learnt and tested."""
    text = labels.astype(str)
    fine = {name for name in np.unique(text) if len(np.unique(fold[text == name])) > 1}
    return np.array([x in fine for x in text], dtype=bool)
