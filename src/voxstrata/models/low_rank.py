"""A linear map as the product of two thinner ones, in the place of ``nn.Linear``."""

from __future__ import annotations

import torch
from torch import nn


class LowRank(nn.Module):
    """``y = second(first(x))``, with ``first`` [R, D] without bias and ``second`` [F, R].

    Args:
        in_features: D.
        out_features: F.
        rank: R.
        bias: whether ``second`` has one.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features, bias=bias)

    @property
    def in_features(self) -> int:
        """D."""
        return self.first.in_features

    @property
    def out_features(self) -> int:
        """F."""
        return self.second.out_features

    @property
    def rank(self) -> int:
        """R."""
        return self.first.out_features

    @property
    def weight(self) -> torch.Tensor:
        """The product [F, D]; a new tensor, to be read only."""
        return self.second.weight @ self.first.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """Bias [F], if there is one."""
        return self.second.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., D] to [..., F]."""
        out: torch.Tensor = self.second(self.first(x))
        return out


def linear(in_features: int, out_features: int, rank: int | None) -> nn.Module:
    """A linear map, whole or of a rank."""
    if rank is None:
        return nn.Linear(in_features, out_features)
    return LowRank(in_features, out_features, rank)
