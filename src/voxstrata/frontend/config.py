"""Frozen settings of the two kinds of front end, and the frame arithmetic that follows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.types import FrameGrid

Normalise = Literal["none", "mean", "instance", "global"]
"""What is done over time: nothing; minus the mean of the recording; minus its mean and divided
by its standard deviation (InstanceNorm); the mean and deviation of a whole corpus."""

HOP, WINDOW = 160, 400
"""Samples between frames and samples of a frame: 10 ms and 25 ms at 16 kHz, in every front end."""

LAST_BIN_HZ = 8000.0


class KaldiConfig(Config):
    """Kaldi's filter-bank or cepstral features, 25 ms frames every 10 ms, edges snipped.

    Attributes:
        kind: logarithmic mel filter bank, or its cepstra.
        window: analysis window.
        scale: the waveform in [-1, 1] is multiplied by this; it decides where the fixed floor
            of the logarithm lies.
        mels: mel filters.
        low_hz, high_hz: their range.
        coefficients: cepstra kept, C0 first (kind "mfcc").
        deltas: orders of time differences appended (0, 1 or 2; kind "mfcc").
        delta_window: frames on each side of a difference.
        preemphasis: coefficient of the first difference, applied inside each frame.
        normalise: see :data:`Normalise`.
        mean, std: the corpus statistics of ``normalise="global"``, one number a mel filter.
        stack: neighbouring frames joined into one; a last incomplete group is filled with
            zeros after normalisation (MelHuBERT).
    """

    kind: Literal["fbank", "mfcc"] = "fbank"
    window: Literal["povey", "hamming", "hanning"] = "povey"
    scale: float = 32768.0
    mels: int = Field(default=80, ge=3)
    low_hz: float = Field(default=20.0, ge=0)
    high_hz: float = Field(default=LAST_BIN_HZ, gt=0, le=LAST_BIN_HZ)
    coefficients: int = Field(default=20, ge=1)
    deltas: int = Field(default=0, ge=0, le=2)
    delta_window: int = Field(default=3, ge=1)
    preemphasis: float = Field(default=0.97, ge=0, le=1)
    normalise: Normalise = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    stack: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> KaldiConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must lie below high_hz")
        if self.kind == "mfcc" and self.coefficients > self.mels:
            raise ValueError("coefficients cannot exceed mels")
        if self.kind == "fbank" and self.deltas:
            raise ValueError("deltas are for kind 'mfcc'")
        if self.normalise == "global" and not (len(self.mean) == len(self.std) == self.mels):
            raise ValueError("normalise 'global' needs as many means and deviations as mels")
        if any(s <= 0 for s in self.std):
            raise ValueError("deviations must be positive")
        return self

    @property
    def width(self) -> int:
        """Numbers in a frame D."""
        one = self.mels if self.kind == "fbank" else self.coefficients * (1 + self.deltas)
        return one * self.stack

    @property
    def minimum(self) -> int:
        """Fewest samples that give one frame."""
        return WINDOW

    @property
    def grid(self) -> FrameGrid:
        """Frame ``t`` sees samples [160 t, 160 t + 400), widened by stacking and deltas."""
        side = self.deltas * self.delta_window
        return FrameGrid(
            stride=HOP * self.stack,
            receptive=WINDOW + HOP * (self.stack - 1 + 2 * side),
            start=-HOP * side,
        )

    def frames(self, samples: int) -> int:
        """Frames T of a recording of ``samples`` samples; 0 where it is too short."""
        if samples < WINDOW:
            return 0
        return -(-(1 + (samples - WINDOW) // HOP) // self.stack)


class StftConfig(Config):
    """Mel features of a centred short-time Fourier transform; frame ``t`` is centred at 160 t.

    Attributes:
        n_fft: transform length; the 400-sample periodic window stands in its middle.
        window: analysis window.
        pad: how the recording is continued beyond its ends.
        preemphasis: coefficient of the first difference over the whole recording, its first
            sample mirrored; 0 for none.
        mels: mel filters (HTK scale).
        low_hz, high_hz: their range.
        triangles: "proper" filters reach to the centres of both neighbours; "symmetric" ones
            fall on the right as steeply as they rise on the left (SpeechBrain).
        log: natural logarithm of (power + ``offset``), or decibels of max(power, ``floor``).
        offset: added before the natural logarithm.
        floor: smallest power before decibels.
        top_db: decibels below the recording's maximum at which values are cut ("db").
        normalise: see :data:`Normalise`.
    """

    n_fft: int = Field(default=512, ge=WINDOW)
    window: Literal["hamming", "hanning"] = "hamming"
    pad: Literal["zeros", "reflect"] = "reflect"
    preemphasis: float = Field(default=0.0, ge=0, le=1)
    mels: int = Field(default=80, ge=3)
    low_hz: float = Field(default=0.0, ge=0)
    high_hz: float = Field(default=LAST_BIN_HZ, gt=0, le=LAST_BIN_HZ)
    triangles: Literal["proper", "symmetric"] = "proper"
    log: Literal["ln", "db"] = "ln"
    offset: float = Field(default=1e-6, ge=0)
    floor: float = Field(default=1e-10, gt=0)
    top_db: float = Field(default=80.0, gt=0)
    normalise: Literal["none", "mean", "instance"] = "mean"

    @model_validator(mode="after")
    def _consistent(self) -> StftConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must lie below high_hz")
        return self

    @property
    def width(self) -> int:
        """Numbers in a frame D."""
        return self.mels

    @property
    def minimum(self) -> int:
        """Fewest samples that give one frame (mirroring needs more than half a transform)."""
        return self.n_fft // 2 + 1 if self.pad == "reflect" else 1

    @property
    def grid(self) -> FrameGrid:
        """Frame ``t`` sees samples [160 t - 200, 160 t + 200)."""
        return FrameGrid(stride=HOP, receptive=WINDOW, start=-WINDOW // 2)

    def frames(self, samples: int) -> int:
        """Frames T of a recording of ``samples`` samples; 0 where it is too short."""
        return 0 if samples < self.minimum else 1 + samples // HOP


FrontEndConfig = KaldiConfig | StftConfig
