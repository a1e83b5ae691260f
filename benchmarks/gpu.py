"""What a GPU does: right against the CPU, at what precision, how fast, in what batches.

    python benchmarks/gpu.py [--device cuda:0] [--model random:hubert-base] [--json FILE]
    python benchmarks/gpu.py --device cpu --tiny          # every part runs, in a minute

One line a finding, then the tolerances that did not hold (exit status 1). Parts:

- ``forward``: layers in float32, TF32, bfloat16, float16 against float32 on the CPU, the largest
  error by the layer's largest value; seconds of speech a second by size of batch; products of the
  model at the chip's rate (square products of the same precision, timed beside) as the floor;
- ``batches``: what memory says a batch may hold, and what happens where the plan is wrong;
- ``extraction``: the pass with moments of frames against the bare forward passes, in turns;
- ``moments``: of a stack on the device against float64 on the CPU, in every precision;
- ``measures``: what each measure makes of layers in another precision than float32;
- ``probing``: linear heads on the device against those on the CPU;
- ``training``: some steps of a speaker network on the device against the CPU, and a plain loop.

On a CPU TF32 and float16 are left out, and ``batches`` is tried with a made-up limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from _timing import alternate

from voxstrata.corpora import load_corpus
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel

TOLERANCES = {
    "forward float32": 1e-4,
    "forward tf32": 2e-2,
    "forward bfloat16": 1e-1,
    "forward float16": 2e-2,
    "moments float64": 1e-12,
    "moments float32": 1e-5,
    "moments bfloat16": 1e-2,
    "measures tf32": 0.01,
    "measures bfloat16": 0.05,
    "measures float16": 0.02,
    "probing": 0.05,
    "training": 1e-3,
}
"""Largest difference: of a layer by its largest value; of moments likewise; of a measure; of the
accuracy of a head on dev; of the loss after some steps, relative."""

MEASURES = ("cka", "cka-biased", "svcca", "pwcca", "procrustes", "mutual-knn", "rsa")


class Bench:
    """Where the parts run, and what they found.

    Args:
        given: the command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.device, self.tiny, self.spec = torch.device(given.device), given.tiny, given.model
        self.gpu = self.device.type == "cuda"
        self.repeats = 2 if given.tiny else 5
        self.found: list[dict[str, Any]] = []
        self.broken: list[str] = []
        corpus = load_corpus("synthetic:tiny" if given.tiny else "synthetic:small")
        some = corpus.utterances[: 6 if given.tiny else 200]
        self.audio = sorted((torch.from_numpy(u.read()) for u in some), key=len, reverse=True)
        self.model = load_model(self.spec)
        self.names = [info.name for info in self.model.layers if info.default]

    def tell(self, what: str, value: float, unit: str = "", *, tolerance: str = "") -> None:
        """Print a finding, and hold it against its tolerance."""
        note = ""
        if tolerance:
            limit = TOLERANCES[tolerance]
            note = f"  (at most {limit:g})"
            if not value <= limit:
                note += "  TOO LARGE"
                self.broken.append(f"{what}: {value:.3g}, at most {limit:g}")
        print(f"{what:64s} {value:12.4g} {unit}{note}", flush=True)
        self.found.append({"what": what, "value": value, "unit": unit, "tolerance": tolerance})

    @property
    def precisions(self) -> list[str]:
        """What layers can be computed in here."""
        return ["float32", "tf32", "bfloat16", "float16"] if self.gpu else ["float32", "bfloat16"]

    def placed(self, precision: str) -> SpeechModel:
        """The model on the device."""
        return self.model.to(str(self.device), "float32" if precision == "tf32" else precision)

    def wait(self) -> None:
        """Until the device is done."""
        if self.gpu:
            torch.cuda.synchronize(self.device)

    def rate(self, dtype: torch.dtype, tf32: bool = False) -> float:
        """FLOP/s of square products, kept up for half a second, best of three."""
        size = 8192 if self.gpu else 1024
        x = torch.randn(size, size, device=self.device).to(dtype)
        best = 0.0
        with products(tf32):
            for _ in range(3):
                self.wait()
                done, begun = 0, time.perf_counter()
                while time.perf_counter() - begun < 0.5:
                    for _ in range(4):
                        x @ x
                    self.wait()
                    done += 4
                best = max(best, 2 * size**3 * done / (time.perf_counter() - begun))
        return best

    def batch(self, seconds: float) -> list[torch.Tensor]:
        """Recordings of so many seconds in all, padding counted; repeated where there are few."""
        longest = len(self.audio[0])
        count = max(1, int(seconds * 16000 / longest))
        return [self.audio[i % len(self.audio)] for i in range(count)]


