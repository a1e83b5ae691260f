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
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.similarity.crossval_fit import Basis, HeldOut, bases, directions, held_out, leading
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.projection import Pwcca, Side

MEASURES = ("pwcca", "pwcca-x", "pwcca-y", "cca-mean", "svcca")
"""All that :func:`cross_validate` computes; all but "svcca" follow from the same directions."""

LEAST_ROWS = 3
"""Rows of a fold that is scored: about their own mean, two rows correlate by 1 or -1 and one by
nothing. Smaller folds are always in training."""


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
        whitenings: dict[str, tuple[Basis, Basis]] = {}
        if plain:
            Wx, Wy = bases(train, components, other_components, ridge, m.x.dtype)
            ranks.append((Wx.rank, Wy.rank))
            whitenings["pwcca"] = (Wx, Wy)
        if "svcca" in measures:
            whitenings["svcca"] = (
                Basis(leading(train.view_x, components)),
                Basis(leading(train.view_y, other_components)),
            )
        for part, found in zip(rows, scores, strict=True):
            Sxy = train.Sxy if part is m else part.but(f).Sxy
            test = part.fold(f)
            for kind, (Wx, Wy) in whitenings.items():
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
