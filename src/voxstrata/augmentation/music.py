"""Music that is made: chords and a melody of harmonic tones with envelopes, perhaps with drums."""

from __future__ import annotations

import functools

import numpy as np

from voxstrata.augmentation.noises import SECONDS, finished
from voxstrata.augmentation.step import Wave
from voxstrata.types import SAMPLE_RATE

COUNT = 32
"""Pieces of a seed."""

_MUSIC = 4245  # purpose number of the random generators
_N = SECONDS * SAMPLE_RATE
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))
# Steps of the scale on which the chords of a piece stand.
_PROGRESSIONS = ((0, 3, 4, 0), (0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (1, 4, 0, 0))


@functools.lru_cache(maxsize=COUNT)
def music_loop(seed: int, index: int) -> Wave:
    """Piece number ``index`` of a seed, float32 [160000], mean power 1, read-only."""
    rng = np.random.default_rng([_MUSIC, seed, index])
    scale = _SCALES[rng.integers(len(_SCALES))]
    chords = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    root = 40 + int(rng.integers(0, 20))  # MIDI numbers: 69 is 440 Hz
    # Whole bars in a loop, so that the beat goes on where it joins up.
    bars = int(rng.integers(3, 7))
    bar = _N // bars
    beats = int(rng.choice([3, 4, 8]))
    total = np.zeros(_N, dtype=np.float32)
    accompaniment, lead = _Timbre.drawn(rng), _Timbre.drawn(rng)
    for number in range(bars):
        at, chord = number * bar, chords[number % len(chords)]
        for step in (0, 2, 4, 6)[: int(rng.integers(2, 5))]:
            _add(total, at, bar, root + _pitch(scale, chord + step), accompaniment, rng)
        for beat in range(beats):
            if rng.random() < 0.75:
                step = chord + int(rng.integers(0, 9))
                start, length = at + beat * bar // beats, bar // beats * int(rng.integers(1, 3))
                _add(total, start, length, root + 12 + _pitch(scale, step), lead, rng)
    if rng.random() < 0.5:
        _drums(total, bar // beats, rng)
    return finished(total)


class _Timbre:
    """Strengths of harmonics, attack, decay."""

    def __init__(self, harmonics: Wave, attack_s: float, decay_s: float) -> None:
        self.harmonics, self.attack_s, self.decay_s = harmonics, attack_s, decay_s

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Timbre:
        orders = np.arange(1, int(rng.integers(3, 11)) + 1)
        strengths = rng.uniform(0.3, 1, len(orders)) / orders ** rng.uniform(0.5, 2.0)
        return cls(strengths.astype(np.float32), rng.uniform(0.003, 0.1), rng.uniform(0.15, 2.0))


def _pitch(scale: tuple[int, ...], step: int) -> int:
    """Semitones above the root of a step of the scale."""
    return 12 * (step // len(scale)) + scale[step % len(scale)]


def _add(
    total: Wave, start: int, length: int, midi: int, timbre: _Timbre, rng: np.random.Generator
) -> None:
    """Add a note; what lasts beyond the end of the loop goes on at its beginning."""
    time = np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE)
    tone = 440.0 * 2 ** ((midi - 69 + rng.normal(0, 0.05)) / 12)
    note = np.zeros(length, dtype=np.float32)
    for order, strength in enumerate(timbre.harmonics, 1):
        if order * tone < 0.48 * SAMPLE_RATE:
            phase = np.float32(rng.uniform(0, 2 * np.pi))
            note += strength * np.sin(np.float32(2 * np.pi * order * tone) * time + phase)
    note *= np.minimum(time / np.float32(timbre.attack_s), 1)
    note *= np.exp(-time / np.float32(timbre.decay_s)) * np.minimum((time[-1] - time) / 0.02, 1)
    note *= np.float32(rng.uniform(0.4, 1))
    first = min(length, _N - start)
    total[start : start + first] += note[:first]
    total[: length - first] += note[first:]


def _drums(total: Wave, beat: int, rng: np.random.Generator) -> None:
    length = min(beat, int(0.15 * SAMPLE_RATE))
    fall = 10 ** (-3 * np.arange(length, dtype=np.float32) / length)
    hit = rng.standard_normal(length, dtype=np.float32) * fall * np.float32(rng.uniform(0.3, 1.5))
    for start in range(0, _N - length, beat):
        if rng.random() < 0.8:
            total[start : start + length] += hit
