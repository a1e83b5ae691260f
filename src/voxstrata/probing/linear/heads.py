"""K heads side by side: parameters with a leading axis, the same numbers as K heads alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from voxstrata.probing.linear.probes import Plan, Probe

BETAS, EPS = (0.9, 0.999), 1e-8


def initial(shape: Sequence[int], fan_in: int, generator: torch.Generator) -> torch.Tensor:
    """Uniform within 1 / sqrt(fan in): what ``torch.nn.Linear`` begins with."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(*shape, dtype=torch.float64).uniform_(-bound, bound, generator=generator)


def common_width(widths: Sequence[int], plan: Plan) -> int:
    """Width of what the layers of a sum are mapped to where theirs differ: the plan's, or the most
    common among them (the smallest of equals)."""
    if len(set(widths)) == 1:
        return widths[0]
    return plan.width or max(sorted(set(widths)), key=list(widths).count)


class Heads:
    """Linear(D, H) and Linear(H, C) of K probes, and their layer weights.

    A probe begins with weights that depend on its seed and the shapes alone, so it ends with the
    same numbers whatever it is batched with.

    Args:
        probes: K, all of as many layers and the same widths.
        widths: of the layers each reads.
        classes: C, the sum over groups.
        plan: hidden width, common width.
        dtype: of everything.
        device: where.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        widths: Sequence[int],
        classes: int,
        plan: Plan,
        dtype: torch.dtype,
        device: str = "cpu",
    ) -> None:
        self.mapped = len(set(widths)) > 1
        inner = common_width(widths, plan)
        drawn: list[list[torch.Tensor]] = []
        for probe in probes:
            g = torch.Generator().manual_seed(probe.seed)
            one = [
                initial((inner, plan.hidden), inner, g),
                initial((1, plan.hidden), inner, g),
                initial((plan.hidden, classes), plan.hidden, g),
                initial((1, classes), plan.hidden, g),
            ]
            if len(widths) > 1:
                one.append(torch.zeros(len(widths), dtype=torch.float64))
            if self.mapped:
                for width in widths:
                    one += [initial((width, inner), width, g), initial((1, inner), width, g)]
            drawn.append(one)
        self.parameters = [
            torch.stack([one[i] for one in drawn]).to(device, dtype).requires_grad_()
            for i in range(len(drawn[0]))
        ]
        self.summed = len(widths) > 1
        self.diverged = torch.zeros(len(probes), dtype=torch.bool, device=device)
        # Views of one head each: an optimiser has its own rates, steps and moments for them.
        self._views = [[p.detach()[k] for p in self.parameters] for k in range(len(probes))]
        alike: dict[float, list[torch.Tensor]] = {}
        for probe, views in zip(probes, self._views, strict=True):
            alike.setdefault(probe.lr, []).extend(views)
        # The fused kernel reads and writes every number once; operation by operation they are
        # moved eleven times, which took as long as the products.
        self._adam = torch.optim.Adam(
            [{"params": views, "lr": lr} for lr, views in alike.items()],
            betas=BETAS, eps=EPS, fused=True,
        )  # fmt: skip

    def weights(self) -> torch.Tensor:
        """Softmax of the layer weights, [K, L]; ones where a probe reads one layer."""
        if not self.summed:
            return self.parameters[0].new_ones(len(self._views), 1)
        return self.parameters[4].detach().softmax(dim=1)

    def logits(self, layers: Sequence[torch.Tensor], one: int | None = None) -> torch.Tensor:
        """[K, B, C] from features of each layer read, [K, B, D_l] each; or those of one probe,
        [B, C] from [B, D_l]."""
        p = self.parameters if one is None else [x[one] for x in self.parameters]
        if not self.summed:
            z = layers[0]
        else:
            share = p[4].softmax(dim=-1)
            if self.mapped:
                layers = [x @ p[5 + 2 * i] + p[6 + 2 * i] for i, x in enumerate(layers)]
            z = sum(
                (share[..., i, None, None] * x for i, x in enumerate(layers[1:], start=1)),
                start=share[..., 0, None, None] * layers[0],
            )
        return (z @ p[0] + p[1]) @ p[2] + p[3]

    def update(self, loss: torch.Tensor, clip: float) -> None:
        """One step of Adam for every head, its gradient cut to the norm ``clip``.

        Args:
            loss: sum of the heads' losses.
            clip: as ``torch.nn.utils.clip_grad_norm_``, for each head alone.
        """
        self.step(torch.autograd.grad(loss, self.parameters), clip)

    def step(self, gradients: Sequence[torch.Tensor], clip: float) -> None:
        """The same from gradients by :attr:`parameters`."""
        # A kernel that goes over memory in order must be given tensors that lie in it so.
        gradients = [g.contiguous() for g in gradients]
        norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        scale = (clip / (norm + 1e-6)).clamp_max(1.0)
        good = torch.isfinite(norm)
        finite = good.tolist()
        if not all(finite):
            self.diverged |= ~good
        if bool((scale < 1).any()):  # times 1 changes no bit
            for g in gradients:
                g.mul_(_wide(scale, g))
        for k, views in enumerate(self._views):
            for place, view in enumerate(views):
                # The published loop leaves out a step whose gradient is not finite.
                view.grad = gradients[place][k] if finite[k] else None
        self._adam.step()


def _wide(per_head: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[K] against [K, ...]."""
    return per_head.reshape(-1, *([1] * (like.dim() - 1)))
