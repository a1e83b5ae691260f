"""Similarity of pairs of things against scores: files, Spearman correlation, its error.

Words and sentences differ in what a vector is; this is what they share.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import UsageError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.properties.tasks.same_different import unit_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredPairs:
    """A list of pairs with a score each.

    Attributes:
        name: name of the file without its ending.
        first, second: the members, [P].
        score: float64 [P].
        group: what pairs belong together, [P]: the column after the score; ``None`` without one.
    """

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    score: Floats
    group: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.first)


def read_scored_pairs(path: str | Path) -> ScoredPairs:
    """Read "first second score [group]" lines.

    Fields are separated by tabs, else commas, else semicolons, else spaces. Empty lines and lines
    that begin with ``#`` are left out, and so is a first line without a number (a header). The
    score is the first column after the two members that is a number in the first line of data
    (so that a part-of-speech column may stand between).

    Raises:
        UsageError: the file cannot be read, or a line is not of this form.
    """
    place = Path(path).expanduser()
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the list of pairs {place} cannot be read",
            got=str(error),
            expected="a UTF-8 text file with two names and a score a line",
        ) from None
    lines = [
        (number, line.strip(" \r"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.startswith("#")
    ]
    divider = next((d for d in "\t,;" if lines and d in lines[0][1]), None)
    rows = [(number, _fields(line, divider)) for number, line in lines]
    if rows and not any(_is_number(f) for f in rows[0][1][2:]):
        rows = rows[1:]
    head = rows[0][1] if rows else []
    column = next((i for i, f in enumerate(head) if i >= 2 and _is_number(f)), 2)
    for number, fields in rows:
        if len(fields) <= column or not _is_number(fields[column]) or not (fields[0] and fields[1]):
            raise UsageError(
                f"line {number} of {place} is not a scored pair",
                got=(divider or " ").join(fields)[:80],
                expected=f"two names, and a number in column {column + 1}",
            )
    if not rows:
        raise UsageError(f"the list of pairs {place} is empty", expected="at least one pair")
    grouped = all(len(fields) > column + 1 and fields[column + 1] for _, fields in rows)
    return ScoredPairs(
        place.stem,
        tuple(fields[0] for _, fields in rows),
        tuple(fields[1] for _, fields in rows),
        np.array([float(fields[column]) for _, fields in rows]),
        tuple(fields[column + 1] for _, fields in rows) if grouped else None,
    )


def _fields(line: str, divider: str | None) -> list[str]:
    if divider is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=divider))]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman rank correlation, equal values sharing their mean rank; NaN if one is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(np.asarray(x)), rankdata(np.asarray(y))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else math.nan


def pair_cosines(vectors: Any, first: Ints, second: Ints) -> Floats:
    """Cosine of rows ``first`` and ``second`` of ``vectors`` [N, D], float64 [P].

    Raises:
        NumericsError: a row is zero or not finite.
    """
    unit = unit_rows(torch.as_tensor(vectors)).numpy()
    return np.asarray(np.einsum("pd,pd->p", unit[first], unit[second]))


def spearman_error(
    x: Floats, y: Floats, members: Ints, rng: np.random.Generator, groups: int = 20
) -> tuple[float | None, int]:
    """Standard error of a Spearman correlation over pairs whose members recur.

    Members (words, sentences), not pairs, are what was sampled: they are dealt into ``groups``
    random groups, and a replicate leaves out every pair that touches a group.

    Args:
        x, y: values of the pairs, [P].
        members: the two members of each pair, whole numbers, [P, 2].
        rng: how members are dealt.
        groups: how many groups, or as many as there are members.

    Returns:
        the error (``None`` where a replicate is not defined) and the number of groups.
    """
    names, index = np.unique(members, return_inverse=True)
    index = index.reshape(members.shape)
    groups = min(groups, len(names))
    if groups < 2:
        return None, 0
    fold = rng.permutation(np.arange(len(names)) % groups)
    touched = fold[index]
    left = [~(touched == g).any(axis=1) for g in range(groups)]
    if any(mask.sum() < 3 for mask in left):
        return None, 0
    replicates = [spearman(x[mask], y[mask]) for mask in left]
    if not np.isfinite(replicates).all():
        return None, 0
    sizes = np.bincount(fold)
    found = jackknife(spearman(x, y), replicates, sizes, bounds=(-1.0, 1.0))
    return float(found.error), groups


def cross_cosines(
    rows: Any, item: Ints, first: Ints | None = None, second: Ints | None = None
) -> Floats:
    """Mean cosine of two items over the pairs of their rows that share neither of two groupings.

    What shares a speaker, a recording or a text is alike for that reason alone. Each sum over
    pairs of rows is a product of sums of unit rows, and those that share a grouping are taken
    off: all - same first - same second + same both.

    Args:
        rows: [N, D].
        item: item of each row, 0..W-1, [N].
        first, second: groupings (speaker, text, ...), whole numbers [N]; ``None`` for none.

    Returns:
        symmetric float64 [W, W]; NaN where no such pair of rows exists. The diagonal is the mean
        over pairs of an item's own rows.
    """
    unit = unit_rows(torch.as_tensor(rows)).numpy()
    width = int(item.max()) + 1
    sums, counts = np.zeros((width, width)), np.zeros((width, width))
    nothing = np.zeros(len(item), dtype=np.int64)
    terms: list[tuple[float, Ints]] = [(1.0, nothing)]
    given = [g for g in (first, second) if g is not None]
    if not given:
        # Rows never meet themselves.
        terms.append((-1.0, np.arange(len(item))))
    terms += [(-1.0, g) for g in given]
    if len(given) == 2:
        both = np.unique(np.stack(given, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        terms.append((1.0, both))
    for sign, grouping in terms:
        order = np.argsort(grouping, kind="stable")
        cuts = np.flatnonzero(np.diff(grouping[order])) + 1
        for here in np.split(order, cuts):
            present, index = np.unique(item[here], return_inverse=True)
            totals = np.zeros((len(present), unit.shape[1]))
            np.add.at(totals, index.reshape(-1), unit[here])
            number = np.bincount(index.reshape(-1)).astype(np.float64)
            place = np.ix_(present, present)
            sums[place] += sign * (totals @ totals.T)
            counts[place] += sign * np.outer(number, number)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0.5)


def even_pairs(truth: Floats, rng: np.random.Generator, limit: int) -> Ints:
    """As many pairs of every level of ``truth``, drawn at random: positions, ascending.

    Most random pairs are unrelated; a correlation over all of them is mostly ties.

    Args:
        truth: score of each pair, few distinct values, [P].
        rng: which pairs.
        limit: pairs at most.
    """
    levels = [np.flatnonzero(truth == value) for value in np.unique(truth)]
    each = min(min(len(level) for level in levels), limit // len(levels))
    return np.sort(np.concatenate([rng.permutation(level)[:each] for level in levels]))
