"""Settings of a verification run, one object for YAML, command line and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from voxstrata.config import Config
from voxstrata.metrics.bootstrap import REPLICATES
from voxstrata.metrics.eer import Definition
from voxstrata.verification.embed import Pooling
from voxstrata.verification.score import Deviation

OF_TRIALS = "trials"
"""The mean of the trial recordings' own embeddings."""

_Share = Annotated[float, Field(gt=0, lt=1)]


class VerifyConfig(Config):
    """What is verified, how it is scored, and what stands beside it.

    Attributes:
        models: model names (docs/models.md), at least one.
        corpus: corpus of the trial recordings (docs/corpora.md).
        trials: file with a trial list; ``None`` for all pairs of the corpus.
        same_gender, session, max_trials: which pairs, where there is no list; see
            :func:`voxstrata.verification.pairs.all_pairs`.
        missing: trials of recordings that the corpus has not: "stop" refuses the list, "skip"
            leaves them out and counts them.
        layer: layer of the models that have it; ``None`` for the embedding.
        pooling: of layers with a time axis, see :func:`voxstrata.verification.embed.choose`.
        crops: average the score of whole recordings with that of five crops.
        mean_from: corpus whose mean embedding is subtracted, or "trials".
        mean_limit: use a seeded subset of this many recordings of it.
        as_norm: corpus of the cohort; ``None`` for no AS-norm.
        top: how many of the cohort are used for each side.
        deviation: of the cohort's scores: "population" or "sample".
        cohort: whether a cohort member is a "speaker" (mean embedding) or a "recording".
        backend: also score by these backends (:mod:`voxstrata.verification.backend`).
        backend_from: corpus, with speakers, that they are learned from.
        backend_limit: use a seeded subset of this many recordings of it.
        lda_dim: dimensions that LDA keeps; ``None`` for as many as there are, at most 200.
        plda_iterations: of PLDA's expectation-maximisation.
        channel: "none", or "random": each recording through a seeded channel of its own.
        channel_seed: of the channels.
        channel_on: whether channels meet the "trials" recordings alone, or "all" corpora.
        twins: run the untrained twin of each trained model too.
        baselines: run statistics of log-mel and MFCC too.
        definition: of the equal error rate that has intervals and is compared.
        p_targets: priors of the detection costs.
        c_miss, c_fa: their costs.
        replicates: draws of speakers behind an interval; 0 for none.
        seed: of draws and samples.
        limit: use a seeded subset of this many recordings (no trial list then).
        keep_scores: write ``scores.parquet``.
        study: name written into the results.
        dtype, device, batch_s, on_error: as for the other jobs.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    corpus: str
    trials: str | None = None
    same_gender: bool = False
    session: str | None = None
    max_trials: Annotated[int, Field(ge=2)] | None = None
    missing: Literal["stop", "skip"] = "stop"
    layer: str | None = None
    pooling: Pooling = "auto"
    crops: bool = False
    mean_from: str = OF_TRIALS
    mean_limit: PositiveInt | None = None
    as_norm: str | None = None
    top: Annotated[int, Field(ge=2)] = 300
    deviation: Deviation = "population"
    cohort: Literal["speaker", "recording"] = "speaker"
    backend: tuple[str, ...] = ()
    backend_from: str | None = None
    backend_limit: PositiveInt | None = None
    lda_dim: PositiveInt | None = None
    plda_iterations: PositiveInt = 10
    channel: Literal["none", "random"] = "none"
    channel_seed: Annotated[int, Field(ge=0)] = 0
    channel_on: Literal["trials", "all"] = "trials"
    twins: bool = True
    baselines: bool = True
    definition: Definition = "interpolated"
    p_targets: Annotated[tuple[_Share, ...], Field(min_length=1)] = (0.01, 0.05)
    c_miss: PositiveFloat = 1.0
    c_fa: PositiveFloat = 1.0
    replicates: Annotated[int, Field(ge=0)] = REPLICATES
    seed: int = 0
    limit: PositiveInt | None = None
    keep_scores: bool = False
    study: str = "verify"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    batch_s: PositiveFloat | None = None
    on_error: Literal["skip", "stop"] = "skip"

    @field_validator("models", "backend", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One name need not be a list."""
        return (given,) if isinstance(given, str) else given

    @field_validator("models", "p_targets", "backend")
    @classmethod
    def _once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [item for item in dict.fromkeys(given) if given.count(item) > 1]
        if twice:
            raise ValueError(f"given twice: {', '.join(map(str, twice))}")
        return given

    @model_validator(mode="after")
    def _backend_and_corpus(self) -> VerifyConfig:
        if bool(self.backend) != (self.backend_from is not None):
            raise ValueError("backend and backend_from go together: what, and learned from where")
        return self

    @model_validator(mode="after")
    def _list_or_pairs(self) -> VerifyConfig:
        made = {
            "same_gender": self.same_gender,
            "session": self.session is not None,
            "max_trials": self.max_trials is not None,
            "limit": self.limit is not None,
        }
        asked = [name for name, value in made.items() if value]
        if self.trials is not None and asked:
            raise ValueError(f"{', '.join(asked)} choose pairs where there is no trial list")
        return self
