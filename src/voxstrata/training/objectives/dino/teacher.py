"""Student and teacher: two networks with heads, the second a moving average of the first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from voxstrata.config import Config
from voxstrata.errors import ConfigError, CorpusError
from voxstrata.training.data.crops import CropExamples, Place, crops
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Clock, Context, Objective
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.watch import Watch, WatchConfig
from voxstrata.training.schedules import ramp
from voxstrata.training.settings import TrainConfig

_HEADS = 43
"""Purpose number of the generator behind the first weights of heads and prototypes."""

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class DistillationOptions(Config):
    """What all self-distillation shares.

    Attributes:
        global_crops, global_s: crops of the teacher and their length, seconds.
        local_crops, local_s: crops of the student alone.
        place: where the crops of a recording lie.
        augment_global: whether global crops are augmented.
        dither: noise on the waveform, steps of 16 bits.
        shortest_s: recordings shorter than this are refused, since their crops would be
            repetitions of the same stretch; the length of the shortest crop by default.
        hidden, bottleneck, layers: of the head.
        head_norm: BatchNorm in the head.
        momentum: of the teacher's moving average at the first step,
        final_momentum: and at the end; half a cosine between them.
        final_decay: weight decay at the end of the run, half a cosine from the optimiser's; its
            constant by default.
        watch: when a run counts as collapsed.
    """

    global_crops: Annotated[int, Field(ge=1)] = 2
    global_s: Positive = 3.0
    local_crops: Count = 4
    local_s: Positive = 2.0
    place: Place = "anywhere"
    augment_global: bool = True
    dither: Annotated[float, Field(ge=0)] = 1.0
    shortest_s: Positive | None = None
    hidden: Annotated[int, Field(ge=1)] = 2048
    bottleneck: Annotated[int, Field(ge=1)] = 256
    layers: Annotated[int, Field(ge=1)] = 3
    head_norm: bool = True
    momentum: Share = 0.996
    final_momentum: Share = 1.0
    final_decay: Annotated[float, Field(ge=0)] | None = None
    watch: WatchConfig = WatchConfig()


class Branch(nn.Module):
    """A network and its head.

    Args:
        network: features [B, T, F] to embeddings [B, D].
        head: embeddings to logits or vectors.
    """

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network, self.head = network, head


class Distillation(Objective):
    """A student, and a teacher that follows it.

    The teacher begins as a copy. It has no gradient; its parameters are the moving average of the
    student's, its BatchNorm statistics are its own, from the batches it sees itself.

    Args:
        student: network and head.
        options: momentum, weight decay and limits of the collapse watch.
        decay: weight decay at the first step.
    """

    def __init__(self, student: Branch, options: DistillationOptions, decay: float = 0.0) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.watch = Watch(options.watch)
        self._shared, self._decay = options, decay

    def begin_step(self, clock: Clock) -> None:
        """Note where the run stands."""
        self.watch.begin_step(clock)

    def decay(self, clock: Clock) -> float | None:
        """Half a cosine to ``final_decay``, where that is given."""
        final = self._shared.final_decay
        if final is None:
            return None
        return ramp(clock.step, self._decay, final, clock.steps, "cosine")

    def after_update(self, clock: Clock) -> None:
        """The teacher follows: t <- m t + (1 - m) s, parameters only."""
        o = self._shared
        momentum = ramp(clock.step, o.momentum, o.final_momentum, clock.steps, "cosine")
        with torch.no_grad():
            theirs: list[torch.Tensor] = list(self.teacher.parameters())
            ours: list[torch.Tensor] = list(self.student.parameters())
            torch._foreach_mul_(theirs, momentum)
            torch._foreach_add_(theirs, ours, alpha=1 - momentum)

    def network(self) -> nn.Module:
        """The teacher's network."""
        return self.teacher.network

    def judge(self, found: Mapping[str, float]) -> str | None:
        """A sentence where the run collapsed."""
        return self.watch.judge(found)


def check(options: DistillationOptions, config: TrainConfig, items: Items) -> None:
    """Refuse what self-distillation cannot work with. Labels are not needed.

    Raises:
        CorpusError: recordings are shorter than the shortest crop; their number and the shortest
            one are named.
        ConfigError: a final weight decay is given, but none to begin with.
    """
    if options.final_decay is not None and not config.optimiser.weight_decay:
        raise ConfigError(
            "objective.final_decay needs a weight decay to begin with",
            got="optimiser.weight_decay 0",
            expected="a positive one",
            fix="set optimiser.weight_decay, or drop objective.final_decay",
        )
    lengths = [options.global_s] + ([options.local_s] if options.local_crops else [])
    least = options.shortest_s or min(lengths)
    short = [item for item in items if item.duration_s < least]
    if short:
        worst = min(short, key=lambda item: item.duration_s)
        raise CorpusError(
            f"{len(short)} of {len(items)} recordings of {items.corpus.spec} are too short for "
            "their crops to differ",
            got=f"{worst.id}: {worst.duration_s:.2f} s",
            expected=f"at least {least:g} s, as long as the shortest crop",
            fix=f"leave them out with data.min_s={least * max(items.speeds):g}, or make the crops "
            "shorter (objective.global_s, objective.local_s); objective.shortest_s allows crops "
            "that repeat themselves",
        )


def make_examples(options: DistillationOptions, context: Context) -> CropExamples:
    """Crops ``global`` and ``local`` with places and augmentations of their own."""
    from voxstrata.training.prepare import augmenter

    wanted = crops("global", options.global_s, options.global_crops, augment=options.augment_global)
    wanted += crops("local", options.local_s, options.local_crops, first=options.global_crops)
    config = context.config
    return CropExamples(
        wanted,
        context.front,
        augmenter(config, context.items),
        config.spec_augment,
        place=options.place,
        dither=options.dither,
    )


def seeded(context: Context, make: Callable[[], Any]) -> Any:
    """What ``make`` returns with first weights that depend on the run's seed alone."""
    parts = np.random.SeedSequence([context.config.run.seed, _HEADS])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(parts.generate_state(1)[0]))
        return make()


def width(network: nn.Module) -> int:
    """Width of the embeddings of a network."""
    options: Any = network.options
    return int(options.embed)
