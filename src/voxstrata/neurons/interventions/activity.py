"""How active neurons are, and frames to draw from: one pass over a corpus, mergeable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards, neuron_layers
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.setup import SHARD_S
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.unit_frame import FrameUnit
from voxstrata.types import Utterance

Floats = NDArray[np.float64]

POOL = 512
"""Frames kept to draw from: more than the frames of ten seconds, 75 MB for 12 layers of 3072."""


@dataclass(frozen=True)
class Activity:
    """Means over frames of a corpus, and a seeded sample of its frames.

    Attributes:
        model: text of the model.
        fingerprint: of the model.
        frames: number of frames N.
        mean: by layer, mean of a_i [D], float64.
        size: by layer, mean of ``|a_i|`` [D], float64.
        pool: by layer, frames [P, D], the same P frames in all layers; each frame of the corpus is
            as likely as any other.
        recordings: that contributed.
        skipped: recordings that did not, with reasons.
    """

    model: str
    fingerprint: str
    frames: int
    mean: Mapping[str, Floats]
    size: Mapping[str, Floats]
    pool: Mapping[str, Tensor]
    recordings: int
    skipped: tuple[Mapping[str, str], ...] = ()


class ActivityReducer:
    """Sums of activations and of their sizes, and the ``pool`` frames with the lowest priorities.

    Priorities follow from seed, recording and place in it alone, so the sample does not depend on
    the order of recordings, nor on how a corpus is divided among reducers that are merged.

    Args:
        layers: names, in the order of the rows.
        pool: frames to keep.
        seed: of the sample.
    """

    def __init__(self, layers: Sequence[str], pool: int = POOL, seed: int = 0) -> None:
        if pool < 1:
            raise UsageError("at least one frame must be kept to draw from", got=pool)
        self.layers, self.pool, self.seed = tuple(layers), pool, seed
        self.frames = 0
        self._sums: dict[str, Tensor] = {}
        self._sizes: dict[str, Tensor] = {}
        self._rows: dict[str, Tensor] = {}
        self._priority: NDArray[np.float64] = np.empty(0)

    def update(self, rows: Rows) -> None:
        """Take in one recording, [T, D] of every layer."""
        count = len(rows)
        if not count:
            return
        self.frames += count
        for layer, value in zip(self.layers, rows.values, strict=True):
            wide = value.to(torch.float64)
            _add(self._sums, layer, wide.sum(dim=0).cpu())
            _add(self._sizes, layer, wide.abs().sum(dim=0).cpu())
        priority = _priorities(self.seed, rows.utterance, count)
        limit = np.inf if len(self._priority) < self.pool else self._priority.max()
        chosen = np.flatnonzero(priority < limit)
        if len(chosen):
            index = torch.from_numpy(chosen)
            picked = {
                layer: value[index.to(value.device)].to(torch.float32).cpu()
                for layer, value in zip(self.layers, rows.values, strict=True)
            }
            self._keep(priority[chosen], picked)

    def end_shard(self, shard: int) -> None:
        """Nothing is buffered."""

    def merge(self, other: ActivityReducer) -> None:
        """Add another part of the corpus.

        Raises:
            UsageError: it has other layers, or another sample size or seed.
        """
        mine = (self.layers, self.pool, self.seed)
        if mine != (other.layers, other.pool, other.seed):
            raise UsageError("these reducers are of different passes and cannot be merged")
        self.frames += other.frames
        for layer, value in other._sums.items():
            _add(self._sums, layer, value)
        for layer, value in other._sizes.items():
            _add(self._sizes, layer, value)
        if len(other._priority):
            self._keep(other._priority, other._rows)

    def finish(self) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Tensor]]:
        """Mean activation and mean size of each neuron, and the frames kept, by priority."""
        order = torch.from_numpy(np.argsort(self._priority, kind="stable"))
        scale = 1.0 / max(self.frames, 1)
        return (
            {layer: (value * scale).numpy() for layer, value in self._sums.items()},
            {layer: (value * scale).numpy() for layer, value in self._sizes.items()},
            {layer: value[order] for layer, value in self._rows.items()},
        )

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Sums, frames kept and their priorities."""
        tensors = {"priority": torch.from_numpy(self._priority.copy())}
        for layer in self._sums:
            tensors[f"sum/{layer}"] = self._sums[layer]
            tensors[f"size/{layer}"] = self._sizes[layer]
            tensors[f"rows/{layer}"] = self._rows[layer]
        return tensors, {"frames": self.frames}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.frames = int(facts["frames"])
        self._priority = tensors["priority"].numpy()
        for name, found in (("sum", self._sums), ("size", self._sizes), ("rows", self._rows)):
            found.clear()
            found.update(
                {
                    layer: tensors[f"{name}/{layer}"].clone()
                    for layer in self.layers
                    if f"{name}/{layer}" in tensors
                }
            )

    def state_bytes(self) -> int:
        """Bytes of what is kept so far."""
        return sum(value.numel() * value.element_size() for value in self.state()[0].values())

    def _keep(self, priority: NDArray[np.float64], rows: Mapping[str, Tensor]) -> None:
        joined = np.concatenate([self._priority, priority])
        best = np.sort(np.argsort(joined, kind="stable")[: self.pool])
        self._priority = joined[best]
        index = torch.from_numpy(best)
        for layer, value in rows.items():
            before = self._rows.get(layer)
            both = value if before is None else torch.cat([before, value])
            self._rows[layer] = both[index]


