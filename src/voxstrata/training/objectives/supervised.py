"""Speaker classification with an additive angular margin (AAM-softmax).

Recipes of wespeaker, 3D-Speaker, SpeechBrain and TaoRuijie/ECAPA-TDNN are settings of this one
objective; ``docs/training/supervised.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from voxstrata.config import Config
from voxstrata.errors import CheckpointError, ConfigError, CorpusError
from voxstrata.training.data.crops import CropExamples, crops
from voxstrata.training.data.items import Items
from voxstrata.training.objective import BESIDE, Batch, Clock, Context, Examples, Loss, Objective
from voxstrata.training.objectives.ctc import (
    PhoneLoss,
    PhoneOptions,
    build_phones,
    check_phones,
    encode,
    with_phones,
)
from voxstrata.training.objectives.margin import Beyond, Margin, MarginHead
from voxstrata.training.schedules import Shape, ramp
from voxstrata.training.settings import TrainConfig


class SupervisedOptions(Config):
    """Settings of ``objective: {name: aam}``.

    Attributes:
        name: "aam".
        crop_s: length of the crop of each recording, seconds.
        dither: noise on the waveform, steps of 16 bits.
        scale: s.
        margin: m at the end, radians.
        margin_start: m at first.
        margin_from, margin_to: epochs between which m grows; equal for a constant margin.
        margin_shape: how it grows.
        kind: angular (AAM) or additive (AM) margin.
        beyond: what stands in for cos(theta + m) beyond pi - m.
        centres: weight vectors a class.
        hardest, penalty: inter-top-k; 0 for none.
        classifier: model folder of an earlier run whose class vectors are taken over for the same
            speakers (large-margin fine-tuning, with ``model.start``); ``None`` for random ones.
        phones: a phone loss on a layer of the encoder beside it, or ``None``.
    """

    name: Literal["aam"] = "aam"
    crop_s: Annotated[float, Field(gt=0)] = 2.0
    dither: Annotated[float, Field(ge=0)] = 1.0
    scale: Annotated[float, Field(gt=0)] = 32.0
    margin: Annotated[float, Field(ge=0, lt=1.6)] = 0.2
    margin_start: Annotated[float, Field(ge=0, lt=1.6)] = 0.0
    margin_from: Annotated[float, Field(ge=0)] = 0.0
    margin_to: Annotated[float, Field(ge=0)] = 0.0
    margin_shape: Shape = "exponential"
    kind: Margin = "angular"
    beyond: Beyond = "continuous"
    centres: Annotated[int, Field(ge=1)] = 1
    hardest: Annotated[int, Field(ge=0)] = 0
    penalty: Annotated[float, Field(ge=0)] = 0.06
    classifier: str | None = None
    phones: PhoneOptions | None = None

    @model_validator(mode="after")
    def _in_order(self) -> SupervisedOptions:
        if self.margin_to < self.margin_from:
            raise ValueError("margin_to must not lie before margin_from")
        return self


class Supervised(Objective):
    """Network, classifier, cross-entropy.

    Args:
        network: features [B, T, F] to embeddings [B, D].
        width: D.
        classes: number of speakers (times speeds).
        options: settings.
        phones: a phone loss, or ``None``.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        classes: int,
        options: SupervisedOptions,
        phones: PhoneLoss | None = None,
    ) -> None:
        super().__init__()
        self.phones = phones
        self.encoder, self.options = network, options
        self.head = MarginHead(
            width,
            classes,
            scale=options.scale,
            kind=options.kind,
            beyond=options.beyond,
            centres=options.centres,
            hardest=options.hardest,
            penalty=options.penalty,
        )

    def begin_step(self, clock: Clock) -> None:
        """Set the margin."""
        o = self.options
        self.head.margin = ramp(
            clock.epochs,
            o.margin_start,
            o.margin,
            o.margin_to - o.margin_from,
            o.margin_shape,
            begin=o.margin_from,
        )

    def forward(self, batch: Batch) -> Loss:
        """Cross-entropy; logs the share of crops whose nearest class is the right one (without
        the margin) and the margin; with phones ``phone_loss`` and ``phone_error_rate``."""
        embeddings, frames = encode(self.encoder, batch["crops"], self.phones)
        labels = batch["label"]
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = self.head.cosines(embeddings)
            loss = nn.functional.cross_entropy(self.head.logits(cosines, labels), labels)
        right = (cosines.detach().argmax(1) == labels).float().mean()
        logs: dict[str, float | torch.Tensor] = {"accuracy": right, "margin": self.head.margin}
        if self.phones is not None and frames is not None:
            more, found = self.phones(frames, batch)
            loss, logs = loss + more, {**logs, **found}
        return Loss(loss, logs)

    def network(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def beside(self) -> dict[str, torch.Tensor]:
        """The classifier, for fine-tuning."""
        return {"classifier.weight": self.head.weight}


class Kind:
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "speaker classification with additive angular margin softmax"
    families = ("ecapa",)
    Options = SupervisedOptions

    def check(self, options: SupervisedOptions, config: TrainConfig, items: Items) -> None:
        """Refuse corpora without at least two speakers.

        Raises:
            CorpusError: recordings without speaker, or all of one.
        """
        require_speakers(items)
        if options.classifier is not None:
            _rows(options, items)  # a wrong folder is found now
        if options.phones is not None:
            check_phones(options.phones, items)

    def examples(self, options: SupervisedOptions, context: Context) -> Examples:
        """One crop a recording."""
        from voxstrata.training.prepare import augmenter

        made = CropExamples(
            crops("crops", options.crop_s, 1),
            context.front,
            augmenter(context.config, context.items),
            context.config.spec_augment,
            dither=options.dither,
        )
        return with_phones(made, "crops", options.phones, context.items)

    def build(self, options: SupervisedOptions, context: Context) -> Supervised:
        """Network and classifier from the run's seed."""
        network: Any = context.encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.config.run.seed + 1)
            phones = build_phones(options.phones, network, context.items)
            width, classes = network.options.embed, context.items.classes
            made = Supervised(network, width, classes, options, phones)
        if options.classifier is not None:
            with torch.no_grad():
                found = _rows(options, context.items)
                if found.shape != made.head.weight.shape:
                    raise CheckpointError(
                        f"the classifier of {options.classifier} has another shape",
                        got=tuple(found.shape),
                        expected=tuple(made.head.weight.shape),
                    )
                made.head.weight.copy_(found)
        return made


