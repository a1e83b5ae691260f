"""Batches in which no recording can change the numbers of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from voxstrata.errors import AudioError
from voxstrata.models.base import Wave


def equal_length_groups(lengths: Sequence[int], limit: int | None = None) -> list[list[int]]:
    """Indices grouped so that all members of a group have the same length.

    A group can be stacked without padding, so statistics over time (mean normalisation,
    squeeze-excitation, GroupNorm) and border padding see exactly what they would see alone.

    Args:
        lengths: length of each recording, samples or frames.
        limit: largest size of a group; ``None`` for no limit.

    Returns:
        groups in order of their first member; every index stands in exactly one group.
    """
    found: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        found.setdefault(int(length), []).append(index)
    groups = []
    for members in found.values():
        step = limit or len(members)
        groups += [members[i : i + step] for i in range(0, len(members), step)]
    return sorted(groups)


def check_audio(audio: Sequence[Wave], minimum: int, model: str) -> list[torch.Tensor]:
    """The recordings as tensors; refuses those that a model cannot be run on.

    Args:
        audio: tensors or numpy arrays [S], 16 kHz.
        minimum: fewest samples that give one frame.
        model: name for the message.

    Returns:
        tensors [S] of the same numbers.

    Raises:
        AudioError: a recording is not one-dimensional floating point, or is too short; or a
            single recording was given instead of a list.
    """
    wanted = "floating point of shape (samples,), in [-1, 1], 16 kHz"
    if isinstance(audio, torch.Tensor | np.ndarray) and audio.ndim == 1:
        raise AudioError(
            "one recording was given, not a list of recordings",
            got=f"{audio.dtype} of shape {tuple(audio.shape)}",
            expected=f"a list of arrays or tensors, each {wanted}",
            fix="encode([audio], ...)",
        )
    waves = []
    for index, given in enumerate(audio):
        # A copy: arrays may be read-only or run backwards, which tensors cannot share.
        wave = torch.from_numpy(given.copy()) if isinstance(given, np.ndarray) else given
        if not isinstance(wave, torch.Tensor):
            raise AudioError(
                f"recording {index} of the batch is neither an array nor a tensor",
                got=type(given).__name__,
                expected=wanted,
            )
        if wave.ndim != 1 or not wave.is_floating_point():
            raise AudioError(
                f"recording {index} of the batch is not mono audio",
                got=f"{wave.dtype} of shape {tuple(wave.shape)}",
                expected=wanted,
                fix="take one channel, or the mean of all; divide int16 by 32768",
            )
        if len(wave) < minimum:
            raise AudioError(
                f"recording {index} of the batch is too short for model {model!r}",
                got=f"{len(wave)} samples ({len(wave) / 16:.1f} ms)",
                expected=f"at least {minimum} samples ({minimum / 16:.1f} ms)",
                fix="leave it out, or join it with its neighbours",
            )
        waves.append(wave)
    return waves
