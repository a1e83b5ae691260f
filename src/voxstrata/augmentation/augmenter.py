"""Draws what is done to a crop, and does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation.config import AugmentConfig
from voxstrata.augmentation.levels import checked, peak_normalised
from voxstrata.augmentation.registry import STEPS
from voxstrata.augmentation.sources import Bank, Sources
from voxstrata.augmentation.step import Step, Wave

__all__ = ["Augmenter", "Profile", "Sources"]


@dataclass(frozen=True)
class Profile:
    """What is done to a crop, every choice made: the same for every crop it is applied to.

    Attributes:
        kind: which of the configured kinds was drawn; "none" where nothing is done.
        steps: what is done, in order.
    """

    kind: str = "none"
    steps: tuple[Step, ...] = ()

    def describe(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"kind": self.kind, "steps": [step.describe() for step in self.steps]}


class Augmenter:
    """Changes crops at random.

    Holds no random state; may be pickled and used in several processes, which then all give
    the same results for the same generators.

    Args:
        config: what is done.
        sources: recordings to do it with; what is missing is made.
    """

    def __init__(self, config: AugmentConfig, sources: Sources | None = None) -> None:
        self.config = config
        self._bank = Bank(sources or Sources(), config.seed, config.babble_pool)
        weights = np.array(list(config.kinds.values()))
        self._kinds, self._ends = list(config.kinds), np.cumsum(weights / weights.sum())

    def __call__(self, wave: NDArray[np.float32], rng: np.random.Generator) -> Wave:
        """A crop, changed: ``apply(wave, draw(len(wave), rng))``."""
        return self.apply(wave, self.draw(len(wave), rng))

    def draw(self, samples: int, rng: np.random.Generator) -> Profile:
        """What is to be done to crops of so many samples."""
        if rng.random() >= self.config.probability:
            return Profile()
        place = int(np.searchsorted(self._ends, rng.random(), side="right"))
        kind = self._kinds[min(place, len(self._kinds) - 1)]
        if kind == "none":
            return Profile()
        steps = [STEPS.get(part)(self.config, self._bank, samples, rng) for part in kind.split("+")]
        return Profile(kind, tuple(steps))

    def apply(self, wave: NDArray[np.float32], profile: Profile) -> Wave:
        """A crop, changed as drawn.

        Args:
            wave: float32 [S], not changed in place.
            profile: from :meth:`draw`.

        Returns:
            float32 [S]; silence stays silent where only rooms and filters are applied.

        Raises:
            UsageError: samples are not floating-point.
            ShapeError: not one channel.
            AudioError: no samples.
            NumericsError: samples that are not finite.
        """
        made = checked(wave)
        if not profile.steps:
            return made
        for step in profile.steps:
            made = step.apply(made, self._bank)
        return peak_normalised(made) if self.config.peak_normalise else made
