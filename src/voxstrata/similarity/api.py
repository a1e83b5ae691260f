"""The functions of ``voxstrata.similarity``: one pair of arrays in, one number with interval out.

All take x [N, D1] and y [N, D2] (numpy or torch, any real dtype, computed in float64) with the
same rows, and three keywords: ``groups`` (the utterance or speaker of each row; rows of a group
are left out together; without it every row is its own group, which is right only if rows are
independent: neighbouring frames are not), ``folds`` (of the jackknife; 0: no interval) and
``seed`` (of the folds). All raise ShapeError, NumericsError and UsageError on bad input and
return a :class:`~voxstrata.similarity.value.Similarity`. Formulas: docs/similarity.md.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Literal

from voxstrata.errors import UsageError, VoxstrataWarning
from voxstrata.similarity import measures as builtin
from voxstrata.similarity.canonical import Keep, r2_cca
from voxstrata.similarity.canonical import mean_cca as _mean_cca
from voxstrata.similarity.canonical import svcca as _svcca
from voxstrata.similarity.checks import as_pair
from voxstrata.similarity.evaluate import Groups, evaluate
from voxstrata.similarity.kernels import Median, cka_rbf
from voxstrata.similarity.measure import Measure
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.neighbours import Nearness
from voxstrata.similarity.neighbours import mutual_knn as _mutual_knn
from voxstrata.similarity.pasad import DEFAULT_EPS, pasad_fit, pwcca_google, pwcca_pasad
from voxstrata.similarity.projection import Side
from voxstrata.similarity.projection import pwcca as _pwcca
from voxstrata.similarity.rdm import Compare, Rdm, rsa_rows
from voxstrata.similarity.registry import MEASURES
from voxstrata.similarity.shapes import shape_metric
from voxstrata.similarity.subspace import regression_r2
from voxstrata.similarity.value import Similarity


def compare(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Compare x and y by a registered measure (or one of your own).

    Raises:
        UnknownNameError: no such measure.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> round(compare("procrustes", x, 2 * x + 1, folds=0), 6)
        1.0
    """
    found = MEASURES.get(measure) if isinstance(measure, str) else measure
    return evaluate(found, x, y, groups=groups, folds=folds, seed=seed)


def cka(
    x: Any,
    y: Any,
    *,
    debiased: bool = True,
    kernel: Literal["linear", "rbf"] = "linear",
    threshold: float = 1.0,
    median: Median = "numpy",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Centred kernel alignment.

    Args:
        x, y, groups, folds, seed: see the module.
        debiased: unbiased HSIC in all three places; 0 on average for unrelated views, and may
            be negative. The biased value goes to 1 where rows are fewer than dimensions.
        kernel: "linear", or "rbf" (n x n memory).
        threshold: RBF bandwidth in units of the median squared distance's root.
        median: convention of that median, "numpy" or "torch".

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 8))
        >>> y = x @ rng.normal(size=(8, 5)) + rng.normal(size=(300, 5))
        >>> s = cka(x, y)
        >>> s.ci_low < s < s.ci_high, s.n, s.estimator
        (True, 300, 'debiased')
    """
    if kernel not in ("linear", "rbf"):
        raise UsageError("unknown kernel", got=kernel, expected="'linear' or 'rbf'")
    if kernel == "linear":
        base = builtin.CKA if debiased else builtin.CKA_BIASED
    else:
        base = dataclasses.replace(
            builtin.CKA_RBF if debiased else builtin.CKA_RBF_BIASED,
            side=None,
            pair=None,
            compute=lambda a, b: cka_rbf(
                a, b, threshold=threshold, debiased=debiased, median=median
            ),
        )
    return evaluate(base, x, y, groups=groups, folds=folds, seed=seed)


def mean_cca(
    x: Any,
    y: Any,
    *,
    squared: bool = False,
    over: Literal["rank", "width"] = "rank",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Mean canonical correlation, or mean squared one (R^2 CCA).

    Args:
        x, y, groups, folds, seed: see the module.
        squared: mean of the squares.
        over: mean over the directions that exist ("rank") or over min(D1, D2) ("width").

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 4))
        >>> round(mean_cca(x, x @ rng.normal(size=(4, 4)), folds=0), 6)
        1.0
    """
    base, formula = (builtin.CCA_R2, r2_cca) if squared else (builtin.CCA_MEAN, _mean_cca)
    measure = dataclasses.replace(base, compute=lambda m: formula(m, over))
    return evaluate(measure, x, y, groups=groups, folds=folds, seed=seed)


