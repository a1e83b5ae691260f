"""The head of ASR and SF: a linear layer, two bidirectional LSTM layers, a linear layer, CTC.

Layout (s3prl at ec8064b, ``downstream/asr/model.py``, RNNs): Linear(D, 1024); twice a
bidirectional LSTM of 1024 a direction and dropout of 0.2; Linear(2048, V). No layer norm, no
downsampling; the backward direction starts at a recording's last frame.

Each direction runs over plain padded frames, the backward one over every recording turned round
within its own length, which gives what packed sequences give: on a CPU these train several times as
slowly (seen with torch 2.13; no benchmark holds the figure).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxstrata.probing.heads.ctc import best_paths, ctc_loss
from voxstrata.probing.heads.head import Head, valid
from voxstrata.probing.seeded import Dropout, Stream, initial_weights


class RecurrentHead(Head):
    """Linear, bidirectional LSTM layers with dropout after each, linear, CTC.

    Args:
        width: D.
        classes: V symbols, the blank (0) among them.
        hidden: width of the first linear layer and of each direction.
        layers: how many LSTM layers.
        dropout: rate after each of them.
        seed: of the initial weights and of dropout.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        hidden: int = 1024,
        layers: int = 2,
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        self.stream = Stream(seed, "dropout of the recurrent head")
        self.drop = Dropout(dropout, self.stream)
        with initial_weights(seed, "recurrent head"):
            self.project = nn.Linear(width, hidden)
            self.recurrent = nn.ModuleList(
                nn.LSTM(
                    hidden if i == 0 else 2 * hidden, hidden, batch_first=True, bidirectional=True
                )
                for i in range(layers)
            )
            self.classify = nn.Linear(2 * hidden, classes)

    def at_step(self, step: int) -> None:
        """Dropout of a step depends on the step's number."""
        self.stream.at(step)

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V]; see :meth:`Head.forward`."""
        x = self.project(self._own(z, lengths, self.width))
        padding = ~valid(lengths, z.shape[1])[..., None]
        turned = _turned(lengths, z.shape[1])
        rows = torch.arange(len(z), device=z.device)[:, None]
        for layer in self.recurrent:
            ahead = _direction(layer, "", x)
            back = _direction(layer, "_reverse", x[rows, turned])[rows, turned]
            x = self.drop(torch.cat([ahead, back], dim=2).masked_fill(padding, 0))
        found: torch.Tensor = self.classify(x)
        return found

    def loss(
        self, outputs: torch.Tensor, lengths: torch.Tensor, targets: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """CTC; see :func:`voxstrata.probing.heads.ctc.ctc_loss` for targets and errors."""
        return ctc_loss(outputs, lengths, targets)

    def predict(self, outputs: torch.Tensor, lengths: torch.Tensor) -> list[NDArray[np.int64]]:
        """The best class of every own frame; ``metrics.edit.collapse`` makes symbols of them."""
        return best_paths(outputs, lengths)


def _turned(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Place of each frame when own frames are turned round and padding stays, int64 [B, T]."""
    at = torch.arange(frames, device=lengths.device)
    return torch.where(at < lengths[:, None], lengths[:, None] - 1 - at, at)


def _direction(layer: nn.Module, suffix: str, x: torch.Tensor) -> torch.Tensor:
    """One direction of a bidirectional LSTM layer, from the first frame on: [B, T, H]."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights: list[torch.Tensor] = [layer.get_parameter(name + suffix) for name in names]
    start = x.new_zeros(1, len(x), weights[1].shape[1])
    # input, states, weights, bias, layers, dropout, training, bidirectional, batch first
    found: torch.Tensor = torch.lstm(
        x, (start, start), weights, True, 1, 0.0, layer.training, False, True
    )[0]
    return found
