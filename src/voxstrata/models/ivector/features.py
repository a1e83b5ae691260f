"""From a waveform to cepstra without their sliding mean, and which of them are speech."""

from __future__ import annotations

import torch

from voxstrata.errors import ConfigError
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.cmvn import sliding_cmvn
from voxstrata.frontend.config import KaldiConfig
from voxstrata.frontend.vad import VadConfig, log_energy, speech_frames


class SpeakerFeatures:
    """MFCC with differences, normalised over a sliding window; voice activity from the waveform.

    As in Kaldi's VoxCeleb recipe: differences first, then normalisation over all frames, then
    frames without speech go.

    Args:
        front: Kaldi features, a frame every 10 ms, not normalised.
        window: frames of the sliding window.
        variance: divide by the deviation too.
        vad: settings of the voice activity.

    Raises:
        ConfigError: the front end is of another kind.
    """

    def __init__(self, front: FrontEnd, window: int, variance: bool, vad: VadConfig) -> None:
        config = front.config
        plain = isinstance(config, KaldiConfig) and config.stack == 1
        if not plain or config.normalise != "none":
            raise ConfigError(
                "i-vectors need Kaldi features, one frame every 10 ms, not normalised",
                got=f"front end {front.name!r} with {config.model_dump(exclude_defaults=True)}",
                expected="mfcc (or log-mel) with normalise none and stack 1",
            )
        self.front, self.window, self.variance, self.vad = front, window, variance, vad

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """All frames [T, D], float64, on the CPU.

        Args:
            wave: one recording [S] in [-1, 1], at least 400 samples.

        Raises:
            AudioError: it is too short.
        """
        frames = self.front(wave.detach().to("cpu", torch.float32)[None])[0]
        return sliding_cmvn(frames.to(torch.float64), self.window, variance=self.variance)

    def speech(self, wave: torch.Tensor) -> torch.Tensor:
        """Which of them are speech, bool [T]."""
        return speech_frames(log_energy(wave.detach().to("cpu")), self.vad)
