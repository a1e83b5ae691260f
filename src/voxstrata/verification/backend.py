"""Backends: what is learned from the embeddings of other speakers before trials are scored.

A backend is a chain of steps, learned one after the other; a name is one line in
:data:`BACKENDS`. All begin by taking away the mean of the embeddings they are learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError
from voxstrata.registry import Registry
from voxstrata.verification.score import Floats, products, unit


@dataclass(frozen=True)
class BackendSettings:
    """Numbers that steps take.

    Attributes:
        dimensions: kept by LDA; ``None`` for as many as there are, at most 200.
        iterations: of PLDA's expectation-maximisation.
    """

    dimensions: int | None = None
    iterations: int = 10


class Learned(Protocol):
    """A step that was learned."""

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """[N, D] to [N, D']."""
        ...

    def facts(self) -> dict[str, Any]:
        """For the record."""
        ...


class Step(Protocol):
    """Something that is learned from embeddings and speakers."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Learned:
        """Learn from rows [N, D] and speakers [N] (0 to K - 1)."""
        ...


class Scorer(Protocol):
    """A last step that scores pairs."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Scoring:
        """Learn from rows [N, D] and speakers [N]."""
        ...


class Scoring(Protocol):
    """A scorer that was learned."""

    def score(self, rows: torch.Tensor, first: NDArray[Any], second: NDArray[Any]) -> Floats:
        """Scores of pairs of rows."""
        ...

    def facts(self) -> dict[str, Any]:
        """For the record."""
        ...


@dataclass(frozen=True)
class Chain:
    """A backend.

    Attributes:
        steps: in order, after the mean is taken away.
        scorer: scores pairs in the end.
    """

    steps: tuple[Step, ...]
    scorer: Scorer


@dataclass(frozen=True)
class Backend:
    """A backend that was learned.

    Attributes:
        name: of its chain.
        mean: taken away first [D].
        steps: learned.
        scoring: learned.
        recordings, speakers: that it was learned from.
    """

    name: str
    mean: torch.Tensor
    steps: tuple[Learned, ...]
    scoring: Scoring
    recordings: int = 0
    speakers: int = 0

    def transform(self, vectors: ArrayLike) -> torch.Tensor:
        """Embeddings [N, D] as the scorer takes them.

        Raises:
            ShapeError: embeddings of another width.
        """
        rows = torch.from_numpy(np.asarray(vectors, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ShapeError(
                f"embeddings do not fit the backend {self.name!r}",
                got=tuple(rows.shape),
                expected=f"(recordings, {len(self.mean)})",
            )
        rows = rows - self.mean
        for step in self.steps:
            rows = step.apply(rows)
        return rows

    def score(self, vectors: ArrayLike, first: NDArray[Any], second: NDArray[Any]) -> Floats:
        """Scores [M] of pairs of embeddings.

        Args:
            vectors: [N, D].
            first, second: [M], rows of either side.
        """
        return self.scoring.score(self.transform(vectors), first, second)

    def facts(self) -> dict[str, Any]:
        """For the record."""
        found: dict[str, Any] = {"recordings": self.recordings, "speakers": self.speakers}
        for step in self.steps:
            found |= step.facts()
        return found | self.scoring.facts()


def learn(
    name: str,
    vectors: ArrayLike,
    speakers: Sequence[str],
    settings: BackendSettings | None = None,
) -> Backend:
    """Learn a backend.

    Args:
        name: of :data:`BACKENDS`.
        vectors: embeddings [N, D].
        speakers: of each.
        settings: numbers.

    Raises:
        UnknownNameError: no such backend.
        UsageError: too few speakers or recordings.
        NumericsError: embeddings that are not finite, or that do not vary.
        ShapeError: not as many speakers as embeddings.
    """
    chain = BACKENDS.get(name)
    rows = torch.from_numpy(np.asarray(vectors, dtype=np.float64))
    if len(rows) != len(speakers):
        raise ShapeError(
            "there must be a speaker for every embedding", got=len(speakers), expected=len(rows)
        )
    if not bool(rows.isfinite().all()):
        raise NumericsError("embeddings are not finite", got="NaN or infinity")
    _, held = np.unique(np.asarray(speakers, dtype=np.str_), return_inverse=True)
    codes = torch.from_numpy(held.reshape(-1).astype(np.int64))
    settings = settings or BackendSettings()
    mean = rows.mean(dim=0)
    rows = rows - mean
    learned: list[Learned] = []
    for step in chain.steps:
        one = step.learn(rows, codes, settings)
        rows = one.apply(rows)
        learned.append(one)
    scoring = chain.scorer.learn(rows, codes, settings)
    return Backend(name, mean, tuple(learned), scoring, len(rows), int(codes.max()) + 1)


class Cosine:
    """Cosine of what the steps give."""

    def learn(self, rows: torch.Tensor, codes: torch.Tensor, settings: BackendSettings) -> Cosine:
        """There is nothing to learn."""
        return self

    def score(self, rows: torch.Tensor, first: NDArray[Any], second: NDArray[Any]) -> Floats:
        """Cosines."""
        sides = unit(rows.numpy())
        return products(sides, sides, first, second)

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}


BACKENDS: Registry[Chain] = Registry("backend", "voxstrata.backends")
"""Names to chains."""

for _name, _summary in (
    ("lda", "linear discriminant analysis, then cosine"),
    ("wccn", "within-class covariance normalisation, then cosine"),
    ("lda-wccn", "LDA, length normalisation, WCCN, then cosine"),
    ("plda", "length normalisation, then two-covariance PLDA"),
    ("lda-plda", "LDA, length normalisation, then two-covariance PLDA (Kaldi)"),
):
    _target = _name.upper().replace("-", "_")
    BACKENDS.add(_name, f"voxstrata.verification.backend_chains:{_target}", _summary)
