"""Which frames hold speech, by energy alone.

Source: Kaldi's ``compute-vad`` (ivector/voice-activity-detection). There the vote over neighbouring
frames tests the frame in the middle again and again, so that its context does nothing; here each
neighbour is tested, as its documentation describes.
"""

from __future__ import annotations

import torch
from pydantic import Field

from voxstrata.config import Config
from voxstrata.frontend.config import HOP, WINDOW

SCALE = 32768.0
"""Thresholds are for samples of 16 bit; ours lie in [-1, 1]."""

ENERGY_FLOOR = float(torch.finfo(torch.float32).eps)
"""Least energy before the logarithm (Kaldi's)."""


class VadConfig(Config):
    """Settings; defaults are those of Kaldi's VoxCeleb recipe (egs/voxceleb/v1).

    Attributes:
        threshold: log energy (natural, sum of 400 squared 16-bit samples) ...
        mean_scale: ... plus this times the recording's mean log energy: frames above are loud.
        proportion: share of loud frames in the context that makes a frame speech.
        context: frames on each side that vote.
    """

    threshold: float = 5.5
    mean_scale: float = Field(default=0.5, ge=0)
    proportion: float = Field(default=0.12, gt=0, lt=1)
    context: int = Field(default=2, ge=0)


def log_energy(wave: torch.Tensor) -> torch.Tensor:
    """Natural logarithm of each frame's energy, [T] float64.

    Frame t is samples [160 t, 160 t + 400) without their mean, as in the filter banks, before
    pre-emphasis and window.

    Args:
        wave: one recording [S] in [-1, 1], at least 400 samples.
    """
    frames = (wave.to(torch.float64) * SCALE).unfold(0, WINDOW, HOP)
    energy = (frames - frames.mean(dim=1, keepdim=True)).square().sum(dim=1)
    return energy.clamp_min(ENERGY_FLOOR).log()


def speech_frames(energy: torch.Tensor, config: VadConfig | None = None) -> torch.Tensor:
    """Whether each frame is speech, bool [T].

    A frame is loud if its log energy exceeds ``threshold + mean_scale * mean``; it is speech if at
    least ``proportion`` of the frames within ``context`` (those inside the recording) are loud.

    Args:
        energy: :func:`log_energy` [T].
        config: the settings.
    """
    config = config or VadConfig()
    if not len(energy):
        return torch.zeros(0, dtype=torch.bool)
    loud = (energy > config.threshold + config.mean_scale * energy.mean()).to(torch.float64)
    sums = torch.nn.functional.pad(loud, (1, 0)).cumsum(dim=0)
    time = torch.arange(len(loud), device=energy.device)
    first = (time - config.context).clamp_min(0)
    last = (time + config.context + 1).clamp_max(len(loud))
    return (sums[last] - sums[first]) >= config.proportion * (last - first)
