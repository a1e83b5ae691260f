"""Utterance and noise mixing: the denoising objective of WavLM (arXiv 2110.13900, section III-B).

A stretch of another recording, or of a noise, is added to part of a crop. What is to be predicted
stays that of the crop alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from voxstrata.augmentation.levels import fitted, power
from voxstrata.augmentation.sources import Bank
from voxstrata.config import Config
from voxstrata.errors import AudioError
from voxstrata.training.data.items import Item

_TRIES = 5
"""Other recordings that are tried before a crop is given up."""

Ratio = tuple[float, float]


class MixingConfig(Config):
    """How often and how loud.

    Attributes:
        probability: that a crop is mixed (WavLM: 0.2).
        utterance, noise: weights of what is mixed in (WavLM: noise in one of ten).
        snr_utterance, snr_noise: mean power of the crop over that of what is added, dB, uniform.
        max_overlap: longest stretch, as a share of the crop; lengths are uniform from 1 sample.
        musan: text of a MUSAN corpus for noises; made ones by default.
        seed: of the noises that are made.
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    utterance: Annotated[float, Field(ge=0)] = 0.9
    noise: Annotated[float, Field(ge=0)] = 0.1
    snr_utterance: Ratio = (-5.0, 5.0)
    snr_noise: Ratio = (-5.0, 20.0)
    max_overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    musan: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> MixingConfig:
        if self.utterance + self.noise <= 0:
            raise ValueError("utterance or noise needs a positive weight")
        for name in ("snr_utterance", "snr_noise"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} goes from its lowest to its highest value")
        return self


class Mixer:
    """Adds speech of other recordings, or noise, to crops.

    Holds no random state; may be pickled.

    Args:
        config: how often and how loud.
        items: where other recordings come from.
        bank: where noises come from.
    """

    def __init__(self, config: MixingConfig, items: Sequence[Item], bank: Bank) -> None:
        self.config, self._items, self._bank = config, items, bank

    def __call__(
        self, wave: NDArray[np.float32], item: Item, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """A crop, perhaps with something added.

        Args:
            wave: float32 [S] of ``item``, not changed in place.
            item: whose recording is not mixed with itself.
            rng: for every choice.

        Raises:
            AudioError: several other recordings in a row cannot be read.
        """
        return self.mix(wave, item, rng) if self.chosen(rng) else wave

    def chosen(self, rng: np.random.Generator) -> bool:
        """Whether a crop is mixed: the first draw of its generator."""
        return bool(rng.random() < self.config.probability)

    def mix(
        self, wave: NDArray[np.float32], item: Item, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """A crop with something added; see :meth:`__call__`."""
        config = self.config
        if rng.random() * (config.utterance + config.noise) < config.utterance:
            other, ratio = self._other(item, rng), rng.uniform(*config.snr_utterance)
        else:
            other = self._bank.sound("noises", int(rng.integers(self._bank.count("noises"))))
            ratio = rng.uniform(*config.snr_noise)
        return add_stretch(wave, other, ratio, config.max_overlap, rng)

    def _other(self, item: Item, rng: np.random.Generator) -> NDArray[np.float32]:
        """Another recording, whole, with some sound in it."""
        failed = []
        for _ in range(_TRIES):
            other = self._items[int(rng.integers(len(self._items)))]
            if other.utterance.id == item.utterance.id:
                continue
            try:
                wave = other.read()
            except AudioError as error:
                failed.append(f"{other.id}: {error.what}")
                continue
            if len(wave) and np.any(wave):
                return wave
            failed.append(f"{other.id}: silence")
        raise AudioError(
            f"no recording was found to mix with {item.id}",
            got="; ".join(failed) or f"{_TRIES} times its own recording",
            expected="other recordings with sound in them",
        )


def add_stretch(
    wave: NDArray[np.float32],
    other: NDArray[np.float32],
    ratio_db: float,
    max_overlap: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A wave with a random stretch of another one added at a random place.

    WavLM's algorithm 1: the factor is ``sqrt(P_wave / (10 ** (ratio / 10) P_other))`` with mean
    powers over the whole of both, the stretch has 1 to ``max_overlap`` S samples.

    Args:
        wave: float32 [S].
        other: float32 [S'], with some sound; repeated where the stretch is longer.
        ratio_db: power of ``wave`` over that of what is added, dB.
        max_overlap: share of S.
        rng: for length and places.
    """
    length = int(rng.integers(1, max(1, int(max_overlap * len(wave))) + 1))
    at = int(rng.integers(len(wave) - length + 1))
    begin = int(rng.integers(max(1, len(other) - length + 1)))
    factor = math.sqrt(power(wave) / (power(other) * 10 ** (ratio_db / 10)))
    made = wave.copy()
    made[at : at + length] += np.float32(factor) * fitted(other, begin, length)
    return made
