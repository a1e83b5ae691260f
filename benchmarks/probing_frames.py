"""Steps of heads that write symbols, on cached frames, against running the model in every step.

    python benchmarks/probing_frames.py [--repeats 5] [--slow 3] [--hidden 1024]

13 layers of 768 (HuBERT Base, random weights), recordings of 3 s. Phone recognition: batch 32 (16
times two, as published), 74 symbols, 30 phones a recording; the alternative, the way of the common
tool, runs the model on the batch in four parts of 8 and then makes the same step of the weighted
sum. Frames of 64 recordings lie in memory as they do in a run whose frames fit. Heads on cached
frames have one thread, as the workers of a run. Then the recurrent head of
speech recognition (batch 16, 32 symbols), whose own step costs more than the model's; and CTC alone
against torch.nn.functional.ctc_loss, in one thread and in two.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from _timing import HEADER, Timing, measure

from voxstrata.models import load_model
from voxstrata.numerics.ctc import ctc
from voxstrata.numerics.scratch import Scratch
from voxstrata.numerics.threads import on_threads, one_torch_thread
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.heads import Bundle
from voxstrata.probing.sequences.rows import Rows
from voxstrata.probing.weighting import LayerWeights
from voxstrata.types import LayerInfo

LAYERS, WIDTH, PHONES, CHARACTERS = 13, 768, 74, 32
BATCH, SAID = 32, 31
WHOLE = tuple(range(LAYERS))
RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def symbols_of(rows: int, size: int, classes: int) -> torch.Tensor:
    """Random targets [N, S]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(2, classes, (rows, size), generator=generator)


def phone_step(
    probes: list[Probe], batch: Callable[[Sequence[int]], list[torch.Tensor]]
) -> Callable[[], object]:
    """One step of phone recognition of some heads.

    Args:
        probes: the heads.
        batch: makes the next batch, frames [T, B, D] of the layers asked for.
    """
    bundle = Bundle(probes, [WIDTH] * LAYERS, PHONES, Plan(1), torch.float32)
    read = sorted({i for probe in probes for i in probe.layers})
    targets = symbols_of(BATCH, SAID, PHONES)[:, None].expand(-1, len(probes), -1)
    counts = torch.full((BATCH, len(probes)), SAID)

    def step() -> None:
        frames = batch(read)
        lengths = torch.full((BATCH,), len(frames[0]))
        bundle.step(dict(zip(read, frames, strict=True)), lengths, targets, counts)

    return step


