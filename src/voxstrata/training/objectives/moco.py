"""MoCo for speakers: a crop against the keys that a slowly moving encoder made of others.

He et al., CVPR 2020 (arXiv 1911.05722); with wespeaker's settings for speakers: a queue of 65,536
keys, momentum 0.999, temperature 0.07, the key encoder in train mode.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field
from torch import nn

from voxstrata.errors import ConfigError
from voxstrata.training import distributed
from voxstrata.training.data.crops import Crop
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Clock, Context, Examples, Loss, Objective
from voxstrata.training.objectives.views import (
    Recordings,
    ViewOptions,
    check_views,
    contrast,
    judge_spread,
    projector,
    spread,
    unit,
    view_examples,
)
from voxstrata.training.settings import TrainConfig


class MocoOptions(ViewOptions):
    """Settings of ``objective: {name: moco}``, beside those of
    :class:`~voxstrata.training.objectives.views.ViewOptions`.

    Attributes:
        name: "moco".
        temperature: of the softmax.
        queue: keys kept; the oldest give way.
        momentum: share of its old weights that the key encoder keeps at each step. 0.999 averages
            over a thousand steps: take less for runs of few thousand.
        shuffle: deal recordings to processes anew for the keys, so that query and key of a
            recording are normalised with different batches (with one process there is nothing to
            deal).
        projector: widths of linear layers (ReLU between them) between embedding and loss.
    """

    name: Literal["moco"] = "moco"
    temperature: Annotated[float, Field(gt=0)] = 0.07
    queue: Annotated[int, Field(ge=2)] = 65_536
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.999
    shuffle: bool = True
    projector: tuple[Annotated[int, Field(ge=1)], ...] = ()


class Moco(Objective):
    """Query encoder, key encoder, queue.

    The queue begins empty, and places without a key are no negatives (the original fills it with
    random vectors, which are no speakers and easily told apart). So the very first batch has no
    negatives and a loss of 0.

    Args:
        network: features [B, T, F] to embeddings [B, D].
        width: D.
        options: settings.
        items: of the run, to know copies of a recording; ``None`` where there are none.

    Attributes:
        queue: keys, unit rows [K, P]; P the width of the projection.
        queue_recording: recording of each key, -1 where there is none yet, int64 [K].
        queue_at: place of the next key.
    """

    queue: torch.Tensor
    queue_recording: torch.Tensor
    queue_at: torch.Tensor

    def __init__(
        self, network: nn.Module, width: int, options: MocoOptions, items: Items | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.options = network, options
        self.projector = projector(width, options.projector)
        self.key_encoder = copy.deepcopy(network).requires_grad_(False)
        self.key_projector = copy.deepcopy(self.projector).requires_grad_(False)
        out = options.projector[-1] if options.projector else width
        self.register_buffer("queue", torch.zeros(options.queue, out))
        self.register_buffer("queue_recording", torch.full((options.queue,), -1))
        self.register_buffer("queue_at", torch.zeros((), dtype=torch.int64))
        # Every process keeps the same queue: DistributedDataParallel need not send it around.
        self._ddp_params_and_buffers_to_ignore = ["queue", "queue_recording", "queue_at"]
        self.recordings = Recordings(items)
        self._fresh: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, batch: Batch) -> Loss:
        """Cross-entropy of a query's own key among the queue's.

        Logs ``accuracy``, ``positive``, ``negative`` (see :func:`contrast`), ``spread`` of the
        embeddings and ``queued``, the share of the queue that is filled.
        """
        embeddings = self.encoder(batch["query"])
        projected = self.projector(embeddings)
        own, everyone = self._keys(batch["key"])
        names = self.recordings(batch["item"])
        with torch.autocast(embeddings.device.type, enabled=False):
            query = unit(projected)
            cosines = torch.cat([(query * own).sum(1, keepdim=True), query @ self.queue.T], dim=1)
            excluded = (self.queue_recording < 0).repeat(len(query), 1)
            if self.options.mask_copies:
                excluded |= names[:, None] == self.queue_recording
            target = torch.zeros_like(names)
            excluded = nn.functional.pad(excluded, (1, 0))
            loss, logs = contrast(cosines, target, excluded, 1 / self.options.temperature)
        if self.training:
            self._fresh.append((everyone, distributed.joined(names)))
        filled = (self.queue_recording >= 0).float().mean()
        return Loss(loss, {**logs, "spread": spread(embeddings), "queued": filled})

    @torch.no_grad()
    def _keys(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys of this process's recordings [B, P], and of all processes' [processes B, P]."""
        count, rank = len(features), distributed.rank()
        mine = slice(rank * count, (rank + 1) * count)
        order = None
        if self.options.shuffle and distributed.size() > 1:
            order = torch.randperm(count * distributed.size()).to(features.device)
            dist.broadcast(order, 0)
            features = distributed.joined(features)[order[mine]]
        keys = self.key_projector(self.key_encoder(features))
        with torch.autocast(keys.device.type, enabled=False):
            everyone = distributed.joined(unit(keys))
        if order is not None:
            everyone = everyone[order.argsort()]
        return everyone[mine], everyone

    @torch.no_grad()
    def after_update(self, clock: Clock) -> None:
        """Move the key encoder, queue the new keys.

        Parameters are averaged; the running statistics of BatchNorm are the key encoder's own.
        """
        m = self.options.momentum
        for key, query in (
            *zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True),
            *zip(self.key_projector.parameters(), self.projector.parameters(), strict=True),
        ):
            key.mul_(m).add_(query, alpha=1 - m)
        for keys, names in self._fresh:
            self.enqueue(keys, names)
        self._fresh.clear()

    def enqueue(self, keys: torch.Tensor, recordings: torch.Tensor) -> None:
        """Put keys [N, P] into the queue in place of the oldest."""
        size = len(self.queue)
        keys, recordings = keys[-size:], recordings[-size:]
        places = (self.queue_at + torch.arange(len(keys), device=keys.device)) % size
        self.queue[places] = keys
        self.queue_recording[places] = recordings
        self.queue_at.copy_((self.queue_at + len(keys)) % size)

    def network(self) -> nn.Module:
        """The query encoder."""
        return self.encoder

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Stop where all embeddings have become one."""
        return judge_spread(found)


class Kind:
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "contrastive: against a queue of a momentum encoder"
    families = ("ecapa",)
    Options = MocoOptions

    def check(self, options: MocoOptions, config: TrainConfig, items: Items) -> None:
        """Refuse what no contrast can be made of.

        Raises:
            ConfigError, CorpusError: see :func:`check_views`; or the queue does not hold the
                keys of one step.
        """
        check_views(options, config, items)
        step = (config.data.batch or 0) * distributed.size() * config.run.accumulate
        if options.queue < step:
            raise ConfigError(
                "the queue does not hold the keys of one step",
                got=f"objective.queue={options.queue}",
                expected=f"at least {step} (batch x processes x accumulation)",
            )

    def examples(self, options: MocoOptions, context: Context) -> Examples:
        """Two crops a recording: query and key."""
        wanted = (
            Crop("query", options.crop_s, position=0, profile=0),
            Crop("key", options.crop_s, position=1, profile=1),
        )
        return view_examples(options, context, wanted)

    def build(self, options: MocoOptions, context: Context) -> Moco:
        """Networks from the run's seed, both the same."""
        network: Any = context.encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.config.run.seed + 1)
            return Moco(network, network.options.embed, options, context.items)


KIND = Kind()
