"""What a model costs: parameters, operations, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.types import SAMPLE_RATE

_NOISE = 6103  # purpose number of the noise that is timed


@dataclass(frozen=True)
class Cost:
    """The cost of a model.

    Attributes:
        parameters: all of them.
        nonzero: of those, the ones that are not exactly zero.
        flops: floating-point operations of a second of audio, estimated.
        latency_s: seconds that a second of audio takes to the last layer, median of the repeats;
            ``None`` where it was not measured.
        feed_forward: neurons of each feed-forward part, in order of depth.
        heads: attention heads of each block.
    """

    parameters: int
    nonzero: int
    flops: float
    latency_s: float | None
    feed_forward: tuple[int, ...]
    heads: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {**asdict(self), "feed_forward": [*self.feed_forward], "heads": [*self.heads]}


def cost_of(model: SpeechModel, latency_s: float | None = None) -> Cost:
    """What a model costs.

    Args:
        model: a Transformer.
        latency_s: see :func:`timed`.
    """
    copy = take_copy(model)
    tensors = list(copy.module.parameters())
    return Cost(
        parameters=sum(value.numel() for value in tensors),
        nonzero=sum(int(torch.count_nonzero(value)) for value in tensors),
        flops=float(model.flops_per_second),
        latency_s=latency_s,
        feed_forward=tuple(
            int(parts.map(f"{name}.up").out_features)
            for parts in copy.blocks
            for name in parts.feed_forwards
        ),
        heads=tuple(parts.heads for parts in copy.blocks),
    )


def timed(
    models: Sequence[SpeechModel],
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds that a second of audio takes from waveform to the last layer, for each model.

    Medians of ``repeats`` runs on seeded noise, one recording at a time. The models take turns, so
    that whatever else the machine does meets all of them; a first turn is not counted.

    Raises:
        UsageError: no repeat, or no audio.
    """
    if repeats < 1 or seconds <= 0:
        raise UsageError("latency needs repeats of some audio", got=f"{repeats} of {seconds} s")
    rng = np.random.default_rng(_NOISE)
    wave = (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(repeats + 1):
        for model, times in zip(models, taken, strict=True):
            last = [info.name for info in model.layers if info.name.isdigit()][-1]
            begun = clock()
            model.encode([wave], [last])
            if str(getattr(model, "device", "cpu")).startswith("cuda"):
                torch.cuda.synchronize()
            times.append(clock() - begun)
    return [statistics.median(times[1:]) / seconds for times in taken]


def summary(before: Cost, after: Cost) -> str:
    """Two costs in one line."""
    text = (
        f"{before.parameters / 1e6:.3g} to {after.parameters / 1e6:.3g} million parameters, "
        f"{before.flops / 1e9:.3g} to {after.flops / 1e9:.3g} billion operations a second of audio"
    )
    if before.latency_s and after.latency_s:
        text += (
            f", {1e3 * before.latency_s:.3g} to {1e3 * after.latency_s:.3g} ms a second of audio"
        )
    if after.nonzero < 0.99 * after.parameters:
        text += (
            f"; {1 - after.nonzero / after.parameters:.0%} of them are zero, which saves neither "
            "operations nor time here"
        )
    return text
