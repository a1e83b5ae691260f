"""The built-in measures with their facts (names and summaries in ``registry.py``)."""

from __future__ import annotations

import math

import torch

from voxstrata.similarity import estimators
from voxstrata.similarity.canonical import mean_cca, r2_cca, svcca
from voxstrata.similarity.kernels import cka_rbf, rbf_side
from voxstrata.similarity.measure import Measure
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.neighbours import mean_shared, mutual_knn, neighbours
from voxstrata.similarity.pasad import pwcca_pasad
from voxstrata.similarity.projection import pwcca
from voxstrata.similarity.rdm import dissimilarities, rsa_rows, standardised
from voxstrata.similarity.shapes import procrustes, procrustes_angle, procrustes_distance
from voxstrata.similarity.subspace import regression_r2
from voxstrata.similarity.terms import Array, HsicTerms

_SHIFT_SCALE = frozenset({"shift", "scale", "permutation"})
_ROTATION = _SHIFT_SCALE | {"orthogonal"}
_LINEAR = _ROTATION | {"invertible-linear"}

_KORNBLITH = "Kornblith, Norouzi, Lee, Hinton, ICML 2019"


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.dot(a, b))


def _cka_biased(xy: HsicTerms, xx: HsicTerms | None = None, yy: HsicTerms | None = None) -> Array:
    return estimators.cka(xy, xx, yy, debiased=False)


CKA = Measure(
    "cka",
    "linear CKA, debiased",
    "terms",
    estimators.cka,
    (-1.0, 1.0),
    estimator="debiased",
    invariances=_ROTATION,
    reference=f"{_KORNBLITH}; unbiased HSIC of Song et al., JMLR 13 (2012), eq. 5",
    cost="none",
    min_rows=4,
)
CKA_BIASED = Measure(
    "cka-biased",
    "linear CKA, biased (= RV coefficient)",
    "terms",
    _cka_biased,
    (0.0, 1.0),
    estimator="biased",
    invariances=_ROTATION,
    reference=f"{_KORNBLITH}; Robert and Escoufier 1976 (RV)",
    cost="none",
)
CKA_RBF = Measure(
    "cka-rbf",
    "CKA with an RBF kernel at the median distance, debiased",
    "rows",
    lambda x, y: cka_rbf(x, y),
    (-1.0, 1.0),
    side=rbf_side,
    pair=_dot,
    estimator="debiased",
    invariances=_ROTATION,
    reference=f"{_KORNBLITH}, section 3; bandwidth of google-research's code",
    cost="n^2 memory, n^2 (d1 + d2)",
    min_rows=4,
)
CKA_RBF_BIASED = Measure(
    "cka-rbf-biased",
    "CKA with an RBF kernel, biased",
    "rows",
    lambda x, y: cka_rbf(x, y, debiased=False),
    (0.0, 1.0),
    side=lambda x: rbf_side(x, debiased=False),
    pair=_dot,
    estimator="biased",
    invariances=_ROTATION,
    reference=CKA_RBF.reference,
    cost=CKA_RBF.cost,
)
CCA_MEAN = Measure(
    "cca-mean",
    "mean canonical correlation",
    "moments",
    lambda m: mean_cca(m),
    (0.0, 1.0),
    invariances=_LINEAR,
    reference="Hotelling 1936; Raghu et al., NeurIPS 2017",
    cost="d^3",
    warn_few_rows="both",
)
CCA_R2 = Measure(
    "cca-r2",
    "mean squared canonical correlation",
    "moments",
    lambda m: r2_cca(m),
    (0.0, 1.0),
    invariances=_LINEAR,
    reference=f"{_KORNBLITH} (R^2_CCA)",
    cost="d^3",
    warn_few_rows="both",
)
SVCCA = Measure(
    "svcca",
    "mean CCA of the components with 99 % of the variance",
    "moments",
    lambda m: svcca(m),
    (0.0, 1.0),
    invariances=_ROTATION,
    reference="Raghu, Gilmer, Yosinski, Sohl-Dickstein, NeurIPS 2017",
    cost="d^3",
    warn_few_rows="both",
)
_MORCOS = "Morcos, Raghu, Bengio, NeurIPS 2018, section 3"
PWCCA = Measure(
    "pwcca",
    "projection-weighted CCA, sign-free, weights of the narrower view",
    "moments",
    lambda m: pwcca(m).side("auto"),
    (0.0, 1.0),
    invariances=_SHIFT_SCALE,
    reference=_MORCOS,
    cost="d^3",
    warn_few_rows="both",
)
PWCCA_X = Measure(
    "pwcca-x",
    "projection-weighted CCA, sign-free, weights of x",
    "moments",
    lambda m: pwcca(m).x,
    (0.0, 1.0),
    symmetric=False,
    invariances=_SHIFT_SCALE,
    invariances_y=_LINEAR,
    reference=_MORCOS,
    cost="d^3",
    warn_few_rows="both",
)
PWCCA_Y = Measure(
    "pwcca-y",
    "projection-weighted CCA, sign-free, weights of y",
    "moments",
    lambda m: pwcca(m).y,
    (0.0, 1.0),
    symmetric=False,
    invariances=_SHIFT_SCALE,
    invariances_x=_LINEAR,
    reference=_MORCOS,
    cost="d^3",
    warn_few_rows="both",
)
PWCCA_PASAD = Measure(
    "pwcca-pasad",
    "projection-weighted CCA as the code of P2023 computes it",
    "moments",
    lambda m: pwcca_pasad(m).default,
    (0.0, 1.0),
    symmetric=False,
    invariances=frozenset({"scale"}),
    reference="ankitapasad/layerwise-analysis at c030f2a, codes/tools/cca_core.py",
    cost="d^3",
    warn_few_rows="both",
)
_DING = "Ding, Denain, Steinhardt, NeurIPS 2021; Williams et al., NeurIPS 2021"
PROCRUSTES = Measure(
    "procrustes",
    "orthogonal Procrustes similarity (normalised nuclear norm)",
    "moments",
    procrustes,
    (0.0, 1.0),
    invariances=_ROTATION,
    reference=_DING,
    cost="svd(d)",
    warn_few_rows="both",
)
PROCRUSTES_DISTANCE = Measure(
    "procrustes-distance",
    "Procrustes distance, 0 to sqrt(2)",
    "moments",
    procrustes_distance,
    (0.0, math.sqrt(2.0)),
    higher_is_similar=False,
    invariances=_ROTATION,
    reference=_DING,
    cost="svd(d)",
    warn_few_rows="both",
)
PROCRUSTES_ANGLE = Measure(
    "procrustes-angle",
    "angular shape metric (radians)",
    "moments",
    procrustes_angle,
    (0.0, math.pi / 2),
    higher_is_similar=False,
    invariances=_ROTATION,
    reference=_DING,
    cost="svd(d)",
    warn_few_rows="both",
)


