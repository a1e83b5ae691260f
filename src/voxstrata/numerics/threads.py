"""Threads of the libraries that compute, where two of them take turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
