"""Powers, mixing at a signal-to-noise ratio, peaks; and which waves are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation.step import Wave
from voxstrata.errors import AudioError, NumericsError, ShapeError, UsageError

FLOOR = 1e-4
"""What wespeaker and TaoRuijie/ECAPA-TDNN add to mean powers; 3D-Speaker adds 1e-6."""


def checked(wave: NDArray[Any], name: str = "the wave") -> Wave:
    """The wave as float32, if it is one.

    Raises:
        UsageError: not floating-point numbers.
        ShapeError: not one-dimensional.
        AudioError: no samples.
        NumericsError: NaN or infinite samples.
    """
    if not isinstance(wave, np.ndarray) or not np.issubdtype(wave.dtype, np.floating):
        raise UsageError(
            f"{name} does not hold floating-point samples",
            got=str(getattr(wave, "dtype", type(wave).__name__)),
            expected="float32 in [-1, 1]",
            fix="divide int16 samples by 32768",
        )
    if wave.ndim != 1:
        raise ShapeError(f"{name} is not one channel", got=str(wave.shape), expected="[S]")
    if len(wave) == 0:
        raise AudioError(f"{name} has no samples", got="length 0", expected="speech")
    whole = wave.astype(np.float32, copy=False)
    # A sum is finite exactly where all samples are, unless it overflows: then look closely.
    if not math.isfinite(float(whole.sum(dtype=np.float64))):
        bad = np.flatnonzero(~np.isfinite(whole))
        raise NumericsError(
            f"{name} has samples that are not finite",
            got=f"{len(bad)} of {len(whole)}, the first at sample {bad[0]}",
            expected="finite samples",
            fix="`voxstrata corpora validate` lists such recordings",
        )
    return whole


def power(wave: Wave) -> float:
    """Mean square, summed in float64."""
    return float(np.einsum("i,i->", wave, wave, dtype=np.float64)) / len(wave)


def active_power(wave: Wave) -> float:
    """Mean square of the samples above 2 % of the peak: the power of speech without its pauses."""
    loud = np.abs(wave)
    loud = loud[loud > 0.02 * loud.max()]
    return power(loud) if len(loud) else 0.0


def gain(signal_power: float, noise_power: float, snr_db: float, floor: float = FLOOR) -> float:
    """Factor on a noise that brings it ``snr_db`` below a signal.

    ``sqrt(10 ** ((dB(signal) - dB(noise) - snr) / 10))`` with ``dB(p) = 10 log10(p + floor)``, the
    formula of TaoRuijie/ECAPA-TDNN, wespeaker (floor 1e-4) and 3D-Speaker (1e-6). The ratio is
    met exactly with ``floor=0``. A noise of no power gets 0.
    """
    if noise_power <= 0:
        return 0.0
    return math.sqrt((signal_power + floor) / (noise_power + floor) * 10 ** (-snr_db / 10))


def mix(wave: Wave, noise: Wave, snr_db: float, *, floor: float = FLOOR) -> Wave:
    """Add a noise.

    Args:
        wave: signal, float32 [S].
        noise: float32 [S']; cut or repeated to S samples.
        snr_db: ratio of mean powers, dB.
        floor: see :func:`gain`.

    Returns:
        float32 [S].

    Raises:
        VoxstrataError: see :func:`checked`.
    """
    wave, noise = checked(wave), fitted(checked(noise, "the noise"), 0, len(wave))
    factor = gain(power(wave), power(noise), snr_db, floor)
    return wave + noise * np.float32(factor)


def fitted(wave: Wave, start: int, length: int) -> Wave:
    """``length`` samples from ``start``, beginning again where the wave ends."""
    if start + length <= len(wave):
        return wave[start : start + length]
    return np.take(wave, np.arange(start, start + length), mode="wrap")


def peak_normalised(wave: Wave) -> Wave:
    """The wave scaled to a peak of 1; silence stays as it is."""
    peak = max(float(wave.max()), -float(wave.min()))
    return wave / np.float32(peak) if peak > 0 else wave
