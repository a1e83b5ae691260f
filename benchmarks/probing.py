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

import torch
from _timing import HEADER, Timing, measure

from voxstrata.models import load_model
from voxstrata.probing.linear import train as training
from voxstrata.probing.linear.heads import Heads
from voxstrata.probing.linear.probes import Part, Plan, Probe
from voxstrata.probing.linear.train import train_linear

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(RECORDINGS) % given.classes
    centres = torch.randn(given.classes, WIDTH, generator=generator)
    layers = [
        torch.randn(RECORDINGS, WIDTH, generator=generator) + 0.02 * depth * centres[labels]
        for depth in range(LAYERS)
    ]
    cuts = {"train": slice(0, 800), "dev": slice(800, 900), "test": slice(900, 1000)}
    parts = {n: Part([x[at] for x in layers], labels[at, None]) for n, at in cuts.items()}
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
    print(apart.line(apart))
    print(Timing(f"210 probes, {few} steps, side by side", tuple(b for _, b in turns)).line(apart))
    took = seconds(probes, given.steps, workers)
    print(f"210 probes, {given.steps} steps, {workers} threads: {took:.0f} s (n = 1)")


if __name__ == "__main__":
    main()
