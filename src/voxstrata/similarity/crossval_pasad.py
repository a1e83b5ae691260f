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
from voxstrata.similarity.crossval_fit import quick_svd
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.pasad import PINV_RCOND, bounded, inverse_root, signs_of, weights_of

SPLITS, TRIALS, TRIES, PAIRS = 10, 3, 5, 6
"""Splits, trials wanted, trials tried at most, and epsilon pairs a trial, as published."""

SAFE_RATIO = 1e-9
"""Smallest ratio of eigenvalues (epsilon added) at which one decomposition serves all epsilons."""

Pair = tuple[float, float]


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


class _Side:
    """One view of a training set: for every epsilon R = S^-1/2 as V diag(scale) V'."""

    def __init__(self, view: View, n: int, name: str) -> None:
        S = view.S / (n - 1)
        self.top, self.name = float(S.abs().max()), name
        if self.top <= 0:
            raise NumericsError("a view without variance has no canonical correlations")
        self.S = S / self.top
        self._spectra: dict[bytes, tuple[torch.Tensor, torch.Tensor]] = {}

    def kept(self, eps: float) -> torch.Tensor:
        """Which columns stay, boolean [D]."""
        return self.S.diagonal() >= eps

    def factor(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        """V [D', D'] over the kept columns, and scale [D'].

        One decomposition of S serves all epsilons, except where rounding decides: there what
        the original does is done.
        """
        kept = self.kept(eps)
        S = self.S if bool(kept.all()) else self.S[kept][:, kept]
        key = kept.cpu().numpy().tobytes()
        if key not in self._spectra:
            values, vectors = torch.linalg.eigh(S)
            self._spectra[key] = (values, vectors)
        values, vectors = self._spectra[key]
        shifted = values + eps
        if float(shifted[0]) > max(SAFE_RATIO, PINV_RCOND) * float(shifted[-1]):
            return vectors, shifted.rsqrt()
        root = inverse_root(S + eps * torch.eye(len(S), dtype=S.dtype), self.name)
        scale, vectors = torch.linalg.eigh(root)
        return vectors, scale


@dataclass(frozen=True)
class _Fit:
    """Projections [k, D'] and [k, V'] over kept columns."""

    Px: torch.Tensor
    Py: torch.Tensor
    kept: tuple[torch.Tensor, torch.Tensor]


class _Fitter:
    """All fits of a trial: what does not depend on epsilon is done once."""

    def __init__(self, train: Moments) -> None:
        self.x, self.y = _Side(train.view_x, train.n, "x"), _Side(train.view_y, train.n, "y")
        self.Sxy = train.Sxy / (train.n - 1) / (self.x.top * self.y.top) ** 0.5
        self._core: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def fit(self, eps: Pair, align: tuple[Any, Any] | None) -> _Fit:
        """As :func:`voxstrata.similarity.pasad.pasad_fit`.

        With R1 = V1 D1 V1' and R2 = V2 D2 V2' the singular vectors of R1 S12 R2 are V1 U and V2 W
        for those of D1 (V1' S12 V2) D2, whose middle part is the same for every epsilon.
        """
        kx, ky = self.x.kept(eps[0]), self.y.kept(eps[1])
        (V1, d1), (V2, d2) = self.x.factor(eps[0]), self.y.factor(eps[1])
        if self._core is None or self._core[0] is not V1 or self._core[1] is not V2:
            self._core = (V1, V2, V1.T @ self.Sxy[kx][:, ky] @ V2)
        U, _, Wt = quick_svd(d1[:, None] * self._core[2] * d2)
        Px, Py = (U.T * d1) @ V1.T, (Wt * d2) @ V2.T
        flip_x, flip_y = signs_of(Px, Py, (kx, ky), align)
        return _Fit(Px * flip_x, Py * flip_y, (kx, ky))


def _score(
    fit: _Fit, rows: Moments, mean_score: bool, flips: Sequence[torch.Tensor] = ()
) -> list[float]:
    """The published score, then the score for each choice of signs in ``flips`` [k].

    As :func:`voxstrata.similarity.pasad.pasad_score`, with every product made once and only for
    the side that counts. Negating a direction in both views leaves its correlation and turns
    the mean that is added to it.
    """
    kx, ky = fit.kept
    whole = bool(kx.all() and ky.all())
    Sxx, Syy, Sxy = rows.Sxx, rows.Syy, rows.Sxy
    mean_x, mean_y = rows.mean_x[kx], rows.mean_y[ky]
    if not whole:
        Sxx, Syy, Sxy = Sxx[kx][:, kx], Syy[ky][:, ky], Sxy[kx][:, ky]
    loads_x, loads_y = fit.Px @ Sxx, fit.Py @ Syy
    own = (loads_x * fit.Px).sum(dim=1) * (loads_y * fit.Py).sum(dim=1)
    cross = ((fit.Px @ Sxy) * fit.Py).sum(dim=1)
    rho = bounded(cross / own.sqrt())
    sides = [(fit.Px, loads_x, mean_x), (fit.Py, loads_y, mean_y)]
    if not mean_score:
        sides = sides[:1] if len(mean_x) < len(mean_y) else sides[1:]
    k = len(fit.Px)
    made = [(loads @ P.T, loads[:, :k], mean[:k]) for P, loads, mean in sides]
    scores = []
    for flip in (torch.ones(k, dtype=rho.dtype), *flips):
        # w_i sums absolute values over features: turning the row or its mean is the same.
        each = [float(weights_of(A, B, flip * mean, mean, rows.n) @ rho) for A, B, mean in made]
        scores.append(sum(each) / len(each))
    return scores


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
    fitter = _Fitter(train)
    fits: list[_Fit] = []
    tried: list[Pair] = []
    failed: list[Pair] = []
    scores: list[float] = []
    reason: NumericsError | None = None
    for i, eps in enumerate(order):
        try:
            fit = fitter.fit(eps, None if align is None else (align[0][i], align[1][i]))
            scores += _score(fit, on_dev, mean_score)
        except NumericsError as error:
            failed.append(eps)
            reason = error
            continue
        fits.append(fit)
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
    k = len(fits[best].Px)
    flips = [torch.from_numpy(rng.choice([-1.0, 1.0], k)) for _ in range(signs)]
    found = _score(fits[best], on_test, mean_score, flips)
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
