"""Speed perturbation: resampling, so that tempo and pitch change together."""

from __future__ import annotations

import math

import numpy as np

from voxstrata.augmentation.levels import checked
from voxstrata.augmentation.step import Wave
from voxstrata.errors import AudioError, UsageError


def speed(wave: Wave, factor: float) -> Wave:
    """Play a wave ``factor`` times as fast (Ko et al., Interspeech 2015).

    Args:
        wave: float32 [S].
        factor: 0.9 is slower, longer and lower; all frequencies are multiplied by it.

    Returns:
        float32 [round(S / factor)]; band-limited (soxr, high quality), so nothing is aliased.

    Raises:
        UsageError: the factor is not in 0.1 to 10.
        VoxstrataError: see :func:`voxstrata.augmentation.levels.checked`.
    """
    wave = checked(wave)
    if not (math.isfinite(factor) and 0.1 <= factor <= 10):
        raise UsageError("a speed factor is out of range", got=factor, expected="0.1 to 10")
    length = round(len(wave) / factor)
    if factor == 1.0:
        return wave
    if length == 0:
        raise AudioError("nothing is left of a wave", got=f"{len(wave)} samples x 1/{factor:g}")
    import soxr

    made = np.asarray(soxr.resample(wave, factor, 1.0, quality="HQ"), dtype=np.float32)
    if len(made) < length:
        made = np.pad(made, (0, length - len(made)))
    return made[:length]
