"""How time, memory, disk and what is handed over grow with hours, layers, width and models.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--quick] [--repeats 2] [--json FILE]

Passes of a similarity run over made-up speech with untrained models of chosen sizes: one thing is
varied at a time, the rest is that of a base. Each run is a process of its own with one thread, by
the moments route and with rows kept; rounds go over all runs, so that a change in the machine's
load touches all alike. Times are processor seconds, since other work may run on the machine. Beside
each growth is what the formulas of docs/scaling.md say ("How cost grows").
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import torch
from overhead import make_corpus
from run import machine

from voxstrata.similarity import job
from voxstrata.similarity.prepare import Prepared
from voxstrata.similarity.settings import Route, SimilarityConfig
from voxstrata.streaming import fitting, onepass, outputs
from voxstrata.streaming.cluster.tree import leaves, tree
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.reducers import Rows, save_state
from voxstrata.streaming.runs import STATE, STORE, Hooks, clean_up

RATE = 50.0
"""Rows a second: frames."""

FOLDS = 2

TOLD = 300.0
"""Bytes a recording that docs/scaling.md says are told."""

ROUTES: dict[str, Route] = {"moments": "moments", "rows kept": "blocks"}


@dataclass(frozen=True)
class Point:
    """What one run is made of.

    Attributes:
        seconds: of speech, at least.
        layers, width: blocks of a model and their width; a model gives one layer more, what enters
            the first.
        models: how many, alike but for their seeds.
    """

    seconds: float
    layers: int
    width: int
    models: int

    def specs(self) -> tuple[str, ...]:
        """Names of the models: heads of 64, inner width four times the width."""
        shape = f"layers={self.layers},width={self.width}"
        inner = f"heads={self.width // 64},ffn={4 * self.width}"
        return tuple(f"random:melhubert,{shape},{inner},seed={i}" for i in range(self.models))


SMALLEST = Point(seconds=20, layers=1, width=64, models=1)
"""Next to nothing: what it takes is what every run takes."""

BASE = Point(seconds=120, layers=6, width=256, models=1)
VARIED: Mapping[str, Sequence[float]] = {
    "seconds": (60, 240, 480),
    "layers": (3, 12),
    "width": (128, 512),
    "models": (2, 4),
}
QUICK_BASE = Point(seconds=60, layers=3, width=128, models=1)
QUICK: Mapping[str, Sequence[float]] = {
    "seconds": (120,),
    "layers": (6,),
    "width": (256,),
    "models": (2,),
}


# The run itself, in a process of its own.


def one_run(corpus: str, point: Point, route: str, out: Path, weigh: bool) -> dict[str, Any]:
    """Make a run and say what it took.

    Args:
        corpus: folder of recordings.
        point: what is run over it.
        route: of :data:`ROUTES`.
        out: output folder.
        weigh: whether states are written that workers would hand each other, and weighed.
    """
    config = SimilarityConfig(
        models=point.specs(),
        corpus=corpus,
        units=("frame",),
        measures=("cka",),
        folds=FOLDS,
        route=ROUTES[route],
        keep_store=route == "rows kept",
    )
    known: dict[str, Any] = {}

    def planned(prepared: Prepared) -> None:
        known["prepared"] = prepared
        known["told"] = len(cloudpickle.dumps(prepared.corpus.utterances))

    def look_and_clean(folder: Path, settings: SimilarityConfig) -> None:
        states = (folder / STATE).glob(f"{config.units[0]}-*.safetensors")
        known["state"] = sum(file.stat().st_size for file in states)
        rows = (folder / STORE).rglob("*")
        known["store"] = sum(file.stat().st_size for file in rows if file.is_file())
        clean_up(folder, settings)

    # The run's own clock, counting processor seconds (reading ahead among them, which is little),
    # and a look at the folder before the state is deleted.
    for module in (fitting, job, onepass, outputs):
        vars(module)["time"] = SimpleNamespace(perf_counter=time.process_time)
    vars(job)["clean_up"] = look_and_clean
    record = job.run_similarity(config, out, hooks=Hooks(planned=planned)).record
    whole = time.process_time()
    prepared: Prepared = known.pop("prepared")
    clock = record["clock_s"]
    found = {
        **known,
        "models_s": sum(spent for what, spent in clock.items() if what.startswith("model ")),
        "reducers_s": clock["reducers"],
        "measures_s": record["wall_parts_s"]["measures"],
        "whole_s": whole,
        "peak": record["peak_memory_bytes"],
        "seconds": record["corpus"]["seconds"],
        "recordings": record["corpus"]["utterances"],
        "flops": prepared.pass_flops,
        "stack": prepared.jobs[0].plan.width,
    }
    return found | (handed_over(prepared, out) if weigh else {})


def handed_over(prepared: Prepared, out: Path) -> dict[str, Any]:
    """States of all pieces that the pass would be cut into on a cluster, and of their joins.

    Their files are written for true, by reducers with a row for each fold of their shards: how
    large a state is does not depend on how many rows it has seen.

    Returns:
        bytes of the files, and how many folds leaves hold, all together.
    """
    one = job._pass(prepared, out)
    sums = one.sinks[0].reducer
    assert isinstance(sums, MomentsReducer)
    pieces = leaves(0, len(one.shards), one.task_shards, lead=True, state_bytes=sums.state_bytes())
    size, in_leaves, path = 0, 0, out / "state.safetensors"
    for node in tree(pieces).walk():
        folds = sorted({shard.fold for shard in one.shards[node.first : node.stop]})
        in_leaves += 0 if node.parts else len(folds)
        part = MomentsReducer(sums.widths, sums.folds, shift=torch.zeros(sums.width))
        for fold in folds:
            part.update(Rows("a", fold, [torch.ones(1, w) for w in sums.widths], [0.0], [1.0]))
        part.end_shard(0)
        save_state(path, part)
        size += path.stat().st_size
    path.unlink()
    return {"handed": size, "leaves": len(pieces), "folds_in_leaves": in_leaves}


def child(order: dict[str, Any]) -> None:
    """Do what the parent asks, and print it."""
    torch.set_num_threads(1)
    point = Point(**order.pop("point"))
    print(json.dumps(one_run(point=point, **{**order, "out": Path(order["out"])})))


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Have a process of its own do it."""
    command = [sys.executable, __file__, "--child", json.dumps(order)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise SystemExit(f"a run failed: {order}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# What the formulas of docs/scaling.md say of a run.


def products(run: dict[str, Any]) -> float:
    """Operations of moments: half of W^2 products a row, a multiplication and an addition each."""
    return float(run["seconds"] * RATE * run["stack"] ** 2)


def sums_of(run: dict[str, Any]) -> float:
    """Bytes of moments."""
    return float(FOLDS * run["stack"] ** 2 / 2 * 8)


def handed_says(run: dict[str, Any]) -> float:
    """Bytes of states handed over: those of leaves, and the same again over all joins."""
    return float(2 * run["folds_in_leaves"] * run["stack"] ** 2 / 2 * 8)


def rows_of(run: dict[str, Any]) -> float:
    """Bytes of rows on disk."""
    return float(run["seconds"] * RATE * run["stack"] * 4)


Formula = Callable[[dict[str, Any]], float]

TIMES: dict[str, dict[str, tuple[str, Formula | None]]] = {
    "moments": {
        "models": ("models_s", lambda run: run["flops"]),
        "reducers": ("reducers_s", products),
        "measures": ("measures_s", None),
        "whole process": ("whole_s", lambda run: run["flops"] + products(run)),
    },
    "rows kept": {
        "models": ("models_s", lambda run: run["flops"]),
        "reducers": ("reducers_s", rows_of),
        "measures": ("measures_s", products),
        "whole process": ("whole_s", lambda run: run["flops"] + products(run)),
    },
}
"""Columns of processor seconds: where they are, and what they should grow as."""

SIZES: dict[str, dict[str, tuple[str, Formula]]] = {
    "moments": {
        "state": ("state", sums_of),
        "states handed over": ("handed", handed_says),
        "told": ("told", lambda run: TOLD * run["recordings"]),
    },
    "rows kept": {"rows on disk": ("store", rows_of)},
}

MEMORY: dict[str, Formula] = {"moments": sums_of, "rows kept": lambda run: 0.0}
"""Bytes of memory that formulas know of; the rest of a process is in none."""

MIB = 2**20

CLEAR_S = 0.1
"""Seconds that the base must be above the smallest run for growth to be told: with less, it would
be that of the noise."""

Named = Sequence[tuple[str, Point]]

Found = dict[tuple[str, Point], list[dict[str, Any]]]


def points(base: Point, varied: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, Point]]:
    """Next to nothing, the base, then everything that is varied, each with a name."""
    names = {"layers": "blocks"}  # there is one layer more: what enters the first
    yield "next to nothing", SMALLEST
    yield "base", base
    for what, values in varied.items():
        for value in values:
            point = Point(**{**asdict(base), what: value})
            yield (
                (f"{value:g} s" if what == "seconds" else f"{names.get(what, what)} {value:g}"),
                point,
            )


def size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|---|" + "--:|" * (len(head) - 1))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def times_table(route: str, named: Named, found: Found) -> None:
    """Least and most of the repeats; growth of the least, and what formulas say.

    Growth is that of what is beyond the smallest run, so that starting up does not hide it.
    """
    columns, small, base = TIMES[route], found[route, SMALLEST], found[route, named[1][1]]
    lines = []
    for place, (name, point) in enumerate(named):
        runs, line = found[route, point], [name]
        for key, says in columns.values():
            here, there, least = (min(run[key] for run in of) for of in (runs, base, small))
            cell = f"{here:.2f} to {max(run[key] for run in runs):.2f}"
            if place > 1 and says:
                told, whole, none = (says(of[0]) for of in (runs, base, small))
                sure = there - least >= CLEAR_S
                grew = f"{(here - least) / (there - least):.2f}" if sure else "-"
                cell += f"; {grew} ({(told - none) / (whole - none):.2f})"
            line.append(cell)
        lines.append(line)
    table([f"{route}, processor seconds", *columns], lines)


def sizes_table(route: str, named: Named, found: Found) -> None:
    """Bytes and their growth, and what formulas say: of the first two lines in bytes."""
    columns, base = SIZES[route], found[route, named[1][1]]
    low = min(run["peak"] for run in base)
    lines = []
    for place, (name, point) in enumerate(named):
        runs = found[route, point]
        peak = min(run["peak"] for run in runs)
        more = MEMORY[route](runs[0]) - MEMORY[route](base[0])
        cell = f"{peak / MIB:.0f} MiB"
        if place > 1:
            cell += f"; {(peak - low) / MIB:+.0f} ({more / MIB:+.0f})"
        line = [name, cell]
        for key, formula in columns.values():
            here, there, says = runs[0][key], base[0][key], formula(runs[0])
            grew = f"{size(here)}; {here / there:.2f} ({says / formula(base[0]):.2f})"
            line.append(grew if place > 1 else f"{size(here)} ({size(says)})")
        lines.append(line)
    table([f"{route}, bytes", "peak memory", *columns], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each")
    parser.add_argument("--json", type=Path, default=None, help="also write every run here")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(json.loads(given.child))
        return
    repeats = given.repeats
    named = list(points(QUICK_BASE, QUICK) if given.quick else points(BASE, VARIED))
    torch.set_num_threads(1)
    begun, where = time.perf_counter(), machine()
    found: Found = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for seconds in {point.seconds for _, point in named}:
            (folder / f"{seconds:g}").mkdir()
            make_corpus(folder / f"{seconds:g}", seconds)
        for number in range(repeats):
            for _, point in named:
                for route in ROUTES:
                    with tempfile.TemporaryDirectory(dir=folder) as out:
                        order = {
                            "corpus": str(folder / f"{point.seconds:g}"),
                            "point": asdict(point),
                            "route": route,
                            "out": out,
                            "weigh": route == "moments" and not number,
                        }
                        found.setdefault((route, point), []).append(ask(order))
                print(f"round {number + 1} of {repeats}: {point}", file=sys.stderr, flush=True)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{where}, at the end {load}; n = {repeats}, {time.perf_counter() - begun:.0f} s in all")
    print(f"Base: {named[1][1]}")
    cut = (f"{name}: {found['moments', point][0]['leaves']}" for name, point in named)
    print(f"Leaves on a cluster: {', '.join(cut)}\n")
    for route in ROUTES:
        times_table(route, named, found)
    for route in ROUTES:
        sizes_table(route, named, found)
    if given.json is not None:
        every = [
            {"route": route, "point": asdict(point), "runs": runs}
            for (route, point), runs in found.items()
        ]
        given.json.write_text(json.dumps({"where": where, "runs": every}, indent=1))


if __name__ == "__main__":
    main()
