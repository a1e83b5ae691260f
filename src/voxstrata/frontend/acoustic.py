"""One number a frame: level, spectral tilt, zero crossings of 25 ms windows every 10 ms.

Frame t sees samples [160 t, 160 t + 400), as Kaldi's filter banks do; its mean is removed first.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voxstrata.frontend.config import HOP, WINDOW, StftConfig
from voxstrata.frontend.pitch import hann
from voxstrata.types import FrameGrid

Array = NDArray[np.float64]

GRID = FrameGrid(HOP, WINDOW)

ENERGY_FLOOR = 1e-10
"""Mean square below which level stays at -100 dB."""

DENSITY_FLOOR = 1e-12
"""Power density (of samples in [-1, 1]) added before the logarithm of the tilt."""

TILT_BANDS = StftConfig(mels=40, low_hz=50.0)


def windows(wave: NDArray[np.floating]) -> Array:
    """The frames of a recording [S], each without its mean, float64 [T, 400]."""
    x = wave.astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP]
    centred: Array = frames - frames.mean(axis=1, keepdims=True)
    return centred


def energy_db(frames: Array) -> Array:
    """Level: 10 log10 of the mean square, dB relative to a mean square of 1, at least -100, [T].

    A sine of full scale has -3.01 dB.

    Args:
        frames: :func:`windows` [T, 400].
    """
    level: Array = 10 * np.log10(np.maximum((frames**2).mean(axis=1), ENERGY_FLOOR))
    return level


@lru_cache(maxsize=1)
def _bands() -> tuple[Array, Array]:
    """Mel filters that sum to 1 over bins [257, 40], and weights [40] that turn levels of the bands
    into their least-squares slope on log2 of frequency."""
    from voxstrata.frontend.stft import mel_filters

    filters = mel_filters(TILT_BANDS).numpy()
    filters = filters / filters.sum(axis=0)
    octave = np.log2(np.linspace(0, 8000, len(filters)) @ filters)
    octave -= octave.mean()
    return filters, octave / (octave**2).sum()


def tilt_db(frames: Array) -> Array:
    """Spectral tilt: slope of the log-mel spectrum on log2 of frequency, dB an octave, [T].

    40 mel bands from 50 to 8000 Hz of a Hann-windowed 512-point power spectrum, each divided by
    its width, so that white noise has slope 0; a line is fitted to their levels in dB by
    least squares. A floor at -120 dB keeps silence finite (slope 0).

    Args:
        frames: :func:`windows` [T, 400].
    """
    window = hann(WINDOW)
    spectrum = np.fft.rfft(frames * window, TILT_BANDS.n_fft, axis=1)
    density = (spectrum.real**2 + spectrum.imag**2) / (window**2).sum()
    filters, weights = _bands()
    slope: Array = 10 * np.log10(density @ filters + DENSITY_FLOOR) @ weights
    return slope


def zero_crossings(frames: Array) -> Array:
    """Share of neighbouring samples with different signs, in [0, 1]; 0 counts as positive, [T].

    Args:
        frames: :func:`windows` [T, 400].
    """
    negative = frames < 0
    share: Array = (negative[:, 1:] != negative[:, :-1]).mean(axis=1)
    return share
