"""The spectral front ends that two model types were trained with, on the model's device.

Formulas are those of transformers' ``SeamlessM4TFeatureExtractor`` and
``WhisperFeatureExtractor``; tests hold them against these. Filter banks come from transformers
itself. Everything is computed in float64, which makes it independent of the device.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

FBANK_LENGTH, FBANK_SHIFT = 400, 160
WHISPER_LENGTH, WHISPER_SHIFT = 400, 160


def _constant(bank: Any) -> Tensor:
    with torch.inference_mode(False):  # kept for later calls, which may want gradients
        return torch.from_numpy(bank).double()


@functools.cache
def _kaldi_filters(bins: int) -> Tensor:
    from voxstrata.models.huggingface.lib import transformers_module

    bank = transformers_module("transformers.audio_utils").mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=bins,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return _constant(bank)  # [257, bins]


@functools.cache
def _slaney_filters(bins: int) -> Tensor:
    from voxstrata.models.huggingface.lib import transformers_module

    bank = transformers_module("transformers.audio_utils").mel_filter_bank(
        num_frequency_bins=1 + WHISPER_LENGTH // 2,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16000,
        norm="slaney",
        mel_scale="slaney",
    )
    return _constant(bank)  # [201, bins]


def stacked_fbank(wave: Tensor, bins: int, stack: int, *, normalize: bool) -> Tensor:
    """Kaldi-like log-mel energies, ``stack`` neighbouring frames side by side.

    25 ms every 10 ms without padding, 16-bit scale, mean removed and pre-emphasis .97 a frame,
    Povey window, natural logarithm; then each bin to zero mean and unit (sample) variance over
    the recording.

    Args:
        wave: [S], at least ``400 + (stack - 1) * 160`` samples.
        bins: mel bins.
        stack: frames to a row.
        normalize: whether to normalise each bin.

    Returns:
        [T, bins * stack], float32.
    """
    frames = (wave.double() * 2**15).unfold(0, FBANK_LENGTH, FBANK_SHIFT)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = frames - 0.97 * before
    window = torch.hann_window(
        FBANK_LENGTH, periodic=False, dtype=torch.float64, device=wave.device
    ).pow(0.85)
    power = torch.fft.rfft(frames * window, n=512).abs().square()
    energies = (power @ _kaldi_filters(bins).to(wave.device)).clamp(min=2.0**-23).log()
    if normalize:
        scale = (energies.var(0, keepdim=True) + 1e-7).sqrt()
        energies = (energies - energies.mean(0, keepdim=True)) / scale
    whole = energies.shape[0] // stack
    rows: Tensor = energies[: whole * stack].reshape(whole, stack * bins).float()
    return rows


def whisper_mel(wave: Tensor, bins: int, window: int) -> Tensor:
    """Log-mel spectrogram of one window, as Whisper wants it.

    Hann window of 25 ms every 10 ms, centred, base-10 logarithm, floored 8 below the window's
    largest value, then ``(x + 4) / 4``.

    Args:
        wave: [S] with S at most ``window``; filled up with zeros.
        bins: mel bins.
        window: samples in a window.

    Returns:
        [bins, window / 160], float32.
    """
    padded = functional.pad(wave.double(), (0, window - wave.shape[0]))
    hann = torch.hann_window(WHISPER_LENGTH, dtype=torch.float64, device=wave.device)
    spectrum: Tensor = torch.stft(
        padded, WHISPER_LENGTH, WHISPER_SHIFT, window=hann, return_complex=True
    )
    power = spectrum[:, :-1].abs().square()
    energies = (_slaney_filters(bins).to(wave.device).T @ power).clamp(min=1e-10).log10()
    energies = torch.maximum(energies, energies.max() - 8.0)
    return ((energies + 4.0) / 4.0).float()
