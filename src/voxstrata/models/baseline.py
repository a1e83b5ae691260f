"""Acoustic features as one-layer models: the floor that every learned layer is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ModelError
from voxstrata.models.family import ModelSpec

if TYPE_CHECKING:
    from voxstrata.models.base import SpeechModel


class LogMelOptions(Config):
    """Options of ``log-mel``.

    Attributes:
        mels: mel filters.
        normalise: "none", "mean" (of the recording removed) or "instance" (and divided by its
            deviation).
        context: frames joined on each side (5 gives eleven); the first and last frame stand in for
            those beyond the ends.
    """

    mels: int = Field(default=80, ge=3)
    normalise: Literal["none", "mean", "instance"] = "none"
    context: int = Field(default=0, ge=0)


class MfccOptions(Config):
    """Options of ``mfcc``.

    Attributes:
        coefficients: cepstra, C0 first.
        mels: mel filters below them.
        deltas: orders of time differences appended (0 to 2).
        normalise, context: as for ``log-mel``.
    """

    coefficients: int = Field(default=20, ge=1)
    mels: int = Field(default=40, ge=3)
    deltas: int = Field(default=0, ge=0, le=2)
    normalise: Literal["none", "mean", "instance"] = "none"
    context: int = Field(default=0, ge=0)


_OPTIONS: dict[str, type[Config]] = {"log-mel": LogMelOptions, "mfcc": MfccOptions}
_LAYER = {"log-mel": "logmel", "mfcc": "mfcc"}


class BaselineFamily:
    """log-mel and MFCC features."""

    name = "baseline"

    def names(self) -> Mapping[str, str]:
        """Registered names."""
        return {
            "log-mel": "80 Kaldi log-mel filters, one layer 'logmel' (mels=, normalise=, context=)",
            "mfcc": "20 Kaldi cepstra, one layer 'mfcc' (coefficients=, mels=, deltas=, context=)",
        }

    def recognises(self, spec: ModelSpec) -> bool:
        """A registered name."""
        return spec.base in _OPTIONS

    def load(self, spec: ModelSpec) -> SpeechModel:
        """The model named by ``spec``.

        Raises:
            ModelError: a random twin was asked for; features have no weights.
            ConfigError: an option is unknown or wrong.
            UnknownNameError: the cut is not the one layer there is.
        """
        if spec.random:
            raise ModelError(
                f"{spec.base!r} has no random twin",
                got=spec.text,
                expected=spec.base,
                fix="acoustic features have no weights: drop 'random:'",
            )
        from voxstrata.frontend import front_end
        from voxstrata.models.baseline_model import BaselineModel
        from voxstrata.models.placement import refuse_revision

        refuse_revision(spec.revision, spec.base)
        options = build(_OPTIONS[spec.base], dict(spec.options), source=f"options of {spec.text!r}")
        given = options.model_dump()
        context = int(given.pop("context"))
        front = front_end(spec.base, **given)
        return BaselineModel(spec.text, _LAYER[spec.base], front, spec.cut, context)


FAMILY = BaselineFamily()
