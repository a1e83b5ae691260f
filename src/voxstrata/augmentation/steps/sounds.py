"""Sounds added to speech: noise, music, another voice, babble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.augmentation.levels import fitted, gain, power
from voxstrata.augmentation.sources import Bank, Group
from voxstrata.augmentation.step import Wave

if TYPE_CHECKING:
    from voxstrata.augmentation.config import AugmentConfig, Range


@dataclass(frozen=True)
class Sound:
    """One sound.

    Attributes:
        index: its number in its group.
        start: where it begins, as a share of what it is longer than the wave (or of its own
            length, where it is shorter and repeated).
        snr_db: power of the speech over its own, dB.
    """

    index: int
    start: float
    snr_db: float


@dataclass(frozen=True)
class Sounds:
    """Sounds of one group, added together; each has its ratio to the speech alone.

    Attributes:
        group: where they come from.
        sounds: which, from where, how loud.
        floor: see :func:`voxstrata.augmentation.levels.gain`.
    """

    group: Group
    sounds: tuple[Sound, ...]
    floor: float

    def apply(self, wave: Wave, bank: Bank) -> Wave:
        """The wave with the sounds added."""
        signal = power(wave)
        made = wave.copy()
        for one in self.sounds:
            sound = bank.sound(self.group, one.index)
            spare = len(sound) - len(wave)
            begin = int(one.start * (spare + 1 if spare >= 0 else len(sound)))
            sound = fitted(sound, begin, len(wave))
            made += sound * np.float32(gain(signal, power(sound), one.snr_db, self.floor))
        return made

    def describe(self) -> dict[str, Any]:
        """Group, and number, start and ratio of each sound."""
        sounds = [{"index": s.index, "start": s.start, "snr_db": s.snr_db} for s in self.sounds]
        return {"step": self.group, "sounds": sounds}


def draw_noise(
    config: AugmentConfig, bank: Bank, _samples: int, rng: np.random.Generator
) -> Sounds:
    """One noise."""
    return _drawn("noises", 1, config.snr_noise, config, bank, rng)


def draw_music(
    config: AugmentConfig, bank: Bank, _samples: int, rng: np.random.Generator
) -> Sounds:
    """One piece of music."""
    return _drawn("musics", 1, config.snr_music, config, bank, rng)


def draw_speech(
    config: AugmentConfig, bank: Bank, _samples: int, rng: np.random.Generator
) -> Sounds:
    """One other recording."""
    return _drawn("speeches", 1, config.snr_speech, config, bank, rng)


def draw_babble(
    config: AugmentConfig, bank: Bank, _samples: int, rng: np.random.Generator
) -> Sounds:
    """Several other recordings."""
    low, high = config.babble_voices
    return _drawn("babble", int(rng.integers(low, high + 1)), config.snr_babble, config, bank, rng)


def _drawn(
    group: Group,
    count: int,
    snr_db: Range,
    config: AugmentConfig,
    bank: Bank,
    rng: np.random.Generator,
) -> Sounds:
    total = bank.count(group)
    chosen = rng.choice(total, count, replace=count > total)
    sounds = tuple(Sound(int(i), float(rng.random()), float(rng.uniform(*snr_db))) for i in chosen)
    return Sounds(group, sounds, config.power_floor)
