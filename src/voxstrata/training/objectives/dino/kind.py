"""DINO for speakers (Caron et al., arXiv 2104.14294), with RDINO's regulariser as an option.

Defaults are those of wespeaker's recipe; sizes for a small computer are in
``docs/training/dino.md``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from voxstrata.config import Config
from voxstrata.training import distributed
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Clock, Context, Examples, Loss
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.loss import Pairs, cross_view, regularity
from voxstrata.training.objectives.dino.teacher import (
    Branch,
    Distillation,
    DistillationOptions,
    Positive,
    Share,
    check,
    make_examples,
    seeded,
    width,
)
from voxstrata.training.objectives.dino.watch import teacher_state
from voxstrata.training.schedules import ramp
from voxstrata.training.settings import TrainConfig


class RegulariserOptions(Config):
    """RDINO's regulariser on the global crops' wide head outputs.

    Attributes:
        width: of the outputs it reads.
        weight: factor in the first epoch,
        final_weight: and from epoch ``weight_epochs`` on; linear between, epoch by epoch.
        weight_epochs: see there.
        std, cov: weights of the two terms.
        divide: by what the covariance term is divided: the number of ``outputs`` K, as in
            RDINO's code (with which the weights above were chosen, so it is the default), or the
            ``width``, as in VICReg, which does not change with K.
    """

    width: Annotated[int, Field(ge=2)] = 8192
    weight: Annotated[float, Field(ge=0)] = 0.05
    final_weight: Annotated[float, Field(ge=0)] = 0.2
    weight_epochs: Annotated[int, Field(ge=1)] = 10
    std: Annotated[float, Field(ge=0)] = 10.0
    cov: Annotated[float, Field(ge=0)] = 1.0
    divide: Literal["outputs", "width"] = "outputs"

    def at(self, epoch: int) -> float:
        """The factor in an epoch, counted from 0."""
        return ramp(epoch, self.weight, self.final_weight, self.weight_epochs - 1)


class DinoOptions(DistillationOptions):
    """Settings of DINO.

    Attributes:
        prototypes: K, outputs of the head.
        fixed_length: whether rows of the last layer keep length 1.
        freeze_last: epochs (fractions too) in which the last layer is not updated.
        passes: the student's global and local crops go through the network one after the other;
            "wespeaker": then through the head together; "3dspeaker": through the head one after
            the other too. It decides which crops share BatchNorm statistics.
        pairs: see :data:`voxstrata.training.objectives.dino.loss.Pairs`.
        student_temperature: of the student.
        teacher_temperature: of the teacher at the first step,
        final_teacher_temperature: and after
        teacher_warmup: this share of the run; linear between,
        teacher_steps: changing with every "step", or every "epoch" as published (wespeaker),
            which in a run of few epochs leaves no warm-up.
        centre_momentum: of the centre's moving average.
        regulariser: RDINO's regulariser; ``None`` for none.
    """

    prototypes: Annotated[int, Field(ge=2)] = 65_536
    fixed_length: bool = True
    freeze_last: Annotated[float, Field(ge=0)] = 1.0
    passes: Literal["wespeaker", "3dspeaker"] = "wespeaker"
    pairs: Pairs = "cross"
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = 0.04
    final_teacher_temperature: Positive = 0.07
    teacher_warmup: Share = 0.2
    teacher_steps: Literal["step", "epoch"] = "step"
    centre_momentum: Share = 0.9
    regulariser: RegulariserOptions | None = None

    @model_validator(mode="after")
    def _some_pair(self) -> DinoOptions:
        crops: dict[Pairs, int] = {
            "cross": self.global_crops - 1 + self.local_crops,
            "same": 1,
            "local": self.local_crops,
        }
        if not crops[self.pairs]:
            raise ValueError(f"pairs {self.pairs!r} needs more crops: none is left to compare")
        return self

    def temperature(self, clock: Clock) -> float:
        """The teacher's temperature in a step."""
        now, over = float(clock.step), self.teacher_warmup * clock.steps
        if self.teacher_steps == "epoch":
            epochs = math.ceil(clock.steps / clock.steps_per_epoch)
            now, over = float(clock.epoch), max(0, int(self.teacher_warmup * epochs) - 1)
        return ramp(now, self.teacher_temperature, self.final_teacher_temperature, over)


