"""What a pass on workers costs beyond the pass: tasks, states handed over, recordings told.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py [--repeats 3] [--seconds 600] [--width 4096]

The alternative of the wall times is the same pass in one process with one thread. From the other
figures docs/scaling.md works out what large runs take.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from overhead import make_corpus

from voxstrata.corpora import load_corpus
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.cluster.tree import leaves
from voxstrata.streaming.cluster.workers import close_all
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.reducers import Rows, load_state, save_state


def timed(work: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each run, after one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found


def line(name: str, values: list[float], unit: str, note: str = "") -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"| {name} | {middle:.4g} | {low:.4g} to {high:.4g} | {len(values)} | {unit} | {note} |")


def passes(corpus: Path, model: str, repeats: int, folder: Path) -> None:
    """Wall time of whole jobs; clusters are running already."""
    plain: list[float] = []
    for number, cluster in enumerate((None, "local:1", "local:2")):

        def job(cluster: str | None = cluster, number: int = number) -> None:
            run_similarity(
                SimilarityConfig(
                    corpus=str(corpus), models=(model,), units=("frame",), route="moments",
                    layers=("1", "2"), measures=("cka",), folds=2, cluster=cluster,
                ),
                folder / f"run-{number}",
                overwrite="always",
            )  # fmt: skip

        runs = timed(job, repeats)
        plain = plain or runs
        ratio = statistics.median(plain) / statistics.median(runs)
        line(f"the job, {cluster or 'one process'}", runs, "s", f"{ratio:.2f} times one process")
    close_all()


def states(width: int, repeats: int, folder: Path) -> None:
    """Writing, reading and adding the moments of a stack."""

    def filled() -> MomentsReducer:
        one = MomentsReducer([width], 1, shift=torch.zeros(width))
        one.update(Rows("a", 0, [torch.randn(64, width)], [0.0] * 64, [1.0] * 64))
        one.end_shard(0)
        return one

    mine, theirs = filled(), filled()
    size = mine.state_bytes() / 1e9
    path = folder / "state.safetensors"
    print(f"| state of a stack {width} wide, one fold | {size:.4g} | - | - | GB | W^2 x 8 bytes |")
    line("writing it", [size / s for s in timed(lambda: save_state(path, mine), repeats)], "GB/s")
    line("reading it", [size / s for s in timed(lambda: load_state(path, theirs), repeats)], "GB/s",
         "from the page cache")  # fmt: skip
    line("adding it to another", [size / s for s in timed(lambda: mine.merge(theirs), repeats)],
         "GB/s")  # fmt: skip


def told(corpus: Path) -> None:
    """What a task says of its recordings, and how fast audio is read."""
    found = load_corpus(str(corpus))
    size = len(cloudpickle.dumps(found.utterances)) / len(found.utterances)
    print(f"| a recording in a task | {size:.0f} | - | - | bytes | pickled |")
    begun = time.perf_counter()
    for utterance in found.utterances:
        utterance.read()
    speed = found.seconds / (time.perf_counter() - begun)
    print(f"| reading FLAC | {speed:.0f} | - | 1 | s of speech a second and core | |")
    bytes_ = sum(file.stat().st_size for file in corpus.glob("*.flac")) / found.seconds
    print(
        f"| FLAC on disk | {bytes_ / 1e3:.1f} | - | - | kB a second of speech | noise: worst case |"
    )


def tasks(corpus: Path, repeats: int, folder: Path) -> None:
    """What a task costs that has nearly nothing to do."""
    walls = {}
    for seconds in (1.0, 1e6):
        config = SimilarityConfig(
            corpus=str(corpus), models=("log-mel",), units=("frame",), route="moments",
            measures=("cka",), folds=2, shard_s=seconds, cluster="local:1",
        )  # fmt: skip

        def job(config: SimilarityConfig = config) -> None:
            run_similarity(config, folder / "tasks", overwrite="always")

        walls[seconds] = timed(job, repeats)
    count = len(load_corpus(str(corpus)).utterances)
    nodes = 2 * len(leaves(0, count, 1, lead=True)) - 1
    each = [(a - b) / nodes * 1e3 for a, b in zip(walls[1.0], walls[1e6], strict=True)]
    line("a task or join, all of it", each, "ms", f"{nodes} against 5 nodes, states of 0.1 MB")
    close_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--model", default="random:hubert-base")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        corpus, small = folder / "corpus", folder / "small"
        for place, seconds in ((corpus, given.seconds), (small, min(given.seconds, 300.0))):
            place.mkdir()
            make_corpus(place, seconds)
        print("| what | median | spread | n | unit | |\n|---|--:|---|--:|---|---|")
        told(corpus)
        states(given.width, given.repeats, folder)
        tasks(small, given.repeats, folder)
        passes(corpus, given.model, given.repeats, folder)


if __name__ == "__main__":
    main()
