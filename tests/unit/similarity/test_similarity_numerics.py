"""Measures on inputs that are hard on arithmetic, against long double (docs/numerics.md)."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from voxstrata.errors import VoxstrataWarning
from voxstrata.numerics.linalg import centre, whiten
from voxstrata.similarity import mutual_knn
from voxstrata.similarity.moments import Moments, View
from voxstrata.similarity.projection import pwcca
from voxstrata.similarity.registry import MEASURES

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def numerics() -> Iterator[ModuleType]:
    """The script that makes the table."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("numerics")
    finally:
        sys.path.remove(str(BENCHMARKS))


@functools.cache
def reference(numerics: ModuleType, name: str) -> dict[str, float]:
    found: dict[str, float] = numerics.Pair(*numerics.INPUTS[name]()).values()
    return found


def check(numerics: ModuleType, name: str, measures: list[str]) -> None:
    for measure in measures:
        cells = numerics.similarity_cells(measure, name, reference(numerics, name))
        for route, cell in cells.items():
            low = "float32" in route
            # The published PWCCA is as fragile as its table says.
            allowed = 2e-6 if low else (1e-5 if "pasad" in measure else 1e-7)
            fine = cell.error < allowed or cell.refused or bool(cell.said)
            assert fine, f"{measure} by {route} on {name}: {cell.text()}"
            if measure == "cka" and "12" not in name:
                assert cell.error < allowed
                assert not cell.said


@pytest.mark.parametrize("name", ["outlier 10^4", "n < d"])
def test_no_error_is_large_and_silent(numerics: ModuleType, name: str) -> None:
    check(
        numerics, name, ["cka", "cca-mean", "pwcca-x", "regression", "rsa", "svcca", "mutual-knn"]
    )


@pytest.mark.slow
def test_the_whole_table_holds(numerics: ModuleType) -> None:
    for name in numerics.INPUTS:
        fragile = name.startswith("nearly") or name == "shared columns"
        names = [m for m in MEASURES.names() if not (fragile and m == "pwcca-pasad")]
        check(numerics, name, names)
    for work, of in numerics.STATISTICS.values():
        for name in ("plain", "means 10^4 sd", "constant columns", "outlier 10^4"):
            for cell in numerics.property_cells(work, of, numerics.INPUTS[name]()).values():
                assert cell.error < 1e-6 or cell.refused


def test_an_outlier_dimension_takes_no_other_column_along() -> None:
    """Columns a ten-thousandth as large as the largest are whole columns in float32 too."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6))
    x[:, 2] *= 1e5
    S = torch.from_numpy((x - x.mean(0)).T @ (x - x.mean(0)))
    assert whiten(S, 1e-6).rank == 6


def test_columns_that_are_constant_to_rounding_are_zero() -> None:
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(400, 3)))
    x[:, 1] = 0.01 + 1e-7 * x[:, 1]  # what is left of a constant 10,000 less its float32 mean
    P, s = x.T @ x, x.sum(dim=0)
    S = centre(P, s, 400, 1e-6)
    assert torch.count_nonzero(S[1]) == torch.count_nonzero(S[:, 1]) == 0
    assert whiten(S, 1e-6).rank == 2
    torch.testing.assert_close(S[0, 2], P[0, 2] - s[0] * s[2] / 400)
    assert centre(P, s, 400, None)[1, 1] != 0
    assert centre(P, s, 400, 1e-6, inplace=True) is P
    assert torch.equal(P, S)


def test_pwcca_of_views_that_share_a_subspace_does_not_depend_on_its_basis() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 10)) * rng.uniform(0.2, 3, 10)
    y = np.c_[x[:, :4] @ rng.normal(size=(4, 4)), rng.normal(size=(300, 4)) + x[:, 4:8]]
    first = pwcca(Moments.from_rows(x, y))
    assert int((first.rho > 1 - 1e-9).sum()) == 4
    turned = pwcca(Moments.from_rows(x @ rng.normal(size=(10, 10)), y))
    assert turned.y == pytest.approx(first.y, rel=1e-9)
    other = pwcca(Moments.from_rows(x, y @ rng.normal(size=(8, 8))))
    assert other.x == pytest.approx(first.x, rel=1e-8)  # a root of what cancels


def test_pwcca_weighs_a_shared_subspace_by_the_mean_over_bases() -> None:
    """Against the definition, averaged over many bases drawn at random."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 6)) * rng.uniform(0.2, 3, 6)
    y = np.c_[x[:, :3], 0.5 * x[:, 3:5] + rng.normal(size=(200, 2))]
    m = Moments.from_rows(x, y)
    found = pwcca(m)
    from voxstrata.similarity.canonical import canonical

    c = canonical(m)
    loads = (c.Px @ m.Sxx).numpy()
    free = np.linalg.qr(np.linalg.cholesky(m.Sxx.numpy()).T @ c.Px.numpy().T, mode="complete")[0]
    rest = free[:, 5:].T @ np.linalg.cholesky(m.Sxx.numpy()).T
    draws = []
    for _ in range(4000):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        draws.append(np.abs(q @ loads[:3]).sum())
    shared, others = np.mean(draws), np.abs(loads[3:]).sum(axis=1)
    rho = c.rho.numpy()
    expected = (shared + others @ rho[3:]) / (shared + others.sum() + np.abs(rest).sum())
    assert found.x == pytest.approx(expected, rel=2e-3)


def test_ties_among_neighbours_are_told() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(15, 4))
    repeated = np.repeat(x, 20, axis=0)
    with pytest.warns(VoxstrataWarning, match="which of them counts is arbitrary"):
        mutual_knn(repeated, repeated**2, folds=0)
    mutual_knn(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)), folds=0)


def test_a_view_says_when_float32_products_do_not_resolve_it() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(500, 6))

    def view(rows: np.ndarray, rtol: float | None) -> View:
        a = rows - rows.mean(axis=0)
        made = View(torch.from_numpy(a.T @ a), rtol)
        assert not made.weak(len(rows))  # nothing was whitened yet
        assert math.isfinite(made.whitening.amplified)
        return made

    near = np.c_[x, x[:, :2] + 1e-2 * rng.normal(size=(500, 2))]
    nearer = np.c_[x, x[:, :2] + 1e-5 * rng.normal(size=(500, 2))]
    assert not view(x, 1e-6).weak(500)
    assert view(near, 1e-6).weak(500)
    assert view(nearer, 1e-6).weak(500)
    assert not view(nearer, None).weak(500)
    assert not view(x[:4], 1e-6).weak(4)  # as many directions as rows allow


def test_the_run_names_layers_that_float32_does_not_resolve() -> None:
    from types import SimpleNamespace
    from typing import Any

    from voxstrata.similarity.job import _weak
    from voxstrata.similarity.sweep import UnitValues

    stack = [SimpleNamespace(key=f"model/{i}") for i in range(9)]
    unit: Any = SimpleNamespace(unit=SimpleNamespace(name="phone"), layers=range(1, 9))
    prepared: Any = SimpleNamespace(jobs=[unit], stack=stack)
    assert _weak(prepared, [UnitValues({}, {}, {})]) == []
    (text,) = _weak(prepared, [UnitValues({}, {}, {}, frozenset({2, 0}))])
    assert text.startswith("By phone, model/1, model/3 have directions")
    (text,) = _weak(prepared, [UnitValues({}, {}, {}, frozenset(range(8)))])
    assert "model/5 and 3 more have" in text
