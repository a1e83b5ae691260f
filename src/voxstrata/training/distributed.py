"""Several processes: who we are, sums and joined batches that gradients flow through.

Every function does the plain thing in a single process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def mean(value: torch.Tensor) -> torch.Tensor:
    """Mean over processes, without gradient."""
    return total(value) / size()


def total(value: torch.Tensor) -> torch.Tensor:
    """Sum over processes, without gradient."""
    value = value.detach().clone()
    if size() > 1:
        dist.all_reduce(value)
    return value


def means(values: Mapping[str, float], device: str) -> dict[str, float]:
    """Mean over processes of named numbers; every process must give the same names."""
    if size() == 1:
        return dict(values)
    names = sorted(values)
    numbers = [values[name] for name in names]
    found = mean(torch.tensor(numbers, dtype=torch.float64, device=device))
    shared = dict(zip(names, found.tolist(), strict=True))
    return {name: shared[name] for name in values}


def merged(values: Mapping[str, str]) -> dict[str, str]:
    """The entries of all processes; where two know a name, the later process's."""
    if size() == 1:
        return dict(values)
    parts: list[Any] = [None] * size()
    dist.all_gather_object(parts, dict(values))
    return {name: text for part in parts for name, text in part.items()}


class _Join(torch.autograd.Function):
    """All processes' rows, in order of rank; the gradient is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows.contiguous())
        ctx.own = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (grad,) = grads
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad[rank() * ctx.own : (rank() + 1) * ctx.own]


def joined(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, [processes x B, ...]; gradients reach the rows of each.

    A loss that every process computes from joined rows is the loss of the joint batch. Each
    process's gradient is then ``processes`` times its share (the loss is counted in every one),
    and averaging gradients over processes, as DistributedDataParallel does, gives exactly the
    gradient of the joint batch.
    """
    if size() == 1:
        return rows
    found: torch.Tensor = _Join.apply(rows)  # type: ignore[no-untyped-call]
    return found
