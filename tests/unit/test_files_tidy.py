"""Half-written files of killed processes go when their folder is used again; no others do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fakes import FakeModel
from voxstrata.files import OWN_TREES, atomic_write, lock
from voxstrata.neurons.job import COUNTS, SETS
from voxstrata.neurons.protection import models as protected
from voxstrata.neurons.pruning.job import FINDING, SCORING, STEPS
from voxstrata.neurons.unit_vectors import VECTORS
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.runs import STATE, STORE
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.verification.job import EMBEDDINGS

WRITER = """
import contextlib, sys, time
from pathlib import Path
from voxstrata.files import atomic_write
with contextlib.ExitStack() as held:
    for name in sys.argv[1:]:
        file = held.enter_context(atomic_write(Path(name)))
        file.write(b"half")
        file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_with_the_next_lock(tmp_path: Path) -> None:
    for place in (tmp_path / "report.html", tmp_path / "figures" / "a.svg"):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            with lock(tmp_path):  # alive: its file is left alone
                left = list(place.parent.glob(".*.tmp"))
            assert len(left) == 1
            assert left[0].read_bytes() == b"half"
            os.kill(writer.pid, signal.SIGKILL)
        assert left[0].exists()
        with lock(tmp_path):
            assert not left[0].exists()
        assert not place.exists()


def _half_written(*places: Path) -> list[Path]:
    """What a process leaves that is killed while it writes all of these."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, places)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    left = [path for place in places for path in place.parent.glob(f".{place.name}.*.tmp")]
    assert len(left) == len(places)
    return left


def _store(folder: Path) -> StoreReducer:
    """A store of two layers and two shards, as runs have them: ``store/UNIT/LAYER/shard``."""
    reducer = StoreReducer(folder / STORE / "frame", build_stack([FakeModel(widths=(3, 2))]))
    for shard in (0, 1):
        values = [torch.full((2, width), float(shard)) for width in (3, 2)]
        reducer.update(Rows(f"u{shard}", 0, values, [0.0] * 2, [1.0] * 2))
        reducer.end_shard(shard)
    return reducer


def test_however_deep_in_a_store_and_in_the_state(tmp_path: Path) -> None:
    store = _store(tmp_path).finish()
    whole = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(whole) == 2 * 2 + 2 + 2  # shards of layers, their indices; meta and index
    left = _half_written(
        store.shard(0, 2),
        store.shard(1, 0),  # one that is there already
        store.folder / "index" / "shard-00002.parquet",
        tmp_path / STATE / "parts" / "0000000-0000004" / "report.json",
        tmp_path / STATE / "a" / "b" / "c" / "d.npz",
    )
    with lock(tmp_path):
        assert not [path for path in left if path.exists()]
    assert {p: p.read_bytes() for p in whole} == whole
    again = RowStore(store.folder)
    assert again.layer(1).tolist() == store.layer(1).tolist()


def test_what_is_being_written_deep_in_a_store_stays(tmp_path: Path) -> None:
    path = _store(tmp_path).folder / "000-fake-0" / "shard-00002.safetensors"
    with atomic_write(path) as file:
        file.write(b"whole")
        with lock(tmp_path):
            pass
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("name", sorted(OWN_TREES))
def test_the_trees_of_runs(tmp_path: Path, name: str) -> None:
    (left,) = _half_written(tmp_path / name / "one" / "two" / "file")
    with lock(tmp_path):
        assert not left.exists()
    of_pruning = {STEPS, SCORING, protected.SCORING, FINDING}
    assert {STATE, STORE, EMBEDDINGS, VECTORS, COUNTS, SETS} | of_pruning == OWN_TREES


def test_folders_of_others_are_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for inner in ("photos/2020/may", "photos/store/may", "store/frame/000-m", "empty"):
        (tmp_path / inner).mkdir(parents=True)
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "store")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    others = tmp_path / "photos" / "store" / ".a.abcdefgh.tmp"
    others.write_text("mine")
    seen, scandir = [], os.scandir

    def counted(place: Path) -> object:
        seen.append(str(Path(place).relative_to(tmp_path)))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", counted)
    with lock(tmp_path):
        pass
    assert sorted(seen) == [".", "empty", "photos", "store", "store/frame", "store/frame/000-m"]
    assert others.read_text() == "mine"


def test_folders_that_are_links_and_such_that_cannot_be_listed(tmp_path: Path) -> None:
    (left,) = _half_written(tmp_path / "elsewhere" / "frame" / "000-m" / "shard-00000.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    (out / "store").symlink_to(tmp_path / "elsewhere")
    (out / "state").mkdir(mode=0)
    try:
        with lock(out):
            assert not left.exists()
    finally:
        (out / "state").chmod(0o755)


def test_files_of_others_stay(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".notes.tmp", "a.abcdefgh.tmp", ".a.ABCDEFGH.tmp")]
    for path in others:
        path.write_text("mine")
    with lock(tmp_path), atomic_write(tmp_path / "new") as file:
        file.write(b"whole")
        with lock(tmp_path / "inner"):
            pass
    assert all(path.read_text() == "mine" for path in others)
    assert (tmp_path / "new").read_bytes() == b"whole"
    assert not list(tmp_path.glob(".new.*"))


HOLDER = """
import os, sys, time
from pathlib import Path
from voxstrata.files import lock
with lock(Path(sys.argv[1])):
    if os.fork() == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def test_a_killed_run_s_children_do_not_hold_its_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline().split()[1])
        holder.kill()
    try:
        with lock(tmp_path):
            os.kill(child, 0)  # it still lives
    finally:
        os.kill(child, signal.SIGKILL)
