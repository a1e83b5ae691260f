"""The head of KS, SID, IC and ER: two linear layers with the mean over time between them.

Layout (s3prl at ec8064b, ``downstream/model.py``, UtteranceLevel): Linear(D, 256), mean over the
recording's frames, Linear(256, C); no activation, no dropout. IC has three groups of classes in
one output, and the loss is the sum of their cross-entropies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from voxstrata.errors import ShapeError
from voxstrata.probing.heads.head import Head, mean_over_time
from voxstrata.probing.seeded import initial_weights


class UtteranceHead(Head):
    """Linear, mean over time, linear.

    The mean is taken first: it commutes with a linear layer, at T times fewer products.

    Args:
        width: D.
        groups: classes of each group ((6, 14, 4) for IC, (1251,) for SID).
        hidden: width between the linear layers.
        seed: of the initial weights.
    """

    linear_in_means: ClassVar[bool] = True

    def __init__(
        self, width: int, groups: Sequence[int], *, hidden: int = 256, seed: int = 0
    ) -> None:
        super().__init__()
        self.width, self.groups = width, tuple(groups)
        with initial_weights(seed, "utterance head"):
            self.project = nn.Linear(width, hidden)
            self.classify = nn.Linear(hidden, sum(self.groups))

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of all groups side by side; see :meth:`Head.forward`."""
        own = self._own(z, lengths, self.width)
        return self.from_means(mean_over_time(own, lengths))

    def from_means(self, means: torch.Tensor) -> torch.Tensor:
        """The same from means over time [B, D]."""
        found: torch.Tensor = self.classify(self.project(means))
        return found

    def loss(
        self, outputs: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Sum over groups of the mean cross-entropy.

        Args:
            outputs: logits [B, C].
            lengths: not looked at.
            targets: int64 [B, G], or [B] for one group.

        Raises:
            ShapeError: targets of another shape.
        """
        targets = targets[:, None] if targets.ndim == 1 else targets
        if targets.shape != (len(outputs), len(self.groups)):
            raise ShapeError(
                "targets do not fit the head",
                got=list(targets.shape),
                expected=f"[{len(outputs)}, {len(self.groups)}]",
            )
        parts = self._groups(outputs)
        each = [functional.cross_entropy(p, targets[:, g]) for g, p in enumerate(parts)]
        return torch.stack(each).sum()

    def _groups(self, outputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.functional.split(outputs, list(self.groups), dim=1)

    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """The likeliest class of each group, int64 [B, G]."""
        return torch.stack([p.argmax(1) for p in self._groups(outputs)], dim=1)