def svcca(
    x: Any,
    y: Any,
    *,
    keep: Keep | int = "variance",
    threshold: float = 0.99,
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """SVCCA: mean canonical correlation of the leading components of each view.

    Args:
        x, y, groups, folds, seed: see the module.
        keep: "variance", "singular_sum" (anatome) or a number of components.
        threshold: share kept by the named rules.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 4))
        >>> round(svcca(x, -x, folds=0), 6)
        1.0
    """
    measure = dataclasses.replace(builtin.SVCCA, compute=lambda m: _svcca(m, keep, threshold))
    return evaluate(measure, x, y, groups=groups, folds=folds, seed=seed)


def pwcca(
    x: Any,
    y: Any,
    *,
    mode: Literal["clean", "pasad", "google"] = "clean",
    side: Side = "auto",
    eps: tuple[float, float] = DEFAULT_EPS,
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Projection-weighted CCA; both sides are in ``.details`` of the result.

    Args:
        x, y, groups, folds, seed: see the module.
        mode: "clean": sign-free and rank-revealing; "pasad": the public code of P2023, whose
            value depends on arbitrary signs (here fixed by a rule, and in the jackknife aligned
            with those of the full data); "google": google/svcca's code (D1 <= D2 only).
        side: which view's weights: "x", "y", "mean", or "auto" (clean: the narrower view, the
            mean where widths are equal; pasad: x where it is narrower, else y).
        eps: epsilon of x and y (published modes).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 6))
        >>> s = pwcca(x, np.c_[x[:, :3], rng.normal(size=(400, 5))], folds=0)
        >>> sorted(s.details), s.measure
        (['x', 'y'], 'pwcca')
    """
    if mode not in ("clean", "pasad", "google") or side not in ("auto", "x", "y", "mean"):
        raise UsageError(
            "unknown mode or side of PWCCA",
            got=f"mode={mode!r}, side={side!r}",
            expected="'clean', 'pasad' or 'google'; 'auto', 'x', 'y' or 'mean'",
        )
    a, b = as_pair(x, y)
    m = Moments.from_rows(a, b)
    details: dict[str, float] = {}
    if mode == "clean":
        base = {"x": builtin.PWCCA_X, "y": builtin.PWCCA_Y}.get(side, builtin.PWCCA)
        name = "pwcca-mean" if side == "mean" else base.name
        both = _pwcca(m)
        details = {"x": both.x, "y": both.y}
        measure = dataclasses.replace(base, name=name, compute=lambda part: _pwcca(part).side(side))
    else:
        fit = pasad_fit(m, eps)
        align = fit.directions()
        _warn_null_directions(m, int(fit.kept_x.sum()), int(fit.kept_y.sum()))
        if mode == "pasad":
            score = pwcca_pasad(m, eps, align)
            details = {"x": score.x, "y": score.y}
            field = "default" if side == "auto" else side

            def of(part: Moments) -> float:
                return float(getattr(pwcca_pasad(part, eps, align), field))
        else:

            def of(part: Moments) -> float:
                return pwcca_google(part, eps[0], align)

        name = f"pwcca-{mode}" + ("" if side == "auto" else f"-{side}")
        measure = dataclasses.replace(builtin.PWCCA_PASAD, name=name, compute=of)
    return evaluate(measure, a, b, groups=groups, folds=folds, seed=seed, details=details)


def _warn_null_directions(m: Moments, kept_x: int, kept_y: int) -> None:
    ranks = (m.view_x.whitening.rank, m.view_y.whitening.rank)
    if ranks[0] < kept_x or ranks[1] < kept_y:
        warnings.warn(
            f"the views have ranks {ranks[0]} and {ranks[1]} in {kept_x} and {kept_y} columns: the "
            "published PWCCA gives its null directions a weight, so its value is partly rounding "
            "noise (drop one column of one-hot labels, or use mode='clean')",
            VoxstrataWarning,
            stacklevel=3,
        )


def procrustes(
    x: Any,
    y: Any,
    *,
    score: Literal["similarity", "distance", "angle"] = "similarity",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Orthogonal Procrustes of centred views scaled to unit Frobenius norm.

    Args:
        x, y, groups, folds, seed: see the module.
        score: "similarity" s = |X'Y|_* (0..1), "distance" sqrt(2 - 2 s), "angle" arccos(s).

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 4))
        >>> round(procrustes(x, x[:, ::-1], score="distance", folds=0), 6)
        0.0
    """
    known = {
        "similarity": builtin.PROCRUSTES,
        "distance": builtin.PROCRUSTES_DISTANCE,
        "angle": builtin.PROCRUSTES_ANGLE,
    }
    if score not in known:
        raise UsageError("unknown Procrustes score", got=score, expected=", ".join(known))
    return evaluate(known[score], x, y, groups=groups, folds=folds, seed=seed)


