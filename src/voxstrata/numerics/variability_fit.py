"""Expectation-maximisation for the total variability model, sub-step by sub-step.

An iteration moves the loading T, then the covariances S, then the prior of w (minimum divergence).
With one expectation step for all three (Kaldi, bob.learn.em) the likelihood is certain to rise over
an iteration but may fall at a sub-step; with one before each (``fresh``) it is certain to rise at
every sub-step, because each is then generalised expectation-maximisation of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.mixture import Mixture, floor_covariance
from voxstrata.numerics.variability import (
    Totals,
    TotalVariability,
    VariabilitySums,
    log_likelihood,
)

LOADING, COVARIANCE, DIVERGENCE = "loading", "covariance", "divergence"
"""The sub-steps, in order."""

Expect = Callable[[TotalVariability], VariabilitySums]
"""An expectation step over all recordings."""


@dataclass(frozen=True)
class Method:
    """How the model is moved.

    Attributes:
        covariance: move covariances.
        divergence: minimum-divergence step.
        fresh: an expectation step before every sub-step.
        floor: least covariance, in any direction, as a share of the average covariance (Kaldi:
            0.1); 0 for none.
        least: Gaussians with fewer frames keep loading and covariance (Kaldi: 100).
    """

    covariance: bool = True
    divergence: bool = True
    fresh: bool = True
    floor: float = 0.1
    least: float = 100.0

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the sub-steps of an iteration."""
        chosen = ((LOADING, True), (COVARIANCE, self.covariance), (DIVERGENCE, self.divergence))
        return tuple(name for name, wanted in chosen if wanted)


@dataclass(frozen=True)
class Step:
    """The model after a sub-step.

    Attributes:
        iteration: from 1; 0 is the model before any.
        name: of the sub-step; "start" for iteration 0.
        model: as it is now.
        log_likelihood: marginal, a frame; ``None`` where it was not asked for.
        last: whether this ends the iteration.
    """

    iteration: int
    name: str
    model: TotalVariability
    log_likelihood: float | None
    last: bool


def random_loading(mixture: Mixture, rank: int, seed: int) -> TotalVariability:
    """A model to start from: the mixture's means and covariances, a random loading.

    Entries are normal, in each Gaussian's own standard deviations (Cholesky factors), divided by
    the square root of ``rank`` so that supervectors vary as much as frames.

    Raises:
        UsageError: the rank is not positive, or as wide as the supervector.
    """
    wide = mixture.components * mixture.width
    if not 0 < rank < wide:
        raise UsageError(
            "the rank of the total variability matrix",
            got=rank,
            expected=f"1 to {wide - 1}: below Gaussians times features",
        )
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(
        mixture.components, mixture.width, rank, generator=random, dtype=torch.float64
    ).to(mixture.means.device)
    if mixture.diagonal:
        loading = mixture.covariances.sqrt()[:, :, None] * noise
    else:
        loading = torch.linalg.cholesky(mixture.covariances) @ noise
    return TotalVariability(mixture.means, mixture.covariances, loading / rank**0.5)


def improve(
    model: TotalVariability,
    expect: Expect,
    totals: Totals,
    iterations: int,
    method: Method | None = None,
    *,
    done: int = 0,
    watch: bool = True,
) -> Iterator[Step]:
    """Iterations of expectation-maximisation.

    Args:
        model: to start from.
        expect: sums over all recordings with posteriors under the model it is given.
        totals: of the same recordings.
        iterations: number of the last one.
        method: which sub-steps, and how.
        done: iterations that ``model`` has behind it.
        watch: tell the likelihood after every sub-step, at a further expectation step each
            unless ``method.fresh`` makes one anyway; else once an iteration, at no cost.

    Yields:
        the state before the first iteration, then the state after every sub-step.

    Raises:
        NumericsError: the likelihood is not finite.
    """
    method = method or Method()
    base = expect(model)
    yield Step(done, "start", model, _told(model, totals, base), last=True)
    for number in range(done + 1, iterations + 1):
        for name in method.steps:
            model = _MOVES[name](model, base, totals, method)
            last = name == method.steps[-1]
            told = None
            if last or watch or method.fresh:
                now = expect(model)
                told = _told(model, totals, now)
                if last or method.fresh:
                    base = now
            yield Step(number, name, model, told, last)


def move_loading(
    model: TotalVariability, sums: VariabilitySums, totals: Totals, method: Method
) -> TotalVariability:
    """T_c = C_c A_c^-1."""
    loading = model.loading.clone()
    for at in torch.nonzero(_counted(totals, method))[:, 0].tolist():
        loading[at] = torch.linalg.solve(sums.product(at), sums.cross[at].T).T
    return replace(model, loading=loading)


def move_covariances(
    model: TotalVariability, sums: VariabilitySums, totals: Totals, method: Method
) -> TotalVariability:
    """S_c = (Sc_c - T_c C_c' - C_c T_c' + T_c A_c T_c') / N_c.

    Where T_c is the maximiser C_c A_c^-1 this is the usual (Sc_c - T_c C_c') / N_c.
    """
    about = totals.about(model.means)
    found = model.covariances.clone()
    counted = _counted(totals, method)
    if not bool(counted.any()):
        return model
    for at in torch.nonzero(counted)[:, 0].tolist():
        loading, cross = model.loading[at], sums.cross[at]
        spread = loading @ sums.product(at)
        if model.diagonal:
            moved = about[at] + ((spread - 2 * cross) * loading).sum(dim=1)
        else:
            half = loading @ cross.T
            moved = about[at] - half - half.T + spread @ loading.T
            moved = (moved + moved.T) / 2
        found[at] = moved / totals.count[at]
    if method.floor > 0:
        weight = totals.count * counted
        shape = (-1,) + (1,) * (found.ndim - 1)
        average = (weight.reshape(shape) * found).sum(dim=0) / weight.sum()
        found = floor_covariance(found, method.floor * average)
    return replace(model, covariances=found)


def move_prior(
    model: TotalVariability, sums: VariabilitySums, totals: Totals, method: Method
) -> TotalVariability:
    """Minimum divergence: w gets the mean mu and covariance G that the posteriors have on average,
    and the model is rewritten so that its prior is N(0, I) again: m_c + T_c mu, T_c chol(G)."""
    mu = sums.vector / sums.recordings
    spread = sums.square / sums.recordings - torch.outer(mu, mu)
    factor, failed = torch.linalg.cholesky_ex((spread + spread.T) / 2)
    if int(failed):
        raise NumericsError(
            "i-vectors have no variance in some direction",
            got=f"{sums.recordings} recordings, rank {model.rank}",
            fix="ask for a lower rank, or give more recordings",
        )
    return replace(model, means=model.means + model.loading @ mu, loading=model.loading @ factor)


_MOVES: dict[
    str, Callable[[TotalVariability, VariabilitySums, Totals, Method], TotalVariability]
] = {LOADING: move_loading, COVARIANCE: move_covariances, DIVERGENCE: move_prior}


def _counted(totals: Totals, method: Method) -> torch.Tensor:
    """Gaussians with frames enough to be moved."""
    return (totals.count >= method.least) & (totals.count > 0)


def _told(model: TotalVariability, totals: Totals, sums: VariabilitySums) -> float:
    found = log_likelihood(model, totals, sums)
    if not abs(found) < float("inf"):
        raise NumericsError(
            "the likelihood of the i-vector extractor is not finite", got=str(found)
        )
    return found
