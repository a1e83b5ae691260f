"""Classification heads with a margin between classes, on the unit sphere.

Additive angular margin: Deng et al., CVPR 2019 (arXiv 1801.07698); sub-centres: Deng et al.,
ECCV 2020; inter-top-k: Zhao et al., arXiv 2110.05042. What differs between the public speaker
toolkits is an option, each under the name of what it does.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from voxstrata.errors import ConfigError

Margin = Literal["angular", "additive"]
"""``cos(theta + m)`` or ``cos(theta) - m``."""

Beyond = Literal["continuous", "linear", "easy"]
"""What stands in for ``cos(theta + m)`` where theta > pi - m, from where on it would rise again:
``cos - 1 - cos(pi - m)``, which joins on (wespeaker, 3D-Speaker); ``cos - m sin(pi - m)``
(TaoRuijie, SpeechBrain); or the plain cosine wherever that is not positive ("easy margin")."""

CLAMP = 1e-7
"""Cosines stay this far from -1 and 1. Without it the gradient of an embedding that equals its
class is not a number: of four public implementations only SpeechBrain's has it."""

USUAL_MARGIN = 0.2
"""The inter-top-k penalty is meant for this margin and scaled along with it."""


class MarginHead(nn.Module):
    """Cosine logits with a margin for the true class.

    Args:
        width: D of the embeddings.
        classes: N.
        scale: s, factor of all logits.
        kind: see :data:`Margin`.
        beyond: see :data:`Beyond`.
        centres: K weight vectors a class, of which the nearest counts; rows are class K + k.
        hardest: this many of the nearest wrong classes are pushed away; 0 for none.
        penalty: margin mp of those, cos(theta - mp), for a margin of 0.2.

    Attributes:
        weight: [N K, D].
        margin: m as it is now, radians (or a difference of cosines); set by the objective.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        scale: float = 32.0,
        kind: Margin = "angular",
        beyond: Beyond = "continuous",
        centres: int = 1,
        hardest: int = 0,
        penalty: float = 0.06,
    ) -> None:
        super().__init__()
        if hardest >= classes:
            raise ConfigError(
                "more wrong classes are to be pushed away than there are",
                got=f"hardest={hardest}, {classes} classes",
                fix="make objective.hardest smaller",
            )
        self.classes, self.scale, self.kind, self.beyond = classes, scale, kind, beyond
        self.centres, self.hardest, self.penalty = centres, hardest, penalty
        self.margin = 0.0
        self.weight = nn.Parameter(torch.empty(classes * centres, width))
        nn.init.xavier_uniform_(self.weight)

    def cosines(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Cosine of each embedding with each class (its nearest centre), float32 [B, N]."""
        unit = nn.functional.normalize(embeddings.float(), dim=1)
        own = nn.functional.normalize(self.weight.float(), dim=1)
        found = unit @ own.T
        if self.centres > 1:
            found = found.view(len(found), self.classes, self.centres).amax(2)
        return found

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scaled logits [B, N] with the margin taken off the true class.

        Args:
            embeddings: [B, D], any length.
            labels: int64 [B].
        """
        # Half precision would round cosines to three digits, and the margin acts on the fourth.
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.logits(self.cosines(embeddings), labels)

    def logits(self, cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same from cosines [B, N]."""
        true = torch.zeros_like(cosines, dtype=torch.bool).scatter_(1, labels[:, None], True)
        found = torch.where(true, self._target(cosines), cosines)
        if self.hardest and self.margin > 0 and self.penalty > 0:
            with torch.no_grad():
                ranked = cosines.masked_fill(true, -2.0).topk(self.hardest, dim=1).indices
                hard = torch.zeros_like(true).scatter_(1, ranked, True)
            push = self.penalty * self.margin / USUAL_MARGIN
            inside = cosines.clamp(CLAMP - 1, 1 - CLAMP)
            nearer = inside * math.cos(push) + (1 - inside**2).sqrt() * math.sin(push)
            found = torch.where(hard, nearer, found)
        return self.scale * found

    def _target(self, cosines: torch.Tensor) -> torch.Tensor:
        m = self.margin
        if m == 0:
            return cosines
        if self.kind == "additive":
            return cosines - m
        inside = cosines.clamp(CLAMP - 1, 1 - CLAMP)
        moved = inside * math.cos(m) - (1 - inside**2).sqrt() * math.sin(m)
        if self.beyond == "easy":
            return torch.where(cosines > 0, moved, cosines)
        limit = math.cos(math.pi - m)
        drop = 1 + limit if self.beyond == "continuous" else m * math.sin(math.pi - m)
        return torch.where(cosines > limit, moved, cosines - drop)
