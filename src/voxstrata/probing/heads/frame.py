"""The head of PR: two linear layers a frame, and CTC.

Layout (s3prl at ec8064b, ``downstream/ctc``, ``downstream/model.py``): Linear(D, 256),
Linear(256, V); no activation, no dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxstrata.probing.heads.ctc import best_paths, ctc_loss
from voxstrata.probing.heads.head import Head
from voxstrata.probing.seeded import initial_weights


class FrameHead(Head):
    """Linear, linear, CTC.

    Args:
        width: D.
        classes: V symbols, the blank (0) among them.
        hidden: width between the linear layers.
        seed: of the initial weights.
    """

    def __init__(self, width: int, classes: int, *, hidden: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.width = width
        with initial_weights(seed, "frame head"):
            self.project = nn.Linear(width, hidden)
            self.classify = nn.Linear(hidden, classes)

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V]; see :meth:`Head.forward`."""
        own = self._own(z, lengths, self.width)
        found: torch.Tensor = self.classify(self.project(own))
        return found

    def loss(
        self, outputs: torch.Tensor, lengths: torch.Tensor, targets: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """CTC; see :func:`voxstrata.probing.heads.ctc.ctc_loss` for targets and errors."""
        return ctc_loss(outputs, lengths, targets)

    def predict(self, outputs: torch.Tensor, lengths: torch.Tensor) -> list[NDArray[np.int64]]:
        """The best class of every own frame; ``metrics.edit.collapse`` makes symbols of them."""
        return best_paths(outputs, lengths)
