"""Projection heads of self-distillation: from an embedding to logits over prototypes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear, normalize


class PrototypeLayer(nn.Module):
    """A linear map without bias whose rows are a direction and a length, ``g v / |v|``.

    Weight normalisation (Salimans and Kingma, arXiv 1602.07868). With lengths fixed at 1 and
    inputs of length 1, logits are cosines with ``prototypes`` directions.

    Args:
        width: of the inputs.
        prototypes: K, rows.
        fixed: whether lengths stay 1.
    """

    def __init__(self, width: int, prototypes: int, *, fixed: bool = True) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(prototypes, width))
        # As torch's linear layers begin.
        nn.init.uniform_(self.direction, -(width**-0.5), width**-0.5)
        self.length = nn.Parameter(torch.ones(prototypes, 1), requires_grad=not fixed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, width] to [N, K]."""
        norm = torch.linalg.vector_norm(self.direction, dim=1, keepdim=True)
        return linear(x, self.direction * (self.length / norm))


class Head(nn.Module):
    """Linear maps with GELU between them, a vector of length 1, and perhaps prototypes.

    Linear, [BatchNorm,] GELU, again for each layer but the last; the last is linear only. Weights
    of the linear maps begin as normal numbers of deviation 0.02, biases at 0 (DINO,
    arXiv 2104.14294; BatchNorm as wespeaker and 3D-Speaker have it).

    Args:
        inputs: width of the embeddings.
        hidden: width of the inner layers.
        bottleneck: width of the vector of length 1.
        prototypes: K, logits; 0 for a head that ends with the vector (SDPN).
        layers: linear maps up to the bottleneck, at least 1.
        norm: whether inner layers have a BatchNorm.
        wide: width of one more linear output before the bottleneck, to be regularised (RDINO); 0
            for none.
        fixed_length: whether the prototypes keep length 1.
    """

    def __init__(
        self,
        inputs: int,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        prototypes: int = 65_536,
        layers: int = 3,
        norm: bool = True,
        wide: int = 0,
        fixed_length: bool = True,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        width = inputs
        for _ in range(layers - 1):
            parts.append(nn.Linear(width, hidden))
            if norm:
                parts.append(nn.BatchNorm1d(hidden))
            parts.append(nn.GELU())
            width = hidden
        parts.append(nn.Linear(width, wide or bottleneck))
        self.mlp = nn.Sequential(*parts)
        self.narrow = nn.Linear(wide, bottleneck) if wide else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.last = (
            PrototypeLayer(bottleneck, prototypes, fixed=fixed_length) if prototypes else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, inputs] to logits [N, K], or to vectors of length 1 [N, bottleneck]."""
        return self.both(x)[1]

    def both(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the regulariser reads, [N, wide or bottleneck], and what :meth:`forward` gives."""
        inner = self.mlp(x)
        vector = inner if self.narrow is None else self.narrow(inner)
        unit = normalize(vector.float(), dim=1)
        return inner, unit if self.last is None else self.last(unit)
