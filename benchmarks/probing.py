"""Probes of an utterance task on cached means, against running the frozen model at every step.

    python benchmarks/probing.py [--steps 1000] [--classes 100] [--repeats 3]

The alternative is the way of the common tool: every step of one head runs the model (HuBERT Base,
random weights) on its batch, here 32 recordings of 3 s in four parts of 8 as in SUPERB's speaker
identification, and then trains the weighted sum and the head. On cached means one head makes the
same step from [32, 13, 768] numbers. Then all 210 probes of a task (13 layers and their sum, five
learning rates, three seeds), side by side and one after another.
"""

from __future__ import annotations

import argparse
import os
import time
from unittest import mock

import numpy as np
import torch
from _timing import HEADER, Timing, alternate, measure
from numpy.typing import NDArray
from torch import nn

from voxstrata.models import load_model
from voxstrata.numerics.threads import on_threads
from voxstrata.probing.linear import train as training
from voxstrata.probing.linear.heads import Heads, initial
from voxstrata.probing.linear.probes import Part, Plan, Probe
from voxstrata.probing.linear.train import order, train_linear

LAYERS, WIDTH, RECORDINGS = 13, 768, 1000
RATES, SEEDS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5), 3


def frozen_step(classes: int, repeats: int) -> Timing:
    """One step of one head with the model run in it."""
    model = load_model("random:hubert-base")
    names = [info.name for info in model.layers if info.default]
    whole = tuple(range(LAYERS))
    heads = Heads([Probe(whole, 1e-3, 0)], [WIDTH] * LAYERS, classes, Plan(1), torch.float32)
    generator = torch.Generator().manual_seed(0)
    audio = [0.1 * torch.randn(48_000, generator=generator) for _ in range(32)]
    target = torch.arange(32) % classes

    def step() -> None:
        means: list[list[torch.Tensor]] = []
        with torch.inference_mode():
            for begin in range(0, 32, 8):
                for outputs in model.encode(audio[begin : begin + 8], names):
                    means.append([outputs[name].mean(dim=0) for name in names])
        rows = [torch.stack([one[i].clone() for one in means])[None] for i in range(LAYERS)]
        loss = torch.nn.functional.cross_entropy(heads.logits(rows)[0], target)
        heads.update(loss, 1.0)

    return measure("one head, the model run at every step", step, repeats)


def plain_head(
    parts: dict[str, Part],
    probe: Probe,
    plan: Plan,
    classes: int,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[float], NDArray[np.int64]]:
    """One head as good plain code would train it: torch's layers and fused Adam, on means; accuracy
    on dev at each look, and what it says of the test part at the best. Parts are of ``dtype``."""
    train, dev, test = (parts[name] for name in ("train", "dev", "test"))
    width, many = train.layers[0].shape[1], len(probe.layers) > 1
    generator = torch.Generator().manual_seed(probe.seed)
    shapes = [(width, plan.hidden), (1, plan.hidden), (plan.hidden, classes), (1, classes)]
    fans = (width, width, plan.hidden, plan.hidden)
    drawn = [initial(s, fan, generator).to(dtype) for s, fan in zip(shapes, fans, strict=True)]
    one = nn.Linear(width, plan.hidden, dtype=dtype)
    two = nn.Linear(plan.hidden, classes, dtype=dtype)
    with torch.no_grad():
        for layer, (weight, bias) in zip((one, two), (drawn[:2], drawn[2:]), strict=True):
            layer.weight.copy_(weight.T)
            layer.bias.copy_(bias[0])
    share = torch.zeros(len(probe.layers), dtype=dtype, requires_grad=True)
    parameters = [*one.parameters(), *two.parameters(), *([share] if many else [])]
    optimiser = torch.optim.Adam(parameters, lr=probe.lr, fused=True)

    def logits(part: Part, at: torch.Tensor | slice) -> torch.Tensor:
        if not many:
            return two(one(part.layers[probe.layers[0]][at]))
        rows = torch.stack([part.layers[i][at] for i in probe.layers])
        return two(one(torch.tensordot(share.softmax(0), rows, dims=1)))

    batches = order(len(train.targets), plan, probe.seed, None)
    seen: list[float] = []
    said = np.zeros(0, np.int64)
    for step in range(1, plan.steps + 1):
        at = next(batches)
        loss = nn.functional.cross_entropy(logits(train, at), train.targets[at, 0])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, plan.clip)
        optimiser.step()
        if step % plan.every == 0 or step == plan.steps:
            with torch.no_grad():
                right = logits(dev, slice(None)).argmax(1) == dev.targets[:, 0]
                now = float(right.double().mean())
                if not seen or now > max(seen):
                    said = logits(test, slice(None)).argmax(1).numpy()
                seen.append(now)
    return seen, said


def made_up(classes: int, width: int = WIDTH, depth: int = LAYERS) -> dict[str, Part]:
    """Means of recordings; classes are told apart better the deeper the layer."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(RECORDINGS) % classes
    centres = torch.randn(classes, width, generator=generator)
    layers = [
        torch.randn(RECORDINGS, width, generator=generator) + 0.02 * layer * centres[labels]
        for layer in range(depth)
    ]
    cuts = {"train": slice(0, 800), "dev": slice(800, 900), "test": slice(900, 1000)}
    return {n: Part([x[at] for x in layers], labels[at, None]) for n, at in cuts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    parts = made_up(given.classes)
    whole = tuple(range(LAYERS))
    reads = [*((i,) for i in range(LAYERS)), whole]
    probes = [Probe(r, lr, s) for r in reads for lr in RATES for s in range(SEEDS)]
    workers = os.cpu_count() or 1

    def seconds(chosen: list[Probe], steps: int, workers: int, *, alone: bool = False) -> float:
        begun = time.perf_counter()
        plan = Plan(steps=steps, every=50)
        cache = 1 if alone else training.CACHE_BYTES
        with mock.patch.object(training, "CACHE_BYTES", cache):
            train_linear(parts, [given.classes], chosen, plan, workers=workers)
        return time.perf_counter() - begun

    print(f"{torch.get_num_threads()} threads; {given.classes} classes; seconds of a step")
    print(HEADER)
    slow = frozen_step(given.classes, given.repeats)
    print(slow.line(slow))
    one = tuple(seconds([Probe(whole, 1e-3, 0)], 200, 1) / 200 for _ in range(given.repeats))
    print(Timing("one weighted sum on means, one thread", one).line(slow))
    single = tuple(seconds([Probe((6,), 1e-3, 0)], 200, 1) / 200 for _ in range(given.repeats))
    print(Timing("one layer on means, one thread", single).line(slow))
    few = 100
    turns = [
        (seconds(probes, few, workers, alone=True), seconds(probes, few, workers))
        for _ in range(given.repeats)
    ]
    apart = Timing(f"210 probes, {few} steps, one after another", tuple(a for a, _ in turns))
    plan = Plan(steps=few, every=50)
    for_all = alternate(
        {
            f"210 probes, {few} steps, plain torch, fused Adam": lambda: on_threads(
                lambda probe: plain_head(parts, probe, plan, given.classes), probes, workers
            )
        },
        1,
    )
    print(apart.line(apart))
    for plain in for_all.values():
        print(plain.line(apart))
    print(Timing(f"210 probes, {few} steps, side by side", tuple(b for _, b in turns)).line(apart))
    took = seconds(probes, given.steps, workers)
    print(f"210 probes, {given.steps} steps, {workers} threads: {took:.0f} s (n = 1)")


if __name__ == "__main__":
    main()