def require_speakers(items: Items) -> None:
    """Refuse what classification cannot work with.

    Raises:
        CorpusError: recordings without speaker, or all of one.
    """
    missing = [item.id for item in items if item.label < 0]
    if missing:
        raise CorpusError(
            f"{len(missing)} recordings of {items.corpus.spec} have no speaker",
            got=", ".join(missing[:5]),
            expected="the tier 'speaker' on every recording",
            fix="choose an objective without labels, or a corpus with speakers",
        )
    if items.speakers < 2:
        raise CorpusError(
            f"{items.corpus.spec} has one speaker",
            got=", ".join(items.names),
            expected="at least two to tell apart",
            fix="give a corpus with more speakers",
        )


def _rows(options: SupervisedOptions, items: Items) -> torch.Tensor:
    """Class vectors of an earlier run for the speakers of this one, [classes K, D].

    Speed-perturbed classes that are no longer asked for are dropped with the rest.
    """
    from voxstrata.models.card import read_card
    from voxstrata.models.weights import read_checkpoint

    if len(items.speeds) > 1:
        raise ConfigError(
            "a taken-over classifier is for the speakers at their own speed",
            got=f"data.speeds {list(items.speeds)}",
            fix="set data.speeds to [1.0] for fine-tuning",
        )
    folder = Path(str(options.classifier)).expanduser()
    training = read_card(folder).get("training", {})
    known: Sequence[str] = training.get("speakers", [])
    if not known or not (folder / BESIDE).is_file():
        raise CheckpointError(
            f"{folder} holds no classifier",
            got=f"no {BESIDE}" if known else "a card without speakers",
            expected="the model folder of a run with objective aam",
            fix="drop objective.classifier, so that the classifier begins at random",
        )
    # Numbers of rows do not tell: three speeds of one centre are as many as three centres.
    theirs = int(training.get("objective", {}).get("centres", 1))
    if theirs != options.centres:
        raise CheckpointError(
            f"the classifier of {folder} has another number of centres a class",
            got=theirs,
            expected=f"{options.centres} (objective.centres)",
            fix=f"set objective.centres to {theirs}",
        )
    weight = read_checkpoint(folder / BESIDE)["classifier.weight"].float()
    place = {name: i for i, name in enumerate(known)}
    strange = [name for name in items.names if name not in place]
    if strange:
        raise CheckpointError(
            f"{folder} was not trained on all speakers of this corpus",
            got=f"{len(strange)} unknown, e.g. {strange[0]}",
            expected=f"some of its {len(known)} speakers",
            fix="drop objective.classifier, so that the classifier begins at random",
        )
    centres = options.centres
    rows = [place[name] * centres + k for name in items.names for k in range(centres)]
    if max(rows) >= len(weight):
        raise CheckpointError(
            f"the classifier of {folder} has too few rows",
            got=len(weight),
            expected=f"{centres} for each of {len(known)} speakers",
            fix="copy the whole folder again: its card and its classifier are of two runs",
        )
    return weight[rows]


KIND = Kind()
