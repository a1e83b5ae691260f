"""The steps of backends (length, LDA, WCCN, PLDA) and the chains that have names.

Sources: Dehak et al. 2011 (LDA and WCCN for i-vectors), Garcia-Romero and Espy-Wilson 2011 (length
normalisation), Kaldi's ``egs/voxceleb/v1`` for the order of ``lda-plda``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics import two_covariance
from voxstrata.verification.backend import BackendSettings, Chain, Cosine
from voxstrata.verification.score import Floats, products, unit

MOST = 200
"""Dimensions that LDA keeps at most, unless it is told (Kaldi's recipe)."""


class Length:
    """Vectors of length one."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Length:
        """There is nothing to learn."""
        return self

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """Directions.

        Raises:
            NumericsError: a vector is zero.
        """
        return torch.from_numpy(unit(rows.numpy()))

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}


@dataclass(frozen=True)
class Linear:
    """A learned linear map.

    Attributes:
        matrix: [D', D].
        told: for the record.
    """

    matrix: torch.Tensor
    told: dict[str, Any]

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """[N, D] to [N, D']."""
        return rows @ self.matrix.T

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return self.told


class Lda:
    """Directions in which speakers differ most, scaled to within-speaker variance one."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Linear:
        """Learn by scikit-learn's singular-value solver.

        Raises:
            UsageError: too few speakers, or more dimensions asked for than there are.
            NumericsError: speakers do not vary within themselves.
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        speakers = two_covariance.by_speaker(rows, codes)
        there = min(rows.shape[1], len(speakers.counts) - 1)
        wanted = settings.dimensions or min(there, MOST)
        if wanted > there:
            raise UsageError(
                "LDA gives fewer dimensions than are asked for",
                got=f"{wanted} of embeddings of {rows.shape[1]}, {len(speakers.counts)} speakers",
                expected=f"at most {there}: the width, and the speakers less one",
                fix="ask for fewer (--lda-dim), or give a corpus with more speakers",
            )
        if not float(speakers.scatter.trace()) > 0:
            raise NumericsError("embeddings of one speaker are all alike", got="no variance")
        engine = LinearDiscriminantAnalysis(solver="svd", n_components=wanted)
        # Prior weights: every recording counts the same, as in scatter matrices.
        engine.fit(rows.numpy(), codes.numpy())
        found = np.ascontiguousarray(engine.scalings_[:, :wanted].T, dtype=np.float64)
        matrix = torch.from_numpy(found)
        within = (matrix @ speakers.scaled() * matrix).sum(dim=1)
        return Linear(matrix / within.sqrt()[:, None], {"lda_dimensions": len(matrix)})


class Wccn:
    """Within-speaker covariance the identity."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Linear:
        """Learn.

        Raises:
            as :func:`voxstrata.numerics.two_covariance.wccn`.
        """
        return Linear(two_covariance.wccn(two_covariance.by_speaker(rows, codes)), {})


@dataclass(frozen=True)
class Ratio:
    """A learned two-covariance model that scores.

    Attributes:
        mean: of what it was learned from [D].
        matrix: to the coordinates in which W is the identity and B diagonal.
        psi: diagonal of B there.
        likelihoods: log-likelihood a recording, before and after each iteration.
    """

    mean: torch.Tensor
    matrix: torch.Tensor
    psi: torch.Tensor
    likelihoods: tuple[float, ...]

    def score(self, rows: torch.Tensor, first: NDArray[Any], second: NDArray[Any]) -> Floats:
        """Log-likelihood ratios of "one speaker" to "two speakers"."""
        turned = (rows - self.mean) @ self.matrix.T
        a, b, c = two_covariance.ratio_terms(self.psi)
        own = (turned.square() @ b).numpy()
        left = (turned * a).numpy()
        both = products(left, turned.numpy(), first, second)
        return np.asarray(both - own[first] - own[second] + c)

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {"plda_log_likelihoods": list(self.likelihoods)}


class Plda:
    """Two-covariance PLDA."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Ratio:
        """Expectation-maximisation from scaled identities.

        Raises:
            UsageError: too few speakers.
            NumericsError: embeddings do not vary.
        """
        # Length normalisation moves the mean a little.
        mean = rows.mean(dim=0)
        speakers = two_covariance.by_speaker(rows - mean, codes)
        model = two_covariance.start(speakers)
        told = [model.log_likelihood(speakers)]
        for _ in range(settings.iterations):
            model = model.improved(speakers)
            told.append(model.log_likelihood(speakers))
        matrix, psi = model.diagonal()
        each = tuple(value / speakers.recordings for value in told)
        return Ratio(mean, matrix, psi, each)


LDA = Chain((Lda(),), Cosine())
WCCN = Chain((Wccn(),), Cosine())
LDA_WCCN = Chain((Lda(), Length(), Wccn()), Cosine())
PLDA = Chain((Length(),), Plda())
LDA_PLDA = Chain((Lda(), Length()), Plda())
