"""Every measure by name. To add one: a :class:`Measure` in a file, and a line here (or, from
another package, an entry point ``voxstrata.measures``).
"""

from __future__ import annotations

from voxstrata.registry import Registry
from voxstrata.similarity.measure import Measure

__all__ = ["MEASURES", "Measure"]

MEASURES: Registry[Measure] = Registry("measure", "voxstrata.measures")

for _name, _attribute, _summary in (
    ("cka", "CKA", "linear CKA, debiased"),
    ("cka-biased", "CKA_BIASED", "linear CKA, biased (= RV coefficient)"),
    ("cka-rbf", "CKA_RBF", "CKA with an RBF kernel at the median distance, debiased"),
    ("cka-rbf-biased", "CKA_RBF_BIASED", "CKA with an RBF kernel, biased"),
    ("cca-mean", "CCA_MEAN", "mean canonical correlation"),
    ("cca-r2", "CCA_R2", "mean squared canonical correlation"),
    ("svcca", "SVCCA", "mean CCA of the components with 99 % of the variance"),
    ("pwcca", "PWCCA", "projection-weighted CCA, sign-free, weights of the narrower view"),
    ("pwcca-x", "PWCCA_X", "projection-weighted CCA, sign-free, weights of x"),
    ("pwcca-y", "PWCCA_Y", "projection-weighted CCA, sign-free, weights of y"),
    ("pwcca-pasad", "PWCCA_PASAD", "projection-weighted CCA as the code of P2023 computes it"),
    ("procrustes", "PROCRUSTES", "orthogonal Procrustes similarity (normalised nuclear norm)"),
    ("procrustes-distance", "PROCRUSTES_DISTANCE", "Procrustes distance, 0 to sqrt(2)"),
    ("procrustes-angle", "PROCRUSTES_ANGLE", "angular shape metric (radians)"),
    ("regression", "REGRESSION", "R^2 of y predicted linearly from x"),
    ("regression-reverse", "REGRESSION_REVERSE", "R^2 of x predicted linearly from y"),
    ("rsa", "RSA", "RSA: Pearson correlation of squared Euclidean distances"),
    ("rsa-spearman", "RSA_SPEARMAN", "RSA: rank correlation of Euclidean distances"),
    ("mutual-knn", "MUTUAL_KNN", "share of the 10 nearest neighbours (cosine) that agree"),
):
    MEASURES.add(_name, f"voxstrata.similarity.measures:{_attribute}", _summary)
