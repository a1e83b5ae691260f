"""Linear predictability of what a frame sounds like: ``linear-mel``, ``linear-f0``,
``linear-energy``, ``linear-tilt``.

Targets are layers of helper models in the same pass, as for the CCA views of
:mod:`..views.acoustic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstrata.properties.linear.draw import RidgeDraw, view_draw
from voxstrata.properties.property import PropertyFacts
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views.acoustic import read_view, voiced_rows


@dataclass(frozen=True)
class LinearFrames(PropertyFacts):
    """Ridge regression of a helper's layer on frames.

    Attributes:
        helper: the helper model.
        layer: its layer.
        voiced: only rows all of whose frames are voiced.
    """

    helper: str = ""
    layer: str = ""
    voiced: bool = False

    def helpers(self, settings: PropertiesConfig) -> Sequence[str]:
        """The model whose layer is predicted."""
        return (self.helper,)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> RidgeDraw:
        """All rows of the sample (voiced ones for F0), with the folds of the run.

        Raises:
            TooFewError: too few voiced rows, or fewer than three folds.
            UsageError: the sample lacks the helper's layer.
        """
        rows = voiced_rows(sample) if self.voiced else np.arange(len(sample), dtype=np.int64)
        facts: dict[str, Any] = {"view": f"{self.helper}/{self.layer}"}
        if self.voiced:
            facts["voiced_share"] = len(rows) / max(1, len(sample))
        view = read_view(sample, self.helper, self.layer)[rows]
        return view_draw(rows, view, sample.fold[rows], seed, facts=facts)


def mel(argument: str) -> LinearFrames:
    """``linear-mel``: 80 log-mel filters."""
    return _frames("linear-mel", "mel filter bank (R²)", "log-mel", "logmel", argument)


def f0(argument: str) -> LinearFrames:
    """``linear-f0``: fundamental frequency of voiced frames."""
    return _frames("linear-f0", "F0 of voiced frames (R²)", "acoustic", "f0", argument, True)


def energy(argument: str) -> LinearFrames:
    """``linear-energy``: level of the frame."""
    return _frames("linear-energy", "level (R²)", "acoustic", "energy", argument)


def tilt(argument: str) -> LinearFrames:
    """``linear-tilt``: spectral tilt."""
    return _frames("linear-tilt", "spectral tilt (R²)", "acoustic", "tilt", argument)


def _frames(
    name: str, title: str, helper: str, layer: str, argument: str, voiced: bool = False
) -> LinearFrames:
    no_argument(name, argument)
    return LinearFrames(
        name=name,
        title=title,
        group="acoustic",
        unit="frame",
        main="r2",
        helper=helper,
        layer=layer,
        voiced=voiced,
    )