class Dino(Distillation):
    """Student and teacher with the centre of the teacher's logits.

    Args:
        options: settings.
        network: network of the student; the teacher begins as a copy.
        head: its head.
        decay: weight decay at the first step.
    """

    centre: torch.Tensor

    def __init__(
        self, options: DinoOptions, network: nn.Module, head: Head, decay: float = 0.0
    ) -> None:
        super().__init__(Branch(network, head), options, decay)
        self.options = options
        self.register_buffer("centre", torch.zeros(1, options.prototypes))
        self._temperature = options.teacher_temperature
        self._regular = 0.0
        self._seen: list[torch.Tensor] = []

    def begin_step(self, clock: Clock) -> None:
        """Set the teacher's temperature and the regulariser's weight."""
        super().begin_step(clock)
        self._temperature = self.options.temperature(clock)
        if self.options.regulariser is not None:
            self._regular = self.options.regulariser.at(clock.epoch)
        self._seen = []

    def forward(self, batch: Batch) -> Loss:
        """The loss of ``global`` [G x B, T, F] and ``local`` [L x B, t, F] crops."""
        options = self.options
        views = [batch["global"]] + ([batch["local"]] if options.local_crops else [])
        inner, logits = self._student(views)
        with torch.no_grad():
            embeddings = self.teacher.network(views[0])
            inner_t, logits_t = (x.float() for x in self.teacher.head.both(embeddings))
            target = torch.softmax((logits_t - self.centre) / self._temperature, dim=1)
            if self.training:
                self._seen.append(logits_t.mean(0, keepdim=True))
        crops = (options.global_crops, options.local_crops)
        temperature = options.student_temperature
        loss = cross_view(logits, target, crops, temperature=temperature, pairs=options.pairs)
        logs: dict[str, float | torch.Tensor] = {
            **teacher_state(target, embeddings),
            "teacher_temperature": self._temperature,
        }
        if options.regulariser is not None:
            own = options.regulariser
            divisor = options.prototypes if own.divide == "outputs" else own.width
            rows = inner[: len(inner_t)]
            with torch.autocast(rows.device.type, enabled=False):
                extra = regularity(
                    rows, inner_t, crops[0], divisor=divisor, std=own.std, cov=own.cov
                )
            logs |= {"dino_loss": loss.detach(), "regulariser": extra.detach()}
            loss = loss + self._regular * extra
        return Loss(loss, logs)

    def _student(self, views: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Wide outputs and logits of all crops."""
        rows = [self.student.network(view) for view in views]
        if self.options.passes == "wespeaker":
            rows = [torch.cat(rows)]
        parts = [self.student.head.both(one) for one in rows]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def before_update(self, clock: Clock) -> None:
        """In the first epochs the last layer stays as it is."""
        last = self.student.head.last
        if clock.epochs < self.options.freeze_last and last is not None:
            # No gradient at all, not zeros: momentum and weight decay must not move it either.
            for parameter in last.parameters():
                parameter.grad = None

    def after_update(self, clock: Clock) -> None:
        """The teacher follows the student, the centre follows the teacher's logits."""
        super().after_update(clock)
        if self._seen:
            m = self.options.centre_momentum
            mean = distributed.mean(torch.stack(self._seen).mean(0))
            self.centre.mul_(m).add_(mean, alpha=1 - m)
            self._seen = []


class _Kind:
    """What the registry holds."""

    summary = "self-distillation without labels (DINO, RDINO)"
    families = ("ecapa",)
    Options: type[Config] = DinoOptions

    def check(self, options: Any, config: TrainConfig, items: Items) -> None:
        """Refuse recordings shorter than the shortest crop."""
        check(options, config, items)

    def examples(self, options: Any, context: Context) -> Examples:
        """Global and local crops."""
        return make_examples(options, context)

    def build(self, options: Any, context: Context) -> Dino:
        """Student, teacher, centre."""
        network = context.encoder()
        head = seeded(
            context,
            lambda: Head(
                width(network),
                hidden=options.hidden,
                bottleneck=options.bottleneck,
                prototypes=options.prototypes,
                layers=options.layers,
                norm=options.head_norm,
                wide=options.regulariser.width if options.regulariser else 0,
                fixed_length=options.fixed_length,
            ),
        )
        return Dino(options, network, head, context.config.optimiser.weight_decay)


KIND = _Kind()
