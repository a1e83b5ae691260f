"""Runs in a process of its own, slowed down so that a test can kill it."""

from __future__ import annotations

import time
from typing import Any


def run(settings: dict[str, Any], out: str, pause_s: float) -> None:
    """Run the job, waiting ``pause_s`` after every checkpoint."""
    import torch

    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.settings import SimilarityConfig
    from voxstrata.streaming.onepass import Pass

    torch.set_num_threads(1)
    plain = Pass._checkpoint

    def slow(self: Pass, done: int) -> None:
        plain(self, done)
        time.sleep(pause_s)

    Pass._checkpoint = slow  # type: ignore[method-assign]
    run_similarity(SimilarityConfig.model_validate(settings), out)


def run_slow_properties(settings: dict[str, Any], out: str, pause_s: float) -> None:
    """Run the properties job, waiting ``pause_s`` after every property that was measured."""
    import torch

    from voxstrata.properties import job
    from voxstrata.properties.settings import PropertiesConfig

    torch.set_num_threads(1)
    plain = job._one_draw

    def slow(*args: Any) -> Any:
        part = plain(*args)
        time.sleep(pause_s)
        return part

    job._one_draw = slow
    job.run_properties(PropertiesConfig.model_validate(settings), out)


def run_slow_probing(settings: dict[str, Any], out: str, pause_s: float) -> None:
    """Run the probing job, waiting ``pause_s`` after every round of heads."""
    import torch

    from voxstrata.probing import job
    from voxstrata.probing.kinds import kept
    from voxstrata.probing.settings import ProbeConfig

    torch.set_num_threads(1)
    plain = kept.keep

    def slow(*args: Any) -> Any:
        plain(*args)
        time.sleep(pause_s)

    kept.keep = slow
    job.run_probing(ProbeConfig.model_validate(settings), out)


def run_slow_neurons(settings: dict[str, Any], out: str, pause_s: float) -> None:
    """Run the neurons job in small shards, waiting after every checkpoint of the counting pass."""
    import torch

    from voxstrata.neurons.job import run_neurons
    from voxstrata.neurons.settings import NeuronsConfig
    from voxstrata.streaming import setup
    from voxstrata.streaming.onepass import Pass

    torch.set_num_threads(1)
    setup.SHARD_S = 2.0
    plain = Pass._checkpoint

    def slow(self: Pass, done: int) -> None:
        plain(self, done)
        if self.state is not None and self.state.name == "count":
            time.sleep(pause_s)

    Pass._checkpoint = slow  # type: ignore[method-assign]
    run_neurons(NeuronsConfig.model_validate(settings), out)
