"""Whole jobs and the faults of machines: kills, full and read-only disks, clocks, two runs at once.

What goes wrong, what the tool does, and which test shows it: docs/reliability.md.
"""

from __future__ import annotations

import datetime
import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import faulty
from voxstrata import results
from voxstrata.errors import StorageError
from voxstrata.numerics.threads import one_torch_thread

SLOW = pytest.mark.slow
SOME_FAST = [job if job == "verify" else pytest.param(job, marks=SLOW) for job in faulty.JOBS]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faulty.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def wanted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pd.DataFrame]:
    """Table of a run that nothing happened to."""
    held: dict[str, pd.DataFrame] = {}

    def want(job: str) -> pd.DataFrame:
        if job not in held:
            held[job] = faulty.run(job, data, tmp_path_factory.mktemp(job) / "out")
        return held[job]

    return want


# --- kills -------------------------------------------------------------------------------------


@SLOW
@pytest.mark.parametrize("job", faulty.JOBS)
def test_killed_at_random_times_it_ends_with_the_same_numbers(
    job: str, data: Path, wanted: Callable[[str], pd.DataFrame], tmp_path: Path
) -> None:
    want, out = wanted(job), tmp_path / "out"
    began = time.monotonic()
    assert faulty.in_process(job, data, tmp_path / "timed").wait() == 0
    length, draw, killed = time.monotonic() - began, random.Random(job), 0
    while killed < 5:
        process = faulty.in_process(job, data, out)
        try:
            process.wait(timeout=draw.uniform(0.4, 1.0) * length)
            assert process.returncode == 0, process.stdout and process.stdout.read()
            shutil.rmtree(out)  # done before its moment came: five kills are five
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    pd.testing.assert_frame_equal(faulty.run(job, data, out), want)
    assert not (out / "state").exists()
    assert not list(out.rglob("*.tmp"))


# --- disks -------------------------------------------------------------------------------------


def _own_file_systems() -> bool:
    """Whether this machine lets a process mount a file system that it alone sees."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        tried = subprocess.run(
            [*ALONE, "mount", "-t", "tmpfs", "none", place], capture_output=True, check=False
        )
    return tried.returncode == 0


ALONE = ("unshare", "--map-root-user", "--mount")


@pytest.mark.parametrize("job", SOME_FAST)
def test_a_disk_that_is_full_or_read_only(job: str, data: Path, tmp_path: Path) -> None:
    """A real file system with room for nothing, one block, two, four, ...; then a read-only one.

    Every run that stops says why, and is gone on with when there is room; tables are compared.
    """
    if not _own_file_systems():
        pytest.skip("no file system can be mounted here (unshare --map-root-user --mount)")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [*ALONE, sys.executable, faulty.__file__, "mounted", job, str(data), str(place)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["full"]) >= 4, told
    for said in told["full"].values():
        assert said.startswith("StorageError: cannot write"), said
        assert "No space left on device" in said
        assert "free some space or choose another output folder" in said
    assert "Read-only file system" in told["read-only"]
    assert "choose another output folder" in told["read-only"]


class Faults:
    """The system refuses the n-th of all calls that writing files takes, and those after it."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, at: int | None) -> None:
        self.calls, self._number, self._at = 0, number, at
        for owner, name in ((os, "fsync"), (os, "replace"), (tempfile, "mkstemp"), (os, "mkdir")):
            patch.setattr(owner, name, self._faulty(getattr(owner, name)))

    def _faulty(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self.calls += 1
            if self._at is not None and self.calls > self._at:
                raise OSError(self._number, os.strerror(self._number))
            return plain(*given, **named)

        return call


EVERY = [pytest.param(job, 1 if job == "verify" else 3, marks=SLOW) for job in faulty.JOBS]


@pytest.mark.parametrize(("job", "step"), [("verify", 7), *EVERY])
def test_every_call_that_writes_may_fail(
    job: str, step: int, data: Path, wanted: Callable[[str], pd.DataFrame], tmp_path: Path
) -> None:
    want = wanted(job)
    with pytest.MonkeyPatch.context() as patch:
        calls = Faults(patch, 0, None)
        faulty.run(job, data, tmp_path / "counted")
    assert calls.calls > 10
    kinds = itertools.cycle((errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT))
    for at, number in zip(range(0, calls.calls, step), kinds, strict=False):
        out = tmp_path / f"at-{at}"
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, number, at)
            said, table = faulty.attempt(job, data, out)
        if table is None:
            assert said.startswith("StorageError: cannot write"), (at, said)
            assert os.strerror(number) in said
        pd.testing.assert_frame_equal(faulty.run(job, data, out), want)
        assert not list(out.rglob("*.tmp")), at
        shutil.rmtree(out)


# --- clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", SOME_FAST)
def test_a_clock_that_jumps_changes_nothing(
    job: str,
    data: Path,
    wanted: Callable[[str], pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time of day jumps by years at every look; files are from the future and from the past."""
    want, draw, plain = wanted(job), random.Random(0), time.time
    out, looks = tmp_path / "out", []

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Jumping:
            looks.append("date")
            return cls.fromtimestamp(jump(), tz)

    def jump() -> float:
        looks.append("time")
        return plain() + draw.uniform(-3e8, 3e8)

    monkeypatch.setattr(time, "time", jump)
    monkeypatch.setattr(datetime, "datetime", Jumping)
    stop = Faults(monkeypatch, errno.EIO, 25)
    said, _ = faulty.attempt(job, data, out)
    assert "cannot write" in said, "stopped in the middle, to be gone on with"
    stop._at = None
    moments = itertools.cycle((plain() + 4e8, 1e6))
    for path, moment in zip(sorted(out.rglob("*")), moments, strict=False):
        os.utime(path, (moment, moment))
    pd.testing.assert_frame_equal(faulty.run(job, data, out), want)
    assert results.load_results(out).record["finished"]
    assert "date" in looks


# --- two runs ----------------------------------------------------------------------------------

HOLD = """\
import sys
from pathlib import Path
from voxstrata.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_a_live_process_holds_is_refused_and_a_dead_one_s_is_free(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for job in faulty.JOBS:
            with pytest.raises(StorageError, match="another run is using") as caught:
                faulty.run(job, data, out)
            assert str(holder.pid) in str(caught.value)
            assert [path.name for path in out.iterdir()] == [".lock"], job
    finally:
        holder.kill()
        holder.wait()
    assert len(faulty.run("verify", data, out))


@SLOW
@pytest.mark.parametrize("job", faulty.JOBS)
def test_of_two_runs_at_once_one_is_refused_and_the_other_is_not_disturbed(
    job: str, data: Path, wanted: Callable[[str], pd.DataFrame], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    both = [faulty.in_process(job, data, out) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    codes = [process.returncode for process in both]
    # The slower one may come when the other is done, and then reads what is there.
    assert sorted(codes) in ([0, 2], [0, 0]), said
    if 2 in codes:
        assert "another run is using" in said[codes.index(2)]
    pd.testing.assert_frame_equal(faulty.run(job, data, out), wanted(job))
