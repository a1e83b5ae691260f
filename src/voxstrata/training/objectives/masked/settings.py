"""Settings of ``objective: {name: masked}``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.training.objectives.masked.mixing import MixingConfig

_Count = Annotated[int, Field(ge=1)]


class MaskConfig(Config):
    """Hidden frames (:func:`voxstrata.training.objectives.masked.masks.draw_mask`).

    Attributes:
        probability: share of frames if spans did not overlap.
        length: frames of a span (published: 5 of 20 ms, 10 of 10 ms).
        min_spans: fewest spans.
    """

    probability: Annotated[float, Field(gt=0, le=1)] = 0.7
    length: _Count = 5
    min_spans: _Count = 2


class TargetsConfig(Config):
    """What is to be predicted: the nearest of ``model.options.clusters`` k-means centres.

    Attributes:
        model, layer: a model (name or folder) and its layer whose frames are clustered (the second
            iteration); ``None`` for acoustic features.
        front_end, front_end_options: features that are clustered instead of the network's own
            log-mel frames of 10 ms; with ``front_end_options`` alone, changes to those.
        normalise: of a layer's frames, over each recording: "none" as published; "mean", or
            "instance" for mean and deviation, takes out much of what is the speaker's and the
            channel's.
        context: frames on each side that are clustered together with a frame.
        folder: output folder of an earlier run whose statistics and codes are taken over; all
            other settings here are then that run's.
        statistics: "corpus" for mean and deviation of the training corpus in the network's front
            end (they become part of the model), "front_end" to leave it as configured.
        frames: frames that centres are fitted to, at most.
        per_recording: frames of one recording among them, at most.
        held: share of the recordings, by which the best of several fits is chosen.
        starts: fits, each from a k-means++ start of its own.
        seed: of sample and starts.
        features_gb: log-mel features are computed once and kept on disk until the run ends where
            they take no more than this; beyond, they are computed from each crop. The numbers are
            the same.
    """

    model: str | None = None
    layer: str | None = None
    front_end: str | None = None
    front_end_options: dict[str, Any] = Field(default_factory=dict)
    normalise: Literal["none", "mean", "instance"] = "none"
    context: Annotated[int, Field(ge=0, le=25)] = 0
    folder: str | None = None
    statistics: Literal["corpus", "front_end"] = "corpus"
    frames: _Count = 200_000
    per_recording: _Count = 100
    held: Annotated[float, Field(gt=0, lt=1)] = 0.1
    starts: _Count = 3
    seed: Annotated[int, Field(ge=0)] = 0
    features_gb: Annotated[float, Field(ge=0)] = 8.0

    @model_validator(mode="after")
    def _one_source(self) -> TargetsConfig:
        if (self.model is None) != (self.layer is None):
            raise ValueError("targets.model and targets.layer go together")
        if self.model is not None and (self.front_end or self.front_end_options):
            raise ValueError(
                "targets come from a model or from a front end, not both: unset the other "
                "(targets.front_end= and targets.front_end_options={})"
            )
        if self.model is None and self.normalise != "none":
            raise ValueError(
                "targets.normalise is for layers of a model; a front end has normalise among its "
                "own settings (targets.front_end_options)"
            )
        if self.folder is not None and self.model is not None:
            raise ValueError("targets.folder already says where its codes came from")
        return self


class MaskedOptions(Config):
    """Settings of ``objective: {name: masked}``.

    Attributes:
        name: "masked".
        targets, mask: see the classes.
        mixing: other speech and noise mixed into the input (the denoising variant); ``None`` for
            none.
        max_frames: longest crop, frames of the network.
        masked_weight, unmasked_weight: of the cross-entropy of hidden and of visible frames.
        dropout: everywhere in the network.
        valid_s: seconds of speech of each evaluation corpus that are used, at most.
    """

    name: Literal["masked"] = "masked"
    targets: TargetsConfig = TargetsConfig()
    mask: MaskConfig = MaskConfig()
    mixing: MixingConfig | None = None
    max_frames: _Count = 750
    masked_weight: Annotated[float, Field(ge=0)] = 1.0
    unmasked_weight: Annotated[float, Field(ge=0)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    valid_s: Annotated[float, Field(gt=0)] = 600.0

    @model_validator(mode="after")
    def _some_loss(self) -> MaskedOptions:
        if self.masked_weight + self.unmasked_weight <= 0:
            raise ValueError("masked_weight or unmasked_weight must be positive")
        return self
