"""Angular prototypical loss between crops, optionally against an adversary that knows augmentation.

Angular prototypical: Chung et al., Interspeech 2020 (arXiv 2003.11982). Augmentation-adversarial
training (AAT): Huh et al., NeurIPS workshop 2020 (arXiv 2007.12085), with the settings of its
public code (joonson/voxceleb_unsupervised).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from voxstrata.config import Config
from voxstrata.errors import ConfigError
from voxstrata.training import distributed
from voxstrata.training.data.crops import Crop, Place
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Clock, Context, Examples, Loss, Objective
from voxstrata.training.objectives.views import (
    Recordings,
    ViewOptions,
    check_views,
    contrast,
    judge_spread,
    spread,
    unit,
    view_examples,
)
from voxstrata.training.settings import TrainConfig

SMALLEST = 1e-6
"""The factor w stays above this."""

_Positive = Annotated[float, Field(gt=0)]


class AdversaryOptions(Config):
    """The discriminator of augmentation-adversarial training.

    Attributes:
        alpha: weight of its cross-entropy, and of the reversed gradient.
        hidden: width of its hidden layer.
        extra_steps: updates of the discriminator alone before each step.
        lr: learning rate of those (plain gradient descent).
    """

    alpha: Annotated[float, Field(ge=0)] = 3.0
    hidden: Annotated[int, Field(ge=1)] = 512
    extra_steps: Annotated[int, Field(ge=0)] = 1
    lr: _Positive = 0.01


class AngularOptions(ViewOptions):
    """Settings of ``objective: {name: angular}``, beside those of
    :class:`~voxstrata.training.objectives.views.ViewOptions`.

    Attributes:
        name: "angular".
        place: as in :class:`ViewOptions`; "apart" by default, as in the original.
        w: initial factor on cosines (learned).
        b: initial shift (learned in name: a softmax does not see it, its gradient is zero).
        adversary: settings of AAT, or ``None`` to do without.
    """

    name: Literal["angular"] = "angular"
    place: Place = "apart"
    w: _Positive = 10.0
    b: float = -5.0
    adversary: AdversaryOptions | None = None


class _Reversal(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return -grads[0]


class Adversary(nn.Module):
    """Tells pairs of crops with the same augmentation from pairs with different ones.

    Two layers, each BatchNorm, ReLU, linear, on two embeddings side by side.

    Args:
        width: D of an embedding.
        hidden: of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2),
        )

    def forward(
        self, anchor: torch.Tensor, same: torch.Tensor, other: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and accuracy over B pairs of each kind; embeddings [B, D]."""
        pairs = torch.cat([torch.cat([anchor, same], 1), torch.cat([anchor, other], 1)])
        logits = self.layers(pairs)
        truth = (torch.arange(len(pairs), device=pairs.device) < len(anchor)).long()
        right = (logits.detach().argmax(1) == truth).float().mean()
        return nn.functional.cross_entropy(logits, truth), right


class Angular(Objective):
    """Network, cosines to the other crops, adversary.

    Args:
        network: features [N, T, F] to embeddings [N, D].
        width: D.
        options: settings.
        items: of the run, to know copies of a recording; ``None`` where there are none.
    """

    def __init__(
        self, network: nn.Module, width: int, options: AngularOptions, items: Items | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.options = network, options
        self.w = nn.Parameter(torch.tensor(options.w))
        self.b = nn.Parameter(torch.tensor(options.b))
        self.adversary: Adversary | None = None
        if options.adversary is not None:
            self.adversary = Adversary(width, options.adversary.hidden)
        self.recordings = Recordings(items if options.mask_copies else None)

    def forward(self, batch: Batch) -> Loss:
        """Cross-entropy of each anchor over the last crops of all recordings, of all processes.

        Crops come anchor, (second crop with the anchor's augmentation,) second crop with another.
        The pair that is pulled together is the one with different augmentations.

        Logs ``accuracy``, ``positive``, ``negative`` (see :func:`contrast`), ``spread``, ``w``;
        with an adversary its ``adversary_loss`` and ``adversary_accuracy`` (0.5: augmentation
        cannot be told from embeddings).
        """
        embeddings = self.encoder(batch["crops"])
        count = len(batch["item"])
        with torch.autocast(embeddings.device.type, enabled=False):
            rows = unit(embeddings)
            anchors, prototypes = rows[:count], distributed.joined(rows[-count:])
            names = self.recordings(batch["item"])
            place = torch.arange(count, device=names.device)
            target = distributed.rank() * count + place
            excluded = names[:, None] == distributed.joined(names)
            excluded[place, target] = False
            loss, logs = contrast(anchors @ prototypes.T, target, excluded, self.w, self.b)
            logs |= {"spread": spread(embeddings), "w": self.w.detach()}
            if self.adversary is not None:
                against, found = self._against(rows)
                loss, logs = loss + against, {**logs, **found}
        return Loss(loss, logs)

    def _against(self, rows: torch.Tensor) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        """The adversary's part of the loss. All processes see the joint batch, so its own
        BatchNorm and updates are the same in each."""
        assert self.adversary is not None
        assert self.options.adversary is not None
        anchor, same, other = (distributed.joined(part) for part in rows.chunk(3))
        o = self.options.adversary
        if self.training and torch.is_grad_enabled():
            own = list(self.adversary.parameters())
            for _ in range(o.extra_steps):
                cost, _ = self.adversary(anchor.detach(), same.detach(), other.detach())
                with torch.no_grad():
                    for p, grad in zip(own, torch.autograd.grad(cost, own), strict=True):
                        p.sub_(o.lr * grad)
        turned = [_Reversal.apply(part) for part in (anchor, same, other)]  # type: ignore[no-untyped-call]
        cost, right = self.adversary(*turned)
        logs = {"adversary_loss": cost.detach(), "adversary_accuracy": right}
        return o.alpha * cost, logs

    @torch.no_grad()
    def after_update(self, clock: Clock) -> None:
        """Keep w positive, or cosines would count the wrong way round.

        In the original code a clamp stands in the forward pass, but its result is thrown away.
        """
        self.w.clamp_(min=SMALLEST)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """w and b do not decay."""
        rest = [p for p in self.parameters() if p is not self.w and p is not self.b]
        return [{"params": rest}, {"params": [self.w, self.b], "weight_decay": 0.0}]

    def network(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Stop where all embeddings have become one."""
        return judge_spread(found)


class Kind:
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "angular prototypical, optionally augmentation-adversarial"
    families = ("ecapa",)
    Options = AngularOptions

    def check(self, options: AngularOptions, config: TrainConfig, items: Items) -> None:
        """Refuse what no contrast can be made of.

        Raises:
            ConfigError, CorpusError: see :func:`check_views`; or an adversary is to recognise
                augmentation where there is none.
        """
        check_views(options, config, items)
        if options.adversary is not None and config.augment is None:
            raise ConfigError(
                "augmentation-adversarial training needs augmentation",
                got="objective.adversary, but no augment",
                fix="add augment: {preset: ...}, or drop objective.adversary",
            )

    def examples(self, options: AngularOptions, context: Context) -> Examples:
        """Two crops a recording; with an adversary the second one twice."""
        wanted = [
            Crop("crops", options.crop_s, position=0, profile=0),
            Crop("crops", options.crop_s, position=1, profile=1),
        ]
        if options.adversary is not None:
            wanted.insert(1, Crop("crops", options.crop_s, position=1, profile=0))
        return view_examples(options, context, wanted)

    def build(self, options: AngularOptions, context: Context) -> Angular:
        """Network and adversary from the run's seed."""
        network: Any = context.encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.config.run.seed + 1)
            return Angular(network, network.options.embed, options, context.items)


KIND = Kind()
