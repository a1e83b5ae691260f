"""What is learned: the seam through which training objectives are added.

An objective is two things: *examples*, which turn a recording into arrays in a loader process,
and a *module*, which turns a batch of them into a loss. The engine knows nothing else of it, so a
new objective is one new file and one line in :mod:`voxstrata.training.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxstrata.config import Config

if TYPE_CHECKING:
    from voxstrata.frontend import FrontEnd
    from voxstrata.training.data.items import Item, Items
    from voxstrata.training.settings import TrainConfig

Made = dict[str, NDArray[Any]]
"""What one recording becomes: named arrays."""

Batch = dict[str, torch.Tensor]
"""Several of them, collated."""


BESIDE = "finetuning.safetensors"
"""File of an exported model with what only fine-tuning needs (:meth:`Objective.beside`)."""


@dataclass(frozen=True)
class Clock:
    """Where a run stands.

    Attributes:
        step: optimiser steps done before this one.
        steps: of the whole run.
        steps_per_epoch: of one pass over the items.
    """

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Passes over the items that are complete."""
        return self.step // self.steps_per_epoch

    @property
    def epochs(self) -> float:
        """Passes over the items, with the fraction."""
        return self.step / self.steps_per_epoch

    @property
    def share(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.step / self.steps if self.steps else 1.0


@dataclass
class Loss:
    """A loss and what is worth logging beside it.

    Attributes:
        value: scalar, to be differentiated.
        logs: numbers or scalar tensors by name; averaged over the steps between two log lines.
    """

    value: torch.Tensor
    logs: dict[str, float | torch.Tensor] = field(default_factory=dict)


class Examples(Protocol):
    """The data side; runs in loader processes, is pickled, holds no parameters."""

    @property
    def seconds(self) -> float:
        """Seconds of audio that one example feeds to the network, for the throughput (0: unknown,
        then the batch's own entry ``seconds`` counts)."""
        ...

    def make(self, item: Item, rng: np.random.Generator) -> Made:
        """Arrays of one recording.

        Args:
            item: recording and label.
            rng: for every random choice; seeded by run, epoch and item, so that an example is
                the same whatever process makes it and whether or not the run was resumed.

        Raises:
            AudioError: the recording cannot be used; it is skipped, counted and listed.
        """
        ...

    def collate(self, made: Sequence[Made]) -> Batch:
        """A batch of examples."""
        ...


class Objective(nn.Module):
    """A loss with all its networks; ``forward(batch)`` returns a :class:`Loss`.

    Everything that must survive a resume is a parameter or a buffer. Hooks are called in the
    order in which they stand here; the defaults do nothing.
    """

    def begin_step(self, clock: Clock) -> None:
        """Before the forward pass: set margin, temperature, ..."""

    def forward(self, batch: Batch) -> Loss:
        """The loss of a batch.

        Raises:
            NumericsError: something is not finite where it must be.
        """
        raise NotImplementedError

    def after_backward(self, clock: Clock) -> None:
        """Before gradients are clipped."""

    def before_update(self, clock: Clock) -> None:
        """After gradients were clipped, before the optimiser's update."""

    def after_update(self, clock: Clock) -> None:
        """After the update: exponential moving averages."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters by kind: dictionaries with ``params`` and perhaps ``scale`` (factor on the
        learning rate), ``weight_decay`` (replaces the configured one) or ``fixed_lr``."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def decay(self, clock: Clock) -> float | None:
        """Weight decay in this step for all groups that decay; ``None`` where it is constant."""
        return None

    def network(self) -> nn.Module:
        """The network that is evaluated and exported."""
        raise NotImplementedError

    def beside(self) -> dict[str, torch.Tensor]:
        """Tensors kept beside the exported network, for fine-tuning: a classifier, ..."""
        return {}

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Why training must stop, from the latest logs and evaluation (a collapse); else None."""
        return None


Evaluator = Callable[[Objective], dict[str, float]]
"""Evaluates an objective's network as it stands; called in eval mode without gradients."""


@dataclass(frozen=True)
class Context:
    """All that an objective may build on.

    Attributes:
        config: the whole configuration.
        items: recordings and labels of the training corpus.
        front: front end of the network.
        encoder: makes a network with initial weights from the run's seed (the same each call).
        folder: output folder of the run; objectives may keep files under ``targets/``.
        steps: optimiser steps of the run.
        steps_per_epoch: of one pass.
        say: shows a line to the user.
    """

    config: TrainConfig
    items: Items
    front: FrontEnd
    encoder: Callable[[], nn.Module]
    folder: Path
    steps: int
    steps_per_epoch: int
    say: Callable[[str], None] = print


class ObjectiveKind(Protocol):
    """What the registry holds for a name."""

    summary: str
    """One line for listings."""

    families: tuple[str, ...]
    """Model families it trains: ``"ecapa"``, ``"melhubert"``."""

    Options: type[Config]
    """Its settings: the keys under ``objective:`` beside ``name``."""

    def check(self, options: Any, config: TrainConfig, items: Items) -> None:
        """Refuse what cannot work, before any work.

        Raises:
            VoxstrataError: one-speaker corpora, recordings that are too short, ...
        """
        ...

    def examples(self, options: Any, context: Context) -> Examples:
        """The data side; may first compute targets under ``context.folder`` (resumably)."""
        ...

    def build(self, options: Any, context: Context) -> Objective:
        """The module, with initial weights from the run's seed."""
        ...
