"""Training of one recurrent head on a layer or on the learned sum of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.specaug import FeatureMasks, spec_augment
from voxstrata.probing.linear.heads import BETAS, EPS, common_width
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
from voxstrata.probing.task import Round
from voxstrata.probing.weighting import LayerWeights

_BUILDING = Lock()
"""Initial weights are drawn from torch's one global generator, which is put back afterwards."""


class Recogniser(torch.nn.Module):
    """The layer weights, where several layers are read, and the head.

    Args:
        features: frames of the model; what layers there are.
        probe: the layers read, and the seed.
        classes: symbols V.
        plan: width of the head; common width of layers that differ.
        masks: SpecAugment's settings, in training.
    """

    def __init__(
        self,
        features: FrameFeatures,
        probe: Probe,
        classes: int,
        plan: Plan,
        masks: FeatureMasks,
    ) -> None:
        super().__init__()
        # Batches come on one grid, with vectors repeated: all layers are frames of that grid.
        grid = next(info.grid for info in features.infos if info.grid is not None)
        infos = [replace(features.infos[i], kind="frame", grid=grid) for i in probe.layers]
        widths = [info.width for info in infos]
        inner = common_width(widths, plan)
        self.weighting: LayerWeights | None = None
        if len(infos) > 1:
            mapped = inner if len(set(widths)) > 1 else None
            self.weighting = LayerWeights(infos, width=mapped, seed=probe.seed)
        self.head = RecurrentHead(inner, classes, hidden=plan.hidden, seed=probe.seed)
        self.masks, self.stream = masks, Stream(probe.seed, "masks of the recurrent head")

    def forward(self, rows: list[torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V] of frames of each layer read."""
        z = rows[0]
        if self.weighting is not None:
            z, lengths = self.weighting(rows, lengths)
        if self.training:
            z = spec_augment(z, lengths, self.stream.draw(), self.masks)
        found: torch.Tensor = self.head(z, lengths)
        return found

    def at_step(self, step: int) -> None:
        """What is random in a step depends on its number."""
        self.head.at_step(step)
        self.stream.at(step)

    def weights(self) -> NDArray[np.float64]:
        """Softmax of the layer weights."""
        if self.weighting is None:
            return np.ones(1)
        found: NDArray[np.float64] = self.weighting.weights().double().numpy()
        return found


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
    with _BUILDING:
        model = Recogniser(features, probe, classes, plan, masks)
    parameters = list(model.parameters())
    optimiser = torch.optim.Adam(parameters, lr=probe.lr, betas=BETAS, eps=EPS)
    batches = by_length(train.lengths, plan.batch, probe.seed)
    seen: list[float] = []
    best, kept, diverged = 0, {n: p.detach().clone() for n, p in model.state_dict().items()}, False

    def say(held: Spoken, heard: list[tuple[str, ...]] | None = None) -> Symbols:
        model.eval()
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

    for step in range(1, plan.steps + 1):
        at = next(batches)
        rows, lengths = features.batch(probe.layers, [train.ids[i] for i in at], plan.stride)
        model.train()
        model.at_step(step)
        targets = [ended(train.symbols[i], plan) for i in at]
        loss = model.head.loss(model(rows, lengths), lengths, targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        if bool(torch.isfinite(norm)):
            optimiser.step()
        else:
            diverged = True  # the published loop leaves such a step out
        if step % plan.every == 0 or step == plan.steps:
            value = rate(dev.symbols, say(dev))
            if not seen or value < min(seen):
                best = step
                kept = {n: p.detach().clone() for n, p in model.state_dict().items()}
            seen.append(value)
    model.load_state_dict(kept)
    heard: list[tuple[str, ...]] | None = None if read is None else [()] * len(test.ids)
    said = say(test, heard)
    return Written(probe, tuple(seen), best, said, model.weights(), diverged, heard)
