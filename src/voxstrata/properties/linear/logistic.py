"""Cross-validated multinomial logistic regression: how well rows predict classes linearly.

The model is the usual one: mean cross-entropy plus lambda / 2 times the squared weights (without
the intercepts) on columns standardised with training statistics; scikit-learn's C is
1 / (lambda n), or 2 / (lambda n) for two classes, where it keeps one column of weights for our two.
The optimum is unique and does not depend on how it is found: L-BFGS (SciPy) in coordinates that
are scaled by the curvature (Boehning, Ann. Inst. Stat. Math. 44, 1992: the Hessian is bounded by a
multiple of the rows' covariance), which takes tens of iterations where the plain problem takes
hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.numerics.threads import on_threads, one_blas_thread

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Penalties lambda, strong to weak; each fit starts where the stronger one ended."""

ITERATIONS = 300


@dataclass(frozen=True)
class ClassScore:
    """One measure over all folds.

    Attributes:
        value: the number.
        error: jackknife error over folds, models held fixed.
        by_fold: the value in each fold alone, as (fold, value).
    """

    value: float
    error: float
    by_fold: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class LogisticFit:
    """Held-out predictions of K classes.

    Attributes:
        confusion: rows of true class i predicted as j in each fold, int64 [F, K, K].
        loss: cross-entropy summed within folds, bits, [F].
        prior_loss: the same for the class shares of the training rows, bits, [F].
        majority: rows that the commonest training class gets right, [F].
        penalty: chosen lambda of each fold, [F].
        folds: names of the folds, [F].
        unfinished: fits that stopped at :data:`ITERATIONS`.
    """

    confusion: NDArray[np.int64]
    loss: NDArray[np.float64]
    prior_loss: NDArray[np.float64]
    majority: NDArray[np.int64]
    penalty: NDArray[np.float64]
    folds: NDArray[np.int64]
    unfinished: int = 0

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each fold, [F]."""
        found: NDArray[np.int64] = self.confusion.sum(axis=(1, 2))
        return found

    def scores(self) -> dict[str, ClassScore]:
        """Measures by name.

        ``balanced-accuracy`` (mean recall over classes), ``accuracy``, ``macro-f1`` (mean over
        classes), ``cross-entropy-bits`` a row, and ``information-bits``: the cross-entropy of the
        training shares minus that (usable information, Xu et al., ICLR 2020, for linear readers).
        """
        values = self._measures(np.ones(len(self.folds), dtype=bool))
        names = list(values)
        whole = np.array([values[n] for n in names])
        parts = [self._measures(self.folds != f) for f in self.folds]
        found = jackknife(whole, [[part[n] for n in names] for part in parts], self.sizes)
        alone = {int(f): self._measures(self.folds == f) for f in self.folds}
        return {
            name: ClassScore(
                values[name],
                float(found.error[i]),
                tuple((f, one[name]) for f, one in alone.items()),
            )
            for i, name in enumerate(names)
        }

    def _measures(self, keep: NDArray[np.bool_]) -> dict[str, float]:
        table = self.confusion[keep].sum(axis=0)
        n = int(table.sum())
        right, true, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
        here = true > 0
        # Classes that neither occur nor are predicted do not count (as in scikit-learn).
        counted = true + said > 0
        loss = float(self.loss[keep].sum()) / n
        return {
            "balanced-accuracy": float((right[here] / true[here]).mean()),
            "accuracy": float(right.sum()) / n,
            "macro-f1": float((2 * right[counted] / (true + said)[counted]).mean()),
            "cross-entropy-bits": loss,
            "information-bits": float(self.prior_loss[keep].sum()) / n - loss,
        }


class Training:
    """Standardised training rows in the coordinates of their covariance; fits any labels.

    Args:
        x: training rows, [n, D].
        dtype: of the products; sums of losses and the search itself are in float64.
    """

    def __init__(self, x: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
        wide = x.to(torch.float64)
        self.mean = wide.mean(dim=0)
        deviation = wide.std(dim=0, correction=0)
        varies = deviation > 1e-7 * self.mean.abs()
        self.scale = torch.where(varies, 1 / deviation.clamp_min(1e-300), 0.0)
        self.dtype = dtype
        rows = ((wide - self.mean) * self.scale).to(dtype)
        n, width = rows.shape
        if n < width:
            # The optimum lies in the span of the rows, so the other directions are not needed.
            values, vectors = torch.linalg.eigh((rows @ rows.T).to(torch.float64) / n)
            keep = values > n * torch.finfo(dtype).eps * values[-1]
            self.values = values[keep]
            basis = rows.to(torch.float64).T @ vectors[:, keep] / (n * self.values).sqrt()
        else:
            # Any rotation leaves the problem as it is; this one makes its curvature diagonal.
            self.values, basis = torch.linalg.eigh((rows.T @ rows).to(torch.float64) / n)
            self.values = self.values.clamp_min(0.0)
        self.basis = basis.to(dtype)
        self.rows = rows @ self.basis

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Other rows, standardised by the training rows, in the same coordinates."""
        standard = (x.to(torch.float64) - self.mean) * self.scale
        found: torch.Tensor = standard.to(self.dtype) @ self.basis
        return found

    def fit(
        self, labels: torch.Tensor, classes: int, penalty: float, start: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, bool]:
        """Weights and intercepts, float64 [r + 1, K] (intercepts last), and whether it converged.

        Args:
            labels: class of each training row, int64 [n]; every class occurs.
            classes: K.
            penalty: lambda.
            start: where to begin (another penalty's result).
        """
        from scipy.optimize import minimize

        n, r = self.rows.shape
        share = 1 / classes * (1 - 1 / classes)
        ones = torch.ones(1, dtype=torch.float64)
        curvature = torch.cat([share * self.values + penalty, share * ones])
        stretch = curvature.rsqrt()[:, None]
        weight = torch.cat([torch.full((r,), penalty, dtype=torch.float64), 0 * ones])[:, None]
        rows = torch.cat([self.rows, torch.ones(n, 1, dtype=self.dtype)], dim=1)
        at = torch.arange(n)

        def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            b = torch.from_numpy(flat).reshape(r + 1, classes) * stretch
            logits = rows @ b.to(self.dtype)
            log_p = logits - logits.logsumexp(dim=1, keepdim=True)
            loss = -float(log_p[at, labels].sum(dtype=torch.float64)) / n
            slope = log_p.exp_()
            slope[at, labels] -= 1
            gradient = (rows.T @ slope).to(torch.float64) / n + weight * b
            value = loss + float((weight * b * b).sum()) / 2
            return value, (gradient * stretch).reshape(-1).numpy()

        if start is None:
            counts = torch.bincount(labels, minlength=classes).to(torch.float64)
            start = torch.zeros(r + 1, classes, dtype=torch.float64)
            start[-1] = (counts / n).log()
        exact = self.dtype == torch.float64
        options = {
            "maxiter": ITERATIONS,
            "maxcor": 10,
            # float32 products carry about 1e-7 of noise: the search must not chase it
            "ftol": 1e-14 if exact else 1e-6,
            "gtol": 1e-9 if exact else 1e-5,
        }
        begin = (start / stretch).reshape(-1).numpy()
        with one_blas_thread():
            found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
        if not np.isfinite(found.fun):
            raise NumericsError("logistic regression met numbers that are not finite")
        weights = torch.from_numpy(found.x.copy()).reshape(r + 1, classes) * stretch
        return weights, bool(found.nit < ITERATIONS)

    def log_probabilities(self, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Natural log probabilities of projected rows, float64 [m, K]."""
        logits = (rows @ weights[:-1].to(self.dtype)).to(torch.float64) + weights[-1]
        return logits.log_softmax(dim=1)


def cross_validated_logistic(
    x: Any,
    labels: Sequence[Any] | NDArray[Any],
    fold: Any,
    *,
    penalties: Sequence[float] = PENALTIES,
    dtype: torch.dtype = torch.float32,
) -> list[LogisticFit]:
    """Predict classes from rows, each fold from the others; several labellings at once.

    The penalty of a test fold is chosen on the next fold, by a fit without both: penalties go
    from strong to weak until the cross-entropy there gets worse. The final fit uses all folds
    but the tested one. Labellings share what depends on the rows alone.

    Args:
        x: rows, [N, D].
        labels: class numbers, int [N], or several labellings [M, N].
        fold: fold of each row, [N]; at least three. Every class must occur in two folds.
        penalties: lambda, strong to weak.
        dtype: of the products.

    Returns:
        one result a labelling.

    Raises:
        ShapeError: rows, labels and folds do not fit each other.
        UsageError: fewer than three folds, one class, or a class in one fold only.
    """
    rows = torch.as_tensor(x)
    given = np.atleast_2d(np.asarray(labels, dtype=np.int64))
    names, where = np.unique(np.asarray(fold), return_inverse=True)
    if rows.ndim != 2 or not len(rows) == given.shape[1] == len(where):
        raise ShapeError(
            "rows, labels and folds do not fit each other",
            got=f"{tuple(rows.shape)}, {given.shape} and {np.asarray(fold).shape}",
            expected="[N, D], [M, N] and [N]",
        )
    if len(names) < 3:
        raise UsageError(
            "choosing a penalty inside the training folds takes at least three folds",
            got=f"{len(names)}",
        )
    if not torch.isfinite(rows).all():
        raise NumericsError("logistic regression met numbers that are not finite")
    for one in given:
        spread = [len(np.unique(where[one == c])) for c in np.unique(one)]
        if len(spread) < 2 or min(spread) < 2 or int(one.max()) + 1 != len(spread):
            raise UsageError(
                "classes are numbered from 0, at least two, each in at least two folds",
                got=f"{len(spread)} classes, one of them in {min(spread)} fold(s)",
            )
    place = torch.as_tensor(where)
    results = [_Collected(len(names), int(one.max()) + 1) for one in given]

    def test_on(f: int) -> None:
        check = (f + 1) % len(names)
        inner, validation = (place != f) & (place != check), place == check
        chosen = _choose(rows, given, inner, validation, penalties, dtype)
        train, test = place != f, place == f
        training = Training(rows[train], dtype)
        projected = training.project(rows[test])
        for one, penalty, result in zip(given, chosen, results, strict=True):
            result.add(f, training, projected, torch.as_tensor(one), train, test, penalty)

    # Steps of a search are too short for several threads each; folds are searched side by side.
    on_threads(test_on, range(len(names)), min(len(names), torch.get_num_threads()))
    return [result.fit(names) for result in results]


def _choose(
    rows: torch.Tensor,
    labellings: NDArray[np.int64],
    inner: torch.Tensor,
    validation: torch.Tensor,
    penalties: Sequence[float],
    dtype: torch.dtype,
) -> list[float]:
    """The penalty with the smallest cross-entropy on the validation rows, for each labelling.

    Classes that the inner rows lack are left out of both.
    """
    if len(penalties) == 1:
        return [penalties[0]] * len(labellings)
    training = Training(rows[inner], dtype)
    projected = training.project(rows[validation])
    chosen = []
    for one in labellings:
        labels = torch.as_tensor(one)
        present, number = torch.unique(labels[inner], return_inverse=True)
        seen = torch.isin(labels[validation], present)
        truth = torch.searchsorted(present, labels[validation][seen])
        best, best_loss, start = penalties[0], np.inf, None
        for penalty in penalties:
            if len(present) < 2 or not len(truth):
                break
            start, _ = training.fit(number, len(present), penalty, start)
            log_p = training.log_probabilities(projected[seen], start)
            loss = -float(log_p[torch.arange(len(truth)), truth].mean())
            if loss >= best_loss:
                break
            best, best_loss = penalty, loss
        chosen.append(best)
    return chosen


class _Collected:
    """What the folds of one labelling gave so far."""

    def __init__(self, folds: int, classes: int) -> None:
        self.classes = classes
        self.confusion = np.zeros((folds, classes, classes), dtype=np.int64)
        self.loss, self.prior_loss, self.penalty = np.zeros((3, folds))
        self.majority = np.zeros(folds, dtype=np.int64)
        self.unfinished = np.zeros(folds, dtype=bool)

    def add(
        self,
        f: int,
        training: Training,
        projected: torch.Tensor,
        labels: torch.Tensor,
        train: torch.Tensor,
        test: torch.Tensor,
        penalty: float,
    ) -> None:
        known, truth = labels[train], labels[test]
        weights, finished = training.fit(known, self.classes, penalty)
        log_p = training.log_probabilities(projected, weights)
        share = torch.bincount(known, minlength=self.classes).to(torch.float64) / len(known)
        bits = float(np.log(2))
        self.loss[f] = -float(log_p[torch.arange(len(truth)), truth].sum()) / bits
        self.prior_loss[f] = -float(share[truth].log2().sum())
        np.add.at(self.confusion[f], (truth.numpy(), log_p.argmax(dim=1).numpy()), 1)
        self.majority[f] = int((truth == share.argmax()).sum())
        self.penalty[f] = penalty
        self.unfinished[f] = not finished

    def fit(self, names: NDArray[Any]) -> LogisticFit:
        return LogisticFit(
            self.confusion,
            self.loss,
            self.prior_loss,
            self.majority,
            self.penalty,
            names.astype(np.int64),
            int(self.unfinished.sum()),
        )
