"""Mel features of a centred short-time Fourier transform, batched in torch."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional

from voxstrata.frontend.config import HOP, WINDOW, StftConfig
from voxstrata.types import SAMPLE_RATE


def stft_features(wave: torch.Tensor, config: StftConfig) -> torch.Tensor:
    """Logarithmic mel features, before normalisation over time.

    Args:
        wave: recordings of equal length [B, S], in [-1, 1], on any device; at least
            ``config.minimum`` samples.
        config: the settings.

    Returns:
        [B, T, mels] in the dtype of ``wave``.
    """
    power = mel_power(wave, config)
    if config.log == "ln":
        return torch.log(power + config.offset)
    decibel = 10 * torch.log10(power.clamp_min(config.floor))
    loudest = decibel.amax(dim=(1, 2), keepdim=True)
    return torch.maximum(decibel, loudest - config.top_db)


def mel_power(wave: torch.Tensor, config: StftConfig) -> torch.Tensor:
    """Mel filter outputs of the power spectrum [B, T, mels]."""
    if config.preemphasis:
        wave = preemphasise(wave, config.preemphasis)
    window = _window(config.window, str(wave.device), wave.dtype)
    spectrum = torch.stft(
        wave,
        config.n_fft,
        hop_length=HOP,
        win_length=WINDOW,
        window=window,
        center=True,
        pad_mode="reflect" if config.pad == "reflect" else "constant",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return power.transpose(1, 2) @ _filters(config, str(wave.device), wave.dtype)


def preemphasise(wave: torch.Tensor, coefficient: float) -> torch.Tensor:
    """``x[t] - coefficient * x[t-1]`` [B, S], with ``x[-1] = x[1]`` (mirrored)."""
    before = functional.pad(wave.unsqueeze(1), (1, 0), mode="reflect").squeeze(1)[:, :-1]
    return wave - coefficient * before


@lru_cache(maxsize=32)
def _window(name: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    make = torch.hamming_window if name == "hamming" else torch.hann_window
    return make(WINDOW, periodic=True, device=device, dtype=dtype)


@lru_cache(maxsize=32)
def _filters(config: StftConfig, device: str, dtype: torch.dtype) -> torch.Tensor:
    return mel_filters(config).to(device, dtype)


def mel_filters(config: StftConfig) -> torch.Tensor:
    """Triangular filters on the HTK mel scale, m = 2595 log10(1 + f / 700).

    Returns:
        [n_fft // 2 + 1, mels], float64, peak 1.
    """

    def to_mel(hz: float) -> torch.Tensor:
        return 2595 * torch.log10(torch.tensor(1 + hz / 700, dtype=torch.float64))

    low, high = float(to_mel(config.low_hz)), float(to_mel(config.high_hz))
    points = torch.linspace(low, high, config.mels + 2, dtype=torch.float64)
    hz = 700 * (10 ** (points / 2595) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, config.n_fft // 2 + 1, dtype=torch.float64)
    left = hz[1:-1] - hz[:-2]
    right = left if config.triangles == "symmetric" else hz[2:] - hz[1:-1]
    offset = bins[:, None] - hz[1:-1]
    return torch.minimum(1 + offset / left, 1 - offset / right).clamp_min(0)
