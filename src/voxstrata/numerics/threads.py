"""Threads of the libraries that compute, where two of them take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep numpy's and scipy's OpenBLAS to one thread; torch keeps its own.

    For loops in which scipy and torch take turns, as a search with L-BFGS whose objective is
    torch's does. After each call OpenBLAS's threads wait for the next one by spinning, on the
    very cores that torch's threads then need: on two cores a search took 30 times as long
    (``benchmarks/logistic.py``).
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
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


def on_threads(work: Callable[[T], R], items: Iterable[T], workers: int) -> list[R]:
    """Do something with every item in threads of our own, torch on one thread in each.

    For many small pieces of work: torch's own teams of threads would wait for each other. Numbers
    too small for full precision (below 1.2e-38 in float32) are 0 in these threads: where units
    die, gradients and Adam's moments fade into them, and processors compute with such numbers many
    times as slowly (recurrent heads on MFCC took three times as long, docs/benchmarks.md).

    Args:
        work: done with each item; torch's products leave Python's lock free meanwhile.
        items: what there is to do.
        workers: threads.

    Returns:
        what it gave, in the order of the items.
    """
    import torch

    pool = ThreadPoolExecutor(workers, initializer=torch.set_flush_denormal, initargs=(True,))
    with one_torch_thread(), pool:
        return list(pool.map(work, items))
