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
from voxstrata.probing.sequences.heads import Bundle
from voxstrata.probing.sequences.rows import Rows
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
        heard: words of the test recordings as a language model reads them, where there is one.
    """

    probe: Probe
    dev: tuple[float, ...]
    step: int
    test: Symbols
    weights: NDArray[np.float64]
    diverged: bool
    heard: list[tuple[str, ...]] | None = None


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
    rows: Rows | None = None,
) -> list[Written]:
    """Train heads on the same batches; each is the one it is alone.

    Args:
        features: frames of the model.
        division: train, dev and test.
        classes: symbols V.
        probes: heads of one seed, on layers that have the same frames
            (:func:`voxstrata.probing.sequences.bundles.bundles`).
        plan: the protocol's constants.
        rate: what chooses the step.
        stops: see :func:`decoded`.
        dtype: of everything.
        rows: the same frames, kept in memory from call to call; made here if there are none.

    Raises:
        UsageError: no recording to train on.
    """
    layers, seed = sorted({i for probe in probes for i in probe.layers}), probes[0].seed
    rows = rows or Rows(features, plan.stride, dtype)
    train, dev, test = (
        spoken(features, layers, division, part, plan) for part in ("train", "dev", "test")
    )
    train = trainable(train, plan)
    bundle = Bundle(probes, features.widths, classes, plan, dtype)
    deals = [probes[i].control for i in bundle.order]
    looked = [dealt_symbols(dev, seed) if probe.control else dev for probe in probes]
    symbols, counts = _targets(train, seed, deals, plan)
    batches = by_length(train.lengths, plan.batch, seed)
    seen: list[list[float]] = [[] for _ in probes]
    steps = [0] * len(probes)
    kept = [[p.detach().clone() for p in heads.parameters] for _, heads, _ in bundle.groups]

    def say(held: Spoken) -> list[Symbols]:
        paths: list[list[NDArray[np.int64]]] = [
            [np.zeros(0, np.int64)] * len(held.ids) for _ in probes
        ]
        for at in in_batches(held.lengths, plan.batch):
            frames, _ = rows.batch(layers, [held.ids[i] for i in at], bundle.scratch)
            said = bundle.logits(frames).argmax(3).permute(2, 1, 0).numpy()
            for number, own in zip(bundle.order, said, strict=True):
                for i, path in zip(at, own, strict=True):
                    paths[number][i] = path[: held.lengths[i]]
        return [decoded(mine, stops) for mine in paths]

    for step in range(1, plan.steps + 1):
        at = next(batches)
        frames, lengths = rows.batch(layers, [train.ids[i] for i in at], bundle.scratch)
        most = max(1, int(counts[at].max()))
        bundle.step(frames, lengths, symbols[at, :, :most], counts[at])
        if step % plan.every == 0 or step == plan.steps:
            for number, said in enumerate(say(dev)):
                value = rate(looked[number].symbols, said)
                if not seen[number] or value < min(seen[number]):
                    steps[number] = step
                    group, k = bundle.heads[number]
                    for p, best in zip(
                        bundle.groups[group][1].parameters, kept[group], strict=True
                    ):
                        best[k] = p.detach()[k]
                seen[number].append(value)
    with torch.no_grad():
        for (_, heads, _), mine in zip(bundle.groups, kept, strict=True):
            for p, best in zip(heads.parameters, mine, strict=True):
                p.copy_(best)
    found = []
    for number, (probe, said) in enumerate(zip(probes, say(test), strict=True)):
        group, k = bundle.heads[number]
        heads = bundle.groups[group][1]
        weights = heads.weights()[k].double().numpy()
        found.append(
            Written(probe, tuple(seen[number]), steps[number], said, weights,
                    bool(heads.diverged[k]))
        )  # fmt: skip
    return found


def _targets(
    held: Spoken, seed: int, deals: Sequence[bool], plan: Plan
) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets of every recording and head, int64 [N, K, S], padded at the end, and how many of
    them there are, [N, K].

    Args:
        held: the training part.
        seed: of transcripts dealt anew.
        deals: for each head whether it gets these.
    """
    made = {}
    for dealt in set(deals):
        own = dealt_symbols(held, seed) if dealt else held
        made[dealt] = [ended(row, plan) for row in own.symbols]
    most = max(1, *(len(row) for rows in made.values() for row in rows))
    symbols = torch.zeros(len(held.ids), len(deals), most, dtype=torch.int64)
    counts = torch.zeros(len(held.ids), len(deals), dtype=torch.int64)
    for k, dealt in enumerate(deals):
        for i, row in enumerate(made[dealt]):
            symbols[i, k, : len(row)] = row
            counts[i, k] = len(row)
    return symbols, counts
