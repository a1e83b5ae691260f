"""Parts of the wave taken out, in frequency or in time (SpeechBrain's DropFreq and DropChunk)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.augmentation.sources import Bank
from voxstrata.augmentation.step import Wave
from voxstrata.types import SAMPLE_RATE

if TYPE_CHECKING:
    from voxstrata.augmentation.config import AugmentConfig

_HALF = 128  # taps of a band-stop filter to either side: 8 ms


@dataclass(frozen=True)
class WithoutBands:
    """Bands taken out by a linear-phase filter.

    Attributes:
        bands: (lowest, highest) frequency of each, Hz.
    """

    bands: tuple[tuple[float, float], ...]

    def apply(self, wave: Wave, _bank: Bank) -> Wave:
        """The wave without the bands, not delayed."""
        from scipy.signal import firwin2, oaconvolve

        grid = np.linspace(0, SAMPLE_RATE / 2, 513)
        passed = np.ones(len(grid))
        for low, high in self.bands:
            passed[(grid >= low) & (grid <= high)] = 0
        taps = firwin2(2 * _HALF + 1, grid, passed, fs=SAMPLE_RATE).astype(np.float32)
        made: Wave = oaconvolve(wave, taps)[_HALF : _HALF + len(wave)]
        return made.astype(np.float32, copy=False)

    def describe(self) -> dict[str, Any]:
        """The bands."""
        return {"step": "drop_freq", "bands_hz": [list(band) for band in self.bands]}


@dataclass(frozen=True)
class WithoutChunks:
    """Stretches set to zero.

    Attributes:
        chunks: (start, length): the start as a share of the places there are, the length in
            samples.
    """

    chunks: tuple[tuple[float, int], ...]

    def apply(self, wave: Wave, _bank: Bank) -> Wave:
        """The wave with the stretches silenced."""
        made = wave.copy()
        for start, length in self.chunks:
            begin = int(start * (max(0, len(wave) - length) + 1))
            made[begin : begin + length] = 0
        return made

    def describe(self) -> dict[str, Any]:
        """The stretches."""
        return {"step": "drop_chunk", "chunks": [list(chunk) for chunk in self.chunks]}


def draw_bands(
    config: AugmentConfig, _bank: Bank, _samples: int, rng: np.random.Generator
) -> WithoutBands:
    """Bands of the configured width, their centres uniform up to 8 kHz."""
    low, high = config.drop_bands
    centres = rng.uniform(0, SAMPLE_RATE / 2, int(rng.integers(low, high + 1)))
    half = config.drop_band_hz / 2
    bands = [(max(0.0, float(c) - half), min(SAMPLE_RATE / 2, float(c) + half)) for c in centres]
    return WithoutBands(tuple(bands))


def draw_chunks(
    config: AugmentConfig, _bank: Bank, _samples: int, rng: np.random.Generator
) -> WithoutChunks:
    """Stretches of configured number and length."""
    low, high = config.drop_chunks
    shortest, longest = config.drop_chunk_samples
    return WithoutChunks(
        tuple(
            (float(rng.random()), int(rng.integers(shortest, longest + 1)))
            for _ in range(int(rng.integers(low, high + 1)))
        )
    )
