"""Kaldi features through kaldi-native-fbank (float32, on the CPU)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.frontend.config import HOP, KaldiConfig
from voxstrata.types import SAMPLE_RATE


def kaldi_features(wave: NDArray[np.float32], config: KaldiConfig) -> NDArray[np.float32]:
    """Filter-bank or cepstral features of one recording, before normalisation and stacking.

    Args:
        wave: samples [S] in [-1, 1], at least ``config.minimum`` of them.
        config: the settings.

    Returns:
        frames [T, mels] or [T, coefficients * (1 + deltas)].
    """
    import kaldi_native_fbank as knf

    options: Any = knf.FbankOptions() if config.kind == "fbank" else knf.MfccOptions()
    frame = options.frame_opts
    frame.samp_freq = SAMPLE_RATE
    frame.frame_shift_ms = 1000 * HOP / SAMPLE_RATE
    frame.frame_length_ms = 25.0
    frame.dither = 0.0
    frame.preemph_coeff = config.preemphasis
    frame.remove_dc_offset = True
    frame.window_type = config.window
    frame.snip_edges = True
    options.mel_opts.num_bins = config.mels
    options.mel_opts.low_freq = config.low_hz
    options.mel_opts.high_freq = config.high_hz
    options.use_energy = False
    if config.kind == "mfcc":
        options.num_ceps = config.coefficients
        engine: Any = knf.OnlineMfcc(options)
    else:
        engine = knf.OnlineFbank(options)
    engine.accept_waveform(SAMPLE_RATE, np.ascontiguousarray(wave * np.float32(config.scale)))
    engine.input_finished()
    count = engine.num_frames_ready
    frames = np.empty((count, engine.dim), dtype=np.float32)
    for index in range(count):
        frames[index] = engine.get_frame(index)
    if config.deltas:
        return add_deltas(torch.from_numpy(frames), config.deltas, config.delta_window).numpy()
    return frames


def add_deltas(frames: torch.Tensor, order: int, window: int) -> torch.Tensor:
    """Append time differences up to ``order``, as Kaldi's ``add-deltas`` defines them.

    The first difference is the slope of a least-squares line over ``2*window + 1`` frames;
    higher orders convolve that kernel with itself. Beyond its ends the recording is continued
    with its first and last frame.

    Args:
        frames: [T, D].
        order: 1 or 2.
        window: frames on each side.

    Returns:
        [T, D * (1 + order)].
    """
    steps = torch.arange(-window, window + 1, dtype=torch.float64)
    base = steps / (steps**2).sum()
    kernel, parts = torch.ones(1, dtype=torch.float64), [frames]
    for _ in range(order):
        kernel = torch.nn.functional.conv1d(
            kernel.reshape(1, 1, -1), base.flip(0).reshape(1, 1, -1), padding=2 * window
        ).reshape(-1)
        side = len(kernel) // 2
        padded = torch.cat([frames[:1].expand(side, -1), frames, frames[-1:].expand(side, -1)])
        spans = padded.unfold(0, len(kernel), 1)
        parts.append(spans @ kernel.to(frames.dtype))
    return torch.cat(parts, dim=1)
