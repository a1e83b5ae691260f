"""One face for every front end: equal-length waveforms in, feature frames out."""

from __future__ import annotations

from typing import Any

import torch

from voxstrata.config import build
from voxstrata.errors import AudioError
from voxstrata.files import fingerprint
from voxstrata.frontend.config import FrontEndConfig, KaldiConfig
from voxstrata.frontend.presets import FRONT_ENDS
from voxstrata.types import FrameGrid

INSTANCE_EPS = 1e-5


class FrontEnd:
    """Waveforms to features, without padding and without dither.

    Args:
        config: frozen settings.
        name: for messages and records.

    Attributes:
        config, name: as given.
        width: numbers in a frame D.
        grid: which samples a frame stands for.
        minimum: fewest samples that give one frame.
        fingerprint: hex digest of the settings.
    """

    def __init__(self, config: FrontEndConfig, name: str = "custom") -> None:
        self.config = config
        self.name = name
        self.width: int = config.width
        self.grid: FrameGrid = config.grid
        self.minimum: int = config.minimum
        self.fingerprint = fingerprint([type(config).__name__, config.model_dump(mode="json")])

    def frames(self, samples: int) -> int:
        """Frames T of a recording of ``samples`` samples; 0 where it is too short."""
        return self.config.frames(samples)

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """Features of recordings of equal length.

        Args:
            wave: [B, S], 16 kHz, in [-1, 1]. Kaldi features are computed in float32 on the
                CPU and returned on the device of ``wave``; the others where ``wave`` is, in its
                dtype (float32 or float64).

        Returns:
            [B, T, D], T = ``frames(S)``.

        Raises:
            AudioError: the recordings are too short, or ``wave`` is not [B, S].
        """
        if wave.ndim != 2 or wave.dtype not in (torch.float32, torch.float64):
            raise AudioError(
                f"front end {self.name!r} needs a batch of waveforms",
                got=f"{wave.dtype} of shape {tuple(wave.shape)}",
                expected="float32 or float64 of shape (recordings, samples)",
            )
        if wave.shape[1] < self.minimum:
            raise AudioError(
                f"a recording is too short for front end {self.name!r}",
                got=f"{wave.shape[1]} samples",
                expected=f"at least {self.minimum} samples ({self.minimum / 16:.1f} ms)",
            )
        if isinstance(self.config, KaldiConfig):
            return self._kaldi(wave, self.config)
        from voxstrata.frontend.stft import stft_features

        return normalise(stft_features(wave, self.config), self.config.normalise)

    def _kaldi(self, wave: torch.Tensor, config: KaldiConfig) -> torch.Tensor:
        from voxstrata.frontend.kaldi import kaldi_features

        rows = wave.detach().to("cpu", torch.float32).numpy()
        one = [torch.from_numpy(kaldi_features(row, config)) for row in rows]
        frames = torch.stack(one).to(wave.device, wave.dtype)
        if config.normalise == "global":
            mean = torch.tensor(config.mean, dtype=frames.dtype, device=frames.device)
            std = torch.tensor(config.std, dtype=frames.dtype, device=frames.device)
            frames = (frames - mean) / std
        else:
            frames = normalise(frames, config.normalise)
        return stack_frames(frames, config.stack)


def normalise(frames: torch.Tensor, how: str) -> torch.Tensor:
    """Remove the mean over time ("mean"), also divide by the deviation ("instance"), or nothing.

    Args:
        frames: [B, T, D], each recording alone (no padding).
        how: "none", "mean" or "instance" (population variance plus 1e-5 under the root).
    """
    if how == "none":
        return frames
    centred = frames - frames.mean(dim=1, keepdim=True)
    if how == "mean":
        return centred
    variance = centred.square().mean(dim=1, keepdim=True)
    return centred / (variance + INSTANCE_EPS).sqrt()


def stack_frames(frames: torch.Tensor, count: int) -> torch.Tensor:
    """Join ``count`` neighbouring frames: [B, T, D] to [B, ceil(T / count), count * D].

    Frames missing in the last group are zeros.
    """
    if count == 1:
        return frames
    batch, time, width = frames.shape
    missing = -time % count
    padded = torch.nn.functional.pad(frames, (0, 0, 0, missing))
    return padded.reshape(batch, (time + missing) // count, count * width)


def front_end(name: str, **changes: Any) -> FrontEnd:
    """The front end called ``name``, with some settings changed.

    Raises:
        UnknownNameError: no such front end.
        ConfigError: a changed setting is unknown or wrong.
    """
    config = FRONT_ENDS.get(name)
    if not changes:
        return FrontEnd(config, name)
    values = {**config.model_dump(), **changes}
    return FrontEnd(build(type(config), values, source=f"front end {name!r}"), name)
