"""A whole random channel as augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.augmentation.channel import Channel, random_channel
from voxstrata.augmentation.sources import Bank
from voxstrata.augmentation.step import Wave

if TYPE_CHECKING:
    from voxstrata.augmentation.config import AugmentConfig


@dataclass(frozen=True)
class Through:
    """A channel.

    Attributes:
        channel: which.
    """

    channel: Channel

    def apply(self, wave: Wave, _bank: Bank) -> Wave:
        """The wave through the channel."""
        return self.channel.apply(wave)

    def describe(self) -> dict[str, Any]:
        """See :meth:`voxstrata.augmentation.channel.Channel.describe`."""
        return {"step": "channel", **self.channel.describe()}


def draw_channel(
    config: AugmentConfig, _bank: Bank, _samples: int, rng: np.random.Generator
) -> Through:
    """A random channel; its noise is one of those that the augmenter's seed makes."""
    return Through(replace(random_channel(rng), noise_seed=config.seed))