def measure(
    model: SpeechModel,
    utterances: Sequence[Utterance],
    *,
    layers: Sequence[str] | None = None,
    pool: int = POOL,
    seed: int = 0,
    batch_s: float = 30.0,
    on_error: Literal["skip", "stop"] = "skip",
    advance: Advance = lambda _amount: None,
) -> Activity:
    """Go over a corpus once.

    Args:
        model: on its device.
        utterances: the corpus.
        layers: of neurons; default all.
        pool: frames to keep to draw from.
        seed: of the sample.
        batch_s: seconds of audio in a batch.
        on_error: "skip" leaves a bad recording out, "stop" raises its error.
        advance: called with seconds of audio as they are done.

    Raises:
        ModelError: the model has no neurons.
        CorpusError: no recording could be used.
    """
    names = list(layers) if layers is not None else [i.name for i in neuron_layers(model)]
    stack = build_stack([model], names)
    ordered = [layer.info.name for layer in stack]
    reducer = ActivityReducer(ordered, pool, seed)
    sink = Sink(FrameUnit(), tuple(range(len(stack))), reducer, "activity")
    shards = make_shards(utterances, [0] * len(utterances), SHARD_S)
    work = Pass(utterances, [model], stack, [sink], shards, batch_s=batch_s, on_error=on_error)
    report = work.run(advance)
    mean, size, kept = reducer.finish()
    return Activity(
        model.spec,
        model.fingerprint,
        reducer.frames,
        mean,
        size,
        kept,
        report.recordings,
        tuple(report.skipped),
    )


def value_norms(model: SpeechModel) -> dict[str, Floats]:
    """Length of what each neuron writes, ``||v_i||`` [D] by layer (columns of the second map).

    Channels of ECAPA-TDNN have no such column; theirs are 1, so that their size alone counts.
    """
    widths = {info.name: info.width for info in neuron_layers(model)}
    found = {name: np.ones(width) for name, width in widths.items()}
    if any(name.endswith(".inner") for name in widths):
        for part in feed_forwards(model):
            found[part.layer] = part.down.weight.detach().double().norm(dim=0).cpu().numpy()
    return found


def _add(found: dict[str, Tensor], layer: str, value: Tensor) -> None:
    found[layer] = found[layer] + value if layer in found else value


def _priorities(seed: int, utterance: str, count: int) -> NDArray[np.float64]:
    words = np.frombuffer(hashlib.sha256(utterance.encode()).digest(), dtype=np.uint32).tolist()
    return np.random.default_rng([seed, *words]).random(count)
