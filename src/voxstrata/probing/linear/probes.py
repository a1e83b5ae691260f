"""What a batch of linear probes is, what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError


@dataclass(frozen=True)
class Probe:
    """One head to train.

    Attributes:
        layers: positions of the layers it reads; several are summed with learned weights.
        lr: learning rate.
        seed: of initial weights and of the order of batches.
        control: train and choose on labels dealt anew among the examples of each part (what
            the head reaches without anything to learn).
        screen: a short training that only chooses a layer, where a head on every layer is too dear.
    """

    layers: tuple[int, ...]
    lr: float
    seed: int
    control: bool = False
    screen: bool = False


@dataclass(frozen=True)
class Plan:
    """How heads are trained; the constants of a protocol.

    Attributes:
        steps: updates.
        batch: examples in each.
        hidden: width between the two linear maps (SUPERB: 256).
        clip: largest norm of a head's gradient.
        every: steps between two looks at the dev part.
        balanced: draw classes evenly, with replacement (SUPERB: keyword spotting).
        measure: "accuracy" or "balanced-accuracy", what chooses the step.
        width: what layers that are summed but differ in width are mapped to, each by a learned
            linear map; ``None`` for the most common of their widths.
        end: sequences of symbols end with the end symbol.
        stride: samples between frames, where layers are finer.
        decay: weight decay of AdamW; 0 for Adam.
        most_s: seconds of a recording that a step looks at, at most; ``None`` for all.
    """

    steps: int
    batch: int = 32
    hidden: int = 256
    clip: float = 1.0
    every: int = 100
    balanced: bool = False
    measure: str = "accuracy"
    width: int | None = None
    end: bool = True
    stride: int | None = None
    decay: float = 0.0
    most_s: float | None = None


@dataclass(frozen=True)
class Part:
    """Examples of one part: features of every layer and classes.

    Attributes:
        layers: for each layer its rows [N, D_l].
        targets: int64 [N, G].
    """

    layers: Sequence[torch.Tensor]
    targets: torch.Tensor


@dataclass(frozen=True)
class Trained:
    """A trained head.

    Attributes:
        probe: which.
        dev: its measure on dev at each look, [E].
        step: the best of them (the first of equals), in steps.
        test: classes it chose for the test examples at that step, int64 [N, G].
        dev_said: the same for dev.
        weights: softmax of its layer weights at that step, [len(layers)].
        diverged: some gradient was not finite; that step was left out.
    """

    probe: Probe
    dev: tuple[float, ...]
    step: int
    test: NDArray[np.int64]
    dev_said: NDArray[np.int64]
    weights: NDArray[np.float64]
    diverged: bool


def check(parts: Mapping[str, Part], classes: Sequence[int], probes: Sequence[Probe]) -> None:
    """Refuse what cannot be trained.

    Raises:
        ShapeError: rows and targets, or the layers of parts, do not fit each other.
        NumericsError: a feature is not finite.
        UsageError: a layer that is not there; a class number out of range.
    """
    widths = None
    for name, part in parts.items():
        n = len(part.targets)
        if part.targets.shape != (n, len(classes)) or any(len(x) != n for x in part.layers):
            raise ShapeError(
                f"rows and targets of {name} do not fit",
                got=f"{[tuple(x.shape) for x in part.layers[:3]]} and {tuple(part.targets.shape)}",
                expected=f"[N, D] each and [N, {len(classes)}]",
            )
        mine = [x.shape[1] for x in part.layers]
        if widths is not None and mine != widths:
            raise ShapeError("layers of the parts differ in width", got=f"{widths} and {mine}")
        widths = mine
        for position, rows in enumerate(part.layers):
            if not torch.isfinite(rows).all():
                raise NumericsError(
                    f"features of layer {position} hold numbers that are not finite",
                    got=f"{int((~torch.isfinite(rows)).sum())} of them in {name}",
                    expected="finite features",
                    fix="run the model with --dtype float32, and check the recordings",
                )
        for group, count in enumerate(classes):
            if (
                n
                and not 0
                <= int(part.targets[:, group].min())
                <= int(part.targets[:, group].max())
                < count
            ):
                raise UsageError(f"class numbers of {name} are not 0 to {count - 1}")
    for probe in probes:
        if not probe.layers or not all(0 <= p < len(widths or []) for p in probe.layers):
            raise UsageError("a probe reads a layer that is not there", got=probe.layers)
