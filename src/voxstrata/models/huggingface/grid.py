"""How many frames a layer has, and which samples each of them sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.types import FrameGrid


@dataclass(frozen=True)
class Track:
    """Frame grid and frame count of a layer.

    Stacked convolutions and pools of any padding compose to one floor:
    ``T = repeat * (floor((S - first) / step) + 1)`` for ``S >= first``, else 0.

    Attributes:
        grid: which samples frame ``i`` sees.
        first: fewest samples that give a frame.
        step: further samples that give the next one.
        repeat: frames given at once (2 where a squeezed sequence is stretched again).
        least: samples below which the layer cannot be computed at all, if more than ``first``.
    """

    grid: FrameGrid
    first: int
    step: int
    repeat: int = 1
    least: int = 0

    @property
    def minimum(self) -> int:
        """Fewest samples of a usable recording."""
        return max(self.first, self.least)

    def frames(self, samples: int) -> int:
        """Number of frames T of a recording of ``samples`` samples."""
        if samples < self.minimum:
            return 0
        return self.repeat * ((samples - self.first) // self.step + 1)


def conv_tracks(kernels: Sequence[int], strides: Sequence[int]) -> list[Track]:
    """Tracks of unpadded convolutions stacked on the waveform, one a layer.

    The receptive field grows by ``(k - 1)`` times the stride so far, the stride by its factor.
    """
    tracks, receptive, stride = [], 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        receptive += (kernel - 1) * stride
        stride *= step
        tracks.append(Track(FrameGrid(stride, receptive, 0), receptive, stride))
    return tracks
