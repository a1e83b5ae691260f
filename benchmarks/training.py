"""Training throughput: ECAPA-TDNN C = 512, forward and backward, against a plain PyTorch loop.

    OMP_NUM_THREADS=2 python benchmarks/training.py [--steps 20] [--repeats 3] [--channels 512]

Both sides train the same network with the same AAM-softmax head and the same SGD on the same
batches (16 crops of 2 s, features made before). The plain loop is what one would write by hand;
the engine sets schedules, clips, checks for NaN, logs and writes a checkpoint at the end. Then the
engine runs with its loader processes on recordings, augmentation included: the share of time in
which it waits for data is the loading overhead.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _timing import HEADER, measure
from torch import nn

from voxstrata.config import build
from voxstrata.training.engine import Engine
from voxstrata.training.objective import Batch, Examples, Made, Objective
from voxstrata.training.prepare import Prepared, prepare
from voxstrata.training.settings import TrainConfig


def recipe(channels: int, workers: int, steps: int) -> TrainConfig:
    """Sixteen crops of two seconds a step, on synthetic speech."""
    return build(
        TrainConfig,
        {
            "name": "benchmark",
            "model": {"family": "ecapa", "options": {"channels": channels}},
            "data": {"corpus": "synthetic:demo,speakers=60", "batch": 16, "workers": workers},
            "augment": {"probability": 0.6},
            "objective": {"name": "aam", "crop_s": 2.0},
            "optimiser": {"kind": "sgd", "momentum": 0.9, "clip": 5.0},
            "schedule": {"kind": "constant", "lr": 0.001},
            "run": {"steps": steps, "save_every_s": 3600, "log_every": 10, "device": "cpu"},
        },
    )


def batches(prepared: Prepared, folder: Path, steps: int | None = None) -> list[Batch]:
    """The first batches of a training (all of its first epoch), made before it."""
    examples = prepared.kind.examples(prepared.options, prepared.context(folder))
    return [
        examples.collate(
            [examples.make(prepared.items[i], np.random.default_rng(i)) for i in spec.items]
        )
        for spec in itertools.islice(prepared.plan.epoch(0), steps)
    ]


class Ready(Examples):  # type: ignore[misc]
    """Examples that were made before: what is timed is the loop alone."""

    seconds = 2.0

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches, self._next = list(batches), 0

    def make(self, item: object, rng: np.random.Generator) -> Made:
        return {}

    def collate(self, made: Sequence[Made]) -> Batch:
        self._next += 1
        return self._batches[(self._next - 1) % len(self._batches)]


def engine(prepared: Prepared, examples: Examples, folder: Path) -> Engine:
    """An engine as the job makes one."""
    torch.manual_seed(0)
    objective = prepared.kind.build(prepared.options, prepared.context(folder))
    return Engine(
        prepared.config, objective, examples, prepared.plan, steps=prepared.steps,
        rate=lambda _step: 0.001, folder=folder, identity="benchmark", device="cpu",
    )  # fmt: skip


def plain(objective: Objective, batches: Sequence[Batch], steps: int) -> float:
    """The loop one would write by hand."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.001, momentum=0.9)
    objective.train()
    total = 0.0
    for step in range(steps):
        optimiser.zero_grad()
        loss = objective(batches[step % len(batches)]).value
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        total += loss.item()
    return total / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--channels", type=int, default=512)
    given = parser.parse_args()
    steps = given.steps
    audio = 32.0 * steps
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepared = prepare(recipe(given.channels, 0, steps))
        made = batches(prepared, folder)
        print(f"{torch.get_num_threads()} threads, C = {given.channels}, {steps} steps of 16 x 2 s")
        print(HEADER)

        def by_hand() -> float:
            torch.manual_seed(0)
            context = prepared.context(folder)
            return plain(prepared.kind.build(prepared.options, context), made, steps)

        def by_engine() -> None:
            out = folder / f"run-{time.monotonic_ns()}"
            engine(prepared, Ready(made), out).run()

        first = measure("plain PyTorch loop", by_hand, given.repeats)
        print(first.line(note=f"{audio / first.best:.1f} s of audio a second"))
        second = measure("the engine, same tensors", by_engine, given.repeats)
        print(second.line(first, f"{audio / second.best:.1f} s of audio a second"))
        loaded = prepare(recipe(given.channels, 1, steps))
        live = loaded.kind.examples(loaded.options, loaded.context(folder))
        run = engine(loaded, live, folder / "live")
        told = run.run()
        print(
            f"the engine with one loader process: {told.seconds / told.busy_s:.1f} s of audio a "
            f"second, {told.waiting_s / told.busy_s:.1%} of the time waiting for data"
        )


if __name__ == "__main__":
    main()
