"""What a layer is asked for: a tier as a target, who carries it, and its permutation.

A label that a whole speaker carries (gender, age, accent) is not as many independent labels as
there are rows: a code or a probe that knows the speaker knows it. So folds keep its carriers
together, and its control gives the labels of whole carriers to other carriers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.properties.property import TooFewError
from voxstrata.properties.sample import Sample


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

    Numbers (all values int or float, none a truth value) stay numbers; all else becomes text.
    The carrier is the speaker if every speaker has one value and some speaker several recordings.

    Raises:
        TooFewError: fewer than two rows have a value, or all have the same.
    """
    found = sample.tier(tier)
    rows = np.array([i for i, v in enumerate(found) if _usable(v)], dtype=np.int64)
    kept = [found[i] for i in rows]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in kept)
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


def capped_rows(
    labels: NDArray[Any], candidates: NDArray[np.int64], cap: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most ``cap`` of the candidates of each label, at random, in ascending order.

    Args:
        labels: label of every row, [N].
        candidates: rows to choose from, int64.
        cap: rows of one label, at most.
        rng: generator.
    """
    mixed = candidates[rng.permutation(len(candidates))]
    _, number = np.unique(labels[mixed].astype(str), return_inverse=True)
    order = np.argsort(number, kind="stable")
    grouped = number[order]
    # Position of each row within its label, in the mixed order.
    place = np.arange(len(order)) - np.searchsorted(grouped, grouped, side="left")
    return np.sort(mixed[order[place < cap]])


def frequent(labels: NDArray[Any], count: int) -> list[str]:
    """The ``count`` most frequent labels, ties in alphabetical order."""
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    order = np.lexsort((names, -sizes))
    return [str(name) for name in names[order[:count]]]


def stress_free(label: str) -> str:
    """A phone without its stress digit ("AH0" is "AH")."""
    return label.rstrip("0123456789") or label
