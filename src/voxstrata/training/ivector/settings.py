"""Configuration of the training of an i-vector extractor."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.frontend.vad import VadConfig

_Count = Annotated[int, Field(ge=1)]
_Positive = Annotated[float, Field(gt=0)]


class ExtractorConfig(Config):
    """Sizes, features and alignment; see :class:`voxstrata.models.ivector.options.IvectorOptions`.

    Attributes:
        gaussians, rank, covariance, select, least_posterior, window, variance, vad: see there.
        front_end: registered front end of Kaldi's kind.
        front_end_options: changes to it.
    """

    gaussians: _Count
    rank: _Count
    covariance: Literal["diagonal", "full"] = "diagonal"
    select: _Count | None = None
    least_posterior: Annotated[float, Field(ge=0, lt=1)] = 0.025
    window: _Count = 300
    variance: bool = False
    vad: VadConfig = VadConfig()
    front_end: str = "mfcc"
    front_end_options: dict[str, Any] = Field(default_factory=lambda: {"deltas": 2})


class SpeechConfig(Config):
    """Recordings.

    Attributes:
        corpus: text of the training corpus; or several, each a key with the value 1, as other
            recipes have them.
        valid: corpora whose error rates are told at the end, by short name.
        min_s, max_s: shortest and longest recordings used.
        longest: the total variability matrix is trained on this many of the longest recordings.
        check: how closely files are looked at before the run.
    """

    corpus: str | dict[str, Literal[1]]
    valid: dict[str, str] = Field(default_factory=dict)
    min_s: float | None = None
    max_s: float | None = None
    longest: _Count | None = None
    check: Literal["none", "header", "decode"] = "header"

    @property
    def corpora(self) -> dict[str, int]:
        """Texts of the corpora."""
        return {self.corpus: 1} if isinstance(self.corpus, str) else dict(self.corpus)


class UbmConfig(Config):
    """The background mixture.

    Attributes:
        sample: frames of speech the start is made from, in memory, evenly from all recordings.
        start: iterations of the start.
        diagonal, full: passes over all speech after it; ``full`` for full covariances.
        floor: least variance, as a share of that of all frames.
    """

    sample: _Count = 500_000
    start: _Count = 20
    diagonal: Annotated[int, Field(ge=0)] = 4
    full: _Count = 4
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.01


class VariabilityConfig(Config):
    """Expectation-maximisation of the total variability matrix.

    Attributes:
        iterations: how many.
        covariance, divergence: whether those sub-steps are made.
        expectation: an expectation step before each sub-step ("each": the likelihood is certain to
            rise at each), or one an iteration ("shared": Kaldi, bob.learn.em; a third of the time).
        watch: with "shared", tell the likelihood after every sub-step all the same, at a further
            expectation step each.
        floor, least: see :class:`voxstrata.numerics.variability_fit.Method`.
    """

    iterations: _Count = 10
    covariance: bool = True
    divergence: bool = True
    expectation: Literal["each", "shared"] = "each"
    watch: bool = True
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.1
    least: Annotated[float, Field(ge=0)] = 100.0


class WorkConfig(Config):
    """How the work is done.

    Attributes:
        seed: of the start and of the first matrix.
        device: "auto", "cpu", "cuda", ...; features are computed on the CPU.
        part_s: seconds of audio that are held, and kept on disk, together.
        keep_features: keep frames of speech on disk (24 kB a second) instead of computing them in
            every pass.
        statistics: precision of the statistics on disk.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: str = "auto"
    part_s: _Positive = 600.0
    keep_features: bool = True
    statistics: Literal["float64", "float32"] = "float64"


class IvectorConfig(Config):
    """A training run of an i-vector extractor, whole.

    Attributes:
        kind: tells recipes apart.
        name: of the model that comes out.
        model, data, ubm, variability, run: see the classes.
    """

    kind: Literal["ivector"] = "ivector"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: ExtractorConfig
    data: SpeechConfig
    ubm: UbmConfig = UbmConfig()
    variability: VariabilityConfig = VariabilityConfig()
    run: WorkConfig = WorkConfig()

    @model_validator(mode="after")
    def _selection(self) -> IvectorConfig:
        if self.model.select is not None and self.model.covariance == "diagonal":
            raise ValueError("model.select is for full covariances")
        return self
