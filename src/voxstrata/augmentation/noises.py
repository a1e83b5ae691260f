"""Noises that are made: loops of mean power 1 that join up with themselves."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation.step import Wave
from voxstrata.types import SAMPLE_RATE

SECONDS = 10
"""Length of a loop."""

SHAPES = ("white", "pink", "brown", "hum", "band", "clicks", "modulated")
"""Kinds of noise."""

COUNT = 63
"""Loops of a seed; number ``i`` has shape ``SHAPES[i % len(SHAPES)]``."""

LENGTH = SECONDS * SAMPLE_RATE
"""Samples of a loop."""

_N = LENGTH
_NOISE = 4243  # purpose number of the random generators


@functools.lru_cache(maxsize=2 * COUNT)
def noise_loop(seed: int, index: int) -> Wave:
    """Loop number ``index`` of a seed, float32 [160000]; the array must not be written to."""
    rng = np.random.default_rng([_NOISE, seed, index])
    return finished(_MAKERS[SHAPES[index % len(SHAPES)]](rng))


def finished(wave: NDArray[Any]) -> Wave:
    """Mean 0, mean power 1, float32, read-only."""
    wave = wave - wave.mean(dtype=np.float64)
    made = (wave / math.sqrt(float(np.mean(np.square(wave, dtype=np.float64))))).astype(np.float32)
    made.flags.writeable = False
    return made


def frequencies() -> NDArray[np.float32]:
    """Of the spectrum of a loop, Hz."""
    return np.fft.rfftfreq(_N, 1 / SAMPLE_RATE).astype(np.float32)


def shaped(rng: np.random.Generator, magnitude: NDArray[Any]) -> Wave:
    """Gaussian noise with a given magnitude spectrum [N/2 + 1], as a loop."""
    from scipy import fft

    spectrum = fft.rfft(rng.standard_normal(_N, dtype=np.float32))
    made: Wave = fft.irfft(spectrum * magnitude.astype(np.float32), _N)
    return made


def _coloured(rng: np.random.Generator, slope: float) -> Wave:
    """Power falling with frequency to the ``slope``; level below 30 Hz."""
    magnitude = np.maximum(frequencies(), 30.0) ** (-slope / 2)
    magnitude[frequencies() < 15] = 0
    return shaped(rng, magnitude)


def _hum(rng: np.random.Generator) -> Wave:
    """Mains hum: a fundamental with harmonics, and a little pink noise."""
    mains = float(rng.choice([50.0, 60.0]))
    time = np.arange(_N) / SAMPLE_RATE
    total = np.zeros(_N)
    for harmonic in range(1, int(rng.integers(4, 25))):
        strength = rng.uniform(0.2, 1.0) / harmonic ** rng.uniform(0.3, 1.2)
        phase = rng.uniform(0, 2 * np.pi)
        total += strength * np.sin(2 * np.pi * mains * harmonic * time + phase)
    hiss = _coloured(rng, 1.0)
    made: Wave = (total / total.std() + rng.uniform(0.03, 0.4) * hiss / hiss.std()).astype(
        np.float32
    )
    return made


def _band(rng: np.random.Generator) -> Wave:
    """Noise between two frequencies, a third of an octave to four octaves apart."""
    width = 2 ** rng.uniform(1 / 3, 4)
    low = math.exp(rng.uniform(math.log(60), math.log(7600 / width)))
    hertz = frequencies()
    inside = (hertz >= low) & (hertz <= low * width)
    return shaped(rng, inside + 0.003)


def _clicks(rng: np.random.Generator) -> Wave:
    """Short decaying bursts of random colour at random instants, 1 to 12 a second."""
    from scipy import fft

    train = np.zeros(_N, dtype=np.float32)
    count = int(rng.poisson(rng.uniform(1, 12) * SECONDS)) + 1
    at = rng.integers(0, _N, count)
    np.add.at(train, at, (rng.normal(size=count) * rng.uniform(0.3, 1, count)).astype(np.float32))
    length = int(rng.uniform(0.002, 0.06) * SAMPLE_RATE)
    burst = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    # A resonance on top, as of a cup or a key.
    tone = np.cos(2 * np.pi * rng.uniform(200, 5000) * np.arange(length) / SAMPLE_RATE)
    burst *= 1 + rng.uniform(0, 3) * tone
    spectrum = fft.rfft(train) * fft.rfft(burst.astype(np.float32), _N)
    made: Wave = fft.irfft(spectrum, _N)
    return made + np.float32(0.01 * made.std()) * rng.standard_normal(_N, dtype=np.float32)


def _modulated(rng: np.random.Generator) -> Wave:
    """Coloured noise whose level wanders by some 20 dB, 0.2 to 8 times a second (traffic, wind)."""
    base = _coloured(rng, rng.uniform(0, 2))
    rate = math.exp(rng.uniform(math.log(0.2), math.log(8)))
    hertz = frequencies()
    slow = shaped(rng, (hertz < rate) & (hertz > 0))
    level = 10 ** (rng.uniform(0.2, 0.6) * slow / max(float(slow.std()), 1e-9))
    made: Wave = base * level.astype(np.float32)
    return made


_MAKERS = {
    "white": lambda rng: _coloured(rng, 0.0),
    "pink": lambda rng: _coloured(rng, 1.0),
    "brown": lambda rng: _coloured(rng, 2.0),
    "hum": _hum,
    "band": _band,
    "clicks": _clicks,
    "modulated": _modulated,
}
