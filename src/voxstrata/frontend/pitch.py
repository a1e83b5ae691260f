"""Fundamental frequency by autocorrelation, with the window's own autocorrelation divided out.

Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17 (1993), 97-110: candidates
are the maxima of r_a(lag) / r_w(lag), a voiceless candidate competes with them, and the path of
least cost through the frames is taken. Departures: the autocorrelation is interpolated by
zero-padding the power spectrum (exact for a band-limited signal) and a parabola, in place of
windowed sinc interpolation, and the signal is not low-passed near the Nyquist frequency first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.errors import AudioError
from voxstrata.frontend.config import HOP, WINDOW
from voxstrata.types import SAMPLE_RATE, FrameGrid

Array = NDArray[np.float64]

OVERSAMPLING = 4
"""Lags between two samples at which maxima are looked for."""

_CHUNK = 256  # frames transformed at once


class PitchConfig(Config):
    """Settings of the estimator; costs and thresholds are those of Boersma (1993) but one.

    Silence begins at 0.06 of the peak, not 0.03: recordings with hum or codec noise in their pauses
    (``docs/properties/acoustic.md``) else had twice as many voiced frames in pauses and fricatives.

    Attributes:
        floor_hz, ceiling_hz: range of the search. A window is three periods of the floor.
        candidates: voiced candidates kept in a frame.
        voicing_threshold: strength of the voiceless candidate in a loud frame.
        silence_threshold: frames whose peak is below this share of the recording's are taken
            for silence, gradually.
        octave_cost: what an octave downwards costs a candidate.
        octave_jump_cost: cost of a jump by an octave between neighbouring frames.
        voicing_cost: cost of a change between voiced and voiceless.
    """

    floor_hz: float = Field(default=75.0, ge=30)
    ceiling_hz: float = Field(default=500.0, le=2000)
    candidates: int = Field(default=14, ge=1)
    voicing_threshold: float = Field(default=0.45, gt=0, lt=1)
    silence_threshold: float = Field(default=0.06, gt=0, lt=1)
    octave_cost: float = Field(default=0.01, ge=0)
    octave_jump_cost: float = Field(default=0.35, ge=0)
    voicing_cost: float = Field(default=0.14, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> PitchConfig:
        if self.ceiling_hz < 1.5 * self.floor_hz:
            raise ValueError("ceiling_hz must be at least 1.5 times floor_hz")
        return self

    @property
    def window(self) -> int:
        """Samples of a window, even."""
        return 2 * int(np.ceil(1.5 * SAMPLE_RATE / self.floor_hz))

    @property
    def grid(self) -> FrameGrid:
        """Every 10 ms, centred where the 25 ms frames of the filter banks are."""
        return FrameGrid(HOP, self.window, (WINDOW - self.window) // 2)


@dataclass(frozen=True)
class Pitch:
    """What is found in one recording of T frames.

    Attributes:
        log2_hz: log2 of the frequency in Hz, [T]. In voiceless frames the line between the
            neighbouring voiced ones, beyond the first and last their value, and without any
            voiced frame the middle of the search range: no NaN, and means over time stay sane.
        voiced: whether the path says the frame is voiced, [T].
        periodicity: height of the highest peak of the autocorrelation in the search range,
            voiced or not, within [0, 1], [T]; the harmonic part of the frame's power.
    """

    log2_hz: Array
    voiced: NDArray[np.bool_]
    periodicity: Array


def frames_of(samples: int) -> int:
    """Frames T of a recording: as many as there are 25 ms windows every 10 ms."""
    return 0 if samples < WINDOW else 1 + (samples - WINDOW) // HOP


def estimate_pitch(wave: NDArray[np.floating], config: PitchConfig | None = None) -> Pitch:
    """Fundamental frequency every 10 ms.

    Args:
        wave: one recording [S], 16 kHz, at least 400 samples. Beyond its ends it is continued
            with zeros, so the first and last two frames see less of it.
        config: settings.

    Returns:
        T frames, frame t centred at sample 200 + 160 t, as in the filter banks.

    Raises:
        AudioError: ``wave`` is not [S], or too short.

    Example:
        >>> import numpy as np
        >>> tone = np.sin(2 * np.pi * 128 * np.arange(8000) / 16000)
        >>> found = estimate_pitch(tone)
        >>> bool(found.voiced[5:-5].all()), float(found.log2_hz[20].round(3))
        (True, 7.0)
    """
    config = config or PitchConfig()
    if wave.ndim != 1 or len(wave) < WINDOW:
        raise AudioError(
            "pitch cannot be estimated",
            got=f"an array of shape {wave.shape}",
            expected=f"one recording of at least {WINDOW} samples",
        )
    x = wave.astype(np.float64)
    x -= x.mean()
    count, width, start = frames_of(len(x)), config.window, config.grid.start
    before = max(0, -start)
    after = max(0, start + (count - 1) * HOP + width - len(x))
    padded = np.pad(x, (before, after))[before + start :]
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::HOP][:count]
    loudest = float(np.abs(x).max())
    lags, heights, local = [], [], []
    for begin in range(0, count, _CHUNK):
        piece = frames[begin : begin + _CHUNK]
        piece = piece - piece.mean(axis=1, keepdims=True)
        local.append(np.abs(piece).max(axis=1))
        found = _candidates(piece, config)
        lags.append(found[0])
        heights.append(found[1])
    hz = SAMPLE_RATE / np.concatenate(lags)
    height = np.concatenate(heights)
    chosen = _path(np.log2(hz), height, np.concatenate(local), loudest, config)
    voiced = chosen >= 0
    here = np.flatnonzero(voiced)
    if len(here):
        values = np.log2(hz[here, chosen[here]])
        log2_hz = np.interp(np.arange(count), here, values)
    else:
        middle = (np.log2(config.floor_hz) + np.log2(config.ceiling_hz)) / 2
        log2_hz = np.full(count, middle)
    return Pitch(log2_hz, voiced, np.maximum(height.max(axis=1), 0.0))


def hann(width: int) -> Array:
    """Hann window over ``width`` samples taken at their midpoints."""
    window: Array = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(width) + 0.5) / width)
    return window


def autocorrelation(frames: Array, lags: int) -> Array:
    """Autocorrelation at lags 0, 1/4, 1/2, ... samples, divided by that at lag 0.

    Args:
        frames: [T, N].
        lags: longest lag, samples, below N.

    Returns:
        [T, 4 lags + 1]; zeros for frames of zeros.
    """
    size = 1 << (frames.shape[1] + lags).bit_length()
    spectrum = np.fft.rfft(frames, size, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    power[:, -1] /= 2  # the Nyquist bin stands for two once the spectrum is continued
    fine = np.fft.irfft(power, OVERSAMPLING * size, axis=1)[:, : OVERSAMPLING * lags + 1]
    zero = fine[:, :1]
    ratio: Array = np.divide(fine, zero, out=np.zeros_like(fine), where=zero > 0)
    return ratio


def _candidates(frames: Array, config: PitchConfig) -> tuple[Array, Array]:
    """Lags (samples) and heights of the best maxima of each frame, [T, K] each; where there are
    fewer, the height is -inf."""
    longest = int(np.ceil(SAMPLE_RATE / config.floor_hz)) + 2
    window = hann(frames.shape[1])
    r = autocorrelation(frames * window, longest) / autocorrelation(window[None], longest)
    low = int(np.ceil(OVERSAMPLING * SAMPLE_RATE / config.ceiling_hz))
    high = int(np.floor(OVERSAMPLING * SAMPLE_RATE / config.floor_hz))
    left, mid, right = r[:, low - 1 : high], r[:, low : high + 1], r[:, low + 1 : high + 2]
    top = (mid > left) & (mid >= right) & (mid > 0)
    lag = np.arange(low, high + 1) / OVERSAMPLING
    strength = np.where(top, mid - config.octave_cost * np.log2(config.floor_hz * lag), -np.inf)
    pick = np.argsort(-strength, axis=1, kind="stable")[:, : config.candidates]
    a, b, c = (np.take_along_axis(side, pick, axis=1) for side in (left, mid, right))
    real = np.take_along_axis(top, pick, axis=1)
    # A parabola through a maximum and its neighbours; the curvature is negative there.
    curve = np.where(real, a - 2 * b + c, -1.0)
    shift = np.where(real, 0.5 * (a - c) / curve, 0.0)
    height = b - 0.25 * (a - c) * shift
    height = np.where(height > 1, 1 / np.maximum(height, 1), height)
    lags = np.clip(
        (low + pick + shift) / OVERSAMPLING,
        SAMPLE_RATE / config.ceiling_hz,
        SAMPLE_RATE / config.floor_hz,
    )
    return lags, np.where(real, height, -np.inf)


def _path(
    log2_hz: Array, height: Array, local: Array, loudest: float, config: PitchConfig
) -> NDArray[np.int64]:
    """Candidate of each frame on the path of least cost, -1 for voiceless, [T].

    Dynamic programming over Boersma's costs; they are stated for steps of 10 ms, which ours are.
    """
    count, voiced = height.shape
    if loudest <= 0:
        return np.full(count, -1, dtype=np.int64)
    steepness = (1 + config.voicing_threshold) / config.silence_threshold
    quiet = 2.0 - local / loudest * steepness
    strength = np.empty((count, voiced + 1))
    # floor * lag = 2 ** (log2 floor - log2 f0)
    strength[:, 1:] = height - config.octave_cost * (np.log2(config.floor_hz) - log2_hz)
    strength[:, 0] = config.voicing_threshold + np.maximum(0.0, quiet)
    score = strength[0]
    back = np.zeros((count, voiced + 1), dtype=np.int64)
    cost = np.full((voiced + 1, voiced + 1), config.voicing_cost)
    cost[0, 0] = 0.0
    for t in range(1, count):
        jump = np.abs(log2_hz[t - 1][:, None] - log2_hz[t])
        cost[1:, 1:] = config.octave_jump_cost * jump
        reached = score[:, None] - cost
        back[t] = reached.argmax(axis=0)
        score = reached[back[t], np.arange(voiced + 1)] + strength[t]
    chosen = np.empty(count, dtype=np.int64)
    state = int(score.argmax())
    for t in range(count - 1, -1, -1):
        chosen[t] = state - 1
        state = int(back[t, state])
    return chosen