def shape_distance(
    x: Any,
    y: Any,
    *,
    alpha: float = 1.0,
    score: Literal["angular", "euclidean"] = "angular",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Generalised shape metric as netrep computes it (alpha 1: Procrustes, 0: CCA-like).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 4))
        >>> round(shape_distance(x, x @ rng.normal(size=(4, 4)), alpha=0.0, folds=0), 5)
        0.0
    """
    measure = dataclasses.replace(
        builtin.PROCRUSTES_ANGLE,
        name=f"shape-{score}-{alpha:g}",
        compute=lambda m: shape_metric(m, alpha, score),
        range=(0.0, math.pi / 2 if score == "angular" else math.inf),
    )
    return evaluate(measure, x, y, groups=groups, folds=folds, seed=seed)


def regression(
    x: Any, y: Any, *, groups: Groups = None, folds: int = 10, seed: int = 0
) -> Similarity:
    """R^2 of y predicted linearly from x; x from y is in ``.details["reverse"]``.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 4))
        >>> s = regression(x, x[:, :2], folds=0)
        >>> round(s, 6), round(s.details["reverse"], 1)
        (1.0, 0.5)
    """
    a, b = as_pair(x, y)
    reverse = regression_r2(Moments.from_rows(b, a))
    return evaluate(
        builtin.REGRESSION,
        a,
        b,
        groups=groups,
        folds=folds,
        seed=seed,
        details={"reverse": reverse},
    )


def rsa(
    x: Any,
    y: Any,
    *,
    rdm: Rdm = "squared",
    compare: Compare = "pearson",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Representational similarity analysis: dissimilarities of all pairs of rows, compared.

    Args:
        x, y, groups, folds, seed: see the module.
        rdm: "squared" or "euclidean" distance, "cosine", "correlation" (ReSi's default).
        compare: "pearson", "spearman" (ReSi's default) or "distance".

    With the defaults no n x n matrix is made.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> round(rsa(x, x, compare="spearman", folds=0), 6)
        1.0
    """
    if (rdm, compare) == ("squared", "pearson"):
        measure = builtin.RSA
    else:
        measure = dataclasses.replace(
            builtin.RSA_SPEARMAN,
            side=None,
            pair=None,
            name=f"rsa-{rdm}-{compare}",
            compute=lambda a, b: rsa_rows(a, b, rdm, compare),
        )
        if compare == "distance":
            measure = dataclasses.replace(measure, range=(0.0, math.inf), higher_is_similar=False)
    return evaluate(measure, x, y, groups=groups, folds=folds, seed=seed)


def mutual_knn(
    x: Any,
    y: Any,
    *,
    k: int = 10,
    nearness: Nearness = "cosine",
    groups: Groups = None,
    folds: int = 10,
    seed: int = 0,
) -> Similarity:
    """Mean share of the k nearest neighbours of a row that both views agree on.

    Args:
        x, y, groups, folds, seed: see the module. The measure is not smooth and depends on n
            (leaving rows out makes neighbours of others): take its interval as approximate.
        k: neighbours.
        nearness: "cosine", "inner" (the platonic code without scaling) or "euclidean".

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> round(mutual_knn(x, 3 * x, folds=0), 6)
        1.0
    """
    measure = dataclasses.replace(
        builtin.MUTUAL_KNN,
        side=None,
        pair=None,
        compute=lambda a, b: _mutual_knn(a, b, k, nearness),
        min_rows=k + 1,
    )
    return evaluate(measure, x, y, groups=groups, folds=folds, seed=seed)
