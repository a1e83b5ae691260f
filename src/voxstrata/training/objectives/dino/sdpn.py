"""SDPN: self-distillation against learned prototypes (Chen et al., arXiv 2308.02774).

The teacher reads clean global crops, the student augmented local ones. Both are assigned to the
same prototypes; what keeps them from collapsing is Sinkhorn's equal shares, a mean entropy term
and the distance to the nearest neighbour.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from voxstrata.config import Config
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Context, Examples, Loss
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.loss import (
    assignments,
    koleo,
    mean_entropy_gap,
    sharpened,
    sinkhorn,
)
from voxstrata.training.objectives.dino.teacher import (
    Branch,
    Distillation,
    DistillationOptions,
    Positive,
    check,
    make_examples,
    seeded,
    width,
)
from voxstrata.training.objectives.dino.watch import teacher_state
from voxstrata.training.settings import TrainConfig


class SdpnOptions(DistillationOptions):
    """Settings of SDPN.

    Attributes:
        prototypes: K, learned vectors.
        temperature: of the softmax over cosines with them.
        sharpening: T; the teacher's assignments are raised to 1 / T.
        iterations: of Sinkhorn's algorithm; 0 for none.
        mean_entropy: weight of ``log K - H(mean assignment)``.
        koleo: weight of the distance to the nearest neighbour, on the network's embeddings, summed
            over local crops.
    """

    global_crops: Annotated[int, Field(ge=1)] = 1
    global_s: Positive = 4.0
    local_crops: Annotated[int, Field(ge=1)] = 4
    augment_global: bool = False
    prototypes: Annotated[int, Field(ge=2)] = 1024
    temperature: Positive = 0.1
    sharpening: Positive = 0.25
    iterations: Annotated[int, Field(ge=0)] = 3
    mean_entropy: Annotated[float, Field(ge=0)] = 1.0
    koleo: Annotated[float, Field(ge=0)] = 0.1


class Sdpn(Distillation):
    """Student, teacher and prototypes.

    Args:
        options: settings.
        network: network of the student; the teacher begins as a copy.
        head: its head, without prototypes of its own.
        decay: weight decay at the first step.
    """

    def __init__(
        self, options: SdpnOptions, network: nn.Module, head: Head, decay: float = 0.0
    ) -> None:
        super().__init__(Branch(network, head), options, decay)
        self.options = options
        bound = options.bottleneck**-0.5
        self.prototypes = nn.Parameter(torch.empty(options.prototypes, options.bottleneck))
        nn.init.uniform_(self.prototypes, -bound, bound)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The student; the prototypes, whose length has no effect, without weight decay."""
        return [
            {"params": list(self.student.parameters())},
            {"params": [self.prototypes], "weight_decay": 0.0},
        ]

    def forward(self, batch: Batch) -> Loss:
        """The loss of ``global`` [G x B, T, F] and ``local`` [L x B, t, F] crops."""
        with torch.no_grad():
            embeddings = self.teacher.network(batch["global"])
            vectors = self.teacher.head(embeddings)
        own = self.student.network(batch["local"])
        learned = self.student.head(own)
        # Cosines over a temperature of 0.1 and distances of neighbours need their digits.
        with torch.autocast(own.device.type, enabled=False):
            return self._loss(embeddings, vectors, own.float(), learned)

    def _loss(
        self,
        embeddings: torch.Tensor,
        vectors: torch.Tensor,
        own: torch.Tensor,
        learned: torch.Tensor,
    ) -> Loss:
        """From the teacher's and the student's embeddings and vectors of length 1."""
        o = self.options
        with torch.no_grad():
            given = sharpened(vectors, self.prototypes, o.temperature, o.sharpening)
            target = given.reshape(o.global_crops, -1, o.prototypes).mean(0)
            if o.iterations:
                target = sinkhorn(target, o.iterations)
        logs = assignments(learned, self.prototypes, o.temperature)
        loss = -(target.repeat(o.local_crops, 1) * logs).sum(1).mean()
        gap = mean_entropy_gap(logs)
        close = torch.stack([koleo(rows) for rows in own.chunk(o.local_crops)]).sum()
        value = loss + o.mean_entropy * gap + o.koleo * close
        parts = {"sdpn_loss": loss.detach(), "mean_entropy": gap.detach(), "koleo": close.detach()}
        return Loss(value, {**teacher_state(given, embeddings), **parts})


class _Kind:
    """What the registry holds."""

    summary = "self-distillation against prototypes (SDPN)"
    families = ("ecapa",)
    Options: type[Config] = SdpnOptions

    def check(self, options: Any, config: TrainConfig, items: Items) -> None:
        """Refuse recordings shorter than the shortest crop."""
        check(options, config, items)

    def examples(self, options: Any, context: Context) -> Examples:
        """Global and local crops."""
        return make_examples(options, context)

    def build(self, options: Any, context: Context) -> Sdpn:
        """Student, teacher, prototypes."""
        network = context.encoder()

        def make() -> Sdpn:
            head = Head(
                width(network),
                hidden=options.hidden,
                bottleneck=options.bottleneck,
                prototypes=0,
                layers=options.layers,
                norm=options.head_norm,
            )
            return Sdpn(options, network, head, context.config.optimiser.weight_decay)

        found: Sdpn = seeded(context, make)
        return found


KIND = _Kind()
