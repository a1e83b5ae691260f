"""Training of heads that write symbols: batches by length, greedy decoding, best step on dev."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.metrics.edit import collapse
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.ctc import BLANK, frames_needed
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.heads import FrameHeads, ctc_losses
from voxstrata.probing.task import Round, Transcripts
from voxstrata.probing.tasks.symbols import END

Symbols = list[NDArray[np.int64]]
Rate = Callable[[Symbols, Symbols], float]
"""Error rate of what is said (second) against what is wanted (first)."""

JITTER = 0.1
"""Lengths are shuffled by up to this share before they are sorted into batches, so that the
neighbours of a recording change from epoch to epoch."""


@dataclass(frozen=True)
class Spoken:
    """Recordings of one part with their symbols.

    Attributes:
        ids: of the recordings.
        symbols: of each.
        lengths: frames of each.
    """

    ids: tuple[str, ...]
    symbols: Symbols
    lengths: NDArray[np.int64]

    def taken(self, kept: Sequence[int]) -> Spoken:
        """Some of them."""
        return Spoken(
            tuple(self.ids[i] for i in kept), [self.symbols[i] for i in kept], self.lengths[kept]
        )


@dataclass(frozen=True)
class Written:
    """A trained head and what it wrote.

    Attributes:
        probe: which.
        dev: its error rate on dev at each look.
        step: the best of them (the first of equals), in steps.
        test: symbols it wrote for the test recordings at that step.
        weights: softmax of its layer weights at that step.
        diverged: some gradient was not finite; that step was left out.
    """

    probe: Probe
    dev: tuple[float, ...]
    step: int
    test: Symbols
    weights: NDArray[np.float64]
    diverged: bool


def spoken(
    features: FrameFeatures, layers: Sequence[int], division: Round, part: str, plan: Plan
) -> Spoken:
    """The recordings of a part that have features."""
    examples = division.parts[part]
    assert isinstance(examples, Transcripts)
    kept = [i for i, name in enumerate(examples.ids) if name in features.place]
    ids = tuple(examples.ids[i] for i in kept)
    lengths = features.lengths(layers, ids, plan.stride)
    return Spoken(ids, [examples.symbols[i] for i in kept], lengths)


def ended(symbols: NDArray[np.int64], plan: Plan) -> torch.Tensor:
    """The target of a sequence: with the end symbol, where the protocol has one."""
    return torch.from_numpy(np.append(symbols, END) if plan.end else symbols)


def long_enough(held: Spoken, plan: Plan) -> list[int]:
    """Recordings with as many frames as CTC needs for their symbols."""
    return [
        i
        for i, symbols in enumerate(held.symbols)
        if held.lengths[i] >= frames_needed(ended(symbols, plan))
    ]


def trainable(held: Spoken, plan: Plan) -> Spoken:
    """The recordings that CTC can learn from.

    Raises:
        UsageError: there are none.
    """
    found = held.taken(long_enough(held, plan))
    if not found.ids:
        raise UsageError(
            "no training recording has as many frames as its symbols need",
            got=f"{len(held.ids)} recordings",
            fix="use layers with more frames a second",
        )
    return found


def by_length(lengths: NDArray[np.int64], size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Recordings of each step: neighbours in length, epoch after epoch.

    Every recording comes once an epoch. Batches are cut from the sorted list at a random place,
    and come in random order.

    Args:
        lengths: frames of each recording.
        size: of a batch.
        seed: of all that is random.
    """
    rng = np.random.default_rng([seed, 1])
    while True:
        order = np.argsort(lengths * rng.uniform(1 - JITTER, 1 + JITTER, len(lengths)))
        first = int(rng.integers(1, size + 1))
        batches = np.split(order, range(first, len(order), size))
        for number in rng.permutation(len(batches)):
            yield batches[number]


def dealt_symbols(held: Spoken, seed: int) -> Spoken:
    """Symbols of other recordings, a permutation."""
    order = np.random.default_rng([seed, 2]).permutation(len(held.ids))
    return Spoken(held.ids, [held.symbols[i] for i in order], held.lengths)


def decoded(paths: Sequence[NDArray[np.int64]], stops: bool) -> Symbols:
    """Symbols of the best class of every frame."""
    if stops:
        return collapse(paths, blank=BLANK, end=END)
    return collapse(paths, blank=BLANK, drop=(END,))


def in_batches(lengths: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """All recordings once, neighbours in length together."""
    order = np.argsort(lengths, kind="stable")
    yield from (order[i : i + size] for i in range(0, len(order), size))


def train_frame_heads(
    features: FrameFeatures,
    division: Round,
    classes: int,
    probes: Sequence[Probe],
    plan: Plan,
    rate: Rate,
    *,
    stops: bool,
    dtype: torch.dtype = torch.float32,
) -> list[Written]:
    """Train heads that read the same layers on the same batches; each is the one it is alone.

    Args:
        features: frames of the model.
        division: train, dev and test.
        classes: symbols V.
        probes: heads of the same layers, seed and control.
        plan: the protocol's constants.
        rate: what chooses the step.
        stops: see :func:`decoded`.
        dtype: of everything.

    Raises:
        UsageError: no recording to train on.
    """
    layers, seed = probes[0].layers, probes[0].seed
    train, dev, test = (
        spoken(features, layers, division, part, plan) for part in ("train", "dev", "test")
    )
    train = trainable(train, plan)
    if probes[0].control:
        train, dev = dealt_symbols(train, seed), dealt_symbols(dev, seed)
    heads = FrameHeads(probes, [features.widths[i] for i in layers], classes, plan, dtype)
    batches = by_length(train.lengths, plan.batch, seed)
    seen: list[list[float]] = [[] for _ in probes]
    steps = [0] * len(probes)
    kept = [p.detach().clone() for p in heads.parameters]

    def say(held: Spoken) -> list[Symbols]:
        paths: list[list[NDArray[np.int64]]] = [
            [np.zeros(0, np.int64)] * len(held.ids) for _ in probes
        ]
        with torch.no_grad():
            for at in in_batches(held.lengths, plan.batch):
                rows, _ = features.batch(layers, [held.ids[i] for i in at], plan.stride)
                best = heads.on_frames([x.to(dtype) for x in rows]).argmax(3).numpy()
                for k in range(len(probes)):
                    for row, i in enumerate(at):
                        paths[k][i] = best[k, row, : held.lengths[i]]
        return [decoded(mine, stops) for mine in paths]

    for step in range(1, plan.steps + 1):
        at = next(batches)
        rows, lengths = features.batch(layers, [train.ids[i] for i in at], plan.stride)
        logits = heads.on_frames([x.to(dtype) for x in rows])
        targets = [ended(train.symbols[i], plan) for i in at]
        heads.update(ctc_losses(logits, lengths, targets).sum(), plan.clip)
        if step % plan.every == 0 or step == plan.steps:
            for k, said in enumerate(say(dev)):
                value = rate(dev.symbols, said)
                if not seen[k] or value < min(seen[k]):
                    steps[k] = step
                    for p, best in zip(heads.parameters, kept, strict=True):
                        best[k] = p.detach()[k]
                seen[k].append(value)
    with torch.no_grad():
        for p, best in zip(heads.parameters, kept, strict=True):
            p.copy_(best)
    weights = heads.weights().double().numpy()
    return [
        Written(probe, tuple(seen[k]), steps[k], said, weights[k], bool(heads.diverged[k]))
        for k, (probe, said) in enumerate(zip(probes, say(test), strict=True))
    ]
