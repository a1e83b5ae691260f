"""Threads of the libraries that compute, where two of them take turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Event, Lock, Semaphore
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def wait_briefly() -> None:
    """Have torch's threads spin for microseconds only before they sleep; before torch is imported.

    They wait for each other many times in a forward pass. Where another process has one of their
    cores, GNU OpenMP's default of spinning on makes two threads slower than one, by a half to
    several times; on a quiet machine the short spin costs nothing (docs/benchmarks.md). What the
    user has set stays.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "1000"


def cores() -> int:
    """Processor cores that this process may use, where the system tells; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _openblas() -> Any:
    # Once: it goes over all libraries of the process, which took a fifteenth of the demo's time.
    import scipy.linalg  # noqa: F401  # that its library is among them
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(internal_api="openblas")


class _OneForBlas:
    """OpenBLAS's number of threads is the whole process's. Where blocks of several threads
    overlap, the first to come sets it and the last to go sets it back."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limits = _openblas().limit(limits=1)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limits.restore_original_limits()


_BLAS = _OneForBlas()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep numpy's and scipy's OpenBLAS to one thread; torch keeps its own.

    For loops in which scipy and torch take turns, as a search with L-BFGS whose objective is
    torch's does. After each call OpenBLAS's threads wait for the next one by spinning, on the
    very cores that torch's threads then need: on two cores a search took 30 times as long
    (``benchmarks/logistic.py``).
    """
    with _BLAS:
        yield


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch on one thread: sums then have one order, and the same seed gives the same bits
    on the same processor and version of torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StoppedError(Exception):
    """Work that waited for a place was called off."""


class Slots:
    """Places for work, shared by all who ask: as much is done at once as there are places.

    Several callers of :func:`on_threads` that end at different times so leave no core idle, and
    do not crowd each other either.

    Args:
        count: places.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free, self._stopped = Semaphore(count), Event()

    def stop(self) -> None:
        """Begin nothing more: who waits for a place, or asks for one, gets a StoppedError."""
        self._stopped.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place.

        Raises:
            StoppedError: the work was called off.
        """
        with self._free:
            if self._stopped.is_set():
                raise StoppedError
            yield


def on_threads(work: Callable[[T], R], items: Iterable[T], workers: int | Slots) -> list[R]:
    """Do something with every item in threads of our own, torch on one thread in each.

    For many small pieces of work: torch's own teams of threads would wait for each other. Numbers
    too small for full precision (below 1.2e-38 in float32) are 0 in these threads: where units
    die, gradients and Adam's moments fade into them, and processors compute with such numbers many
    times as slowly (recurrent heads on MFCC took three times as long, docs/benchmarks.md).

    Args:
        work: done with each item; torch's products leave Python's lock free meanwhile.
        items: what there is to do.
        workers: threads; or places shared with other callers.

    Returns:
        what it gave, in the order of the items.

    Raises:
        StoppedError: the places were closed.
    """
    import torch

    def placed(item: T) -> R:
        if isinstance(workers, int):
            return work(item)
        with workers.one():
            return work(item)

    count = workers if isinstance(workers, int) else workers.count
    pool = ThreadPoolExecutor(count, initializer=torch.set_flush_denormal, initargs=(True,))
    with one_torch_thread(), pool:
        return list(pool.map(placed, items))


def sharing(work: Callable[[T], R], items: Iterable[T], at_once: int, slots: Slots) -> list[R]:
    """Go over items that each use :func:`on_threads` with the same places, some at once.

    Args:
        work: done with each item.
        items: what there is to do.
        at_once: items at a time.
        slots: their places; closed where an item fails or Ctrl-C is pressed, so that the others
            end with the piece that they are at.

    Returns:
        what it gave, in the order of the items.
    """
    # Around all of them: numbers of threads are the process's, and who came first would set them
    # back while others still work.
    with one_torch_thread(), one_blas_thread(), ThreadPoolExecutor(at_once) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            slots.stop()
            raise
