"""Softmax regression with both penalties of the neuron literature, solved to its optimum.

The published probes minimise mean cross-entropy + l1 ||W||_1 + l2 ||W||_2 (the norm, not its
square) by some epochs of Adam, which leaves no weight at exactly 0. The problem is convex and its
proximal step is known in closed form, so it is solved here by accelerated proximal gradient
(Beck and Teboulle 2009) with the restart of O'Donoghue and Candes (2015): no learning rate, no
seed, and zeros that are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from voxstrata.errors import NumericsError, UsageError
from voxstrata.neurons.counts import Floats, Ints

Ridge = Literal["norm", "squared"]

ITERATIONS = 3000
_AT_ONCE = 100
"""Columns that join at a time, at least."""


@dataclass(frozen=True)
class SparseProbe:
    """A fitted probe, on columns standardised by the training rows.

    Attributes:
        weights: W [G, D].
        intercepts: [G].
        mean, scale: [D], of the standardisation; scale 0 for a constant column.
        objective: at the end.
        iterations: made.
        converged: whether the optimum was reached to the tolerance.
    """

    weights: Floats
    intercepts: Floats
    mean: Floats
    scale: Floats
    objective: float
    iterations: int
    converged: bool

    def predict(self, x: Floats) -> Ints:
        """Class of each row, [n]."""
        logits = ((x - self.mean) * self.scale) @ self.weights.T + self.intercepts
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def fit_sparse(
    x: Floats,
    labels: Ints,
    classes: int,
    *,
    l1: float = 1e-2,
    l2: float = 1e-2,
    ridge: Ridge = "norm",
    tolerance: float = 1e-5,
    iterations: int = ITERATIONS,
) -> SparseProbe:
    """Minimise mean cross-entropy + l1 ||W||_1 + l2 ||W||_F (or l2 / 2 ||W||_F^2).

    The proximal step of the sum of both is soft thresholding followed by shrinking as a whole.
    Intercepts are free. The step is 1 / (lambda_max / 2), the bound of Boehning (1992) on the
    curvature of softmax.

    Args:
        x: rows [n, D]; standardised inside.
        labels: [n], from 0; every class occurs.
        classes: G.
        l1, l2: penalties, not negative.
        ridge: "norm" as published, or "squared" (the usual elastic net).
        tolerance: largest entry of the gradient mapping at which to stop.
        iterations: at most.

    Raises:
        UsageError: a negative penalty, or another ridge.
        NumericsError: x is not finite.
    """
    if min(l1, l2) < 0 or ridge not in ("norm", "squared"):
        raise UsageError(
            "penalties of a sparse probe",
            got=f"l1={l1}, l2={l2}, ridge={ridge!r}",
            expected="not negative; 'norm' or 'squared'",
        )
    if not np.isfinite(x).all():
        raise NumericsError("a sparse probe met numbers that are not finite")
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    varies = deviation > 1e-7 * np.abs(mean)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    # A column of ones carries the intercepts; it is not penalised.
    rows = np.concatenate([(x - mean) * scale, np.ones((len(x), 1))], axis=1)
    truth = (labels[:, None] == np.arange(classes)).astype(np.float64)
    b = np.zeros((classes, rows.shape[1]))
    b[:, -1] = np.log(np.maximum(truth.mean(axis=0), 1e-12))
    held = np.zeros(rows.shape[1], dtype=bool)
    held[-1], rounds, done, whole = True, 0, False, False
    while rounds < iterations:
        # A column stays at 0 while no gradient of it exceeds l1, so most are left out until one
        # does. Where none of those left out does, what is solved is the whole problem.
        steepness = np.where(held, 0.0, np.abs(_gradient(rows, b, truth)).max(axis=0))
        out = int((steepness > l1 + tolerance).sum())
        whole = rounds > 0 and not out
        if whole:
            break
        held[np.argsort(-steepness, kind="stable")[: min(out, max(_AT_ONCE, held.sum()))]] = True
        part = rows[:, held]
        b[:, held], made, done = _solve(
            part, truth, b[:, held], l1, l2, ridge, tolerance, iterations - rounds
        )
        rounds += made
    return SparseProbe(
        b[:, :-1],
        b[:, -1],
        mean,
        scale,
        objective(rows, labels, b, l1, l2, ridge),
        rounds,
        done and whole,
    )


def _solve(
    rows: Floats,
    truth: Floats,
    b: Floats,
    l1: float,
    l2: float,
    ridge: Ridge,
    tolerance: float,
    iterations: int,
) -> tuple[Floats, int, bool]:
    """Accelerated proximal gradient from ``b`` on; weights, iterations, whether converged."""
    step = 2 * len(rows) / _largest_eigenvalue(rows)
    ahead, momentum, done, rounds = b, 1.0, False, 0
    while rounds < iterations and not done:
        rounds += 1
        new = _proximal(ahead - step * _gradient(rows, ahead, truth), step, l1, l2, ridge)
        done = bool(np.abs(ahead - new).max() / step <= tolerance)
        if ((ahead - new) * (new - b)).sum() > 0:
            momentum, ahead = 1.0, new  # momentum points uphill: begin anew
        else:
            later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / later * (new - b)
            momentum = later
        b = new
    return b, rounds, done


def _gradient(rows: Floats, b: Floats, truth: Floats) -> Floats:
    """Of the mean cross-entropy, [G, D + 1]."""
    return np.asarray((_softmax(rows @ b.T) - truth).T @ rows / len(rows))


def objective(rows: Floats, labels: Ints, b: Floats, l1: float, l2: float, ridge: Ridge) -> float:
    """What is minimised; ``rows`` [n, D + 1] end in ones, ``b`` [G, D + 1] in intercepts."""
    from scipy.special import logsumexp

    logits = rows @ b.T
    loss = float((logsumexp(logits, axis=1) - logits[np.arange(len(rows)), labels]).mean())
    w = b[:, :-1]
    size = float(np.sqrt((w**2).sum()))
    return loss + l1 * float(np.abs(w).sum()) + l2 * (size if ridge == "norm" else size**2 / 2)


def _softmax(logits: Floats) -> Floats:
    from scipy.special import softmax

    return np.asarray(softmax(logits, axis=1))


def _proximal(b: Floats, step: float, l1: float, l2: float, ridge: Ridge) -> Floats:
    found = b.copy()
    w = np.sign(b[:, :-1]) * np.maximum(np.abs(b[:, :-1]) - step * l1, 0.0)
    size = np.sqrt((w**2).sum())
    if ridge == "squared":
        w = w / (1 + step * l2)
    elif size > 0:
        w = w * max(0.0, 1 - step * l2 / size)
    found[:, :-1] = w
    return found


def _largest_eigenvalue(rows: Floats) -> float:
    """Of rows' rows; slightly more, so that the step stays safe."""
    if min(rows.shape) < 3:
        return float((rows**2).sum())
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(min(rows.shape))
    top = svds(rows, k=1, return_singular_vectors=False, v0=start, tol=1e-3)
    return float(top[0] ** 2) * 1.01
