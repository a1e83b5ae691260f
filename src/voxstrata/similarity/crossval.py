"""Cross-validated CCA from fold moments: directions from all folds but one, scored on that one.

Our default protocol (docs/properties/cca.md says why, with numbers): folds are whole groups
(utterances, speakers), every fold is held out once, whitening is rank-revealing, and nothing
depends on the signs of an SVD. Beside every value stand its standard error and the value of a
control in which rows are paired at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.numerics.linalg import EPS, whiten
from voxstrata.similarity.canonical import kept_components
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.projection import Pwcca, Side

MEASURES = ("pwcca", "pwcca-x", "pwcca-y", "cca-mean", "svcca")
"""All that :func:`cross_validate` computes; all but "svcca" follow from the same directions."""

LEAST_ROWS = 3
"""Rows of a fold that is scored: about their own mean, two rows correlate by 1 or -1 and one by
nothing. Smaller folds are always in training."""

SMALL = 1e-4
"""Smallest singular value, relative to the largest, that :func:`quick_svd` takes on."""


@dataclass(frozen=True)
class HeldOut:
    """Directions of one training set, scored on rows they have not seen.

    Attributes:
        rho: correlations of the k pairs of directions, 0 where one has no variance there, [k].
        weights_x, weights_y: projection weights, normalised, [k].
    """

    rho: torch.Tensor
    weights_x: torch.Tensor
    weights_y: torch.Tensor

    @property
    def x(self) -> float:
        """PWCCA with the weights of x."""
        return float(self.weights_x @ self.rho)

    @property
    def y(self) -> float:
        """PWCCA with the weights of y."""
        return float(self.weights_y @ self.rho)


@dataclass(frozen=True)
class Estimate:
    """A cross-validated number.

    Attributes:
        value: mean over folds.
        error: standard error (:func:`corrected_error`).
        by_fold: the number in each fold, float64 [F].
    """

    value: float
    error: float
    by_fold: NDArray[np.float64] = field(compare=False)


@dataclass(frozen=True)
class CrossValidated:
    """What :func:`cross_validate` finds.

    Attributes:
        measures, control: estimates by measure (:data:`MEASURES`); the control is empty where
            the moments hold none.
        folds: the folds, in the order of ``by_fold``.
        n: all rows.
        train, test: rows of the smallest training set; mean rows of a held-out fold.
        d, other_d: widths as they entered (components, where a PCA came first).
        rank_x, rank_y: smallest rank of either view over training sets.
    """

    measures: Mapping[str, Estimate]
    control: Mapping[str, Estimate]
    folds: tuple[int, ...]
    n: int
    train: int
    test: float
    d: int
    other_d: int
    rank_x: int
    rank_y: int


def corrected_error(by_fold: Sequence[float] | NDArray[np.float64], test_to_train: float) -> float:
    """Standard error of a mean over held-out folds: sqrt((1/F + n_test/n_train) s^2).

    s^2 is the sample variance over folds. Training sets overlap, so folds are not independent
    and s^2/F is too small; the added term corrects for that (Nadeau and Bengio, "Inference for
    the generalization error", Machine Learning 52, 2003, section 3). NaN for a single fold.
    """
    scores = np.asarray(by_fold, dtype=np.float64)
    if len(scores) < 2:
        return math.nan
    return float(np.sqrt((1.0 / len(scores) + test_to_train) * scores.var(ddof=1)))


def held_out(Px: torch.Tensor, Py: torch.Tensor, rows: Moments) -> HeldOut:
    """Correlations and weights of directions (rows of Px [k, D], Py [k, V]) on other rows.

    As :func:`voxstrata.similarity.projection.pwcca_held_out`, with one product a view; a
    direction that is constant on those rows counts as correlation 0 with weight 0.
    """
    loads_x, loads_y = Px @ rows.Sxx, Py @ rows.Syy
    own_x, own_y = (loads_x * Px).sum(dim=1), (loads_y * Py).sum(dim=1)
    cross = ((Px @ rows.Sxy) * Py).sum(dim=1)
    # Rounding of a direction's variance is relative to the largest that its loadings allow.
    floor_x = EPS * len(rows.mean_x) * (Px.abs() * loads_x.abs()).sum(dim=1)
    floor_y = EPS * len(rows.mean_y) * (Py.abs() * loads_y.abs()).sum(dim=1)
    alive_x, alive_y = own_x > floor_x, own_y > floor_y
    safe_x, safe_y = own_x.where(alive_x, torch.ones(())), own_y.where(alive_y, torch.ones(()))
    rho = (cross / (safe_x * safe_y).sqrt()).where(alive_x & alive_y, torch.zeros(()))
    return HeldOut(
        rho,
        _normal((loads_x.abs().sum(dim=1) * safe_x.rsqrt()).where(alive_x, torch.zeros(()))),
        _normal((loads_y.abs().sum(dim=1) * safe_y.rsqrt()).where(alive_y, torch.zeros(()))),
    )


def _normal(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


def basis(view: View, components: int | None = None, ridge: float = 0.0) -> torch.Tensor:
    """Whitening of a training view: W [D, r] with W' S W = I.

    Args:
        view: the view.
        components: whiten the leading principal components only, at most this many.
        ridge: whiten S + ridge diag(S) instead of S (then W' S W is only near I).

    Raises:
        UsageError: both, or a negative ridge.
    """
    if ridge < 0 or (ridge and components):
        raise UsageError(
            "ridge and principal components exclude each other; a ridge is not negative",
            got=f"ridge {ridge}, components {components}",
        )
    if components:
        values, vectors = view.spectrum
        cut = len(values) * EPS if view.rtol is None else view.rtol
        r = min(components, int((values > cut * values[0]).sum()))
        return vectors[:, :r] * values[:r].rsqrt()
    if ridge:
        return whiten(view.S + ridge * torch.diag(view.S.diagonal()), view.rtol).matrix
    return view.whitening.matrix


def leading(view: View, components: int | None = None, share: float = 0.99) -> torch.Tensor:
    """As :func:`basis`, for the fewest principal components that hold a share of the variance."""
    values, vectors = view.spectrum
    r = kept_components(values, "variance", share)
    if components:
        r = min(r, components)
    return vectors[:, :r] * values[:r].rsqrt()


def directions(
    Wx: torch.Tensor, Sxy: torch.Tensor, Wy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Canonical directions in rows, [k, D] and [k, V], from whitenings of both views."""
    U, _, Vt = quick_svd(Wx.T @ Sxy @ Wy)
    return U.T @ Wx.T, Vt @ Wy.T


def quick_svd(M: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Thin SVD of M [A, B] through the eigenvectors of M M' or M' M where that is accurate.

    Vectors of a singular value s found this way err by about eps (s_1 / s)^2 instead of eps; below
    s = :data:`SMALL` s_1 LAPACK's SVD is used, which is two to three times slower.
    """
    wide = M.shape[0] <= M.shape[1]
    values, vectors = torch.linalg.eigh(M @ M.T if wide else M.T @ M)
    if float(values[0]) <= SMALL**2 * float(values[-1]):
        U, s, Vt = torch.linalg.svd(M, full_matrices=False)
        return U, s, Vt
    s, own = values.flip(0).sqrt(), vectors.flip(1)
    if wide:
        return own, s, (own.T @ M) / s[:, None]
    return (M @ own) / s, s, own.T


def cross_validate(
    m: FoldMoments,
    *,
    side: Side = "auto",
    components: int | None = None,
    other_components: int | None = None,
    ridge: float = 0.0,
    measures: Sequence[str] = MEASURES,
) -> CrossValidated:
    """Held-out PWCCA (both sides), mean CCA and SVCCA, every fold held out once that has at least
    :data:`LEAST_ROWS` rows.

    Args:
        m: moments by fold; with a control, its values are computed beside.
        side: whose weights "pwcca" has; "auto": the narrower view's, the mean at equal widths.
        components, other_components: principal components of x and y, found in the training
            rows of each fold, that directions may lie in; ``None`` for all. Weights are taken
            over the columns of the whole view in any case.
        ridge: see :func:`basis`.
        measures: which of :data:`MEASURES`.

    Raises:
        UsageError: fewer than two folds that can be scored, or an unknown measure.
    """
    unknown = sorted(set(measures) - set(MEASURES))
    if unknown or not measures:
        raise UsageError("unknown measure", got=str(unknown), expected=", ".join(MEASURES))
    folds = [f for f in m.x.filled() if int(m.x.n[f]) >= LEAST_ROWS]
    if len(folds) < 2:
        raise UsageError(
            f"cross-validation needs at least two folds with {LEAST_ROWS} rows in them",
            got=f"{len(folds)}",
            fix="group by utterance instead of speaker, or give more recordings",
        )
    rows = [m, m.control()] if m.has_control else [m]
    scores: list[dict[str, list[float]]] = [{name: [] for name in measures} for _ in rows]
    trains, ranks = [], []
    plain = any(name != "svcca" for name in measures)
    for f in folds:
        train = m.but(f)
        trains.append(train.n)
        bases = {}
        if plain:
            Wx = basis(train.view_x, components, ridge)
            Wy = basis(train.view_y, other_components, ridge)
            ranks.append((Wx.shape[1], Wy.shape[1]))
            bases["pwcca"] = (Wx, Wy)
        if "svcca" in measures:
            bases["svcca"] = (
                leading(train.view_x, components),
                leading(train.view_y, other_components),
            )
        for part, found in zip(rows, scores, strict=True):
            Sxy, test = part.but(f).Sxy, part.fold(f)
            for kind, (Wx, Wy) in bases.items():
                out = held_out(*directions(Wx, Sxy, Wy), test)
                for name, value in _values(kind, out, m, side).items():
                    if name in measures:
                        found[name].append(value)
        m.x.forget()
    n = int(m.x.n.sum())
    test_rows = float(np.mean([n - t for t in trains]))
    ratio = float(np.mean([(n - t) / t for t in trains]))
    estimates = [
        {
            name: Estimate(float(np.mean(v)), corrected_error(v, ratio), np.array(v))
            for name, v in found.items()
        }
        for found in scores
    ]
    rank_x, rank_y = (min((r[i] for r in ranks), default=0) for i in (0, 1))
    return CrossValidated(
        estimates[0],
        estimates[1] if len(estimates) > 1 else {},
        tuple(folds),
        n,
        min(trains),
        test_rows,
        min(m.x.width, components or m.x.width),
        min(m.y.width, other_components or m.y.width),
        rank_x,
        rank_y,
    )


def _values(kind: str, out: HeldOut, m: FoldMoments, side: Side) -> dict[str, float]:
    mean = float(out.rho.mean())
    if kind == "svcca":
        return {"svcca": mean}
    chosen = Pwcca(out.x, out.y, out.rho, m.x.width, m.y.width).side(side)
    return {"pwcca": chosen, "pwcca-x": out.x, "pwcca-y": out.y, "cca-mean": mean}
