"""The lines of the table of ratios: each is ours against the best plain code that we could write.

Each case builds its data, checks that both sides give the same numbers, times them in turns and
returns a :class:`_timing.Ratio`. ``run.py`` runs each in a process of its own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _timing import Ratio, Timing, alternate, ratio_of

Case = Callable[[bool], list[Ratio]]

CASES: dict[str, Case] = {}
"""By name, in the order of the table."""


def case(work: Case) -> Case:
    """Enter a case into the table."""
    CASES[work.__name__.replace("_", "-")] = work
    return work


def need(good: bool, what: str) -> None:
    """Stop where two sides do not agree: a ratio of different work says nothing."""
    if not good:
        raise SystemExit(f"both sides do not agree: {what}")


@case
def similarity(quick: bool) -> list[Ratio]:
    """All pairs of layers, linear CKA, biased and debiased."""
    from similarity import by_blocks, by_rows, make_rows, peak, per_pair

    count, rows, width = (12, 2000, 768) if quick else (26, 2000, 768)
    layers = make_rows(count, rows, width)
    exact = per_pair([x.double() for x in layers], keep_own=True)
    works = {"plain": lambda: by_rows(layers), "ours": lambda: by_blocks(layers, 1)}
    rate = peak(2)
    found = alternate(works, 2 if quick else 3)
    rate = max(rate, peak(2))
    errors = {name: float(np.abs(np.asarray(t.result) - exact).max()) for name, t in found.items()}
    need(max(errors.values()) < 1e-5, f"largest errors {errors}")
    return [
        ratio_of(
            f"CKA of all pairs, {count} layers x {width}, {rows:,} rows",
            found["ours"],
            found["plain"],
            against="torch, a product of each layer with all that follow",
            checked=f"float64: {errors['ours']:.0e} and {errors['plain']:.0e} at most",
            floor=count * (count + 1) * rows * width**2 / rate,
            floor_is=f"the products at {rate / 1e9:.0f} GFLOP/s",
        )
    ]


@case
def cross_validated_cca(quick: bool) -> list[Ratio]:
    """Our default cross-validation of a layer and a view, moments included."""
    from crossval import make, plain_default
    from similarity import peak

    from voxstrata.similarity.crossval import cross_validate
    from voxstrata.similarity.crossval_pasad import draw_splits
    from voxstrata.similarity.fold_moments import FoldMoments

    n, found = (4000 if quick else 10_000), []
    for width, kind in ((40, "one-hot"), (768, "continuous")):
        x, y = (v.astype(np.float32) for v in make(n, width, kind))
        split = draw_splits(n, [0, 1], None, 5)

        def ours(x: np.ndarray = x, y: np.ndarray = y, split: np.ndarray = split) -> float:
            moments = FoldMoments.of(x, y, split, dtype=torch.float32)
            return cross_validate(moments, measures=("pwcca",)).measures["pwcca"].value

        def plain(x: np.ndarray = x, y: np.ndarray = y, split: np.ndarray = split) -> float:
            return plain_default(x, y, split)

        timed = alternate({"plain": plain, "ours": ours}, 3 if quick else 5)
        gap = abs(float(timed["ours"].result) - float(timed["plain"].result))
        need(gap < 1e-3, f"{timed['ours'].result} and {timed['plain'].result}")
        rate = peak(1)
        found.append(
            ratio_of(
                f"cross-validated PWCCA, 768 x {width}, 5 folds, {n:,} rows",
                timed["ours"],
                timed["plain"],
                against="torch, products of each fold once, the rest by subtraction",
                checked=f"scores differ by {gap:.0e}",
                floor=n * (768 + width) ** 2 / rate,
                floor_is=f"half of the products at {rate / 1e9:.0f} GFLOP/s (they are symmetric)",
            )
        )
    return found


@case
def probing(quick: bool) -> list[Ratio]:
    """A grid of linear heads on time means."""
    from probing import made_up, plain_head
    from similarity import peak

    from voxstrata.numerics.threads import on_threads
    from voxstrata.probing.linear.probes import Part, Plan, Probe
    from voxstrata.probing.linear.train import train_linear

    found, workers = [], os.cpu_count() or 1
    for width, depth, classes in ((192, 5, 24), (768, 13, 100)):
        parts = made_up(classes, width, depth)
        reads = [*((i,) for i in range(depth)), tuple(range(depth))]
        probes = [Probe(r, lr, 0) for r in reads for lr in (1e-1, 1e-2, 1e-3)]
        plan = Plan(steps=40 if quick else 100, every=20 if quick else 50)

        ours = partial(train_linear, parts, [classes], probes, plan, workers=workers)
        one = partial(plain_head, parts, plan=plan, classes=classes)
        plain = partial(on_threads, one, probes, workers)
        timed = alternate({"plain": plain, "ours": ours}, 2 if quick else 3)
        pairs = list(zip(timed["ours"].result, timed["plain"].result, strict=True))
        gap = statistics.mean(max(a.dev) - max(b[0]) for a, b in pairs)
        need(abs(gap) < 0.02, f"best of dev differ by {gap} on average")
        # In float32 heads of high rates turn last bits into other answers, so that both sides
        # are held to the same answers in float64.
        fine = {k: Part([x.double() for x in v.layers], v.targets) for k, v in parts.items()}
        few = probes[:: max(1, len(probes) // 6)]
        alike = train_linear(fine, [classes], few, plan, dtype=torch.float64, workers=workers)
        for probe, a in zip(few, alike, strict=True):
            b = plain_head(fine, probe, plan, classes, torch.float64)
            same = a.dev == tuple(b[0]) and bool((a.test[:, 0] == b[1]).all())
            need(same, f"{probe} in float64: dev {a.dev} and {b[0]}")
        numbers = width * plan.hidden + plan.hidden * classes
        torch.set_num_threads(workers)
        rate = peak(1)
        found.append(
            ratio_of(
                f"{len(probes)} heads, {depth} layers x {width}, {plan.steps} steps",
                timed["ours"],
                timed["plain"],
                against="torch layers and fused Adam, head by head, as many threads",
                checked=f"float64: {len(few)} heads, all answers equal; float32: best accuracy on "
                f"dev {100 * gap:+.2f} points on average",
                floor=len(probes) * plan.steps * 4 * plan.batch * numbers / rate,
                floor_is=f"the products at {rate / 1e9:.0f} GFLOP/s",
            )
        )
    return found


@case
def neuron_counting(quick: bool) -> list[Ratio]:
    """Counts of active neurons, activations in memory."""
    import neurons
    from neurons import Setting

    from voxstrata.streaming.reducers import Rows
    from voxstrata.streaming.unit_frame import FrameUnit

    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        setting = Setting(Path(name), 20.0)
        held: list[Rows] = []
        for one, samples in list(zip(setting.recordings, setting.audio, strict=True))[
            : 1 if quick else 3
        ]:
            outputs = setting.model.encode([samples], setting.wanted)[0]
            values = [outputs[w].clone() for w in setting.wanted]
            cut = FrameUnit().rows(one, values, setting.stack)
            held.append(Rows(one.id, 0, cut.values, cut.start_s, cut.end_s))
        timed = alternate(
            {
                "plain": lambda: neurons.plain(setting, held),
                "ours": lambda: neurons.ours(setting, held),
                "floor": lambda: neurons.touched(held),
            },
            3 if quick else 7,
        )
        neurons.same(timed["ours"].result, timed["plain"].result, setting.neurons)
        frames = sum(map(len, held))
        return [
            ratio_of(
                f"active neurons counted, 12 x 3,072, {frames:,} frames, 4 contrasts",
                timed["ours"],
                timed["plain"],
                against="topk of all frames, bincount of places",
                checked="all counts equal",
                floor=timed["floor"].best,
                floor_is="every activation looked at once, one thread",
            )
        ]


@case
def extraction(quick: bool) -> list[Ratio]:
    """The whole pass beside the bare forward passes."""
    from overhead import make_corpus, one_pass

    from voxstrata.corpora import load_corpus
    from voxstrata.models import load_model
    from voxstrata.similarity.prepare import prepare
    from voxstrata.similarity.settings import SimilarityConfig

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "audio").mkdir()
        seconds = 15.0 if quick else 60.0
        units = ("frame",) if quick else ("frame", "utterance")
        corpus = make_corpus(folder / "audio", seconds)
        settings = SimilarityConfig(models=("random:hubert-base",), corpus=str(corpus), units=units)
        prepared = prepare(settings, folder / "out")
        audio = [torch.from_numpy(u.read()) for u in load_corpus(str(corpus)).utterances]
        model = load_model("random:hubert-base")
        names = [info.name for info in model.layers if info.default]

        def bare() -> None:
            with torch.inference_mode():
                for samples in audio:
                    model.encode([samples], names)

        works = {"bare": bare, "ours": lambda: one_pass(prepared, folder)}
        timed = alternate(works, 2 if quick else 4)
        return [
            ratio_of(
                f"the pass over {seconds:.0f} s of speech, HuBERT Base, all rows kept",
                timed["ours"],
                timed["bare"],
                against="the bare forward passes, audio in memory",
                checked="the same model and recordings",
            )
        ]


@case
def store(quick: bool) -> list[Ratio]:
    """The row store, written and read."""
    from store import Setting

    with tempfile.TemporaryDirectory() as name:
        setting = Setting(13, 5000 if quick else 15_000, 768, Path(name))
        repeats = 3 if quick else 5
        wrote = alternate({"plain": setting.plain, "ours": setting.store}, repeats)
        read = alternate({"plain": setting.read_plain, "ours": setting.read_store}, repeats)
        need(setting.same(), "what is read is not what was written")
        size = f"{setting.bytes / 1e6:,.0f} MB"
        checked = "what is read is what was written, bit for bit"
        return [
            ratio_of(f"row store, {size} written", wrote["ours"], wrote["plain"],
                     against="one plain file a layer, synced", checked=checked),
            ratio_of(f"row store, {size} read, sums checked", read["ours"], read["plain"],
                     against="plain files read into memory", checked=checked),
        ]  # fmt: skip


@case
def training(quick: bool) -> list[Ratio]:
    """The training loop, tensors made before."""
    from training import Ready, batches, engine, plain, recipe

    from voxstrata.training.prepare import prepare

    steps = 4 if quick else 8
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepared = prepare(recipe(128 if quick else 512, 0, steps))
        context = prepared.context(folder)
        made = batches(prepared, folder, steps)

        def by_hand() -> list[torch.Tensor]:
            torch.manual_seed(0)
            objective = prepared.kind.build(prepared.options, context)
            plain(objective, made, steps)
            return [p.detach() for p in objective.parameters()]

        def by_engine() -> list[torch.Tensor]:
            run = engine(prepared, Ready(made), folder / f"run-{time.monotonic_ns()}")
            run.run()
            return [p.detach() for p in run.objective.parameters()]

        timed = alternate({"plain": by_hand, "ours": by_engine}, 2 if quick else 3)
        gap = max(
            float((a - b).abs().max())
            for a, b in zip(timed["ours"].result, timed["plain"].result, strict=True)
        )
        need(gap < 1e-4, f"weights differ by {gap}")
        return [
            ratio_of(
                f"training ECAPA-TDNN, {steps} steps of 16 x 2 s",
                timed["ours"],
                timed["plain"],
                against="a PyTorch loop by hand, clipped, without log and checkpoint",
                checked=f"weights after it differ by {gap:.0e} at most",
            )
        ]


@case
def start_up(quick: bool) -> list[Ratio]:
    """Commands that compute nothing."""
    from startup import timings

    found = timings(5 if quick else 10)
    bare, torch_s = found["python -c pass"], found["python -c 'import torch'"]
    return [
        ratio_of(name, found[name], torch_s, against="python -c 'import torch'",
                 checked="-", floor=bare.best, floor_is="python -c pass")
        for name in ("voxstrata --help", "voxstrata models list")
    ]  # fmt: skip


@case
def memory(quick: bool) -> list[Ratio]:
    """Peak memory of a similarity run against the length of its corpus."""
    from memory import peaks

    short, long = (250.0, 1000.0) if quick else (1000.0, 4000.0)
    runs = [list(peaks([short, long])) for _ in range(1 if quick else 2)]
    first, last = (Timing("", tuple(run[i][1] / 2**20 for run in runs)) for i in (0, 1))
    each = [a / b for a, b in zip(first.runs, last.runs, strict=True)]
    return [
        Ratio(
            f"peak memory, {long:,.0f} s of speech",
            statistics.median(last.runs),
            statistics.median(first.runs),
            "MiB",
            f"{short:,.0f} s",
            statistics.median(each),
            min(each),
            max(each),
            len(each),
            statistics.median(first.runs),
            "flat",
            "-",
        )
    ]
