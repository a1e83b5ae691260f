"""The published cross-validation of P2023, from fold moments.

Ten splits of rows; three trials, each with one split for development and one for test; in each
trial six pairs of epsilon are fitted on the other eight splits, the pair that scores best on the
development split is taken, and the result is the mean of the test scores (the public code
`layerwise-analysis`, codes/tools/tools.py). Scores are those of :mod:`voxstrata.similarity.pasad`
and share their faults: they depend on the signs of an SVD, and null directions carry weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.similarity.crossval_nearby import Fit, Moved
from voxstrata.similarity.crossval_search import Pair, Search, scored
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.moments import Moments

SPLITS, TRIALS, TRIES, PAIRS = 10, 3, 5, 6
"""Splits, trials wanted, trials tried at most, and epsilon pairs a trial, as published."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        dev, test: the splits held out.
        eps: pairs (epsilon_x, epsilon_y) that could be fitted, in the order tried.
        dev_scores: score of each on the development split, float64 [E].
        best: the pair taken: the first of the highest development scores.
        score: its test score.
        sign_range: lowest and highest test score over random signs of its directions.
        failed: pairs that could not be fitted.
    """

    dev: int
    test: int
    eps: tuple[Pair, ...]
    dev_scores: NDArray[np.float64]
    best: int
    score: float
    sign_range: tuple[float, float]
    failed: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class PasadCrossValidated:
    """The published result: the mean test score over trials."""

    score: float
    trials: tuple[Trial, ...]

    @property
    def sign_range(self) -> tuple[float, float]:
        """Mean over trials of the lowest and of the highest score over random signs."""
        low, high = np.mean([t.sign_range for t in self.trials], axis=0)
        return float(low), float(high)


def draw_splits(
    n: int, seed: Any, labels: Sequence[Hashable] | None = None, splits: int = SPLITS
) -> NDArray[np.int64]:
    """Split of each row, int64 [n]: rows at random, those of each label divided separately.

    Every split gets floor(c / splits) of a label's c rows, and the remainder goes to as many
    different splits at random (as published; the order of random numbers is our own).

    Args:
        n: rows.
        seed: anything :func:`numpy.random.default_rng` takes.
        labels: label of each row, or ``None`` to divide all rows together.
        splits: how many.

    Raises:
        UsageError: fewer rows than splits.
        ShapeError: not one label a row.
    """
    if n < splits:
        raise UsageError("fewer rows than splits", got=n, expected=f"at least {splits}")
    if labels is not None and len(labels) != n:
        raise ShapeError("one label a row is needed", got=len(labels), expected=n)
    rng = np.random.default_rng(seed)
    names = np.zeros(n, dtype=np.int64)
    if labels is not None:
        codes = {label: i for i, label in enumerate(sorted(set(labels), key=str))}
        names = np.array([codes[label] for label in labels], dtype=np.int64)
    split = np.empty(n, dtype=np.int64)
    for code in range(int(names.max()) + 1):
        index = rng.permutation(np.flatnonzero(names == code))
        each, rest = divmod(len(index), splits)
        dealt = np.repeat(np.arange(splits), each)
        extra = rng.choice(splits, rest, replace=False)
        split[index] = np.concatenate([dealt, extra])
    return split


def draw_trials(seed: Any, splits: int = SPLITS, tries: int = TRIES) -> list[tuple[int, int]]:
    """Pairs (dev, test) of splits, none used twice."""
    order = np.random.default_rng(seed).permutation(splits)
    return [(int(a), int(b)) for a, b in order[: 2 * min(tries, splits // 2)].reshape(-1, 2)]


def draw_eps(seed: Any) -> list[Pair]:
    """The order in which epsilon pairs are tried: nine small ones, then sixteen larger ones."""
    rng = np.random.default_rng(seed)
    order: list[Pair] = []
    for grid in ((1e-10, 1e-11, 1e-9), (1e-8, 1e-7, 1e-6, 1e-5)):
        pairs = list(itertools.product(grid, grid))
        order += [pairs[i] for i in rng.permutation(len(pairs))]
    return order


def search_trial(
    m: FoldMoments,
    dev: int,
    test: int,
    order: Sequence[Pair],
    *,
    pairs: int = PAIRS,
    mean_score: bool = False,
    components: int | None = None,
    other_components: int | None = None,
    align: tuple[Any, Any] | None = None,
    signs: int = 8,
    seed: int = 0,
) -> Trial:
    """One trial: fit epsilon pairs on the other splits, choose on ``dev``, score on ``test``.

    Args:
        m: moments by split.
        dev, test: splits held out.
        order: epsilon pairs in the order to try; the first ``pairs`` that can be fitted count.
        pairs: how many.
        mean_score: mean of both weightings instead of the published choice of side.
        components, other_components: first reduce a view to this many principal components of
            the training rows.
        align: directions [E, k, D] and [E, k, V] to align signs with, for each of ``order``.
        signs: random choices of signs behind ``sign_range``; 0 for none.
        seed: of these.

    Raises:
        NumericsError: no pair can be fitted and scored.
    """
    parts = [m.but(dev, test), m.fold(dev), m.fold(test)]
    train, on_dev, on_test = _reduced(parts, components, other_components)
    search = Search(train, on_dev, mean_score)
    fits: list[Fit | Moved] = []
    tried: list[Pair] = []
    failed: list[Pair] = []
    scores: list[float] = []
    reason: NumericsError | None = None
    for i, eps in enumerate(order):
        try:
            fit, score = search.fit(eps, None if align is None else (align[0][i], align[1][i]))
        except NumericsError as error:
            failed.append(eps)
            reason = error
            continue
        fits.append(fit)
        scores.append(score)
        tried.append(eps)
        if len(fits) == pairs:
            break
    if not fits:
        raise NumericsError(
            "no pair of epsilon could be fitted by the published recipe",
            got=reason.what if reason else "no pairs",
            fix="use the preset 'voxstrata', which drops null directions",
        )
    best = int(np.argmax(scores))
    rng = np.random.default_rng([seed, 24])
    taken = fits[best]
    if isinstance(taken, Moved):
        i = order.index(tried[best])
        taken = taken.fit(None if align is None else (align[0][i], align[1][i]))
    k = len(taken.Px)
    flips = [torch.from_numpy(rng.choice([-1.0, 1.0], k)) for _ in range(signs)]
    found = scored(taken, on_test, mean_score, flips)
    return Trial(
        dev,
        test,
        tuple(tried),
        np.array(scores),
        best,
        found[0],
        (min(found), max(found)),
        tuple(failed),
    )


def _reduced(
    parts: list[Moments], components: int | None, other: int | None
) -> tuple[Moments, Moments, Moments]:
    if not components and not other:
        return parts[0], parts[1], parts[2]
    axes = []
    for view, width in ((parts[0].view_x, components), (parts[0].view_y, other)):
        eye = torch.eye(len(view.S), dtype=view.S.dtype)
        axes.append(view.spectrum[1][:, :width] if width else eye)
    a, b = axes
    made = [
        Moments(p.n, p.mean_x @ a, p.mean_y @ b, a.T @ p.Sxx @ a, b.T @ p.Syy @ b, a.T @ p.Sxy @ b)
        for p in parts
    ]
    return made[0], made[1], made[2]


def cross_validate_pasad(
    m: FoldMoments,
    trials: Sequence[tuple[int, int]],
    eps: Sequence[Sequence[Pair]],
    *,
    wanted: int = TRIALS,
    **how: Any,
) -> PasadCrossValidated:
    """The published protocol over given splits.

    Args:
        m: moments by split.
        trials: pairs (dev, test) in the order to try; the first ``wanted`` that can be fitted
            count.
        eps: for each of ``trials`` the epsilon pairs in the order to try.
        wanted: how many trials.
        how: see :func:`search_trial`.

    Raises:
        NumericsError: not one trial could be fitted.
    """
    done: list[Trial] = []
    reason: NumericsError | None = None
    for (dev, test), order in zip(trials, eps, strict=True):
        if len(done) == wanted:
            break
        try:
            done.append(search_trial(m, dev, test, order, **how))
        except NumericsError as error:
            reason = error
    if not done:
        raise reason or NumericsError("no trial was given")
    return PasadCrossValidated(float(np.mean([t.score for t in done])), tuple(done))
