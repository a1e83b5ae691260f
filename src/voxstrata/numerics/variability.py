"""The total variability model: mixture means that move in a subspace, M(u) = m + T w(u).

w ~ N(0, I) is one vector a recording; its posterior mean is the recording's i-vector. Sources:
Dehak et al. 2011 (IEEE TASLP 19(4)), Kenny et al. 2008 (IEEE TASLP 16(5)); the update of
covariances as in Kaldi's ``ivector-extractor``. Everything is float64; c runs over the C Gaussians
of the background model, whose posteriors stay fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from voxstrata.errors import NumericsError, ShapeError

BLOCK = 1 << 25
"""Numbers of posterior covariances held at a time: 256 MB."""


@dataclass(frozen=True)
class Statistics:
    """Baum-Welch statistics of U recordings.

    Attributes:
        count: N_c(u) = sum of posteriors over frames, [U, C].
        first: F_c(u) = sum of posterior times frame, not centred, [U, C, D].
    """

    count: torch.Tensor
    first: torch.Tensor

    def __len__(self) -> int:
        return len(self.count)


@dataclass
class Totals:
    """Sums over all recordings, which stay the same through all iterations.

    Attributes:
        count: [C].
        first: [C, D].
        second: sums of squares [C, D] or of products [C, D, D], not centred.
        recordings: how many.
    """

    count: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    recordings: int = 0

    @property
    def frames(self) -> float:
        """Frames, each counted by its posteriors."""
        return float(self.count.sum())

    def merge(self, other: Totals) -> None:
        """Take in other recordings."""
        self.count += other.count
        self.first += other.first
        self.second += other.second
        self.recordings += other.recordings

    def about(self, means: torch.Tensor) -> torch.Tensor:
        """Second moments about other means: [C, D] or [C, D, D]."""
        if self.second.ndim == 2:
            moved = self.count[:, None] * means.square() - 2 * means * self.first
            return self.second + moved
        cross = means[:, :, None] * self.first[:, None, :]
        outer = means[:, :, None] * means[:, None, :]
        return self.second - cross - cross.mT + self.count[:, None, None] * outer


@dataclass(frozen=True)
class Posterior:
    """Posterior of w for U recordings.

    Attributes:
        mean: i-vectors [U, R].
        covariance: [U, R, R].
        evidence: what each recording's subspace adds to its log-likelihood,
            (b' L^-1 b - log|L|) / 2, [U].
    """

    mean: torch.Tensor
    covariance: torch.Tensor
    evidence: torch.Tensor


@dataclass(frozen=True)
class TotalVariability:
    """An extractor.

    Attributes:
        means: m_c [C, D].
        covariances: S_c, [C, D] (diagonal) or [C, D, D].
        loading: T_c [C, D, R].
    """

    means: torch.Tensor
    covariances: torch.Tensor
    loading: torch.Tensor

    @property
    def rank(self) -> int:
        """R, the width of an i-vector."""
        return int(self.loading.shape[2])

    @property
    def diagonal(self) -> bool:
        """Whether covariances are diagonal."""
        return self.covariances.ndim == 2

    @cached_property
    def _triangle(self) -> torch.Tensor:
        """Rows and columns of the upper triangle of R x R."""
        return torch.triu_indices(self.rank, self.rank, device=self.loading.device)

    @cached_property
    def weighted(self) -> torch.Tensor:
        """S_c^-1 T_c [C, D, R].

        Raises:
            NumericsError: a covariance is not positive definite.
        """
        if self.diagonal:
            if not bool((self.covariances > 0).all()):
                raise _not_definite()
            return self.loading / self.covariances[:, :, None]
        found: torch.Tensor = torch.cholesky_solve(self.loading, self._factor)
        return found

    @cached_property
    def _factor(self) -> torch.Tensor:
        factor, failed = torch.linalg.cholesky_ex(self.covariances)
        if bool(failed.any()):
            raise _not_definite()
        found: torch.Tensor = factor
        return found

    @cached_property
    def _precision(self) -> torch.Tensor:
        """Upper triangles of T_c' S_c^-1 T_c, [C, R (R + 1) / 2]."""
        row, column = self._triangle
        parts = [(t.T @ w)[row, column] for t, w in zip(self.loading, self.weighted, strict=True)]
        return torch.stack(parts)

    @property
    def log_determinants(self) -> torch.Tensor:
        """log|S_c| [C]."""
        if self.diagonal:
            return self.covariances.log().sum(dim=1)
        return 2 * self._factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)

    def centred(self, statistics: Statistics) -> torch.Tensor:
        """First-order statistics about the means, F_c - N_c m_c, [U, C, D].

        Raises:
            ShapeError: statistics of another mixture.
            NumericsError: they are not finite.
        """
        if statistics.first.shape[1:] != self.means.shape:
            raise ShapeError(
                "the statistics are of another mixture",
                got=tuple(statistics.first.shape[1:]),
                expected=tuple(self.means.shape),
            )
        found = statistics.first - statistics.count[:, :, None] * self.means
        if not bool(found.sum().isfinite()):
            raise NumericsError("Baum-Welch statistics are not finite", got="NaN or infinity")
        return found

    def posterior(self, statistics: Statistics) -> Posterior:
        """Posterior of w: L = I + sum_c N_c T_c' S_c^-1 T_c, mean L^-1 b with
        b = sum_c T_c' S_c^-1 (F_c - N_c m_c), covariance L^-1.

        Raises:
            as :meth:`centred`.
        """
        linear = torch.einsum("ucd,cdr->ur", self.centred(statistics), self.weighted)
        row, column = self._triangle
        packed = statistics.count @ self._precision
        precision = packed.new_empty(len(packed), self.rank, self.rank)
        precision[:, row, column] = packed
        precision[:, column, row] = packed
        precision.diagonal(dim1=1, dim2=2).add_(1.0)
        factor = torch.linalg.cholesky(precision)
        mean = torch.cholesky_solve(linear[:, :, None], factor)[:, :, 0]
        determinant = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        evidence = 0.5 * (linear * mean).sum(dim=1) - determinant
        return Posterior(mean, torch.cholesky_inverse(factor), evidence)

    def ivectors(self, statistics: Statistics) -> torch.Tensor:
        """Posterior means [U, R]."""
        pieces = [self.posterior(part).mean for part in batches(statistics, self.rank)]
        return torch.cat(pieces) if pieces else self.loading.new_empty(0, self.rank)


