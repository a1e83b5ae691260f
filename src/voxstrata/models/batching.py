"""Batches in which no recording can change the numbers of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from voxstrata.errors import AudioError


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


def check_audio(audio: Sequence[torch.Tensor], minimum: int, model: str) -> None:
    """Refuse recordings that a model cannot be run on.

    Args:
        audio: tensors [S], 16 kHz.
        minimum: fewest samples that give one frame.
        model: name for the message.

    Raises:
        AudioError: a recording is not one-dimensional floating point, or is too short.
    """
    for index, wave in enumerate(audio):
        if wave.ndim != 1 or not wave.is_floating_point():
            raise AudioError(
                f"recording {index} of the batch is not mono audio",
                got=f"{wave.dtype} of shape {tuple(wave.shape)}",
                expected="floating point of shape (samples,), in [-1, 1], 16 kHz",
            )
        if len(wave) < minimum:
            raise AudioError(
                f"recording {index} of the batch is too short for model {model!r}",
                got=f"{len(wave)} samples ({len(wave) / 16:.1f} ms)",
                expected=f"at least {minimum} samples ({minimum / 16:.1f} ms)",
                fix="leave it out, or join it with its neighbours",
            )
