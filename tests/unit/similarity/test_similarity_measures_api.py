"""The functions users call: inputs, refusals, warnings, intervals, result object, registry."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import voxstrata.similarity as room
from voxstrata.errors import (
    NumericsError,
    ShapeError,
    UnknownNameError,
    UsageError,
    VoxstrataWarning,
)
from voxstrata.similarity import MEASURES, Measure, Similarity, cka, compare, pwcca, regression
from voxstrata.similarity.evaluate import row_folds
from voxstrata.similarity.kernels import cka_rbf, gram_cka, rbf_gram

RNG = np.random.default_rng(5)
X = RNG.normal(size=(240, 6))
Y = X @ RNG.normal(size=(6, 4)) + RNG.normal(size=(240, 4))
FUNCTIONS = [
    "cka",
    "mean_cca",
    "svcca",
    "pwcca",
    "procrustes",
    "shape_distance",
    "regression",
    "rsa",
    "mutual_knn",
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function(name: str) -> None:
    function = getattr(room, name)
    s = function(X, Y)
    assert isinstance(s, Similarity)
    assert isinstance(s, float)
    assert (s.n, s.d, s.other_d, s.groups) == (240, 6, 4, 240)
    assert s.ci_low is not None
    assert s.ci_low <= s.value <= s.ci_high
    assert function(torch.tensor(X), torch.tensor(Y), folds=0).value == s.value
    half = function(X.astype(np.float16), torch.tensor(Y, dtype=torch.bfloat16), folds=0)
    assert half == pytest.approx(s, abs=0.06)
    assert half.ci_low is None
    assert half.groups == 0
    assert function(X.tolist(), Y.tolist(), folds=0).value == s.value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_input_is_refused(name: str) -> None:
    function = getattr(room, name)
    with pytest.raises(ShapeError, match=r"(?s)x \(240, 6\), y \(239, 4\)"):
        function(X, Y[:-1])
    with pytest.raises(ShapeError, match="reshape"):
        function(X, Y[:, 0])
    with pytest.raises(ShapeError):
        function(X[:0], Y[:0])
    bad = X.copy()
    bad[17, 3] = np.nan
    with pytest.raises(NumericsError, match=r"x\[17, 3\] = nan"):
        function(bad, Y)
    worse = Y.copy()
    worse[2, 1] = np.inf
    with pytest.raises(NumericsError, match=r"y\[2, 1\] = inf"):
        function(X, worse)
    with pytest.raises(NumericsError, match="no variance"):
        function(X, np.ones((240, 3)))
    with pytest.raises(UsageError, match="real numbers"):
        function(X.astype(complex), Y)
    with pytest.raises(UsageError, match="real numbers"):
        function(X, np.full((240, 2), "a"))
    with pytest.raises(ShapeError, match="one group for every row"):
        function(X, Y, groups=["a", "b"])


def test_wrong_options_are_refused() -> None:
    for call in (
        lambda: cka(X, Y, kernel="poly"),
        lambda: cka(X, Y, kernel="rbf", median="mode"),
        lambda: cka(X, Y, kernel="rbf", threshold=0.0),
        lambda: pwcca(X, Y, mode="clear"),
        lambda: pwcca(X, Y, side="left"),
        lambda: room.mean_cca(X, Y, over="all"),
        lambda: room.procrustes(X, Y, score="size"),
        lambda: room.rsa(X, Y, rdm="manhattan"),
        lambda: room.rsa(X, Y, compare="kendall"),
        lambda: room.mutual_knn(X, Y, k=0),
        lambda: room.mutual_knn(X, Y, nearness="l1"),
        lambda: cka(X, Y, folds=1),
        lambda: cka(X, Y, groups=["one"] * 240),
    ):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(ShapeError, match="too few"):
        cka(X[:3], Y[:3])
    with pytest.raises(ShapeError, match="too few"):
        room.mutual_knn(X[:10], Y[:10], k=10)
    zeros = X.copy()
    zeros[3] = 0
    with pytest.raises(NumericsError, match="row 3"):
        room.mutual_knn(zeros, Y, folds=0)
    with pytest.raises(NumericsError, match="row 3"):
        room.rsa(zeros, Y, rdm="cosine", folds=0)


def test_few_rows_are_said_aloud() -> None:
    for name in ("cca-mean", "svcca", "pwcca", "procrustes"):
        with pytest.warns(VoxstrataWarning, match=r"n/d = 5\.0"):
            compare(name, X[:30], Y[:30], folds=0)
    with pytest.warns(VoxstrataWarning, match="regression"):
        regression(X[:50], Y[:50], folds=0)
    regression(Y[:50], X[:50], folds=0)  # only the predicting side matters
    cka(X[:30], Y[:30], folds=0)  # debiased: no warning


def test_too_few_rows_for_an_interval() -> None:
    with pytest.warns(VoxstrataWarning, match="no interval"):
        s = cka(X[:4], Y[:4] * 3 + 1)
    assert s.ci_low is None
    assert s.groups == 0


def test_groups_widen_the_interval() -> None:
    """Twenty copies of thirty rows are thirty rows, whatever their number says."""
    groups = np.repeat(np.arange(30), 20)
    x, y = X[:30][groups], Y[:30][groups]
    honest = cka(x, y, groups=groups, debiased=False)
    naive = cka(x, y, debiased=False)
    assert honest.value == naive.value
    assert honest.groups == 30
    assert honest.ci_high - honest.ci_low > 3 * (naive.ci_high - naive.ci_low)
    by_name = cka(x, y, groups=[f"utt{g}" for g in groups], debiased=False)
    assert by_name.groups == 30
    assert cka(x, y, groups=torch.tensor(groups), debiased=False).ci_low == honest.ci_low


def test_interval_covers_the_population_value() -> None:
    """Debiased CKA of correlated Gaussians, against its value on very many rows."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(5, 5))

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 5))
        return x, x @ A + 2 * rng.normal(size=(n, 5))

    truth = cka(*draw(200_000), folds=0)
    hits = [(s := cka(*draw(300), seed=i)).ci_low <= truth <= s.ci_high for i in range(100)]
    assert 88 <= sum(hits) <= 100