def _regression_reverse(m: Moments) -> float:
    return regression_r2(m.swap())


REGRESSION = Measure(
    "regression",
    "R^2 of y predicted linearly from x",
    "moments",
    regression_r2,
    (0.0, 1.0),
    symmetric=False,
    invariances=_ROTATION,
    invariances_x=_LINEAR,
    reference=f"{_KORNBLITH}, section 3",
    cost="d^3",
    warn_few_rows="x",
)
REGRESSION_REVERSE = Measure(
    "regression-reverse",
    "R^2 of x predicted linearly from y",
    "moments",
    _regression_reverse,
    (0.0, 1.0),
    symmetric=False,
    invariances=_ROTATION,
    invariances_y=_LINEAR,
    reference=f"{_KORNBLITH}, section 3",
    cost="d^3",
    warn_few_rows="y",
)
_RSA = "Kriegeskorte, Mur, Bandettini 2008"
RSA = Measure(
    "rsa",
    "RSA: Pearson correlation of squared Euclidean distances",
    "terms",
    estimators.rsa,
    (-1.0, 1.0),
    invariances=_ROTATION,
    reference=_RSA,
    cost="none",
    min_rows=3,
)
RSA_SPEARMAN = Measure(
    "rsa-spearman",
    "RSA: rank correlation of Euclidean distances",
    "rows",
    lambda x, y: rsa_rows(x, y, "euclidean", "spearman"),
    (-1.0, 1.0),
    side=lambda x: standardised(dissimilarities(x, "euclidean"), ranks=True),
    pair=_dot,
    invariances=_ROTATION,
    reference=_RSA,
    cost="n^2 memory, n^2 log n",
    min_rows=3,
)
MUTUAL_KNN = Measure(
    "mutual-knn",
    "share of the 10 nearest neighbours (cosine) that agree",
    "rows",
    lambda x, y: mutual_knn(x, y),
    (0.0, 1.0),
    side=lambda x: neighbours(x, 10),
    pair=mean_shared,
    invariances=frozenset({"scale", "permutation", "orthogonal"}),
    reference="Huh, Cheung, Wang, Isola, ICML 2024 (platonic representation hypothesis)",
    cost="n^2 memory, n^2 (d1 + d2)",
    min_rows=11,
)
