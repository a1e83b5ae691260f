"""The network that turns a word segment into a vector, and its use.

Every segment is brought to 32 points in time, read by three convolutions (two of stride 2) and
mapped to 128 numbers of length 1; how long it was enters as one more number. Time is normalised
rather than pooled away: a position in the flattened map is a place in the word, so the order of
sounds counts, and there is no padding that a vector could depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from voxstrata.numerics.threads import one_torch_thread
from voxstrata.properties.awe.segments import MELS, Segments

WIDTH = 128
"""Width of a vector."""

POINTS = 32
"""Points in time that a segment is brought to."""

_SCALE = 0.25  # log-mel less its mean has a standard deviation of about 4
_TYPICAL_FRAMES = 25.0
_BATCH = 512


class WordNetwork(nn.Module):
    """Segments at 32 points to unit vectors.

    Args:
        mels: mel filters M.
        channels: of the convolutions.
        dropout: before the last layer.
    """

    def __init__(self, mels: int = MELS, channels: int = 192, dropout: float = 0.2) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(mels, channels, 5, stride=2, padding=2),
                nn.Conv1d(channels, channels, 3, stride=2, padding=1),
                nn.Conv1d(channels, channels, 3, padding=1),
            ]
        )
        # Over channels and time of one segment: no vector depends on the others of its batch.
        self.norms = nn.ModuleList([nn.GroupNorm(1, channels) for _ in range(3)])
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(channels * POINTS // 4 + 1, WIDTH)

    def forward(self, points: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, 128].

        Args:
            points: [B, 32, M].
            lengths: frames of each segment before it was resampled, [B].
        """
        x = (points * _SCALE).transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.gelu(norm(convolution(x)))
        duration = torch.log(lengths.to(x.dtype) / _TYPICAL_FRAMES)
        flat = torch.cat([self.dropout(x.flatten(1)), duration[:, None]], dim=1)
        return functional.normalize(self.project(flat), dim=1)


@dataclass(frozen=True)
class Encoder:
    """A network with what is known of its training.

    Attributes:
        network: in evaluation mode.
        facts: JSON-like facts ("steps", "segments", "types", "seconds", ...).
    """

    network: WordNetwork
    facts: Mapping[str, Any] = field(default_factory=dict)

    def embed(self, segments: Segments) -> NDArray[np.float64]:
        """Unit vectors of N segments, float64 [N, 128]; each depends on its segment alone."""
        if not len(segments):
            return np.zeros((0, WIDTH))
        points, lengths = segments.resampled(POINTS), segments.lengths
        with one_torch_thread(), torch.no_grad():
            parts = [
                self.network(
                    torch.from_numpy(points[i : i + _BATCH]),
                    torch.from_numpy(lengths[i : i + _BATCH]),
                )
                for i in range(0, len(segments), _BATCH)
            ]
        return torch.cat(parts).double().numpy()


def untrained_encoder(seed: int) -> Encoder:
    """An encoder with random weights: how much of a score is the architecture's."""
    return Encoder(make_network(seed).eval(), {"steps": 0})


def make_network(seed: int) -> WordNetwork:
    """A network with torch's initial weights, from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WordNetwork()


def plain_embedding(segments: Segments, points: int = 10) -> NDArray[np.float64]:
    """The baseline without training: log-mel at ``points`` points, end to end, [N, points * M].

    Source: the "downsampling" embedding of Holzenberger et al., Interspeech 2018.
    """
    return segments.resampled(points).reshape(len(segments), -1).astype(np.float64)
