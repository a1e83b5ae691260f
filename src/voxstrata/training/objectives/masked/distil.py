"""A smaller MelHuBERT that learns the code probabilities of a larger one.

The loss of the MelHuBERT authors' compression code: cross-entropy of the codes and divergence from
the teacher's probabilities, mixed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from voxstrata.errors import ConfigError
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.training import distributed
from voxstrata.training.data.items import Items
from voxstrata.training.encoders import build_front_end
from voxstrata.training.objective import Batch, Context, Loss
from voxstrata.training.objectives.masked.examples import IGNORED
from voxstrata.training.objectives.masked.kind import Kind as MaskedKind
from voxstrata.training.objectives.masked.objective import Masked
from voxstrata.training.objectives.masked.settings import MaskedOptions
from voxstrata.training.settings import TrainConfig


class DistilOptions(MaskedOptions):
    """Settings of ``objective: {name: distil}``: those of ``masked`` and these.

    Attributes:
        name: "distil".
        teacher: model (name or folder) whose probabilities are learned.
        temperature: both logits are divided by it.
        alpha: share of the divergence; the rest is the cross-entropy of the codes.
        frames: ``"unmasked"``: nothing is hidden and all frames count (published default);
            ``"masked"``: both networks see the same hidden frames, and those count.
    """

    name: Literal["distil"] = "distil"  # type: ignore[assignment]
    teacher: str = ""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    frames: Literal["unmasked", "masked"] = "unmasked"


class DistilLoss(NamedTuple):
    """Scalars.

    Attributes:
        total: ``(1 - alpha) hard + alpha soft``.
        hard: cross-entropy of the codes under the student.
        soft: Kullback-Leibler divergence of the teacher's probabilities from the student's, mean
            over frames, without the factor of the squared temperature.
        teacher: cross-entropy of the codes under the teacher.
    """

    total: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor
    teacher: torch.Tensor


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    codes: torch.Tensor,
    temperature: float = 1.0,
    alpha: float = 1.0,
) -> DistilLoss:
    """The loss of some frames.

    Args:
        student, teacher: logits [N, K].
        codes: [N].
        temperature, alpha: see :class:`DistilOptions`.
    """
    hard = functional.cross_entropy(student, codes)
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, dim=1),
        functional.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    own = functional.cross_entropy(teacher, codes)
    return DistilLoss((1 - alpha) * hard + alpha * soft, hard, soft, own)


class Distil(Masked):
    """A student beside its teacher.

    Args:
        network: the student, features [B, T, F] to logits [B, T, K].
        teacher: the same codes; frozen, no part of the checkpoints.
        options: settings.
    """

    def __init__(self, network: MelHubert, teacher: MelHubert, options: DistilOptions) -> None:
        super().__init__(network, options)
        # In a list, so that it is no sub-module: it is neither trained nor saved.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self._distil = options

    def forward(self, batch: Batch) -> Loss:
        """Loss of the frames that count, and how often both networks are right there."""
        teacher = self._teacher[0].to(batch["features"].device)
        features, mask, lengths = batch["features"], batch["mask"], batch["lengths"]
        chosen = batch["codes"] != IGNORED
        if self._distil.frames == "masked":
            features = features.masked_fill(mask[..., None], 0.0)
            chosen = chosen & mask
        seen = None if bool((lengths == features.shape[1]).all()) else lengths
        with torch.no_grad():
            wanted = teacher(features, seen)[chosen].float()
        logits, codes = self.encoder(features, seen)[chosen].float(), batch["codes"][chosen]
        if not len(codes):
            return Loss(logits.sum() * 0.0)
        found = distillation_loss(
            logits, wanted, codes, self._distil.temperature, self._distil.alpha
        )
        # Over several processes the mean over the frames of all of them.
        count = torch.tensor(float(len(codes)), device=logits.device)
        share = count * distributed.size() / distributed.total(count).clamp(min=1.0)
        agree = (logits.detach().argmax(1) == wanted.argmax(1)).float().mean()
        logs: dict[str, float | torch.Tensor] = {
            "hard_loss": found.hard.detach(),
            "soft_loss": found.soft.detach(),
            "teacher_loss": found.teacher,
            "accuracy": (logits.detach().argmax(1) == codes).float().mean(),
            "agreement": agree,
        }
        return Loss(found.total * share, logs)


class Kind(MaskedKind):
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "the code probabilities of a larger MelHuBERT (distillation)"
    Options = DistilOptions

    def check(self, options: Any, config: TrainConfig, items: Items) -> None:
        """As for masked prediction, and whether the teacher fits.

        Raises:
            ConfigError: no teacher, or one with other codes or another front end.
        """
        super().check(options, config, items)
        teacher = _teacher(options)
        ours = build_front_end(config.model)
        clusters = config.model.options.get("clusters", 512)
        if teacher.options.clusters != clusters or teacher.front.fingerprint != ours.fingerprint:
            raise ConfigError(
                f"{options.teacher} cannot teach this network",
                got=f"{teacher.options.clusters} codes, front end {teacher.front.name}",
                expected=f"{clusters} codes, front end {ours.name}, with the same statistics",
                fix="start the student from the teacher's first blocks "
                "(voxstrata prune --what layers)",
            )

    def build(self, options: Any, context: Context) -> Distil:
        """Student and teacher."""
        network = cast(MelHubert, context.encoder())
        network.set_dropout(options.dropout)
        return Distil(network, cast(MelHubert, _teacher(options)._module), options)


def _teacher(options: DistilOptions) -> Any:
    from voxstrata.models.load import load_model

    if not options.teacher:
        raise ConfigError("distillation needs a teacher", fix="set objective.teacher to a model")
    found: nn.Module | Any = load_model(options.teacher)
    if getattr(found, "family", "") != "melhubert":
        raise ConfigError(
            f"{options.teacher} cannot teach a MelHuBERT",
            got=str(getattr(found, "family", None)),
            expected="melhubert",
        )
    return found


KIND = Kind()
