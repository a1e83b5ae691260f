"""A room around the speech."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.augmentation.rooms import reverberate
from voxstrata.augmentation.sources import Bank
from voxstrata.augmentation.step import Wave

if TYPE_CHECKING:
    from voxstrata.augmentation.config import AugmentConfig


@dataclass(frozen=True)
class InRoom:
    """A room of the bank.

    Attributes:
        index: its number.
        gain_db: gain on top.
    """

    index: int
    gain_db: float

    def apply(self, wave: Wave, bank: Bank) -> Wave:
        """The wave in the room."""
        wet = reverberate(wave, bank.sound("rooms", self.index))
        return wet * np.float32(10 ** (self.gain_db / 20)) if self.gain_db else wet

    def describe(self) -> dict[str, Any]:
        """Number and gain."""
        return {"step": "room", **asdict(self)}


def draw_room(config: AugmentConfig, bank: Bank, _samples: int, rng: np.random.Generator) -> InRoom:
    """A room, with the gain that the configuration asks for."""
    index = int(rng.integers(bank.count("rooms")))
    return InRoom(index, float(rng.uniform(*config.room_gain_db)) if config.room_gain_db else 0.0)
