"""Voices that are made, for babble where there is no speech: noise with the spectrum, formants
and rhythm of speech."""

from __future__ import annotations

import functools

import numpy as np

from voxstrata.augmentation.noises import SECONDS, finished, frequencies, shaped
from voxstrata.augmentation.step import Wave
from voxstrata.types import SAMPLE_RATE

COUNT = 24
"""Voices of a seed."""

BABBLE = 8
"""Voices summed by :func:`babble_loop`."""

_VOICE = 4244  # purpose number of the random generators
_VOWELS = 3


@functools.lru_cache(maxsize=COUNT)
def voice_loop(seed: int, index: int) -> Wave:
    """Voice number ``index`` of a seed, float32 [160000], mean power 1, read-only."""
    rng = np.random.default_rng([_VOICE, seed, index])
    hertz = frequencies()
    # Long-term spectrum of speech: level to about 500 Hz, then falling some 9 dB an octave.
    base = 1 / (1 + (hertz / rng.uniform(350, 650)) ** 1.5) * (hertz > rng.uniform(80, 180))
    total = np.zeros(SECONDS * SAMPLE_RATE, dtype=np.float32)
    rate = rng.uniform(3.0, 6.0)  # syllables a second
    pauses = _wave(rng, 0.1, 0.5) > rng.uniform(-1.2, -0.5)
    for _ in range(_VOWELS):
        shape = base * (0.15 + _formant(hertz, rng, 250, 850) + _formant(hertz, rng, 850, 2600))
        turns = np.maximum(_wave(rng, 0.6 * rate, 1.4 * rate), 0) ** 1.5
        total += shaped(rng, shape) * turns * pauses
    return finished(total)


@functools.lru_cache(maxsize=24)
def babble_loop(seed: int, index: int) -> Wave:
    """Several voices of a seed together, float32 [160000], mean power 1, read-only.

    Args:
        seed: of the voices.
        index: different numbers below ``COUNT`` take different voices.
    """
    return finished(np.sum([voice_loop(seed, (index + 3 * i) % COUNT) for i in range(BABBLE)], 0))


def _formant(hertz: Wave, rng: np.random.Generator, low: float, high: float) -> Wave:
    made: Wave = np.exp(-(((hertz - rng.uniform(low, high)) / rng.uniform(90, 200)) ** 2))
    return made


def _wave(rng: np.random.Generator, low: float, high: float) -> Wave:
    """A random wave with frequencies from ``low`` to ``high`` Hz and standard deviation 1."""
    hertz = frequencies()
    made = shaped(rng, (hertz >= low) & (hertz <= high))
    made /= made.std()
    return made