@contextmanager
def products(tf32: bool) -> Iterator[None]:
    """With or without TensorFloat-32. The model itself asks for full products; here it may not."""

    @contextmanager
    def as_they_are(_device: torch.device) -> Iterator[None]:
        yield

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        with mock.patch("voxstrata.models.huggingface.model.exact_products", as_they_are):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def encoded(bench: Bench, precision: str, audio: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """All frames of every layer, float32 on the CPU."""
    model = bench.placed(precision)
    with torch.inference_mode(), products(precision == "tf32"):
        made = model.encode(audio, bench.names)
    return [torch.cat([one[name].float().cpu() for one in made]) for name in bench.names]


def forward(bench: Bench) -> None:
    """Errors and speed of the forward pass."""
    some = bench.audio[:4]
    expected = [
        torch.cat([one[name] for one in bench.model.encode(some, bench.names)])
        for name in bench.names
    ]
    for precision in bench.precisions:
        layers = encoded(bench, precision, some)
        errors = [
            float((a - b).abs().max() / b.abs().max())
            for a, b in zip(layers, expected, strict=True)
        ]
        bench.tell(f"forward {precision}: largest error by the layer's largest value",
                   max(errors), tolerance=f"forward {precision}")  # fmt: skip
    sizes = (10.0, 30.0) if bench.tiny else (30.0, 60.0, 150.0, 300.0, 600.0)
    for precision in bench.precisions:
        model = bench.placed(precision)
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        rate = bench.rate(dtype, precision == "tf32")
        for seconds in sizes:
            batch = bench.batch(seconds)
            speech = sum(map(len, batch)) / 16000

            def run(model: SpeechModel = model, batch: list[torch.Tensor] = batch) -> None:
                with torch.inference_mode():
                    model.encode(batch, bench.names)
                bench.wait()

            with products(precision == "tf32"):
                timing = alternate({"": run}, bench.repeats)[""]
            speed = speech / timing.best
            bench.tell(
                f"forward {precision}, batches of {seconds:.0f} s: speech a second", speed, "s"
            )
            share = speed * bench.model.flops_per_second / rate
            bench.tell(f"  of the chip's products ({rate / 1e12:.3g} TFLOP/s)", 100 * share, "%")


def batches(bench: Bench) -> None:
    """Size of a batch by memory, and what happens where that is wrong."""
    from voxstrata.streaming.fitting import Room

    audio = bench.batch(30.0 if bench.tiny else 600.0)
    model, room = bench.placed("float32"), Room()
    whole = Room().encode(model, audio, bench.names)
    if bench.gpu:
        bench.tell("batches: memory says a batch may hold, padding counted",
                   _told(room, model, bench, audio), "s")  # fmt: skip
        begun = time.perf_counter()
        held = torch.empty(int(0.97 * torch.cuda.mem_get_info(bench.device)[0]), dtype=torch.uint8,
                           device=bench.device)  # fmt: skip
        cut = Room(_Blind()).encode(model, audio, bench.names)
        del held
        bench.tell(
            "batches: 97 % of the memory taken, the batch done in", time.perf_counter() - begun, "s"
        )
    else:
        real, most = model.encode, sum(map(len, audio)) // 3

        def short(some: Sequence[torch.Tensor], names: Sequence[str]) -> Any:
            if sum(map(len, some)) > most:
                raise torch.OutOfMemoryError("made up")
            return real(some, names)

        with mock.patch.object(model, "encode", short):
            cut = room.encode(model, audio, bench.names)
    worst = 0.0
    for a, b in zip(whole.outputs, cut.outputs, strict=True):
        if a is None or b is None:
            bench.broken.append(f"batches: a recording does not fit: {whole.failed | cut.failed}")
            continue
        worst = max(
            worst, *(float((a[n] - b[n]).abs().max() / a[n].abs().max()) for n in bench.names)
        )
    bench.tell(
        "batches: cut ones against whole ones, largest error", worst, tolerance="forward float32"
    )
    print(f"  spent beside: {cut.spent}")


class _Blind:
    """A meter that sees no end of memory, so that only the halving is left."""

    def free(self, device: torch.device) -> float:
        return 1e18

    def begin(self, device: torch.device) -> None:
        return None

    def taken(self, device: torch.device) -> float:
        return 1.0


def _told(room: Any, model: SpeechModel, bench: Bench, audio: Sequence[torch.Tensor]) -> float:
    room.encode(model, audio, bench.names)
    return float(room.seconds(model))


def extraction(bench: Bench) -> None:
    """The pass beside the bare forward passes."""
    from overhead import one_pass

    from voxstrata.similarity.prepare import prepare
    from voxstrata.similarity.settings import SimilarityConfig
    from voxstrata.streaming.batches import make_batches

    with tempfile.TemporaryDirectory() as name:
        settings = SimilarityConfig(
            models=(bench.spec,), corpus="synthetic:tiny" if bench.tiny else "synthetic:small",
            units=("frame",), route="moments", device=str(bench.device), folds=3,
        )  # fmt: skip
        prepared = prepare(settings, Path(name) / "out")
        used = prepared.corpus.utterances
        groups = [
            [torch.from_numpy(used[i].read()) for i in group]
            for shard in prepared.shards
            for group in make_batches(used, shard.members, prepared.batch_s)
        ]

        def bare() -> None:
            with torch.inference_mode():
                for group in groups:
                    prepared.models[0].encode(group, bench.names)
            bench.wait()

        def whole() -> None:
            one_pass(prepared, Path(name))
            bench.wait()

        timed = alternate({"bare": bare, "pass": whole}, bench.repeats)
    speech = sum(u.duration_s for u in used)
    bench.tell("extraction: bare forward passes, speech a second", speech / timed["bare"].best, "s")
    bench.tell(
        "extraction: the pass with moments, speech a second", speech / timed["pass"].best, "s"
    )
    share = 100 * (timed["pass"].best / timed["bare"].best - 1)
    bench.tell("extraction: the pass takes longer by", share, "%")


def moments(bench: Bench) -> None:
    """Moments of a stack."""
    from voxstrata.streaming.moments import MomentsReducer
    from voxstrata.streaming.reducers import Rows

    layers, width, n = (3, 64, 2000) if bench.tiny else (13, 768, 20_000)
    maker = torch.Generator().manual_seed(0)
    rows = [torch.randn(n, width, generator=maker) + 3 for _ in range(layers)]
    times = np.arange(n) * 0.02

    def made(
        device: torch.device, dtype: torch.dtype, low: torch.dtype | None = None
    ) -> torch.Tensor:
        reducer = MomentsReducer([width] * layers, 1, dtype=dtype)
        here = [
            x.to(device, torch.float64 if dtype == torch.float64 else torch.float32) for x in rows
        ]
        reducer.update(Rows("r", 0, here, times, times))
        reducer.end_shard(0)
        found = reducer.finish().blocks[0][0]
        return found.cpu()

    expected = made(torch.device("cpu"), torch.float64)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        error = float((made(bench.device, dtype) - expected).abs().max() / expected.abs().max())
        bench.tell(
            f"moments {name}: largest error by the largest", error, tolerance=f"moments {name}"
        )
        timing = alternate({"": lambda d=dtype: made(bench.device, d)}, bench.repeats)[""]
        flops = n * (layers * width) ** 2 + n * layers * width**2
        bench.tell(f"moments {name}: TFLOP/s", flops / timing.best / 1e12)


def measures(bench: Bench) -> None:
    """What precision of the model does to each measure, of its first and last layer."""
    from voxstrata.similarity import compare

    some = bench.audio[: 4 if bench.tiny else 40]
    layers = {p: encoded(bench, p, some) for p in bench.precisions}
    for name in MEASURES:
        values = {}
        for precision, found in layers.items():
            first, last = found[0][:1500], found[-1][:1500]
            # A few columns: CCA of 768 with 1,500 rows would say 1 whatever the precision.
            values[precision] = float(compare(name, first[:, :64], last[:, :64], folds=0))
        for precision in bench.precisions[1:]:
            gap = abs(values[precision] - values["float32"])
            what = f"measures {name}: {precision} against float32 ({values['float32']:.3f})"
            bench.tell(what, gap, tolerance=f"measures {precision}")


def probing(bench: Bench) -> None:
    """Linear heads."""
    from probing import made_up

    from voxstrata.probing.linear.probes import Plan, Probe
    from voxstrata.probing.linear.train import train_linear

    parts = made_up(24, 64 if bench.tiny else 768, 3 if bench.tiny else 13)
    depth = len(parts["train"].layers)
    reads = [*((i,) for i in range(depth)), tuple(range(depth))]
    probes = [Probe(r, lr, 0) for r in reads for lr in (1e-2, 1e-3)]
    plan = Plan(steps=40 if bench.tiny else 200, every=20)
    found = alternate(
        {
            where: lambda where=where: train_linear(parts, [24], probes, plan, device=where)
            for where in dict.fromkeys(("cpu", str(bench.device)))
        },
        bench.repeats,
    )
    here, there = found["cpu"], found[str(bench.device)]
    gap = max(abs(max(a.dev) - max(b.dev)) for a, b in zip(here.result, there.result, strict=True))
    bench.tell("probing: best accuracy on dev, device against CPU", gap, tolerance="probing")
    each = there.best / (len(probes) * plan.steps)
    bench.tell("probing: a step of a head on the device", 1e3 * each, "ms")
    bench.tell(
        "probing: on one thread of the CPU it takes so many times as long", here.best / there.best
    )


def training(bench: Bench) -> None:
    """A speaker network."""
    from training import Ready, batches, plain, recipe

    from voxstrata.training.engine import Engine
    from voxstrata.training.prepare import prepare

    steps = 3 if bench.tiny else 20
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepared = prepare(recipe(64 if bench.tiny else 512, 0, steps))
        context = prepared.context(folder)
        made = batches(prepared, folder, steps)

        def moved(device: str) -> list[Any]:
            return [
                {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
                for batch in made
            ]

        def objective(device: str) -> Any:
            torch.manual_seed(0)
            return prepared.kind.build(prepared.options, context).to(device)

        def by_hand(device: str) -> float:
            return plain(objective(device), moved(device), steps)

        def by_engine() -> None:
            device = str(bench.device)
            config = prepared.config.model_copy(
                update={"run": prepared.config.run.model_copy(update={"device": device})}
            )
            Engine(
                config, objective(device), Ready(moved(device)), prepared.plan, steps=steps,
                rate=lambda _step: 0.001, folder=folder / f"run-{time.monotonic_ns()}",
                identity="gpu", device=device,
            ).run()  # fmt: skip
            bench.wait()

        expected, got = by_hand("cpu"), by_hand(str(bench.device))
        gap = abs(got - expected) / abs(expected)
        bench.tell(
            "training: mean loss of the first steps, device against CPU", gap, tolerance="training"
        )
        timed = alternate(
            {"plain": lambda: by_hand(str(bench.device)), "engine": by_engine}, bench.repeats
        )
        speech = 32.0 * steps
        bench.tell("training: a plain loop, speech a second", speech / timed["plain"].best, "s")
        bench.tell("training: the engine, speech a second", speech / timed["engine"].best, "s")


PARTS: dict[str, Callable[[Bench], None]] = {
    part.__name__: part
    for part in (forward, batches, extraction, moments, measures, probing, training)
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--tiny", action="store_true", help="small sizes: does every part run")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    if given.tiny and given.model == "random:hubert-base":
        given.model = "melhubert-small"
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is here; --device cpu --tiny tries every part on the CPU")
    bench = Bench(given)
    chip = torch.cuda.get_device_name(bench.device) if bench.gpu else "CPU"
    print(f"{chip}, torch {torch.__version__}, {given.model}")
    for name in given.only:
        PARTS[name](bench)
    if given.json:
        given.json.write_text(json.dumps({"chip": chip, "found": bench.found}, indent=1) + "\n")
    if bench.broken:
        print("\nout of tolerance:\n" + "\n".join(bench.broken))
        sys.exit(1)
    print("\nall within tolerance")


if __name__ == "__main__":
    main()
