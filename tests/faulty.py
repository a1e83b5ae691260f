"""Every job, small, by name; as a script one of them in a process of its own, to be killed, or in
a file system of its own that is full or read-only.

    python tests/faulty.py run JOB DATA OUT
    unshare --map-root-user --mount python tests/faulty.py mounted JOB DATA PLACE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

import neurons_spoken
import planted
import training_made

HEAD = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"
BODY = "random:melhubert,inputs=80,width=32,layers=2,heads=4,ffn=48,conv_pos=8,conv_groups=4"

STUDY = """\
name: small
title: Two features
question: Do they differ?
corpora: {{speech: "{0}", tasks: {{default: "{0}"}}}}
models: {{mel: log-mel, coefficients: mfcc}}
analyses:
  similar: {{job: similarity, corpus: speech, units: [utterance], measures: [cka], folds: 3}}
  known: {{job: properties, corpus: speech, properties: [variance-shares], scale: small, folds: 3}}
"""


def write_data(folder: Path) -> Path:
    """What the jobs work on."""
    planted.write_corpus(folder / "speech", 20, 4)
    neurons_spoken.write(folder / "spoken", 12, 6, phones=4)
    training_made.write_recipe(folder / "toy.yaml", folder / "speech")
    (folder / "small.yaml").write_text(STUDY.format(folder / "speech"))
    return folder


def _similarity(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.settings import SimilarityConfig

    config = SimilarityConfig(
        models=("log-mel", "mfcc"), corpus=str(data / "speech"), units=("frame", "utterance"),
        measures=("cka", "mutual-knn"), folds=3, shard_s=4.0,
    )  # fmt: skip
    return run_similarity(config, out, **kind)


def _properties(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.properties.job import run_properties
    from voxstrata.properties.settings import PropertiesConfig

    config = PropertiesConfig(
        models=("log-mel", "mfcc"), corpus=str(data / "speech"), scale="small", folds=3,
        properties=("variance-shares", "phone-gap"),
    )  # fmt: skip
    return run_properties(config, out, **kind)


def _probing(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.probing.job import run_probing
    from voxstrata.probing.settings import ProbeConfig

    config = ProbeConfig(
        models=(HEAD,), corpus=str(data / "speech"), tasks=("sid",), steps=20, seeds=1, lrs=(0.1,)
    )
    return run_probing(config, out, **kind)


def _neurons(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.neurons.job import run_neurons
    from voxstrata.neurons.settings import NeuronsConfig

    config = NeuronsConfig(
        models=(BODY,), corpus=str(data / "spoken"), contrasts=("gender/phones", "clusters=2"),
        rule="top=0.1", draws=20, splits=2, rankings=False, twins=False, device="cpu",
    )  # fmt: skip
    return run_neurons(config, out, **kind)


def _verify(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.verification.job import verify

    return verify(["log-mel", "mfcc"], str(data / "speech"), out=out, replicates=50, **kind)


def _train(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.training.job import run_training
    from voxstrata.training.recipes import read_recipe

    training_made.register()
    return run_training(read_recipe(data / "toy.yaml"), out, **kind)


def _study(data: Path, out: Path, **kind: Any) -> Any:
    from voxstrata.studies.load import read_study
    from voxstrata.studies.run import run_study

    return run_study(read_study(str(data / "small.yaml")), out, **kind)


JOBS: dict[str, Callable[..., Any]] = {
    "similarity": _similarity,
    "properties": _properties,
    "probing": _probing,
    "neurons": _neurons,
    "verify": _verify,
    "train": _train,
    "study": _study,
}


def run(job: str, data: Path, out: Path, **kind: Any) -> pd.DataFrame:
    """Run a job; returns its table, and of training what was learned."""
    table: pd.DataFrame = JOBS[job](data, out, **kind).table
    if job == "train":
        from voxstrata.models.weights import hash_tensors, read_checkpoint

        learned = hash_tensors(read_checkpoint(out / "model" / "model.safetensors"))
        return pd.DataFrame({"weights": [learned]})
    return table


def in_process(job: str, data: Path, out: Path) -> subprocess.Popen[str]:
    """The same in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "run", job, str(data), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@contextmanager
def ballast(place: Path, room: int) -> Iterator[None]:
    """A file that leaves so many bytes free."""
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    path = place / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - room))
    try:
        yield
    finally:
        path.unlink()


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def attempt(job: str, data: Path, out: Path) -> tuple[str, pd.DataFrame | None]:
    """Run a job: what it says where it stops, and its table where it does not."""
    from voxstrata.errors import VoxstrataError

    try:
        return "", run(job, data, out)
    except VoxstrataError as error:
        return f"{type(error).__name__}: {error}", None


def mounted(job: str, data: Path, place: Path) -> dict[str, Any]:
    """In a file system of one's own: full with this and that much room, then read-only.

    Returns:
        what was said by room, whether the table of the same call with more room is that of a run
        that nothing happened to, and what was said where nothing can be written.
    """
    from voxstrata.streaming import setup

    setup.DISK_RESERVE = -(1 << 40)  # or plans that see so little disk refuse before any fault
    _mount("-t", "tmpfs", "-o", "size=64m", "none", str(place))
    want = run(job, data, place / "whole")
    stops: dict[str, str] = {}
    rooms = [0, *(4096 * 2**k for k in range(12))]
    for room in rooms:
        out = place / f"out-{room}"
        with ballast(place, room):
            said, table = attempt(job, data, out)
        if table is not None:
            break
        stops[str(room)] = said
        pd.testing.assert_frame_equal(run(job, data, out), want)
        subprocess.run(["rm", "-rf", str(out)], check=True)
    _mount("-o", "remount,ro", str(place))
    said, _ = attempt(job, data, place / "new")
    kept = run(job, data, place / "whole", overwrite="only-cache")
    pd.testing.assert_frame_equal(kept, want)
    return {"full": stops, "read-only": said}


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    what, job, data, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    if what == "run":
        said, _ = attempt(job, data, out)
        print(said)
        sys.exit(2 if said else 0)
    print(json.dumps(mounted(job, data, out)))
