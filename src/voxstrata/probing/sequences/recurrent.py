"""Training of one recurrent head on a layer or on the learned sum of layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.specaug import FeatureMasks, spec_augment
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.seeded import Stream
from voxstrata.probing.sequences.train import (
    Rate,
    Spoken,
    Symbols,
    Written,
    by_length,
    dealt_symbols,
    decoded,
    ended,
    in_batches,
    spoken,
    trainable,
)
from voxstrata.probing.steps import SummedHead, train_steps
from voxstrata.probing.task import Round


class Recogniser(SummedHead):
    """The layer weights, where several layers are read, masks, and the recurrent head.

    Args:
        features: frames of the model; what layers there are.
        probe: the layers read, and the seed.
        classes: symbols V.
        plan: width of the head; common width of layers that differ.
        masks: SpecAugment's settings, in training.
    """

    head: RecurrentHead

    def __init__(
        self,
        features: FrameFeatures,
        probe: Probe,
        classes: int,
        plan: Plan,
        masks: FeatureMasks,
    ) -> None:
        super().__init__(
            features,
            probe,
            plan,
            lambda width: RecurrentHead(width, classes, hidden=plan.hidden, seed=probe.seed),
        )
        self.masks, self.stream = masks, Stream(probe.seed, "masks of the recurrent head")

    def forward(self, rows: list[torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V] of frames of each layer read."""
        z = self.summed(rows, lengths)
        if self.training:
            z = spec_augment(z, lengths, self.stream.draw(), self.masks)
        found: torch.Tensor = self.head(z, lengths)
        return found

    def at_step(self, step: int) -> None:
        """See :class:`voxstrata.probing.steps.SummedHead`."""
        super().at_step(step)
        self.stream.at(step)


def train_recogniser(
    features: FrameFeatures,
    division: Round,
    classes: int,
    probe: Probe,
    plan: Plan,
    masks: FeatureMasks,
    rate: Rate,
    *,
    stops: bool,
    read: Callable[[NDArray[np.float32]], tuple[str, ...]] | None = None,
) -> Written:
    """Train one head and write down the test part with it as it was at the best look at dev.

    Args:
        features: frames of the model.
        division: train, dev and test.
        classes: symbols V.
        probe: layers, learning rate, seed.
        plan: the protocol's constants.
        masks: SpecAugment's settings.
        rate: what chooses the step.
        stops: see :func:`voxstrata.probing.sequences.train.decoded`.
        read: makes words of a test recording's log probabilities, [T, V].

    Raises:
        UsageError: no recording to train on.
    """
    train, dev, test = (
        spoken(features, probe.layers, division, part, plan) for part in ("train", "dev", "test")
    )
    train = trainable(train, plan)
    if probe.control:
        train, dev = dealt_symbols(train, probe.seed), dealt_symbols(dev, probe.seed)
    model = Recogniser(features, probe, classes, plan, masks)
    batches = by_length(train.lengths, plan.batch, probe.seed)

    def say(held: Spoken, heard: list[tuple[str, ...]] | None = None) -> Symbols:
        paths = [np.zeros(0, np.int64) for _ in held.ids]
        with torch.no_grad():
            for at in in_batches(held.lengths, plan.batch):
                there = [int(i) for i in at if held.lengths[i]]  # nothing is said in no frames
                if not there:
                    continue
                rows, lengths = features.batch(
                    probe.layers, [held.ids[i] for i in there], plan.stride
                )
                outputs = model(rows, lengths)
                for i, path in zip(there, model.head.predict(outputs, lengths), strict=True):
                    paths[i] = path
                if read is not None and heard is not None:
                    for i, row in zip(there, outputs.log_softmax(2).float().cpu(), strict=True):
                        heard[i] = read(row[: len(paths[i])].numpy())
        return decoded(paths, stops)

    def loss(_step: int) -> torch.Tensor:
        at = next(batches)
        rows, lengths = features.batch(probe.layers, [train.ids[i] for i in at], plan.stride)
        targets = [ended(train.symbols[i], plan) for i in at]
        return model.head.loss(model(rows, lengths), lengths, targets)

    course = train_steps(model, plan, probe.lr, loss, lambda: rate(dev.symbols, say(dev)))
    heard: list[tuple[str, ...]] | None = None if read is None else [()] * len(test.ids)
    said = say(test, heard)
    return Written(probe, course.seen, course.best, said, model.weights(), course.diverged, heard)
