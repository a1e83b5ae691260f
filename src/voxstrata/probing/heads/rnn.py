"""The head of ASR and SF: a linear layer, two bidirectional LSTM layers, a linear layer, CTC.

Layout (s3prl at ec8064b, ``downstream/asr/model.py``, RNNs): Linear(D, 1024); twice a
bidirectional LSTM of 1024 a direction and dropout of 0.2; Linear(2048, V). No layer norm, no
downsampling; sequences are packed, so that the backward direction starts at a recording's last
frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from voxstrata.probing.heads.ctc import best_paths, ctc_loss
from voxstrata.probing.heads.head import Head
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
        there = lengths.cpu()
        for layer in self.recurrent:
            packed = pack_padded_sequence(x, there, batch_first=True, enforce_sorted=False)
            x, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=z.shape[1])
            x = self.drop(x)
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
