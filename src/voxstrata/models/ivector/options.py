"""What an i-vector extractor is built of, and what is done to its features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.frontend.vad import VadConfig

_Count = Annotated[int, Field(ge=1)]


class IvectorOptions(Config):
    """Sizes, alignment and features.

    Attributes:
        gaussians: C, of the background mixture.
        width: D, numbers in a frame.
        rank: R, width of an i-vector.
        covariance: of background mixture and extractor.
        select: Gaussians looked at in a frame, chosen by a diagonal mixture (full covariances
            only); ``None`` to look at all.
        least_posterior: posteriors below this are dropped (Kaldi: 0.025).
        window: frames of the sliding normalisation.
        variance: divide by the deviation there too.
        vad: which frames are speech.
    """

    gaussians: _Count
    width: _Count
    rank: _Count
    covariance: Literal["diagonal", "full"] = "diagonal"
    select: _Count | None = None
    least_posterior: Annotated[float, Field(ge=0, lt=1)] = 0.025
    window: _Count = 300
    variance: bool = False
    vad: VadConfig = VadConfig()

    @model_validator(mode="after")
    def _consistent(self) -> IvectorOptions:
        if self.rank >= self.gaussians * self.width:
            raise ValueError("rank must lie below gaussians times width")
        if self.select is not None and self.covariance == "diagonal":
            raise ValueError("select is for full covariances")
        return self
