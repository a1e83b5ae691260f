"""Optimisers and gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from voxstrata.training.objective import Objective
from voxstrata.training.settings import OptimiserConfig


def make_optimiser(objective: Objective, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser over an objective's groups, each split into what decays and what does not.

    The learning rate of a group is set before every step: the schedule's value times the group's
    ``scale``, or its ``fixed_lr``.
    """
    groups: list[dict[str, Any]] = []
    for given in objective.parameter_groups():
        decay = float(given.get("weight_decay", config.weight_decay))
        shared: dict[str, Any] = {k: given[k] for k in ("scale", "fixed_lr") if k in given}
        found = [p for p in given["params"] if p.requires_grad]
        if config.decay_vectors or "weight_decay" in given:
            groups.append({"params": found, "weight_decay": decay, **shared})
            continue
        for params, factor in (
            ([p for p in found if p.ndim > 1], decay),
            ([p for p in found if p.ndim <= 1], 0.0),
        ):
            if params:
                groups.append({"params": params, "weight_decay": factor, **shared})
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov)
    kind = torch.optim.Adam if config.kind == "adam" else torch.optim.AdamW
    # One kernel over all numbers: on a CPU four to nine times as fast as one by one.
    return kind(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimiser.param_groups:
        fixed = group.get("fixed_lr")
        group["lr"] = rate * group.get("scale", 1.0) if fixed is None else fixed


def set_decay(optimiser: torch.optim.Optimizer, factor: float | None) -> None:
    """Set the weight decay of every group that has one; ``None`` leaves all as they are."""
    for group in optimiser.param_groups:
        if factor is not None and group["weight_decay"]:
            group["weight_decay"] = factor


def clip(parameters: Iterable[nn.Parameter], config: OptimiserConfig) -> torch.Tensor:
    """Clip gradients in place; returns the norm of all gradients before it.

    Each tensor by its own norm n: times c / (n + 1e-6) where that is below 1 (DINO); or all
    together by their common norm.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(())
    norms = torch._foreach_norm(grads)
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack([n.float() for n in norms]))
    if config.clip is None:
        return norm
    if config.clip_each:
        factors = [(config.clip / (n + 1e-6)).clamp(max=1.0) for n in norms]
        torch._foreach_mul_(grads, factors)
    else:
        factor = (config.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, factor)
    return norm