def test_seed_changes_the_interval_only() -> None:
    a, b = cka(X, Y, seed=0), cka(X, Y, seed=1)
    assert a.value == b.value
    assert a.ci_low != b.ci_low
    assert cka(X, Y, seed=0).ci_low == a.ci_low


def test_row_folds() -> None:
    fold, count = row_folds(10, None, 4, 0)
    assert count == 10
    assert sorted(np.bincount(fold)) == [2, 2, 3, 3]
    assert row_folds(10, None, 0, 0) == (None, 0)


def test_replicates_that_fail_cost_the_interval_not_the_value() -> None:
    """Leaving out the only group that varies leaves a view without variance."""
    x = np.zeros((40, 2))
    x[:10] = RNG.normal(size=(10, 2))
    y = RNG.normal(size=(40, 2))
    with pytest.warns(VoxstrataWarning, match="no interval"):
        s = compare("procrustes", x, y, groups=np.repeat(range(4), 10), folds=4)
    assert s.ci_low is None
    assert 0 < s < 1


def test_pwcca_modes_and_sides() -> None:
    both = pwcca(X, Y, folds=0)
    assert both.value == both.details["y"]  # y is narrower
    assert pwcca(X, Y, side="x", folds=0).measure == "pwcca-x"
    mean = pwcca(X, Y, side="mean", folds=0)
    assert mean.value == pytest.approx((both.details["x"] + both.details["y"]) / 2)
    pasad = pwcca(X + 3, Y, mode="pasad")
    assert pasad.measure == "pwcca-pasad"
    assert pasad.ci_low < pasad < pasad.ci_high
    assert pwcca(X + 3, Y, mode="pasad", side="x", folds=0) == pasad.details["x"]
    assert pwcca(Y, X, mode="google", folds=0).measure == "pwcca-google"
    with pytest.raises(UsageError, match="not defined"):
        pwcca(X, Y, mode="google")
    onehot = np.eye(4)[np.arange(240) % 4]
    with pytest.warns(VoxstrataWarning, match="null directions"):
        pwcca(X, onehot, mode="pasad", folds=0)
    pwcca(X, onehot[:, :3], mode="pasad", folds=0)
    with pytest.raises(NumericsError, match="clean"):
        pwcca(np.c_[X, X], onehot, mode="pasad", eps=(1e-14, 1e-10))


