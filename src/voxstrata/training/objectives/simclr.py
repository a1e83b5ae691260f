"""SimCLR for speakers: two crops of a recording against all other crops of the batch.

Chen et al., ICML 2020 (arXiv 2002.05709), the NT-Xent loss; as wespeaker and sslsv apply it to
speakers (two 2 s crops, each with an augmentation of its own, no projector by default).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from voxstrata.training import distributed
from voxstrata.training.data.crops import crops
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Context, Examples, Loss, Objective
from voxstrata.training.objectives.ctc import (
    PhoneLoss,
    PhoneOptions,
    build_phones,
    check_phones,
    encode,
    with_phones,
)
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


class SimclrOptions(ViewOptions):
    """Settings of ``objective: {name: simclr}``, beside those of
    :class:`~voxstrata.training.objectives.views.ViewOptions`.

    Attributes:
        name: "simclr".
        temperature: of the softmax: 0.07 in wespeaker, 0.03 in sslsv.
        projector: widths of linear layers (ReLU between them) between embedding and loss; none by
            default. They are not exported.
        phones: a phone loss on a layer of the encoder beside it, or ``None``.
    """

    name: Literal["simclr"] = "simclr"
    temperature: Annotated[float, Field(gt=0)] = 0.07
    projector: tuple[Annotated[int, Field(ge=1)], ...] = ()
    phones: PhoneOptions | None = None


class Simclr(Objective):
    """Network, projector, NT-Xent.

    Args:
        network: features [N, T, F] to embeddings [N, D].
        width: D.
        options: settings.
        items: of the run, to know copies of a recording; ``None`` where there are none.
        phones: a phone loss, or ``None``.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        options: SimclrOptions,
        items: Items | None = None,
        phones: PhoneLoss | None = None,
    ) -> None:
        super().__init__()
        self.phones = phones
        self.encoder, self.options = network, options
        self.projector = projector(width, options.projector)
        self.recordings = Recordings(items if options.mask_copies else None)

    def forward(self, batch: Batch) -> Loss:
        """NT-Xent over the crops of all processes.

        Every process takes its own crops as anchors and the crops of all as candidates, so the
        mean over processes (which is what gradients and logs become) is the joint batch's.

        Logs ``accuracy``, ``positive``, ``negative`` (see :func:`contrast`) and ``spread`` of the
        embeddings; with phones ``phone_loss`` and ``phone_error_rate``.
        """
        embeddings, frames = encode(self.encoder, batch["crops"], self.phones)
        projected = self.projector(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            loss, logs = nt_xent(
                projected, self.recordings(batch["item"]), self.options.temperature
            )
        logs["spread"] = spread(embeddings)
        if self.phones is not None and frames is not None:
            more, found = self.phones(frames, batch)
            loss, logs = loss + more, {**logs, **found}
        return Loss(loss, logs)

    def network(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Stop where all embeddings have become one."""
        return judge_spread(found)


def nt_xent(
    rows: torch.Tensor, recordings: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
    """Normalised temperature-scaled cross-entropy over 2 B - 1 others (B of all processes).

    Args:
        rows: first crops, then second crops of this process's recordings, [2 B, D], any length.
        recordings: number of each recording, int64 [B]; equal numbers do not oppose each other.
        temperature: cosines are divided by it.

    Returns:
        as :func:`~voxstrata.training.objectives.views.contrast`.
    """
    own = unit(rows)
    count = len(own)
    names = recordings.repeat(2)
    everyone, all_names = distributed.joined(own), distributed.joined(names)
    place = torch.arange(count, device=own.device)
    first = distributed.rank() * count
    partner = first + (place + count // 2) % count
    excluded = names[:, None] == all_names
    excluded[place, first + place] = True
    excluded[place, partner] = False
    return contrast(own @ everyone.T, partner, excluded, 1 / temperature)


class Kind:
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "contrastive: two crops against all others of the batch"
    families = ("ecapa",)
    Options = SimclrOptions

    def check(self, options: SimclrOptions, config: TrainConfig, items: Items) -> None:
        """Refuse what no contrast can be made of.

        Raises:
            ConfigError, CorpusError: see :func:`check_views`.
        """
        check_views(options, config, items)
        if options.phones is not None:
            check_phones(options.phones, items)

    def examples(self, options: SimclrOptions, context: Context) -> Examples:
        """Two crops a recording."""
        made = view_examples(options, context, crops("crops", options.crop_s, 2))
        return with_phones(made, "crops", options.phones, context.items)

    def build(self, options: SimclrOptions, context: Context) -> Simclr:
        """Network and projector from the run's seed."""
        network: Any = context.encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.config.run.seed + 1)
            phones = build_phones(options.phones, network, context.items)
            return Simclr(network, network.options.embed, options, context.items, phones)


KIND = Kind()
