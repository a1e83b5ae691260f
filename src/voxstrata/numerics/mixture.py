"""Gaussian mixtures: densities, alignments of frames, and the sums that expectation-maximisation
needs. Rows are taken in blocks, sums merge, and memory does not grow with the number of rows.

Source: Dempster, Laird and Rubin 1977; Reynolds, Quatieri and Dunn 2000 for the use as universal
background model; pruning of posteriors and selection of Gaussians by a diagonal model as in Kaldi.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from voxstrata.errors import NumericsError, ShapeError

BLOCK = 1 << 22
"""Posteriors held at a time: 32 MB."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of C Gaussians in D dimensions, float64.

    Attributes:
        weights: [C], positive, sum 1.
        means: [C, D].
        covariances: [C, D] (diagonal) or [C, D, D] (full).
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    @property
    def components(self) -> int:
        """C."""
        return len(self.weights)

    @property
    def width(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @property
    def diagonal(self) -> bool:
        """Whether covariances are diagonal."""
        return self.covariances.ndim == 2

    def full(self) -> Mixture:
        """The same mixture with full covariances."""
        if not self.diagonal:
            return self
        return Mixture(self.weights, self.means, torch.diag_embed(self.covariances))

    @cached_property
    def _whitening(self) -> torch.Tensor:
        """Inverse Cholesky factors: diagonal [C, D] or lower triangular [C, D, D].

        Raises:
            NumericsError: a covariance is not positive definite.
        """
        if self.diagonal:
            if not bool((self.covariances > 0).all()):
                raise _not_definite("variance", float(self.covariances.min()))
            return self.covariances.rsqrt()
        factor, failed = torch.linalg.cholesky_ex(self.covariances)
        if bool(failed.any()):
            raise _not_definite("covariance", f"component {int(failed.nonzero()[0])}")
        eye = torch.eye(self.width, dtype=factor.dtype, device=factor.device)
        whole = eye.expand_as(factor)
        inverse: torch.Tensor = torch.linalg.solve_triangular(factor, whole, upper=False)
        return inverse

    @cached_property
    def _constant(self) -> torch.Tensor:
        """Logarithms of the weighted densities at the means [C]."""
        factor = self._whitening
        diagonal = factor if self.diagonal else factor.diagonal(dim1=1, dim2=2)
        return (
            self.weights.clamp_min(torch.finfo(torch.float64).tiny).log()
            + diagonal.log().sum(dim=1)
            - 0.5 * self.width * math.log(2 * math.pi)
        )

    def log_densities(self, rows: torch.Tensor) -> torch.Tensor:
        """Logarithm of weight times density of each row under each Gaussian, [N, C].

        Args:
            rows: [N, D] float64.
        """
        if self.diagonal:
            precision = self._whitening.square()
            linear = precision * self.means
            # Completed squares would need [N, C, D]; features are centred, so no digits are lost.
            quadratic = rows.square() @ precision.T - 2 * rows @ linear.T
            return self._constant - 0.5 * (quadratic + (linear * self.means).sum(dim=1))
        found = rows.new_empty(len(rows), self.components)
        for at in range(self.components):
            found[:, at] = self._log_density(rows, at)
        return found

    def _log_density(self, rows: torch.Tensor, component: int) -> torch.Tensor:
        moved = (rows - self.means[component]) @ self._whitening[component].T
        return self._constant[component] - 0.5 * moved.square().sum(dim=1)

    def log_densities_of(self, rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """The same for some Gaussians of each row; the others are minus infinity, [N, C].

        Args:
            rows: [N, D].
            chosen: [N, k] different components of each row.
        """
        found = rows.new_full((len(rows), self.components), -math.inf)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        owner = order // chosen.shape[1]
        ends = torch.bincount(flat, minlength=self.components).cumsum(0).tolist()
        begin = 0
        for at, end in enumerate(ends):
            if end > begin:
                mine = owner[begin:end]
                found[mine, at] = self._log_density(rows[mine], at)
            begin = end
        return found


@dataclass(frozen=True)
class Aligner:
    """How frames are shared out among Gaussians.

    Attributes:
        mixture: the mixture.
        selector: diagonal mixture of as many components that says which Gaussians are looked at;
            ``None`` to look at all.
        select: how many a frame, with ``selector``.
        least: posteriors below this are dropped and the others scaled up to sum 1; the largest of
            a frame always stays.
    """

    mixture: Mixture
    selector: Mixture | None = None
    select: int = 20
    least: float = 0.0

    def posteriors(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Posteriors [N, C] and log-likelihoods [N] of rows [N, D].

        Raises:
            ShapeError: rows of another width.
            NumericsError: rows that are not finite.
        """
        _check(rows, self.mixture.width)
        if self.selector is None:
            density = self.mixture.log_densities(rows)
        else:
            rough = self.selector.log_densities(rows)
            chosen = rough.topk(min(self.select, rough.shape[1]), dim=1).indices
            density = self.mixture.log_densities_of(rows, chosen)
        likelihood = density.logsumexp(dim=1)
        shares = (density - likelihood[:, None]).exp()
        if self.least > 0:
            top = shares.amax(dim=1, keepdim=True)
            shares = shares.where((shares >= self.least) | (shares == top), 0.0)
            shares = shares / shares.sum(dim=1, keepdim=True)
        return shares, likelihood

    def blocks(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Rows in pieces whose posteriors fit into memory."""
        step = max(1, BLOCK // self.mixture.components)
        for at in range(0, len(rows), step):
            yield rows[at : at + step]


@dataclass
class MixtureSums:
    """What expectation-maximisation keeps of the rows it has seen.

    Attributes:
        count: [C] soft counts.
        first: [C, D] sums of rows.
        second: [C, D] or [C, D, D] sums of squares or products.
        log_likelihood: sum over rows.
        rows: how many.
    """

    count: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    log_likelihood: float = 0.0
    rows: int = 0

    @classmethod
    def of(cls, mixture: Mixture) -> MixtureSums:
        """Empty sums for a mixture."""
        return cls(
            torch.zeros_like(mixture.weights),
            torch.zeros_like(mixture.means),
            torch.zeros_like(mixture.covariances),
        )

    def add(self, rows: torch.Tensor, aligner: Aligner) -> None:
        """Take in rows [N, D]."""
        for block in aligner.blocks(rows):
            shares, likelihood = aligner.posteriors(block)
            self.count += shares.sum(dim=0)
            self.first += shares.T @ block
            self.second += second_moments(block, shares, diagonal=self.second.ndim == 2)
            self.log_likelihood += float(likelihood.sum())
            self.rows += len(block)

    def merge(self, other: MixtureSums) -> None:
        """Take in the sums of other rows."""
        self.count += other.count
        self.first += other.first
        self.second += other.second
        self.log_likelihood += other.log_likelihood
        self.rows += other.rows

    @property
    def mean_log_likelihood(self) -> float:
        """Log-likelihood a row, under the mixture the rows were aligned with."""
        return self.log_likelihood / max(1, self.rows)


def second_moments(rows: torch.Tensor, shares: torch.Tensor, *, diagonal: bool) -> torch.Tensor:
    """Sums of squares [C, D] or products [C, D, D] of rows, weighted by shares [N, C]."""
    if diagonal:
        return shares.T @ rows.square()
    found = rows.new_empty(shares.shape[1], rows.shape[1], rows.shape[1])
    for at in range(shares.shape[1]):
        weight = shares[:, at]
        used = weight.nonzero()[:, 0]
        some = rows[used] if 2 * len(used) < len(rows) else rows
        held = weight[used] if 2 * len(used) < len(rows) else weight
        found[at] = (some * held[:, None]).T @ some
    return found


def floor_covariance(covariances: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
    """Covariances that are nowhere below a floor.

    For full matrices, in the coordinates in which the floor is the identity, eigenvalues below one
    become one (Kaldi's ``SpMatrix::ApplyFloor``).

    Args:
        covariances: [C, D] or [C, D, D].
        floor: [D] or [D, D], positive (definite).

    Raises:
        NumericsError: the floor is not positive definite.
    """
    if covariances.ndim == 2:
        return covariances.maximum(floor)
    factor, failed = torch.linalg.cholesky_ex(floor)
    if int(failed):
        raise _not_definite("floor for covariances", "features that depend on each other linearly")
    half = torch.linalg.solve_triangular(factor, covariances, upper=False)
    white = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    values, vectors = torch.linalg.eigh((white + white.mT) / 2)
    if bool((values >= 1).all()):
        return covariances
    raised = (vectors * values.clamp_min(1.0)[:, None, :]) @ vectors.mT
    # What lies above the floor already keeps its digits.
    low = (values < 1).any(dim=1)
    found = covariances.clone()
    found[low] = factor @ raised[low] @ factor.T
    return (found + found.mT) / 2


def _check(rows: torch.Tensor, width: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ShapeError(
            "rows do not fit the mixture", got=tuple(rows.shape), expected=f"(rows, {width})"
        )
    if not bool(rows.sum().isfinite()):
        raise NumericsError(
            "features are not finite", got="NaN or infinity", fix="look at the recordings"
        )


def _not_definite(what: str, got: object) -> NumericsError:
    return NumericsError(
        f"a {what} of the mixture is not positive",
        got=str(got),
        fix="fewer Gaussians, diagonal covariances, or a higher floor",
    )
