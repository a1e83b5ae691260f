"""How workers, those that join late too, come by a pass: dask's worker plugins."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from voxstrata.streaming.cluster.worker import Blueprint, forget, learn, take_gpu


class Teach(WorkerPlugin):  # type: ignore[misc]
    """Gives a worker its share of its machine, and the blueprint of a pass.

    Args:
        blueprint: of the pass.
        workers: on each machine.
    """

    def __init__(self, blueprint: Blueprint, workers: int) -> None:
        self.blueprint, self.workers = blueprint, workers

    def setup(self, worker: Any) -> None:
        """Called by dask in every worker, once."""
        take_gpu(worker.name if isinstance(worker.name, int) else 0, self.workers)
        learn(self.blueprint)

    def teardown(self, worker: Any) -> None:
        """Called when the pass is over."""
        forget(self.blueprint.token)
