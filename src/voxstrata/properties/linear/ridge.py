"""Cross-validated ridge regression from fold moments: how well rows predict targets linearly.

Training moments are the total minus the folds left out, so one pass over the rows gives every
training set exactly: the coefficients are those of standardising on the training rows and
solving (Xs'Xs + lambda n I) W = Xs'Yc on them (Hoerl and Kennard 1970). The penalty of a test
fold is chosen by leaving out each of the other folds in turn, so nothing of the test fold enters
the choice; training without {f, g} serves both the choice for f (tested on g) and the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.numerics.linalg import float64

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Penalties per training row: scikit-learn's alpha is n times this, on standardised columns."""

FLAT = 1e-7
"""A column whose standard deviation is below this share of its mean is constant (float32)."""


@dataclass(frozen=True)
class R2:
    """How good predictions of some targets are.

    R^2 = 1 - sum of squared errors / sum of squared distances to the *training* mean, both over
    all folds: 0 for a layer that says nothing, negative for one that misleads.

    Attributes:
        value: mean over the targets.
        error: jackknife error of :attr:`value` over folds, coefficients held fixed.
        weighted: of all targets together, each weighted by its variance.
        weighted_error: its error.
        per_target: each target's, [T].
        by_fold: :attr:`value` in each fold alone, as (fold, value).
    """

    value: float
    error: float
    weighted: float
    weighted_error: float
    per_target: NDArray[np.float64]
    by_fold: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class RidgeFit:
    """Held-out predictions of T targets.

    Attributes:
        prediction: prediction of each row from folds it is not in, [N, T].
        penalty: chosen penalty per training row, by fold and target, [F, T].
        residual: squared errors summed within folds, [F, T].
        spread: squared distances to the training mean summed within folds, [F, T].
        folds, sizes: names of the folds and their rows, [F].
    """

    prediction: NDArray[np.float64]
    penalty: NDArray[np.float64]
    residual: NDArray[np.float64]
    spread: NDArray[np.float64]
    folds: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def r2(self, targets: slice = slice(None)) -> R2:
        """R^2 of all targets, or of a run of them."""
        residual, spread = self.residual[:, targets], self.spread[:, targets]

        def both(keep: NDArray[np.bool_]) -> tuple[float, float]:
            lost, there = residual[keep].sum(axis=0), spread[keep].sum(axis=0)
            return float((1 - lost / there).mean()), float(1 - lost.sum() / there.sum())

        everything = np.ones(len(self.folds), dtype=bool)
        value = both(everything)
        left_out = [both(self.folds != fold) for fold in self.folds]
        found = jackknife(value, left_out, self.sizes)
        alone = [(int(f), both(self.folds == f)[0]) for f in self.folds]
        return R2(
            value[0],
            float(found.error[0]),
            value[1],
            float(found.error[1]),
            1 - residual.sum(axis=0) / spread.sum(axis=0),
            tuple((f, v) for f, v in alone if np.isfinite(v)),
        )


