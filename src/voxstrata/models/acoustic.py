"""Acoustic measures as a model of one-dimensional layers: views for properties, and a floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ModelError
from voxstrata.models.family import ModelSpec

if TYPE_CHECKING:
    from voxstrata.models.base import SpeechModel


class AcousticOptions(Config):
    """Options of ``acoustic``.

    Attributes:
        floor_hz, ceiling_hz: range in which F0 is searched for.
    """

    floor_hz: float = Field(default=75.0)
    ceiling_hz: float = Field(default=500.0)


class AcousticFamily:
    """F0, voicing, periodicity, energy, spectral tilt, zero crossings."""

    name = "acoustic"

    def names(self) -> Mapping[str, str]:
        """Registered names."""
        return {
            "acoustic": "F0, voicing, periodicity, energy, tilt, zero crossings every 10 ms, one "
            "layer of width 1 each (floor_hz=, ceiling_hz=)"
        }

    def recognises(self, spec: ModelSpec) -> bool:
        """The registered name."""
        return spec.base == "acoustic"

    def load(self, spec: ModelSpec) -> SpeechModel:
        """The model named by ``spec``.

        Raises:
            ModelError: a random twin or a cut was asked for; there are no weights and no depth.
            ConfigError: an option is unknown or wrong.
        """
        asked = "random:" if spec.random else f"@{spec.cut}" if spec.cut is not None else None
        if asked is not None:
            raise ModelError(
                "'acoustic' has no weights and no depth, so neither a random twin nor a cut",
                got=spec.text,
                expected="acoustic",
                fix=f"drop {asked!r}; choose among its layers with --layers",
            )
        from voxstrata.frontend.pitch import PitchConfig
        from voxstrata.models.acoustic_model import AcousticModel
        from voxstrata.models.placement import refuse_revision

        refuse_revision(spec.revision, spec.base)
        source = f"options of {spec.text!r}"
        options = build(AcousticOptions, dict(spec.options), source=source)
        return AcousticModel(spec.text, build(PitchConfig, options.model_dump(), source=source))


FAMILY = AcousticFamily()
