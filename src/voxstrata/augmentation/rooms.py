"""Room responses, made and applied.

A made room is a box: the direct path, its six first reflections by image sources (Allen and
Berkley, JASA 1979), then noise that decays exponentially, a common model of late reverberation
(Polack 1988; Moorer, Computer Music Journal 1979).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation.levels import checked
from voxstrata.augmentation.step import Wave
from voxstrata.errors import AudioError
from voxstrata.types import SAMPLE_RATE

SPEED_OF_SOUND = 343.0
"""Metres a second."""

_SABINE = 0.161  # s/m: 24 ln 10 / speed of sound
_ROOM = 4242  # purpose number of the random generators


@dataclass(frozen=True)
class Room:
    """A room that is made.

    Attributes:
        t60_s: seconds in which its energy falls by 60 dB.
        drr_db: energy of the direct path over that of all the rest, dB.
        seed: of walls, places and late reverberation.
    """

    t60_s: float
    drr_db: float
    seed: int

    def response(self) -> Wave:
        """Impulse response, float32 [t60 at 16 kHz], direct path at sample 0, energy 1."""
        rng = np.random.default_rng([_ROOM, self.seed])
        length = max(1, round(self.t60_s * SAMPLE_RATE))
        time = np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE)
        late = rng.standard_normal(length, dtype=np.float32)
        late *= np.exp(np.float32(-3 * math.log(10) / self.t60_s) * time)
        # Late reverberation sets in as reflections grow dense: about sqrt(volume) milliseconds
        # after the direct path.
        delays, strengths, volume = _first_reflections(rng, self.t60_s)
        onset = round(1e-3 * math.sqrt(volume) * SAMPLE_RATE)
        late[:onset] *= np.linspace(0, 1, onset, endpoint=False, dtype=np.float32)[:length]
        # Early reflections hold about as much as the late part would in their place.
        early = np.zeros(length, dtype=np.float32)
        np.add.at(early, np.minimum(delays, length - 1), strengths.astype(np.float32))
        early[0] = late[0] = 0.0
        rest = late + early * np.float32(0.7 * _norm(late) / max(_norm(early), 1e-9))
        rest *= np.float32(10 ** (-self.drr_db / 20) / max(_norm(rest), 1e-9))
        rest[0] = 1.0
        rest /= np.float32(_norm(rest))
        return rest

    def facts(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def _first_reflections(
    rng: np.random.Generator, t60_s: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Delays after the direct path (samples) and strengths of six reflections; volume (m3)."""
    size = np.array([rng.uniform(2.5, 9.0), rng.uniform(2.5, 7.0), rng.uniform(2.3, 3.8)])
    mouth = size * rng.uniform(0.15, 0.85, 3)
    ear = size * rng.uniform(0.15, 0.85, 3)
    volume = float(size.prod())
    surface = 2 * float(size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    # Eyring: t60 = 0.161 V / (-S ln(1 - absorption)); a wall reflects sqrt(1 - absorption).
    reflected = math.exp(-_SABINE * volume / (2 * surface * t60_s))
    images = np.repeat(mouth[None], 6, axis=0)
    for axis in range(3):
        images[2 * axis, axis] = -mouth[axis]
        images[2 * axis + 1, axis] = 2 * size[axis] - mouth[axis]
    direct = max(0.3, float(np.linalg.norm(mouth - ear)))
    far = np.maximum(np.linalg.norm(images - ear, axis=1), direct)
    delays = np.maximum(1, np.rint((far - direct) / SPEED_OF_SOUND * SAMPLE_RATE))
    return delays.astype(np.int64), reflected * direct / far, volume


def draw_room(rng: np.random.Generator) -> Room:
    """A room: T60 0.1 to 0.9 s (uniform on a log scale), direct-to-reverberant -3 to 12 dB."""
    t60 = math.exp(rng.uniform(math.log(0.1), math.log(0.9)))
    return Room(round(t60, 3), round(rng.uniform(-3.0, 12.0), 2), int(rng.integers(2**31)))


def reverberate(wave: Wave, response: Wave) -> Wave:
    """Speech in a room.

    The response is scaled to energy 1 (h / ||h||), convolved in full, and the result cut to the
    length of the wave from the direct path on (the largest sample of the response), so that speech
    is not delayed against its labels. The recipes cut from sample 0.

    Args:
        wave: float32 [S].
        response: float32 [R].

    Returns:
        float32 [S].

    Raises:
        AudioError: the response is silent.
        VoxstrataError: see :func:`voxstrata.augmentation.levels.checked`.
    """
    from scipy.signal import fftconvolve, oaconvolve

    wave, response = checked(wave), checked(response, "the room response")
    norm = _norm(response)
    if norm == 0:
        raise AudioError("a room response is silent", got="zeros", expected="an impulse response")
    direct = int(np.abs(response).argmax())
    convolve = oaconvolve if len(wave) > 8 * len(response) else fftconvolve
    wet: Wave = convolve(wave, response / np.float32(norm))[direct : direct + len(wave)]
    return wet.astype(np.float32, copy=False)


def _norm(wave: Wave) -> float:
    return math.sqrt(float(np.einsum("i,i->", wave, wave, dtype=np.float64)))
