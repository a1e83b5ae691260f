"""From embeddings to scores: cosine, mean subtraction, AS-norm, averages over crops.

Where published recipes differ, the option has a name; ``docs/verification.md`` says who does what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.registry import unknown_name
from voxstrata.verification.trials import Trials

Floats = NDArray[np.float64]

Deviation = Literal["population", "sample"]
"""Standard deviation of the cohort's scores: divided by n (WeSpeaker) or n - 1 (SpeechBrain)."""

BLOCK = 1 << 22
"""Scores computed at a time: 32 MB."""


def unit(vectors: ArrayLike, mean: ArrayLike | None = None, *, name: str = "embeddings") -> Floats:
    """Vectors of length one, after subtracting a mean.

    Args:
        vectors: [..., D].
        mean: [D], or ``None`` to subtract nothing.
        name: what they are, for the message.

    Raises:
        NumericsError: a vector is not finite, or zero (after the mean is subtracted).
        ShapeError: the mean has another width.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    least = 0.0
    if mean is not None:
        # What rounding of float32 embeddings leaves over is no direction either.
        least = 1e-6 * float(np.linalg.norm(rows, axis=-1).max(initial=0.0))
        centre = np.asarray(mean, dtype=np.float64)
        if centre.shape != rows.shape[-1:]:
            raise ShapeError(
                f"the mean does not fit the {name}",
                got=f"width {centre.shape}",
                expected=f"{rows.shape[-1:]}",
            )
        rows = rows - centre
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    bad = ~(np.isfinite(length) & (length > least))
    if bad.any():
        raise NumericsError(
            f"{name} without direction",
            got=f"{int(bad.sum())} of {length.size} are zero or not finite",
            fix="look for silent recordings; a collapsed model gives the same vector to all",
        )
    return np.asarray(rows / length)


def cosine(
    vectors: ArrayLike, first: NDArray[Any], second: NDArray[Any], *, mean: ArrayLike | None = None
) -> Floats:
    """Cosine of pairs of rows.

    Args:
        vectors: [R, D].
        first, second: [N], rows of either side.
        mean: [D], subtracted first; ``None`` for plain cosine.

    Returns:
        [N].
    """
    rows = unit(vectors, mean)
    return products(rows, rows, first, second)


def products(left: Floats, right: Floats, first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Inner products of pairs of rows, as blocks of one matrix product where pairs are many.

    Args:
        left, right: [R, D] and [Q, D].
        first, second: [N], rows of ``left`` and of ``right``.
    """
    count = len(first)
    found = np.empty(count)
    if count * 4 < len(left) * len(right):  # sparse lists: only what is asked for
        step = max(1, BLOCK // max(1, left.shape[1]))
        for at in range(0, count, step):
            part = slice(at, at + step)
            found[part] = np.einsum("nd,nd->n", left[first[part]], right[second[part]])
        return found
    order = np.argsort(first, kind="stable")
    ranked = first[order]
    step = max(1, BLOCK // max(1, len(right)))
    for at in range(0, len(left), step):
        here = order[slice(*np.searchsorted(ranked, [at, at + step]))]
        if len(here):
            block = left[at : at + step] @ right.T
            found[here] = block[first[here] - at, second[here]]
    return found


def cohort_of(vectors: ArrayLike, speakers: Sequence[str] | None) -> Floats:
    """A cohort: one mean embedding a speaker, or every embedding.

    Args:
        vectors: [N, D].
        speakers: of each; ``None`` to keep each embedding by itself.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if speakers is None:
        return rows
    names, code = np.unique(np.asarray(speakers), return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, code, rows)
    return np.asarray(sums / np.bincount(code)[:, None])


def as_norm(
    scores: Floats,
    vectors: ArrayLike,
    cohort: ArrayLike,
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    top: int = 300,
    deviation: Deviation = "population",
    mean: ArrayLike | None = None,
) -> Floats:
    """Adaptive symmetric normalisation: each side's z-score among its nearest impostors.

    s' = ((s - m_e) / d_e + (s - m_t) / d_t) / 2, with m and d the mean and standard deviation of
    the ``top`` highest cosines of that side with the cohort (Matejka et al. 2017, as WeSpeaker's
    ``score_norm.py`` has it).

    Args:
        scores: [N], cosines of the trials.
        vectors: [R, D], embeddings of the recordings.
        cohort: [C, D], impostors; see :func:`cohort_of`.
        first, second: [N], rows of ``vectors`` of either side.
        top: how many impostors a side; all where the cohort has fewer.
        deviation: "population" or "sample".
        mean: [D], subtracted from recordings and cohort, as from the trials.

    Raises:
        UsageError: fewer than two impostors are left.
        UnknownNameError: no such deviation.
        NumericsError: the scores of some side with its cohort are all alike.
    """
    if deviation not in get_args(Deviation):
        raise unknown_name("standard deviation", deviation, list(get_args(Deviation)))
    rows, others = unit(vectors, mean), unit(cohort, mean, name="cohort embeddings")
    kept = min(top, len(others))
    if kept < 2:
        raise UsageError(
            "AS-norm needs impostors", got=f"{len(others)} in the cohort, top {top}", expected="2"
        )
    centre, spread = np.empty(len(rows)), np.empty(len(rows))
    step = max(1, BLOCK // len(others))
    for at in range(0, len(rows), step):
        near = rows[at : at + step] @ others.T
        near = np.partition(near, len(others) - kept, axis=1)[:, len(others) - kept :]
        centre[at : at + step] = near.mean(axis=1)
        spread[at : at + step] = near.std(axis=1, ddof=int(deviation == "sample"))
    if not (spread > 1e-12).all():
        raise NumericsError(
            "AS-norm divides by zero",
            got=f"{int((spread <= 1e-12).sum())} recordings are equally near to all impostors",
            fix="give a cohort with more speakers",
        )
    sides = [(scores - centre[side]) / spread[side] for side in (first, second)]
    return np.asarray((sides[0] + sides[1]) / 2)


def crop_average(
    whole: Floats,
    crops: ArrayLike,
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    mean: ArrayLike | None = None,
) -> Floats:
    """Cosine of whole recordings averaged with the mean over all pairs of their crops.

    TaoRuijie/ECAPA-TDNN scores so, with five crops of 3.015 s: (cos(whole) + mean of 25 cosines)
    / 2. The mean over pairs of crops is the product of the mean unit vectors, so it costs no
    more than one cosine.

    Args:
        whole: [N], cosines of the whole recordings.
        crops: [R, K, D], embeddings of K crops a recording.
        first, second: [N], rows of either side.
        mean: [D], subtracted from each crop first.
    """
    middle = unit(crops, mean, name="embeddings of crops").mean(axis=1)
    return np.asarray((whole + products(middle, middle, first, second)) / 2)


def score_trials(trials: Trials, vectors: ArrayLike, *, mean: ArrayLike | None = None) -> Floats:
    """Cosine of every trial.

    Args:
        trials: the list.
        vectors: [len(trials.ids), D], embedding of each of ``trials.ids``.
        mean: [D], subtracted first; ``None`` for plain cosine.

    Raises:
        ShapeError: there are not as many embeddings as recordings.
    """
    rows = np.asarray(vectors)
    if len(rows) != len(trials.ids):
        raise ShapeError(
            "there must be one embedding a recording of the trials",
            got=f"{len(rows)}",
            expected=f"{len(trials.ids)}",
        )
    return cosine(rows, trials.first, trials.second, mean=mean)
