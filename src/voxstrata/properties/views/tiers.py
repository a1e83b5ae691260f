"""Views of what is known of each recording: speaker, gender, channel, age, any scalar label.

What the folds must keep together follows from the label. A label that speakers carry (gender,
age, accent) tells speakers apart, so held-out rows of known speakers would be scored by who
speaks: whole speakers must be held out. A label that names speakers must, on the contrary, have
every speaker in training and test.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.numerics.jackknife import assign_folds, fold_of_rows
from voxstrata.properties.property import TooFewError

Grouping = Literal["utterance", "speaker"]


@dataclass(frozen=True)
class RowView:
    """A view of some of the rows.

    Attributes:
        kept: which rows, int64 [M], rising.
        matrix: the view, float64 [M, D].
        columns: name of each column.
        classes: class of each kept row, [M], where the view is one label; else ``None``.
        grouping: what folds must keep together.
        reason: why.
        facts: JSON-like facts: kind, classes with counts, dropped.
        notices: sentences for the reader of the results.
    """

    kept: NDArray[np.int64]
    matrix: NDArray[np.float64]
    columns: tuple[str, ...]
    classes: tuple[str, ...] | None
    grouping: Grouping
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def is_number(value: Any) -> bool:
    """Whether a label is a quantity; truth values and digits in quotes are names."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def one_column_less(labels: Sequence[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """One-hot rows without the column of the most frequent class, and the classes of columns.

    All columns together sum to 1, so one of them says nothing; with it, a canonical direction
    without variance would enter (finding 2 of the similarity notes, docs/similarity.md).

    Example:
        >>> rows, classes = one_column_less(["b", "a", "b"])
        >>> rows.tolist(), classes
        ([[0.0], [1.0], [0.0]], ('a',))
    """
    counts = Counter(labels)
    left = min(counts, key=lambda c: (-counts[c], c))
    classes = tuple(sorted(c for c in counts if c != left))
    index = {c: j for j, c in enumerate(classes)}
    rows = np.zeros((len(labels), len(classes)))
    for i, label in enumerate(labels):
        if label in index:
            rows[i, index[label]] = 1.0
    return rows, classes


def tier_view(
    values: Sequence[Any], speakers: Sequence[Any] | None, name: str, ids: Sequence[str]
) -> RowView:
    """The view that a scalar tier gives.

    Text and truth values become classes (one-hot, one column less), numbers one column. Rows
    without the tier are left out, and classes too rare to be held out: of classes that speakers
    carry those with one speaker, else those with one recording.

    Args:
        values: the tier of each row's recording, [N]; ``None`` where it has none.
        speakers: speaker of each row's recording, [N], ``None`` where unknown.
        name: of the tier, for messages.
        ids: recording of each row, [N].

    Raises:
        TooFewError: no rows with the tier, or fewer than two values (that can be held out).
        UsageError: not a scalar, text and numbers mixed, or a number that is not finite.
    """
    has = np.array([v is not None and v != "" for v in values], dtype=bool)
    kept = np.flatnonzero(has)
    held = _picked(values, kept)
    here = [str(i) for i in _picked(ids, kept)]
    who = None if speakers is None else _picked(speakers, kept)
    dropped: dict[str, int] = {}
    if len(kept) < len(values):
        dropped["no value"] = len(values) - len(kept)
    if not held:
        raise TooFewError(f"no recording has a value of {name!r}", got=f"{len(values)} rows")
    numeric = _one_kind(held, here, name)
    notices: list[str] = []
    grouping, reason = choose_grouping(held, who, here, name, numeric=numeric)
    if numeric:
        numbers = np.array([float(v) for v in held])
        if (numbers == numbers[0]).all():
            raise _one_value(name, numbers[0])
        facts = {"kind": "number", "dropped": dropped}
        return RowView(
            kept, numbers[:, None], (name,), None, grouping, reason, facts, tuple(notices)
        )
    labels = [str(v) for v in held]
    groups = here
    if grouping == "speaker" and who is not None:
        groups = [h if w is None else str(w) for h, w in zip(here, who, strict=True)]
    members: dict[str, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        members[label].add(group)
    rare = sorted(label for label, found in members.items() if len(found) < 2)
    if rare:
        stay = np.array([label not in rare for label in labels])
        dropped[f"classes with one {grouping}"] = int((~stay).sum())
        shown = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
        notices.append(
            f"{len(rare)} values of {name} have one {grouping} only and are left out: {shown}."
        )
        kept, labels = kept[stay], [lab for lab, s in zip(labels, stay, strict=True) if s]
    if len(set(labels)) < 2:
        raise _one_value(name, labels[0] if labels else f"none with two {grouping}s")
    matrix, classes = one_column_less(labels)
    facts = {
        "kind": "classes",
        "classes": {label: int(n) for label, n in sorted(Counter(labels).items())},
        "dropped": dropped,
    }
    columns = tuple(f"{name}={c}" for c in classes)
    return RowView(kept, matrix, columns, tuple(labels), grouping, reason, facts, tuple(notices))


def _picked(values: Sequence[Any], kept: NDArray[np.int64]) -> list[Any]:
    return [values[i] for i in kept.tolist()]


def _one_kind(held: Sequence[Any], ids: Sequence[str], name: str) -> bool:
    """Whether all values are numbers; refuses mixtures, collections and what is not finite."""
    numbers = [is_number(v) for v in held]
    for value, number, recording in zip(held, numbers, ids, strict=True):
        where = f"{name!r} of recording {recording!r}"
        if not number and not isinstance(value, str | bool | np.bool_):
            raise UsageError(
                f"{where} is no single value",
                got=type(value).__name__,
                expected="text or a number a recording",
            )
        if number != numbers[0]:
            raise UsageError(
                f"{name!r} is a number in some recordings and text in others",
                got=f"{value!r} in {recording!r}, {held[0]!r} in {ids[0]!r}",
                expected="one kind",
            )
        if number and not math.isfinite(value):
            raise UsageError(f"{where} is not finite", got=str(value))
    return numbers[0]


def _one_value(name: str, value: Any) -> TooFewError:
    return TooFewError(
        f"{name!r} does not differ between recordings, so no layer can tell it",
        got=f"one value: {value}",
        expected="at least two values that can be held out",
    )


def choose_grouping(
    values: Sequence[Any],
    speakers: Sequence[Any] | None,
    ids: Sequence[str],
    name: str,
    *,
    numeric: bool,
) -> tuple[Grouping, str]:
    """What folds must keep together for a label to mean anything, and why.

    Args:
        values: label of each row, none missing.
        speakers: speaker of each row, or ``None``.
        ids: recording of each row.
        name: of the label.
        numeric: whether it is a quantity.
    """
    if speakers is None or all(s is None for s in speakers):
        return "utterance", f"no speakers are known; if {name} goes with speakers, so do scores"
    by_speaker: dict[str, set[Any]] = defaultdict(set)
    by_value: dict[Any, set[str]] = defaultdict(set)
    recordings: dict[str, set[str]] = defaultdict(set)
    for value, speaker, recording in zip(values, speakers, ids, strict=True):
        # Who speaks is unknown: the recording stands for itself.
        who = f"?{recording}" if speaker is None else str(speaker)
        by_speaker[who].add(value)
        by_value[value].add(who)
        recordings[who].add(recording)
    if all(len(found) == 1 for found in recordings.values()):
        return "utterance", "every speaker has one recording, so recordings are speakers"
    if any(len(found) > 1 for found in by_speaker.values()):
        return "utterance", f"{name} varies within speakers"
    shared = [value for value, found in by_value.items() if len(found) > 1]
    if numeric or len(shared) > 1:
        return (
            "speaker",
            f"{name} is constant within speakers: with a speaker in training and test, "
            "the score would be that of who speaks",
        )
    return (
        "utterance",
        f"{name} names single speakers: each must be in training and test",
    )


def by_speaker_if_asked(view: RowView, speakers: Sequence[Any] | None, asked: Grouping) -> RowView:
    """The view with whole speakers held out where the settings ask for it and it can be: every
    class needs two speakers.

    Args:
        view: the view.
        speakers: speaker of each of the N rows that :attr:`RowView.kept` points into.
        asked: what the settings say.
    """
    if asked != "speaker" or view.grouping == "speaker" or speakers is None:
        return view
    who = _picked(speakers, view.kept)
    by_class: dict[str, set[Any]] = defaultdict(set)
    for label, speaker in zip(view.classes or ("",) * len(who), who, strict=True):
        by_class[label].add(speaker)
    if any(s is None for s in who) or any(len(found) < 2 for found in by_class.values()):
        return view
    return dataclasses.replace(view, grouping="speaker", reason="the settings hold out speakers")


def view_folds(
    view: RowView,
    ids: Sequence[str],
    speakers: Sequence[Any] | None,
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """Folds for a view: whole groups, classes spread evenly, two values in every fold.

    Classes are dealt one after the other (:func:`assign_folds` within each), so that every class
    is in every fold as far as it has groups. Where a fold would hold one value of the view only
    (a held-out correlation needs two), fewer folds are made, at least two.

    Args:
        view: of M rows.
        ids: recording of each of the N rows that :attr:`RowView.kept` points into.
        speakers: speaker of each of the N rows.
        folds: wanted number.
        seed: of the deal.

    Returns:
        fold of each kept row, int64 [M].

    Raises:
        TooFewError: two folds with two values each cannot be made.
    """
    groups = [str(i) for i in _picked(ids, view.kept)]
    if view.grouping == "speaker" and speakers is not None:
        who = _picked(speakers, view.kept)
        groups = [g if w is None else str(w) for g, w in zip(groups, who, strict=True)]
    strata = view.classes if view.classes is not None else ("",) * len(groups)
    for count in range(min(folds, len(set(groups))), 1, -1):
        found = fold_of_rows(groups, _deal(groups, strata, count, seed))
        if all(
            (view.matrix[found == f] != view.matrix[found == f][:1]).any() for f in range(count)
        ):
            return found
    raise TooFewError(
        "the folds cannot hold two values of the view each",
        got=f"{len(set(groups))} groups ({view.grouping}s)",
        expected="at least two groups of each of two values",
    )


def _deal(groups: Sequence[str], strata: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Fold of each group, stratum by stratum; a group belongs to the stratum of its first row."""
    stratum_of: dict[str, str] = {}
    for group, stratum in zip(groups, strata, strict=True):
        stratum_of.setdefault(group, stratum)
    weights = Counter(groups)
    totals = np.zeros(folds)
    dealt: dict[str, int] = {}
    for number, stratum in enumerate(sorted(set(strata))):
        here = sorted(g for g, s in stratum_of.items() if s == stratum)
        load = [float(weights[g]) for g in here]
        parts: dict[str, int] = dict.fromkeys(here, 0)
        if len(here) > 1:
            parts = assign_folds(here, min(folds, len(here)), seed + number, load)
        sizes = Counter[int]()
        for group, weight in zip(here, load, strict=True):
            sizes[parts[group]] += int(weight)
        # The largest part of this stratum goes to the fold that is lightest so far.
        lightest = np.argsort(totals, kind="stable")
        target = {part: int(lightest[i]) for i, (part, _) in enumerate(sizes.most_common())}
        for group, weight in zip(here, load, strict=True):
            dealt[group] = target[parts[group]]
            totals[dealt[group]] += weight
    return dealt