def recurrent_step(
    infos: list,
    hidden: int,
    batch: Callable[[Sequence[int]], list[torch.Tensor]],
) -> Callable[[], object]:
    """One step of the recurrent head on the weighted sum."""
    weighting, head = LayerWeights(infos), RecurrentHead(WIDTH, CHARACTERS, hidden=hidden)
    parameters = [*weighting.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    targets = list(symbols_of(BATCH // 2, 45, CHARACTERS))

    def step() -> None:
        rows = [x[:, : BATCH // 2].transpose(0, 1) for x in batch(WHOLE)]
        z, lengths = weighting(rows, torch.full((len(rows[0]),), rows[0].shape[1]))
        loss = head.loss(head(z, lengths), lengths, targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    return step


class Memory:
    """Frames by layer and recording, as :class:`voxstrata.probing.frames.FrameStore` gives them."""

    def __init__(self, held: list[list[torch.Tensor]]) -> None:
        self.held = held

    def count(self, recording: str) -> int:
        return len(self.held[0][int(recording)])

    def rows(self, position: int, recording: str) -> torch.Tensor:
        return self.held[position][int(recording)]


def cached(
    infos: list[LayerInfo], held: list[list[torch.Tensor]]
) -> Callable[[Sequence[int]], list[torch.Tensor]]:
    """Batches of frames of some layers, as a run makes them from frames it keeps in memory."""
    recordings = len(held[0])
    store: Any = Memory(held)
    features = FrameFeatures(
        infos,
        [(store, i) for i in range(LAYERS)],
        {str(i): i for i in range(recordings)},
    )
    rows, scratch = Rows(features, None), Scratch()
    places: Iterator[int] = itertools.cycle(range(0, recordings, BATCH))

    def batch(layers: Sequence[int]) -> list[torch.Tensor]:
        at = next(places)
        ids = [str(i) for i in range(at, at + BATCH)]
        return list(rows.batch(layers, ids, scratch)[0].values())

    return batch


def alone(step: Callable[[], object], name: str, repeats: int, heads: int = 1) -> Timing:
    """Seconds of a step by the number of heads that make it, on one thread."""
    with one_torch_thread():
        found = measure(name, step, repeats)
    return Timing(name, tuple(run / heads for run in found.runs))


def losses(repeats: int) -> None:
    """CTC of 20 heads on 16 recordings, loss and gradient."""
    generator = torch.Generator().manual_seed(0)
    rows, frames, size, classes = 320, 165, 37, 40
    logits = torch.randn(frames, rows, classes, generator=generator)
    lengths = torch.full((rows,), frames)
    symbols, counts = symbols_of(rows, size, classes), torch.full((rows,), size)

    def ours(_: int) -> None:
        x = logits.clone().requires_grad_()
        torch.autograd.grad(ctc(x, lengths, symbols, counts).sum(), x)

    def torchs(_: int) -> None:
        x = logits.clone().requires_grad_()
        each = torch.nn.functional.ctc_loss(
            x.log_softmax(2), symbols, lengths, counts, reduction="none", zero_infinity=True
        )
        torch.autograd.grad(each.sum(), x)

    for workers in (1, 2):
        plain = None
        for name, work in (("torch's", torchs), ("ours", ours)):
            label = f"CTC of 320 rows, twice, {workers} worker(s): {name}"

            def twice(work: Callable[[int], None] = work, workers: int = workers) -> None:
                on_threads(work, range(2), workers)

            found = measure(label, twice, repeats)
            plain = plain or found
            print(found.line(plain))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slow", type=int, default=3, help="repeats of what runs the model")
    parser.add_argument("--threads", type=int, default=1, help="of the model; heads have one")
    parser.add_argument("--hidden", type=int, default=1024, help="width of the recurrent head")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model("random:hubert-base")
    infos = [info for info in model.layers if info.default]
    names = [info.name for info in infos]
    generator = torch.Generator().manual_seed(0)
    audio = [0.1 * torch.randn(48_000, generator=generator) for _ in range(2 * BATCH)]

    def run(recordings: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        found: list[list[torch.Tensor]] = [[] for _ in names]
        with torch.inference_mode():
            for begin in range(0, len(recordings), 8):
                for outputs in model.encode(recordings[begin : begin + 8], names):
                    for rows, name in zip(found, names, strict=True):
                        rows.append(outputs[name])
        return [[rows.clone() for rows in layer] for layer in found]

    def live(recordings: int) -> Callable[[Sequence[int]], list[torch.Tensor]]:
        def batch(layers: Sequence[int]) -> list[torch.Tensor]:
            found = run(audio[:recordings])
            return [torch.nn.utils.rnn.pad_sequence(found[i]) for i in layers]

        return batch

    batch = cached(infos, run(audio))
    print(f"{torch.get_num_threads()} threads for the model, one for heads; seconds of a step")
    print(HEADER)
    slow = measure(
        "phones: weighted sum, the model run in it",
        phone_step([Probe(WHOLE, 1e-3, 0)], live(BATCH)),
        given.slow,
        warm=False,
    )
    print(slow.line(slow))
    for label, reads in (("weighted sum", WHOLE), ("one layer", (6,))):
        for rates in (RATES[2:3], RATES):
            many = [Probe(reads, rate, 0) for rate in rates]
            name = f"phones: {label}" + (", a head of five rates" if len(rates) > 1 else ", alone")
            print(alone(phone_step(many, batch), name, given.repeats, len(many)).line(slow))
    four = [Probe((i,), rate, 0) for i in (3, 6, 9, 12) for rate in RATES]
    name = "phones: a head of five rates on four layers"
    print(alone(phone_step(four, batch), name, given.repeats, len(four)).line(slow))
    half = measure(
        "letters: weighted sum, LSTMs, the model run in it",
        recurrent_step(infos, given.hidden, live(BATCH // 2)),
        given.slow,
        warm=False,
    )
    print(half.line(half))
    print(measure("letters: weighted sum, LSTMs", recurrent_step(infos, given.hidden, batch),
                  given.slow).line(half))  # fmt: skip
    losses(given.repeats)


if __name__ == "__main__":
    begun = time.perf_counter()
    main()
    print(f"{time.perf_counter() - begun:.0f} s")
