"""Schedulers and workers as processes of their own, for tests that stop them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from distributed import Client

QUICK = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(__file__).parent),  # workers are told to call functions of this file
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _start(command: list[str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file,
            stderr=file,
            cwd=cwd,
            env={**os.environ, **QUICK},
        )


class Tcp:
    """A scheduler and workers.

    Attributes:
        address: of the scheduler.
        scheduler: its process.
        workers: their processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = _start(
            ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
             "--no-dashboard", "--no-show"],
            folder / "scheduler.log",
        )  # fmt: skip
        self.workers: list[subprocess.Popen[bytes]] = []

    def add(
        self, cwd: Path | None = None, *, nanny: bool = False, threads: int = 1
    ) -> subprocess.Popen[bytes]:
        """Start a worker."""
        number = len(self.workers)
        one = _start(
            ["distributed.cli.dask_worker", self.address, "--nthreads", str(threads),
             "--memory-limit", "0", "--no-dashboard", "--name", f"w{number}",
             "--nanny" if nanny else "--no-nanny",
             "--local-directory", str(self.folder / f"scratch-{number}")],
            self.folder / f"worker-{number}.log",
            cwd,
        )  # fmt: skip
        self.workers.append(one)
        return one

    def wait(self, workers: int) -> None:
        """Until the scheduler and so many workers are there."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            if workers:
                client.wait_for_workers(workers, timeout=120)

    def close(self) -> None:
        for one in [*self.workers, self.scheduler]:
            if one.poll() is None:
                one.kill()
            one.wait()


@contextlib.contextmanager
def tcp(folder: Path, workers: int) -> Iterator[Tcp]:
    """A scheduler with some workers, ended with the block."""
    one = Tcp(folder)
    try:
        for _ in range(workers):
            one.add()
        if workers:
            one.wait(workers)
        yield one
    finally:
        one.close()


def wait_until(true: object, seconds: float = 120.0) -> None:
    """Look every 20 ms until something is true.

    Raises:
        TimeoutError: it never was.
    """
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never happened")
        time.sleep(0.02)


def slow_down(seconds: float) -> None:
    """In a worker: wait before every shard."""
    from voxstrata.streaming.cluster import worker

    plain = worker.work_shard

    def slow(*args: object, **named: object) -> None:
        time.sleep(seconds)
        plain(*args, **named)  # type: ignore[arg-type]

    worker.work_shard = slow  # type: ignore[assignment]


def count_shards() -> None:
    """In a worker: count shards from now on."""
    from voxstrata.streaming.cluster import worker

    plain = worker.work_shard

    def counted(*args: object, **named: object) -> None:
        plain(*args, **named)  # type: ignore[arg-type]
        worker.counted = getattr(worker, "counted", 0) + 1  # type: ignore[attr-defined]

    worker.work_shard = counted  # type: ignore[assignment]


def counted() -> int:
    """In a worker: how many."""
    from voxstrata.streaming.cluster import worker

    return int(getattr(worker, "counted", 0))


def another_version() -> None:
    """In a worker: be of another version."""
    import voxstrata

    voxstrata.__version__ = "0.0.0"  # type: ignore[misc]
