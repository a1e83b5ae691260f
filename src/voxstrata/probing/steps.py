"""Training of one head on frames of a layer or of the learned sum of layers: steps and looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.head import Head
from voxstrata.probing.linear.heads import BETAS, EPS, common_width
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.weighting import LayerWeights


class SummedHead(torch.nn.Module):
    """The layer weights, where several layers are read, and a head.

    Args:
        features: frames of the model; what layers there are.
        probe: the layers read, and the seed.
        plan: common width of layers that differ.
        build: makes the head for frames of some width.
    """

    def __init__(
        self, features: FrameFeatures, probe: Probe, plan: Plan, build: Callable[[int], Head]
    ) -> None:
        super().__init__()
        # Batches come on one grid, with vectors repeated: all layers are frames of that grid.
        grid = next(info.grid for info in features.infos if info.grid is not None)
        infos = [replace(features.infos[i], kind="frame", grid=grid) for i in probe.layers]
        widths = [info.width for info in infos]
        inner = common_width(widths, plan)
        self.weighting: LayerWeights | None = None
        if len(infos) > 1:
            mapped = inner if len(set(widths)) > 1 else None
            self.weighting = LayerWeights(infos, width=mapped, seed=probe.seed)
        self.head = build(inner)

    def summed(self, rows: Sequence[torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
        """Frames of the layer, or of the sum: [B, T, D]."""
        if self.weighting is None:
            return rows[0].to(next(self.head.parameters()).dtype)
        found: torch.Tensor = self.weighting(list(rows), lengths)[0]
        return found

    def at_step(self, step: int) -> None:
        """Say that a step of training begins: what is random in it depends on its number."""
        self.head.at_step(step)

    def weights(self) -> NDArray[np.float64]:
        """Softmax of the layer weights."""
        if self.weighting is None:
            return np.ones(1)
        found: NDArray[np.float64] = self.weighting.weights().double().cpu().numpy()
        return found


@dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes:
        seen: what each look said, less is better.
        best: the best of them (the first of equals), in steps.
        diverged: some gradient was not finite; that step was left out.
    """

    seen: tuple[float, ...]
    best: int
    diverged: bool


def optimiser_of(
    model: torch.nn.Module, plan: Plan, lr: float
) -> torch.optim.Adam | torch.optim.AdamW:
    """Adam; or AdamW with torch's weight decay of .01, which reaches the layer weights too, as
    published for ASV."""
    parameters = list(model.parameters())
    if plan.decay:
        return torch.optim.AdamW(
            parameters, lr=lr, betas=BETAS, eps=EPS, weight_decay=plan.decay, fused=True
        )
    return torch.optim.Adam(parameters, lr=lr, betas=BETAS, eps=EPS, fused=True)


def train_steps(
    model: SummedHead,
    plan: Plan,
    lr: float,
    loss: Callable[[int], torch.Tensor],
    look: Callable[[], float],
) -> Course:
    """Train a head; it is left as it was at the best look.

    Args:
        model: layer weights and head.
        plan: steps, clip, how often to look.
        lr: learning rate.
        loss: of the batch of a step, by its number from 1.
        look: how bad the head is now.
    """
    optimiser = optimiser_of(model, plan, lr)
    parameters = list(model.parameters())
    seen: list[float] = []
    best, kept, diverged = 0, _copied(model), False
    for step in range(1, plan.steps + 1):
        model.train()
        model.at_step(step)
        value = loss(step)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        if bool(torch.isfinite(norm)):
            optimiser.step()
        else:
            diverged = True  # the published loop leaves such a step out
        if step % plan.every == 0 or step == plan.steps:
            model.eval()
            with torch.no_grad():
                now = look()
            if not seen or now < min(seen):
                best, kept = step, _copied(model)
            seen.append(now)
    model.load_state_dict(kept)
    model.eval()
    return Course(tuple(seen), best, diverged)


def _copied(model: torch.nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def epochs(n: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Examples of each step: epochs in random order, int64 [B]; the last batch is smaller."""
    if n < 1:
        raise UsageError("there is nothing to train on", got="no recording")
    rng = np.random.default_rng([seed, 3])
    while True:
        order = rng.permutation(n)
        yield from (order[i : i + size] for i in range(0, n, size))


def cut(
    rows: Sequence[torch.Tensor], lengths: torch.Tensor, most: int, rng: np.random.Generator
) -> tuple[list[torch.Tensor], torch.Tensor, NDArray[np.int64]]:
    """A random stretch of each recording that is longer than ``most`` frames.

    Returns:
        for each layer [B, T, D]; lengths [B]; and where each stretch begins, [B].
    """
    own = lengths.numpy()
    begin = rng.integers(0, np.maximum(own - most, 0) + 1)
    left = np.minimum(own, most)
    at = torch.from_numpy(begin)[:, None] + torch.arange(int(left.max(initial=0)))
    at = at.clamp(max=max(rows[0].shape[1] - 1, 0))
    index = torch.arange(len(at))[:, None]
    return [x[index, at] for x in rows], torch.from_numpy(left), begin
