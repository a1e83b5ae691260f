"""Random channels: all that can lie between a mouth and a file.

Speech in a room, plus noise, through the frequency response of microphone and line, through a
band limit. A recording's channel follows from (seed, id) alone, so speakers do not share channels
beyond chance, and a channel tells nothing of a speaker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation import noises, voices
from voxstrata.augmentation.levels import active_power, checked, fitted, gain, power
from voxstrata.augmentation.rooms import Room, reverberate
from voxstrata.augmentation.step import Wave
from voxstrata.types import SAMPLE_RATE

_CHANNEL = 4248  # purpose number of the random generators
_HALF = 256  # taps of the equaliser to either side: 16 ms
_GRID = np.linspace(0, SAMPLE_RATE / 2, 513)
_POINTS_HZ = (80.0, 160.0, 320.0, 640.0, 1250.0, 2500.0, 5000.0, 8000.0)
_STOP_DB = -45.0

NOISES = noises.COUNT // len(noises.SHAPES)
"""Noises of each kind that a seed has."""


@dataclass(frozen=True)
class Channel:
    """One channel.

    Attributes:
        equaliser: (Hz, dB) points of its frequency response, joined on a log frequency axis.
        low_hz, high_hz: edges of the band limit; ``None`` where there is none.
        room: the room, or ``None``.
        noise: kind of noise (:data:`voxstrata.augmentation.noises.SHAPES` or "babble"), or
            ``None``.
        snr_db: power of the speech without its pauses over that of the noise, dB.
        noise_seed: of the noise.
        noise_number: which of its kind, below :data:`NOISES`.
        noise_start: where it begins, as a share of its loop.
    """

    equaliser: tuple[tuple[float, float], ...] = ()
    low_hz: float | None = None
    high_hz: float | None = None
    room: Room | None = None
    noise: str | None = None
    snr_db: float = math.inf
    noise_seed: int = 0
    noise_number: int = 0
    noise_start: float = 0.0

    def apply(self, wave: NDArray[np.float32]) -> Wave:
        """The wave as it comes out, same length, same mean power, not delayed.

        Args:
            wave: float32 [S].

        Raises:
            VoxstrataError: see :func:`voxstrata.augmentation.levels.checked`.
        """
        wave = checked(wave)
        before = power(wave)
        if before == 0:
            return wave
        made = reverberate(wave, self.room.response()) if self.room else wave
        if self.noise is not None:
            sound = fitted(self._noise(), int(self.noise_start * noises.LENGTH), len(wave))
            factor = gain(active_power(made), power(sound), self.snr_db, 0.0)
            made = made + sound * np.float32(factor)
        if self.equaliser or self.low_hz or self.high_hz:
            made = _filtered(made, self._taps())
        return made * np.float32(math.sqrt(before / max(power(made), 1e-20)))

    __call__ = apply

    def describe(self) -> dict[str, Any]:
        """The channel as JSON takes it; enough to make it again."""
        return {
            "equaliser_hz_db": [list(point) for point in self.equaliser],
            "band_hz": [self.low_hz, self.high_hz],
            "room": self.room.facts() if self.room else None,
            "noise": None
            if self.noise is None
            else {
                "kind": self.noise,
                "snr_db": self.snr_db,
                "seed": self.noise_seed,
                "number": self.noise_number,
                "start": self.noise_start,
            },
        }

    def _noise(self) -> Wave:
        if self.noise == "babble":
            return voices.babble_loop(self.noise_seed, self.noise_number)
        shapes = noises.SHAPES
        number = shapes.index(str(self.noise)) + self.noise_number * len(shapes)
        return noises.noise_loop(self.noise_seed, number)

    def _taps(self) -> Wave:
        """Linear-phase filter [2 * _HALF + 1] of equaliser and band limit."""
        from scipy.signal import firwin2

        octaves = np.log2(np.maximum(_GRID, 40.0))
        db = np.zeros(len(_GRID))
        if self.equaliser:
            hertz, gains = zip(*self.equaliser, strict=True)
            db += np.interp(octaves, np.log2(hertz), gains)
        # Outside the band: 60 dB an octave, down to the stop level.
        if self.low_hz:
            db += np.clip(60 * (octaves - math.log2(self.low_hz)), _STOP_DB, 0)
        if self.high_hz:
            db += np.clip(60 * (math.log2(self.high_hz) - octaves), _STOP_DB, 0)
        taps: Wave = firwin2(2 * _HALF + 1, _GRID, 10 ** (db / 20), fs=SAMPLE_RATE)
        return taps.astype(np.float32)


CLEAN = Channel()
"""The channel that changes nothing."""


def random_channel(seed: int | np.random.Generator, name: str | None = None) -> Channel:
    """A channel drawn at random.

    Dry one time in four, else T60 0.1 to 0.7 s and direct-to-reverberant ratio 0 to 15 dB; no
    noise one time in ten, else 10 to 30 dB; a spectral tilt of -3 to 3 dB an octave with up to 6 dB
    of ripple on top; full band, telephone band, low-pass or high-pass.

    Args:
        seed: a seed, or a generator to draw from.
        name: with a seed: of the recording, so that it has the same channel in any order.
    """
    if isinstance(seed, np.random.Generator):
        rng, noise_seed = seed, 0
    else:
        rng = np.random.default_rng([_CHANNEL, seed, *(name or "").encode()])
        noise_seed = seed
    tilt = rng.uniform(-3.0, 3.0)
    ripple = rng.uniform(-6.0, 6.0, len(_POINTS_HZ))
    db = [tilt * math.log2(hz / 1000) + r for hz, r in zip(_POINTS_HZ, ripple, strict=True)]
    equaliser = tuple((hz, round(float(g), 2)) for hz, g in zip(_POINTS_HZ, db, strict=True))
    low, high = _BANDS[int(rng.choice(len(_BANDS), p=_BAND_WEIGHTS))](rng)
    room = None
    if rng.random() < 0.75:
        t60 = round(math.exp(rng.uniform(math.log(0.1), math.log(0.7))), 3)
        room = Room(t60, round(rng.uniform(0.0, 15.0), 2), int(rng.integers(2**31)))
    kind: str | None = None
    snr, number, start = math.inf, 0, 0.0
    if rng.random() < 0.9:
        kind = (*noises.SHAPES, "babble")[int(rng.integers(len(noises.SHAPES) + 1))]
        snr, number = round(rng.uniform(10.0, 30.0), 2), int(rng.integers(NOISES))
        start = round(float(rng.random()), 4)
    return Channel(equaliser, low, high, room, kind, snr, noise_seed, number, start)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))), 1)


_BAND_WEIGHTS = (0.45, 0.15, 0.25, 0.15)
_BANDS = (
    lambda rng: (None, None),
    lambda rng: (_log_uniform(rng, 200, 400), _log_uniform(rng, 3000, 3800)),  # telephone
    lambda rng: (None, _log_uniform(rng, 3400, 7500)),
    lambda rng: (_log_uniform(rng, 100, 400), None),
)


def _filtered(wave: Wave, taps: Wave) -> Wave:
    from scipy.signal import oaconvolve

    made: Wave = oaconvolve(wave, taps)[_HALF : _HALF + len(wave)]
    return made.astype(np.float32, copy=False)