@dataclass
class VariabilitySums:
    """What one expectation step keeps of the recordings it has seen; merges.

    Attributes:
        products: upper triangles of A_c = sum_u N_c(u) (L^-1 + w w'), [C, R (R + 1) / 2].
        cross: C_c = sum_u (F_c - N_c m_c) w', [C, D, R].
        vector: sum of w [R].
        square: sum of L^-1 + w w' [R, R].
        evidence: sum of :attr:`Posterior.evidence`.
        recordings: how many.
    """

    products: torch.Tensor
    cross: torch.Tensor
    vector: torch.Tensor
    square: torch.Tensor
    evidence: float = 0.0
    recordings: int = 0

    @classmethod
    def of(cls, model: TotalVariability) -> VariabilitySums:
        """Empty sums for a model."""
        C, _, R = model.loading.shape
        zeros = model.loading.new_zeros
        return cls(
            zeros(C, R * (R + 1) // 2), torch.zeros_like(model.loading), zeros(R), zeros(R, R)
        )

    def add(self, statistics: Statistics, model: TotalVariability) -> None:
        """Take in recordings, with their posteriors under ``model``."""
        row, column = model._triangle
        for part in batches(statistics, model.rank):
            posterior = model.posterior(part)
            w = posterior.mean
            second = posterior.covariance + w[:, :, None] * w[:, None, :]
            self.products += part.count.T @ second[:, row, column]
            self.cross += torch.einsum("ucd,ur->cdr", model.centred(part), w)
            self.vector += w.sum(dim=0)
            self.square += second.sum(dim=0)
            self.evidence += float(posterior.evidence.sum())
            self.recordings += len(part)

    def merge(self, other: VariabilitySums) -> None:
        """Take in the sums of other recordings."""
        self.products += other.products
        self.cross += other.cross
        self.vector += other.vector
        self.square += other.square
        self.evidence += other.evidence
        self.recordings += other.recordings

    def product(self, component: int) -> torch.Tensor:
        """A_c, whole [R, R]."""
        R = len(self.vector)
        row, column = torch.triu_indices(R, R, device=self.products.device)
        found = self.square.new_empty(R, R)
        found[row, column] = self.products[component]
        found[column, row] = self.products[component]
        return found


def log_likelihood(model: TotalVariability, totals: Totals, sums: VariabilitySums) -> float:
    """Marginal log-likelihood a frame, given the alignment to Gaussians.

    (-1/2 sum_c N_c log|2 pi S_c| - 1/2 sum_c tr(S_c^-1 Sc_c) + sum_u evidence(u)) / frames, with
    Sc_c the second moments about m_c.

    Args:
        model: the model.
        totals: of all recordings.
        sums: of all recordings, with posteriors under this very model.
    """
    about = totals.about(model.means)
    if model.diagonal:
        spread = (about / model.covariances).sum()
    else:
        spread = torch.cholesky_solve(about, model._factor).diagonal(dim1=1, dim2=2).sum()
    constant = model.means.shape[1] * math.log(2 * math.pi)
    normal = (totals.count * (model.log_determinants + constant)).sum()
    return (sums.evidence - 0.5 * float(normal) - 0.5 * float(spread)) / totals.frames


def batches(statistics: Statistics, rank: int) -> list[Statistics]:
    """Recordings in pieces whose posterior covariances fit into memory."""
    step = max(1, BLOCK // (rank * rank))
    return [
        Statistics(statistics.count[at : at + step], statistics.first[at : at + step])
        for at in range(0, len(statistics), step)
    ]


def _not_definite() -> NumericsError:
    return NumericsError(
        "a covariance of the extractor is not positive definite",
        fix="use diagonal covariances, fewer Gaussians, or more speech",
    )