def test_result_object() -> None:
    s = cka(X, Y)
    again = pickle.loads(pickle.dumps(s))
    assert again == s
    assert vars(again) == vars(s)
    assert vars(copy.deepcopy(s)) == vars(s)
    text = repr(s)
    assert "over 240 groups" in text
    assert "estimator='debiased'" in text
    assert "d=6, other_d=4" in text
    assert f"{s:.3f}" == f"{s.value:.3f}"
    assert type(s * 2) is float


def test_registry_is_complete_and_described() -> None:
    names = MEASURES.names()
    assert {"cka", "cka-biased", "pwcca", "pwcca-x", "pwcca-y", "pwcca-pasad", "rsa"} <= set(names)
    for entry in MEASURES.entries():
        measure = MEASURES.get(entry.name)
        assert isinstance(measure, Measure)
        assert (measure.name, measure.summary) == (entry.name, entry.summary)
        assert measure.reference
        assert measure.cost
        assert measure.range[0] < measure.range[1]
    with pytest.raises(UnknownNameError, match="did you mean 'procrustes'"):
        compare("procustes", X, Y)


@pytest.mark.parametrize("name", ["cka-rbf", "cka-rbf-biased", "rsa-spearman", "mutual-knn"])
def test_prepared_sides_give_the_same_number(name: str) -> None:
    """Jobs prepare each layer once; the pair of prepared sides must be the measure itself."""
    measure = MEASURES.get(name)
    x, y = torch.tensor(X[:80]), torch.tensor(Y[:80])
    assert measure.side is not None
    got = measure.compare(measure.prepare(x), measure.prepare(y))
    assert got == pytest.approx(measure.compute(x, y), rel=1e-12)
    assert measure.compare(measure.prepare(x), measure.prepare(x)) == pytest.approx(1.0)


def test_rbf_cka_is_hsic_of_the_kernels() -> None:
    """The normalised inner product against the estimators on the same kernel matrices."""
    x, y = torch.tensor(X[:60]), torch.tensor(Y[:60])
    for debiased in (True, False):
        direct = gram_cka(rbf_gram(x), rbf_gram(y), debiased=debiased)
        assert cka_rbf(x, y, debiased=debiased) == pytest.approx(direct, rel=1e-10)


def test_a_measure_of_ones_own() -> None:
    def first_column(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([x[:, 0], y[:, 0]]))[0, 1])

    mine = Measure("first-column", "one column each", "rows", first_column, (-1.0, 1.0))
    s = compare(mine, X, Y)
    assert s == pytest.approx(np.corrcoef(X[:, 0], Y[:, 0])[0, 1])
    assert s.ci_low < s < s.ci_high
    with pytest.raises(UsageError, match="described wrongly"):
        Measure("m", "", "rows", first_column, (0, 1), invariances=frozenset({"everything"}))


def test_import_is_light_and_names_are_functions() -> None:
    code = (
        "import sys, voxstrata.similarity as s\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)\n"
        "from voxstrata.similarity import *\n"
        "import voxstrata.similarity.measures\n"
        "assert all(callable(getattr(s, n)) for n in s.__all__ if n != 'MEASURES'), dir(s)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'ckaa'"):
        _ = room.ckaa


@pytest.mark.parametrize(
    "module",
    [
        "numerics.jackknife",
        "similarity.moments",
        "similarity.value",
        "similarity.projection",
        "similarity.api",
    ],
)
def test_examples_in_docstrings(module: str) -> None:
    done = doctest.testmod(importlib.import_module(f"voxstrata.{module}"))
    assert done.attempted > 0
    assert done.failed == 0
