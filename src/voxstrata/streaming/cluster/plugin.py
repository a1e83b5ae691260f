"""How workers, those that join late too, come by a pass: dask's worker plugins."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

from distributed import WorkerPlugin

from voxstrata.streaming.cluster.worker import Blueprint, forget, learn, take_gpu


class Teach(WorkerPlugin):  # type: ignore[misc]
    """Gives a worker its share of its machine, and the blueprint of a pass.

    Args:
        blueprint: of the pass.
        workers: on each machine.
        ours: the worker is a child of the process that started the run, and is ended by it.
    """

    def __init__(self, blueprint: Blueprint, workers: int, *, ours: bool = False) -> None:
        self.blueprint, self.workers, self.ours = blueprint, workers, ours

    def setup(self, worker: Any) -> None:
        """Called by dask in every worker, once."""
        if self.ours:  # a terminal sends Ctrl-C to children too; their parent is who answers it
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        take_gpu(worker.name if isinstance(worker.name, int) else 0, self.workers)
        learn(self.blueprint)

    def teardown(self, worker: Any) -> None:
        """Called when the pass is over."""
        forget(self.blueprint.token)
