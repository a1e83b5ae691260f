"""Speaker embeddings as speaker plus noise: the two-covariance model (PLDA), WCCN's matrix.

x = y + e with y ~ N(0, B) for a speaker and e ~ N(0, W) for a recording. Sources: Ioffe 2006,
Brummer and de Villiers 2010 for the model; expectation-maximisation over speaker means as in
Kaldi's ``plda.cc``; Hatch, Kajarekar and Stolcke 2006 for within-class covariance normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from voxstrata.errors import NumericsError, UsageError


@dataclass(frozen=True)
class Speakers:
    """Embeddings summed up by speaker.

    Attributes:
        counts: recordings of each speaker [K].
        means: their mean embeddings [K, D].
        scatter: sum over recordings of the squared distance to their speaker's mean [D, D].
    """

    counts: torch.Tensor
    means: torch.Tensor
    scatter: torch.Tensor

    @property
    def recordings(self) -> int:
        """N."""
        return int(self.counts.sum())

    def scaled(self) -> torch.Tensor:
        """Scatter over its degrees of freedom, N - K: the pooled within-speaker covariance."""
        return self.scatter / (self.recordings - len(self.counts))


def by_speaker(vectors: torch.Tensor, codes: torch.Tensor) -> Speakers:
    """Sum up embeddings by speaker.

    Args:
        vectors: [N, D] float64.
        codes: speaker of each, 0 to K - 1, all of which occur.

    Raises:
        UsageError: one speaker alone, or no speaker with two recordings.
        NumericsError: embeddings that are not finite.
    """
    if not bool(vectors.isfinite().all()):
        raise NumericsError("embeddings are not finite", got="NaN or infinity")
    counts = torch.bincount(codes).to(vectors.dtype)
    if len(counts) < 2 or float(counts.max()) < 2:
        raise UsageError(
            "telling speakers apart cannot be learned from these recordings",
            got=f"{len(codes)} recordings of {len(counts)} speakers",
            expected="two speakers at least, and of some speaker two recordings",
            fix="give a corpus with several recordings of many speakers",
        )
    means = vectors.new_zeros(len(counts), vectors.shape[1])
    means.index_add_(0, codes, vectors)
    means = means / counts[:, None]
    apart = vectors - means[codes]
    return Speakers(counts, means, apart.T @ apart)


@dataclass(frozen=True)
class TwoCovariance:
    """The model.

    Attributes:
        between: B [D, D].
        within: W [D, D].
    """

    between: torch.Tensor
    within: torch.Tensor

    def log_likelihood(self, speakers: Speakers) -> float:
        """Of all recordings under the model (their overall mean taken away before).

        For a speaker with n recordings of mean m: log N(m; 0, B + W / n), and of the differences to
        m what is left: -(n - 1)/2 log|2 pi W| - D/2 log n - tr(W^-1 scatter) / 2.
        """
        D = len(self.between)
        total = 0.0
        for count in torch.unique(speakers.counts):
            means = speakers.means[speakers.counts == count]
            spread = _factor(self.between + self.within / count, "B + W / n")
            white = torch.linalg.solve_triangular(spread, means.T, upper=False)
            normal = D * math.log(2 * math.pi) + 2 * float(spread.diagonal().log().sum())
            total -= 0.5 * (len(means) * normal + float(white.square().sum()))
            total -= 0.5 * len(means) * D * math.log(float(count))
        factor = _factor(self.within, "the within-speaker covariance")
        normal = D * math.log(2 * math.pi) + 2 * float(factor.diagonal().log().sum())
        free = speakers.recordings - len(speakers.counts)
        spread = torch.cholesky_solve(speakers.scatter, factor).diagonal().sum()
        return total - 0.5 * (free * normal + float(spread))

    def improved(self, speakers: Speakers) -> TwoCovariance:
        """One iteration of expectation-maximisation.

        Posterior of a speaker with n recordings of mean m: covariance V = (B^-1 + n W^-1)^-1, mean
        e = V n W^-1 m. B is the mean of V + e e'; W that of the scatter and of
        n (V + (m - e)(m - e)'), over all recordings.
        """
        eye = torch.eye(len(self.between), dtype=self.between.dtype)
        between_factor = _factor(self.between, "the between-speaker covariance")
        within_factor = _factor(self.within, "the within-speaker covariance")
        between_inverse = torch.cholesky_solve(eye, between_factor)
        within_inverse = torch.cholesky_solve(eye, within_factor)
        between, within = torch.zeros_like(self.between), speakers.scatter.clone()
        for count in torch.unique(speakers.counts):
            means = speakers.means[speakers.counts == count]
            precision = _factor(between_inverse + count * within_inverse, "a posterior")
            covariance = torch.cholesky_solve(eye, precision)
            expected = count * means @ within_inverse @ covariance
            apart = means - expected
            between += len(means) * covariance + expected.T @ expected
            within += count * (len(means) * covariance + apart.T @ apart)
        return TwoCovariance(
            _symmetric(between / len(speakers.counts)), _symmetric(within / speakers.recordings)
        )

    def diagonal(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates in which W is the identity and B diagonal.

        Returns:
            A [D, D] and psi [D], largest first: A W A' = I, A B A' = diag(psi).
        """
        factor = _factor(self.within, "the within-speaker covariance")
        half = torch.linalg.solve_triangular(factor, self.between, upper=False)
        white = torch.linalg.solve_triangular(factor, half.T, upper=False)
        values, vectors = torch.linalg.eigh(_symmetric(white))
        turned = torch.linalg.solve_triangular(factor.T, vectors, upper=True).T
        return turned.flip(0), values.flip(0).clamp_min(0.0)


def start(speakers: Speakers) -> TwoCovariance:
    """Where expectation-maximisation begins: both covariances the identity, scaled to the data.

    Raises:
        NumericsError: all embeddings are alike.
    """
    spread = float(speakers.scatter.trace()) / speakers.recordings
    apart = float((speakers.counts @ speakers.means.square()).sum()) / speakers.recordings
    if not spread > 0 or not apart > 0:
        raise NumericsError(
            "embeddings do not vary", got=f"within speakers {spread:g}, between them {apart:g}"
        )
    D = speakers.means.shape[1]
    eye = torch.eye(D, dtype=speakers.means.dtype)
    return TwoCovariance(apart / D * eye, spread / D * eye)


def ratio_terms(psi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The log-likelihood ratio of "one speaker" to "two" as a quadratic form.

    For u and p in the coordinates of :meth:`TwoCovariance.diagonal`, with one recording on each
    side, log N(p; psi/(psi+1) u, 1 + psi/(psi+1)) - log N(p; 0, 1 + psi) is
    sum a u p - sum b (u^2 + p^2) + c, the same with the sides changed.

    Args:
        psi: [D].

    Returns:
        a [D], b [D] and c.
    """
    wide = 2 * psi + 1  # (1 + psi)^2 - psi^2
    a = psi / wide
    b = 0.5 * psi.square() / ((psi + 1) * wide)
    c = float((torch.log(psi + 1) - 0.5 * torch.log(wide)).sum())
    return a, b, c


def wccn(speakers: Speakers) -> torch.Tensor:
    """A [D, D] with A W A' = I for the mean within-speaker covariance W.

    Raises:
        NumericsError: W has directions without variance, for want of recordings.
    """
    covariance = speakers.scaled()
    values = torch.linalg.eigvalsh(covariance)
    if not float(values[0]) > len(values) * torch.finfo(values.dtype).eps * float(values[-1]):
        free = speakers.recordings - len(speakers.counts)
        raise NumericsError(
            "the within-speaker covariance has directions without variance",
            got=f"{speakers.recordings} recordings of {len(speakers.counts)} speakers for "
            f"{len(values)} dimensions",
            expected=f"recordings minus speakers above the dimensions (they are {free})",
            fix="give more recordings of each speaker, or reduce dimensions by LDA first",
        )
    factor = _factor(covariance, "the within-speaker covariance")
    eye = torch.eye(len(values), dtype=values.dtype)
    found: torch.Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
    return found


def _factor(matrix: torch.Tensor, what: str) -> torch.Tensor:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise NumericsError(
            f"{what} is not positive definite",
            fix="give more recordings of each speaker, or reduce dimensions by LDA first",
        )
    found: torch.Tensor = factor
    return found


def _symmetric(matrix: torch.Tensor) -> torch.Tensor:
    return (matrix + matrix.T) / 2