class _Folds:
    """Rows with their moments by fold; solves ridge with any folds left out."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, fold: torch.Tensor, count: int) -> None:
        self.mean_x = x.mean(dim=0)
        self.x, self.y, self.fold, self.count = x - self.mean_x, y, fold, count
        varies = self.x.pow(2).mean(dim=0).sqrt() > FLAT * self.mean_x.abs()
        self.varies = varies
        self.rows = [torch.nonzero(fold == f)[:, 0] for f in range(count)]
        self.n = torch.tensor([len(r) for r in self.rows], dtype=torch.float64)
        parts = [(self.x[r], self.y[r]) for r in self.rows]
        self.sum_x = torch.stack([a.sum(dim=0) for a, _ in parts])
        self.sum_y = torch.stack([b.sum(dim=0) for _, b in parts])
        # With fewer rows than columns the n x n form is solved, from the rows themselves.
        self.wide = x.shape[1] > len(x)
        if not self.wide:
            self.xx = torch.stack([a.T @ a for a, _ in parts])
            self.xy = torch.stack([a.T @ b for a, b in parts])
            self.yy = torch.stack([b.pow(2).sum(dim=0) for _, b in parts])
            self.total_xx, self.total_xy = self.xx.sum(dim=0), self.xy.sum(dim=0)

    def solve(self, out: Sequence[int], penalties: Sequence[float]) -> tuple[torch.Tensor, ...]:
        """Coefficients [A, D, T] and intercepts [A, T] for shifted rows, and training mean [T]."""
        kept = [f for f in range(self.count) if f not in out]
        n = float(self.n[kept].sum())
        mean_x, mean_y = self.sum_x[kept].sum(dim=0) / n, self.sum_y[kept].sum(dim=0) / n
        diagonal = torch.tensor(penalties, dtype=torch.float64) * n
        if self.wide:
            rows = torch.cat([self.rows[f] for f in kept])
            x, y = self.x[rows] - mean_x, self.y[rows] - mean_y
            scale = self._scale(x.pow(2).mean(dim=0))
            x = x * scale
            inner = _solve(x @ x.T, y, diagonal)
            weights = x.T @ inner
        else:
            cross = self.total_xx - self.xx[list(out)].sum(dim=0) - n * torch.outer(mean_x, mean_x)
            to_y = self.total_xy - self.xy[list(out)].sum(dim=0) - n * torch.outer(mean_x, mean_y)
            scale = self._scale(cross.diagonal() / n)
            weights = _solve(cross * scale[:, None] * scale, to_y * scale[:, None], diagonal)
        weights = weights * scale[:, None]
        return weights, mean_y - mean_x @ weights, mean_y

    def squared_errors(self, fitted: tuple[torch.Tensor, ...], f: int) -> torch.Tensor:
        """Squared errors of a fit summed over the rows of fold f, [A, T]."""
        weights, intercept = fitted[0], fitted[1]
        at = self.rows[f]
        if self.wide or len(at) <= self.x.shape[1]:
            guess = self.x[at] @ weights + intercept[:, None]
            return (guess - self.y[at]).pow(2).sum(dim=1)
        # The same from the fold's moments, which is cheaper for many rows.
        moved = self.xy[f] - self.sum_x[f][:, None] * intercept[:, None]
        constant = self.yy[f] + intercept * (self.n[f] * intercept - 2 * self.sum_y[f])
        return constant + (weights * (self.xx[f] @ weights - 2 * moved)).sum(dim=1)

    def _scale(self, variance: torch.Tensor) -> torch.Tensor:
        """1 / standard deviation of each column; 0 for columns that do not vary."""
        fine = self.varies & (variance > 0)
        return torch.where(fine, variance.clamp_min(1e-300).rsqrt(), 0.0)


def _solve(A: torch.Tensor, B: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    """(A + a I)^-1 B for each a of ``diagonal``, [len(diagonal), *B.shape]."""
    eye = torch.eye(len(A), dtype=A.dtype)
    found = []
    for a in diagonal:
        factor, info = torch.linalg.cholesky_ex(A + a * eye)
        if int(info):
            raise NumericsError("ridge regression met numbers that are not finite")
        found.append(torch.cholesky_solve(B, factor))
    return torch.stack(found)


def cross_validated_ridge(
    x: Any, y: Any, fold: Any, penalties: Sequence[float] = PENALTIES
) -> RidgeFit:
    """Predict targets from rows, each fold from the others, penalty chosen inside the training.

    Columns of x are standardised with training statistics; y is centred. The penalty is chosen
    for each fold and target by the smallest squared error over the inner folds. F folds take
    F (F + 1) / 2 training sets.

    Args:
        x: rows, [N, D].
        y: targets, [N, T] or [N].
        fold: fold of each row, whole numbers, [N]; at least three different ones.
        penalties: lambda, per training row.

    Raises:
        ShapeError: x, y and fold do not have the same rows.
        UsageError: fewer than three folds, or no penalty, or one that is not positive.
        NumericsError: a target does not vary, or something is not finite.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(90, 3))
        >>> fit = cross_validated_ridge(x, x @ [1.0, 2.0, 0.0], np.arange(90) % 3)
        >>> bool(fit.r2().value > 0.99)
        True
    """
    rows, targets = float64(x), float64(y)
    targets = targets[:, None] if targets.ndim == 1 else targets
    names, where = np.unique(np.asarray(fold), return_inverse=True)
    if rows.ndim != 2 or targets.ndim != 2 or not len(rows) == len(targets) == len(where):
        raise ShapeError(
            "rows, targets and folds do not fit each other",
            got=f"{tuple(rows.shape)}, {tuple(targets.shape)} and {np.asarray(fold).shape}",
            expected="[N, D], [N, T] and [N]",
        )
    if len(names) < 3:
        raise UsageError(
            "choosing a penalty inside the training folds takes at least three folds",
            got=f"{len(names)}",
        )
    if not penalties or min(penalties) <= 0:
        raise UsageError("penalties must be positive", got=list(penalties))
    middle, deviation = targets.mean(dim=0), targets.std(dim=0, correction=0)
    if not torch.isfinite(rows).all() or not torch.isfinite(targets).all():
        raise NumericsError("ridge regression met numbers that are not finite")
    if not bool((deviation > 1e-12 * middle.abs()).all()):
        raise NumericsError("a target of ridge regression does not vary")
    count, width = len(names), targets.shape[1]
    data = _Folds(rows, (targets - middle) / deviation, torch.as_tensor(where), count)

    inner = torch.zeros(count, len(penalties), width, dtype=torch.float64)
    if len(penalties) > 1:
        for f, g in combinations(range(count), 2):
            fitted = data.solve((f, g), penalties)
            inner[f] += data.squared_errors(fitted, g)
            inner[g] += data.squared_errors(fitted, f)
    chosen = inner.argmin(dim=1)
    prediction = torch.empty_like(targets)
    residual, spread = torch.empty(2, count, width, dtype=torch.float64)
    for f, at in enumerate(data.rows):
        used = sorted(set(chosen[f].tolist()))
        weights, intercept, mean_y = data.solve((f,), [penalties[a] for a in used])
        guess = data.x[at] @ weights + intercept[:, None]
        place = torch.tensor([used.index(a) for a in chosen[f].tolist()])
        prediction[at] = guess[place, :, torch.arange(width)].T
        residual[f] = (prediction[at] - data.y[at]).pow(2).sum(dim=0)
        spread[f] = (data.y[at] - mean_y).pow(2).sum(dim=0)
    variance = deviation**2
    return RidgeFit(
        (prediction * deviation + middle).numpy(),
        np.asarray(penalties, dtype=np.float64)[chosen.numpy()],
        (residual * variance).numpy(),
        (spread * variance).numpy(),
        names.astype(np.int64),
        np.bincount(where, minlength=count),
    )
