"""Expectation-maximisation of the i-vector extractor against bob.learn.em 3.3.1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from voxstrata.numerics.variability import Statistics, Totals, TotalVariability, VariabilitySums
from voxstrata.numerics.variability_fit import Expect, Method, Step, improve

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, torch.Tensor]:
    with np.load(shared / "golden" / "neurons" / "ivector" / "ivector.npz") as held:
        return {name: torch.from_numpy(held[name]) for name in held}


def _start(golden: dict[str, torch.Tensor]) -> TotalVariability:
    return TotalVariability(golden["ubm_means"], golden["ubm_variances"], golden["T_init"])


def _statistics(golden: dict[str, torch.Tensor]) -> tuple[Statistics, Totals]:
    N, F, S = golden["N"], golden["F"], golden["S"]
    return Statistics(N, F), Totals(N.sum(0), F.sum(0), S.sum(0), len(N))


def _expect(statistics: Statistics) -> Expect:
    def expect(model: TotalVariability) -> VariabilitySums:
        sums = VariabilitySums.of(model)
        sums.add(statistics, model)
        return sums

    return expect


def _ends(golden: dict[str, torch.Tensor], method: Method) -> dict[int, Step]:
    statistics, totals = _statistics(golden)
    steps = improve(_start(golden), _expect(statistics), totals, 5, method, watch=False)
    return {step.iteration: step for step in steps if step.last}


def test_ivectors_of_the_first_loading(golden: dict[str, torch.Tensor]) -> None:
    found = _start(golden).ivectors(_statistics(golden)[0])
    torch.testing.assert_close(found, golden["ivector_init"], **TOLERANCE)


@pytest.mark.parametrize("kind", ["sigma", "fixed"])
@pytest.mark.parametrize("iteration", [1, 5])
def test_iterations(golden: dict[str, torch.Tensor], kind: str, iteration: int) -> None:
    method = Method(covariance=kind == "sigma", divergence=False, floor=0.0, least=0.0, fresh=False)
    model = _ends(golden, method)[iteration].model
    expected = {
        name: golden[f"{kind}_{name}_iter{iteration}"] for name in ("T", "Sigma", "ivector")
    }
    torch.testing.assert_close(model.loading, expected["T"], **TOLERANCE)
    torch.testing.assert_close(model.covariances, expected["Sigma"], **TOLERANCE)
    found = model.ivectors(_statistics(golden)[0])
    torch.testing.assert_close(found, expected["ivector"], **TOLERANCE)


def test_full_covariances_that_are_diagonal_give_the_same_loading(
    golden: dict[str, torch.Tensor],
) -> None:
    """The full form has code of its own; with second moments that are diagonal, and covariances
    kept, it must agree with the golden diagonal one."""
    statistics, totals = _statistics(golden)
    full = TotalVariability(
        golden["ubm_means"], torch.diag_embed(golden["ubm_variances"]), golden["T_init"]
    )
    whole = Totals(totals.count, totals.first, torch.diag_embed(totals.second), 40)
    method = Method(covariance=False, divergence=False, floor=0.0, least=0.0)
    *_, last = improve(full, _expect(statistics), whole, 5, method, watch=False)
    torch.testing.assert_close(last.model.loading, golden["fixed_T_iter5"], **TOLERANCE)
    torch.testing.assert_close(
        last.model.ivectors(statistics), golden["fixed_ivector_iter5"], **TOLERANCE
    )


def test_the_likelihood_rises_at_every_sub_step(golden: dict[str, torch.Tensor]) -> None:
    statistics, totals = _statistics(golden)
    method = Method(floor=0.0, least=0.0)
    told = [
        step.log_likelihood
        for step in improve(_start(golden), _expect(statistics), totals, 8, method)
    ]
    assert len(told) == 1 + 3 * 8
    assert np.diff(told).min() > -1e-10
    assert told[-1] > told[0] + 5
