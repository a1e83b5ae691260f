"""ABX discrimination of phones: is X, another token of A's phone, nearer to A than B is?

Source: T. Schatz et al., "Evaluating speech features with the minimal-pair ABX task",
Interspeech 2013; averages as in libri-light (Kahn et al., ICASSP 2020, ``eval/``). Distances are
given, so the same code serves warped sequences and mean vectors. Formula and traps:
docs/properties/abx.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError
from voxstrata.numerics.jackknife import jackknife

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """Tokens of phones.

    Attributes:
        phone, context, speaker: whole numbers, [n] each; equal contexts may be compared.
    """

    phone: Ints
    context: Ints
    speaker: Ints

    def __post_init__(self) -> None:
        if not self.phone.shape == self.context.shape == self.speaker.shape:
            raise ShapeError(
                "phones, contexts and speakers differ in number",
                got=f"{self.phone.shape}, {self.context.shape}, {self.speaker.shape}",
            )

    def __len__(self) -> int:
        return len(self.phone)

    def take(self, rows: Ints | NDArray[np.bool_]) -> Items:
        """Some of the items."""
        return Items(self.phone[rows], self.context[rows], self.speaker[rows])

    def permuted(self, rng: np.random.Generator) -> Items:
        """Phones permuted among the items of one context and speaker: the control.

        Cells and their sizes stay as they are.
        """
        phone = self.phone.copy()
        for group in groups_of(self.context, self.speaker):
            phone[group] = rng.permutation(phone[group])
        return Items(phone, self.context, self.speaker)


@dataclass(frozen=True)
class Abx:
    """Result of one ABX task.

    Attributes:
        cells: one row a cell: speaker of A and B, phone a, phone b, speaker of X, score, [C, 5].
        triples: (A, B, X) triples behind it.
    """

    cells: Floats
    triples: int

    @property
    def accuracy(self) -> float:
        """1 minus the error rate of the literature; chance is 0.5. NaN without cells."""
        return _average(self.cells)

    def error(self, rng: np.random.Generator, groups: int = 20) -> tuple[float | None, int]:
        """Standard error by the jackknife over speakers, and the number of groups.

        Speakers are dealt into at most ``groups`` groups; a replicate leaves out every cell with
        a speaker of one group. ``None`` where a replicate has no cell.
        """
        if not len(self.cells):
            return None, 0
        speakers, index = np.unique(self.cells[:, [0, 3]], return_inverse=True)
        groups = min(groups, len(speakers))
        if groups < 2:
            return None, 0
        fold = rng.permutation(np.arange(len(speakers)) % groups)
        touched = fold[index.reshape(-1, 2)]
        left = [_average(self.cells[(touched != g).all(axis=1)]) for g in range(groups)]
        if not np.isfinite(left).all():
            return None, 0
        found = jackknife(self.accuracy, left, np.bincount(fold), bounds=(0.0, 1.0))
        return float(found.error), groups


def _average(cells: Floats) -> float:
    """Over contexts and speakers of X, then over speakers, then over ordered pairs of phones."""
    if not len(cells):
        return float("nan")
    by_speaker = _mean_by(cells[:, [0, 1, 2, 4]])
    return float(_mean_by(by_speaker[:, 1:])[:, -1].mean())


def groups_of(*keys: Ints) -> list[Ints]:
    """Positions of rows with equal keys, group by group, in ascending order of keys."""
    if not len(keys[0]):
        return []
    order = np.lexsort(keys[::-1])
    sorted_keys = np.stack([key[order] for key in keys])
    cuts = np.flatnonzero((np.diff(sorted_keys, axis=1) != 0).any(axis=0)) + 1
    return [np.sort(part) for part in np.split(order, cuts)]


def abx(distances: Floats, items: Items, *, across: bool) -> Abx:
    """ABX accuracy.

    A and B are of one context and one speaker. X has A's phone and context, and is by the same
    speaker (within; X is not A) or by another (across). A triple counts 1 if d(A,X) < d(B,X),
    1/2 if they are equal. Triples are averaged in cells of (context, speaker of A and B, speaker
    of X, phone a, phone b); cells over contexts (and speakers of X), then over speakers, then over
    all ordered pairs of phones, which makes it symmetric.

    Args:
        distances: distances of items, symmetric, [n, n]; only pairs of one context are read.
        items: what they are.
        across: X by another speaker.

    Raises:
        ShapeError: not one row and column an item.
    """
    n = len(items)
    if distances.shape != (n, n):
        raise ShapeError("distances do not fit the items", got=distances.shape, expected=(n, n))
    cells: list[Floats] = []
    triples = 0
    for context in groups_of(items.context):
        for spoken in groups_of(items.speaker[context]):
            mine = context[spoken]
            for share in groups_of(items.phone[mine]):
                a = mine[share]
                b = mine[items.phone[mine] != items.phone[a[0]]]
                if across:
                    alike = items.phone[context] == items.phone[a[0]]
                    x = context[alike & (items.speaker[context] != items.speaker[a[0]])]
                else:
                    x = a
                if not len(b) or not len(x) or (not across and len(a) < 2):
                    continue
                found, counted = _cells(distances, items, a, b, x, across)
                cells.append(found)
                triples += counted
    return Abx(np.concatenate(cells) if cells else np.empty((0, 5)), triples)


def _cells(
    distances: Floats, items: Items, a: Ints, b: Ints, x: Ints, across: bool
) -> tuple[Floats, int]:
    """Scores of the cells of one (context, speaker, phone a): rows of :attr:`Abx.cells`."""
    to_a, to_b = distances[np.ix_(x, a)], distances[np.ix_(x, b)]
    nearer = to_a[:, :, None] < to_b[:, None, :]
    equal = to_a[:, :, None] == to_b[:, None, :]
    points = nearer + 0.5 * equal
    if not across:
        points[np.arange(len(a)), np.arange(len(a))] = 0.0  # X is never A itself
    per_x = points.sum(axis=1)  # [x, b]
    phones, phone = np.unique(items.phone[b], return_inverse=True)
    voices, voice = np.unique(items.speaker[x], return_inverse=True)
    key = (voice[:, None] * len(phones) + phone[None, :]).ravel()
    size = len(phones) * len(voices)
    sums = np.bincount(key, per_x.ravel(), minlength=size)
    against = len(a) if across else len(a) - 1
    counts = np.bincount(key, minlength=size) * against
    out = np.empty((size, 5))
    out[:, 0], out[:, 1] = items.speaker[a[0]], items.phone[a[0]]
    out[:, 2] = np.tile(phones, len(voices))
    out[:, 3] = np.repeat(voices, len(phones))
    out[:, 4] = sums / counts
    return out, int(counts.sum())


def _mean_by(table: Floats) -> Floats:
    """Mean of the last column by all others; rows of distinct keys with their mean."""
    order = np.lexsort(table[:, :-1].T)
    sorted_rows = table[order]
    new = (np.diff(sorted_rows[:, :-1], axis=0) != 0).any(axis=1)
    index = np.concatenate([[0], np.cumsum(new)])
    means = np.bincount(index, sorted_rows[:, -1]) / np.bincount(index)
    first = np.concatenate([[0], np.flatnonzero(new) + 1])
    return np.column_stack([sorted_rows[first, :-1], means])


def choose_items(items: Items, budget: int, cap: int, rng: np.random.Generator) -> Ints:
    """A seeded choice of at most about ``budget`` items that keeps cells whole.

    At most ``cap`` tokens of a phone, context and speaker are kept (libri-light: 10). Contexts in
    which some speaker has two phones, one of them twice, are taken in seeded order until the
    budget is reached, then those that serve the task across speakers alone. Where a single
    context exceeds it ("any context"), its speakers are taken in seeded order, with as few tokens
    a phone (at least 2) as let about ten speakers in.

    Returns:
        chosen positions, ascending.
    """
    order = rng.permutation(len(items))
    kept = [
        order[group[:cap]]
        for group in groups_of(*(k[order] for k in (items.context, items.speaker, items.phone)))
    ]
    rows = np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)
    chosen: list[Ints] = []
    room = budget
    contexts = [rows[g] for g in groups_of(items.context[rows])]
    uses = np.array([_use(items.take(here)) for here in contexts], dtype=np.int64)
    order = rng.permutation(len(contexts))
    for position in [*order[uses[order] == 2], *order[uses[order] == 1]]:
        here = contexts[position]
        if len(here) > budget:
            here = _thinned(items, here, room, rng)
        if len(here) > room:
            continue
        chosen.append(here)
        room -= len(here)
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def _use(items: Items) -> int:
    """What the items of a context serve: 2 within speakers (some speaker has two phones, one of
    them twice), 1 across alone (he shares one with another speaker), 0 nothing."""
    shared = False
    for group in groups_of(items.speaker):
        phones = np.unique(items.phone[group])
        if len(phones) < 2:
            continue
        if len(group) > len(phones):
            return 2
        others = items.phone[items.speaker != items.speaker[group[0]]]
        shared = shared or bool(np.isin(phones, others).any())
    return int(shared)


def _thinned(items: Items, rows: Ints, room: int, rng: np.random.Generator) -> Ints:
    """Whole speakers of one context, in seeded order, within ``room`` items."""
    speakers = [rows[g] for g in groups_of(items.speaker[rows])]
    classes = len(groups_of(items.speaker[rows], items.phone[rows]))
    wanted = min(len(speakers), 10)
    tokens = max(2, int(room / max(1.0, wanted * classes / len(speakers))))
    out: list[Ints] = []
    for position in rng.permutation(len(speakers)):
        here = rng.permutation(speakers[position])
        few = np.concatenate([here[g[:tokens]] for g in groups_of(items.phone[here])])
        if len(few) <= room:
            out.append(few)
            room -= len(few)
    return np.sort(np.concatenate(out)) if out else np.empty(0, dtype=np.int64)
