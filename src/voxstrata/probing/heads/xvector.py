"""The head of ASV: an x-vector network on the weighted sum, and AM-softmax.

Layout (s3prl at ec8064b, ``downstream/sv_voxceleb1``, after Snyder et al., ICASSP 2018):
Linear(D, 512); time-delay layers (context, dilation, width) of :data:`LAYERS`, each a linear layer
over its context and ReLU; mean and standard deviation over time; Linear(3000, 512), ReLU,
Linear(512, 512), ReLU; AM-softmax (Wang et al., IEEE Signal Processing Letters 2018) with s = 30,
m = 0.4. The embedding is taken after the first of the two.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from voxstrata.probing.heads.head import Head, valid
from voxstrata.probing.seeded import initial_weights
from voxstrata.training.objectives.margin import MarginHead

LAYERS: tuple[tuple[int, int], ...] = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
"""Context and dilation of each time-delay layer; the last one has the pooled width."""

LOST = sum((context - 1) * dilation for context, dilation in LAYERS)
"""Frames that they take away."""

MIN_FRAMES = LOST + 2
"""Fewest frames: an unbiased standard deviation needs two."""


class XVectorHead(Head):
    """Time-delay layers, statistics over time, two linear layers, AM-softmax.

    Args:
        width: D.
        classes: speakers.
        hidden: width of the first linear layer, of the time-delay layers but the last, and of the
            embedding.
        pooled: width of the last time-delay layer; statistics are twice as wide.
        scale, margin: s and m of AM-softmax.
        published_pooling: let recordings that are shorter than the longest of their batch have one
            frame more, computed from padding (zeros) at its end, as the published code does. An
            embedding then depends on the batch; of single recordings it is the same.
        seed: of the initial weights.

    Attributes:
        min_frames: 16: the time-delay layers take 14 frames away, and an unbiased standard
            deviation needs two.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        hidden: int = 512,
        pooled: int = 1500,
        scale: float = 30.0,
        margin: float = 0.4,
        published_pooling: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.width, self.published_pooling = width, published_pooling
        self.min_frames = MIN_FRAMES
        widths = [hidden] * len(LAYERS) + [pooled]
        with initial_weights(seed, "x-vector head"):
            self.project = nn.Linear(width, hidden)
            self.delays = nn.ModuleList(
                nn.Conv1d(widths[i], widths[i + 1], context, dilation=dilation)
                for i, (context, dilation) in enumerate(LAYERS)
            )
            self.embed = nn.Linear(2 * pooled, hidden)
            self.second = nn.Linear(hidden, hidden)
            self.speakers = MarginHead(hidden, classes, scale=scale, kind="additive")
            self.speakers.margin = margin
            nn.init.xavier_normal_(self.speakers.weight)

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What AM-softmax classifies, [B, H]; see :meth:`Head.forward`."""
        return functional.relu(self.second(self.embedding(z, lengths)))

    def embedding(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embeddings [B, H], not normalised; scores are cosines.

        Raises:
            ShapeError: shapes do not fit.
            UsageError: a recording has fewer than ``min_frames`` frames.
        """
        own = self._own(z, lengths, self.width)[:, : int(lengths.max())]
        x = self.project(own).transpose(1, 2)
        for layer in self.delays:
            x = functional.relu(layer(x))
        left = lengths - LOST
        if self.published_pooling:
            left = (left + 1).clamp(max=x.shape[2])
        return functional.relu(self.embed(statistics(x, left)))

    def cosines(self, outputs: torch.Tensor) -> torch.Tensor:
        """Cosine of each output with each speaker, [B, classes]."""
        unit = functional.normalize(outputs, dim=1)
        return unit @ functional.normalize(self.speakers.weight, dim=1).T

    def loss(
        self, outputs: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Mean AM-softmax loss.

        Args:
            outputs: [B, H].
            lengths: not looked at.
            targets: speaker of each recording, int64 [B].
        """
        # Not the forward pass of MarginHead: it computes cosines in float32 whatever comes in.
        return functional.cross_entropy(
            self.speakers.logits(self.cosines(outputs), targets), targets
        )


def statistics(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean and unbiased standard deviation over each recording's own frames.

    Args:
        x: [B, D, T].
        lengths: int64 [B], at least 2.

    Returns:
        [B, 2 D]. Where a dimension does not vary the standard deviation is 0 and so is its
        gradient.
    """
    beyond = ~valid(lengths, x.shape[2])[:, None]
    counts = lengths[:, None].to(x.dtype)
    mean = x.masked_fill(beyond, 0).sum(2) / counts
    spread = (x - mean[..., None]).masked_fill(beyond, 0).square().sum(2) / (counts - 1)
    still = spread == 0
    deviation = spread.masked_fill(still, 1).sqrt().masked_fill(still, 0)
    return torch.cat([mean, deviation], dim=1)
