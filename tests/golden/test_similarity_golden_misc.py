"""Procrustes, shape metrics, regression, RSA, neighbours, ... against ReSi, netrep and others.

Not reproduced (misc_*.npz), since no measure of ours computes them: ``resi_DistanceCorrelation``,
``resi_RankSimilarity`` and ``resi_ranksim_*``, ``resi_SecondOrderCosineSimilarity`` and
``resi_2ndordercos_*``, ``resi_AlignedCosineSimilarity``, ``resi_PermutationProcrustes`` and
``*_perm_*``, ``resi_RSMNormDifference``, ``resi_ConcentricityDifference``,
``resi_MagnitudeDifference``, ``resi_UniformityDifference``, ``platonic_cycle_knn``, ``_lcs_knn``,
``_cknna``, and the ``netrep_*_fithalf_scorehalf`` transfers. ``resi_PWCCA`` is in the CCA test
(misc files carry no directions to align signs with). ``resi_LinearRegression`` and ``resi_Gulp``
where n < d: the original adds no guard, and everything is predicted from everything.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from voxstrata.similarity import cka, mutual_knn, procrustes, regression, rsa, shape_distance
from voxstrata.similarity.canonical import svcca
from voxstrata.similarity.matching import hard_match, soft_match
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.neighbours import jaccard_knn
from voxstrata.similarity.shapes import shape_metric, size_and_shape_distance
from voxstrata.similarity.subspace import eigenspace_overlap, gulp

pytestmark = pytest.mark.filterwarnings("ignore::voxstrata.errors.VoxstrataWarning")
CASES = ["00", "01", "02", "03"]
ROWS_EXCEED_WIDTH = ["00", "01", "02"]


def load(shared: Path, name: str) -> tuple[dict, np.ndarray, np.ndarray]:
    with np.load(shared / "golden" / "similarity" / f"misc_{name}.npz") as z:
        data = {k: z[k] for k in z.files}
    scale = json.loads(str(data["meta"]))["scale"]
    return data, data["Xq"] * scale, data["Yq"] * scale


@pytest.mark.parametrize("case", CASES)
def test_procrustes(shared: Path, case: str) -> None:
    z, x, y = load(shared, case)
    similarity = procrustes(x, y, folds=0)
    assert 1 - similarity == pytest.approx(float(z["anatome_opd"]), abs=1e-8)
    assert procrustes(x, y, score="distance", folds=0) == pytest.approx(
        float(z["resi_OrthogonalProcrustesCenteredAndNormalized"]), abs=1e-8
    )
    assert procrustes(x, y, score="angle", folds=0) == pytest.approx(
        float(z["resi_OrthogonalAngularShapeMetricCentered"]), abs=1e-8
    )
    size = size_and_shape_distance(Moments.from_rows(x, y))
    assert size == pytest.approx(float(z["resi_ProcrustesSizeAndShapeDistance"]), abs=1e-8)
    assert size**2 == pytest.approx(float(z["simmetric_procrustes_sq_centered"]), rel=1e-10)
    # The "raw" one is the same without centring.
    n = len(x)
    raw = Moments(n, x[0] * 0, y[0] * 0, x.T @ x, y.T @ y, x.T @ y)
    assert size_and_shape_distance(raw) == pytest.approx(float(z["resi_procrustes_raw"]), abs=1e-8)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("score", ["angular", "euclidean"])
def test_netrep(shared: Path, case: str, alpha: float, score: str) -> None:
    z, x, y = load(shared, case)
    expected = float(z[f"netrep_linear_a{alpha}_{score}"])
    got = shape_distance(x, y, alpha=alpha, score=score, folds=0)
    # With n < d the floor on eigenvalues that are rounding noise decides (README: 1e-3).
    if case == "03" and alpha < 1:
        assert got == pytest.approx(expected, rel=2e-3, abs=1e-3)
    else:
        assert got == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("case", ROWS_EXCEED_WIDTH)
def test_regression_and_gulp(shared: Path, case: str) -> None:
    z, x, y = load(shared, case)
    expected = float(z["resi_LinearRegression"])
    assert regression(y, x, folds=0) == pytest.approx(expected, abs=1e-8)
    assert regression(x, y, folds=0).details["reverse"] == pytest.approx(expected, abs=1e-8)
    assert gulp(Moments.from_rows(x, y)) == pytest.approx(float(z["resi_Gulp"]), abs=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_other_moment_measures(shared: Path, case: str) -> None:
    z, x, y = load(shared, case)
    m = Moments.from_rows(x, y)
    assert eigenspace_overlap(m) == pytest.approx(float(z["resi_EigenspaceOverlapScore"]), abs=1e-8)
    assert hard_match(m) == pytest.approx(float(z["resi_HardCorrelationMatch"]), abs=1e-8)
    assert soft_match(m) == pytest.approx(float(z["resi_SoftCorrelationMatch"]), abs=1e-8)
    assert svcca(m, 1) == pytest.approx(float(z["resi_SVCCA"]), abs=1e-8)
    assert cka(x, y, debiased=False, folds=0) == pytest.approx(float(z["resi_CKA"]), abs=1e-8)
    assert shape_metric(m) == pytest.approx(
        float(z["resi_OrthogonalAngularShapeMetricCentered"]), abs=1e-8
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rdm", ["correlation", "euclidean"])
@pytest.mark.parametrize("compare", ["spearman", "euclidean"])
def test_rsa(shared: Path, case: str, rdm: str, compare: str) -> None:
    z, x, y = load(shared, case)
    ours = "distance" if compare == "euclidean" else compare
    got = rsa(x, y, rdm=rdm, compare=ours, folds=0)
    assert got == pytest.approx(float(z[f"resi_rsa_{rdm}_{compare}"]), rel=1e-8)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_neighbours(shared: Path, case: str, k: int) -> None:
    z, x, y = load(shared, case)
    # The originals average in float32.
    assert mutual_knn(x, y, k=k, nearness="inner", folds=0) == pytest.approx(
        float(z[f"platonic_mutual_knn_k{k}"]), abs=1e-7
    )
    assert mutual_knn(x, y, k=k, folds=0) == pytest.approx(
        float(z[f"platonic_mutual_knn_l2norm_k{k}"]), abs=1e-7
    )
    a, b = torch.tensor(x), torch.tensor(y)
    for nearness in ("cosine", "euclidean"):
        got = jaccard_knn(a, b, k, nearness)
        assert got == pytest.approx(float(z[f"resi_jaccard_k{k}_{nearness}"]), abs=1e-8)
    if k == 10:
        expected = float(z["resi_JaccardSimilarity"])
        assert jaccard_knn(a, b) == pytest.approx(expected, abs=1e-8)
