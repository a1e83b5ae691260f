"""What a step of augmentation is: drawn once, then applied to any number of crops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voxstrata.augmentation.config import AugmentConfig
    from voxstrata.augmentation.sources import Bank

Wave = NDArray[np.float32]
"""Samples [S], 16 kHz mono."""


class Step(Protocol):
    """One drawn change: numbers only, so that it can be pickled, compared and written down."""

    def apply(self, wave: Wave, bank: Bank) -> Wave:
        """The changed wave, of the same length.

        Args:
            wave: float32 [S], not changed in place.
            bank: sounds and rooms that the step's numbers point into.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """The numbers, as JSON takes them."""
        ...


Kind = Callable[["AugmentConfig", "Bank", int, np.random.Generator], Step]
"""Draws a step: ``kind(config, bank, samples, rng)``."""
