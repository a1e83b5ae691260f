"""Loader processes: batch specs in, batches out, the same whatever the number of processes."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from voxstrata.errors import CorpusError, VoxstrataError
from voxstrata.training.data.batches import BatchPlan, Spec
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Examples

ATTEMPTS = 20
"""Recordings that may fail in a row before a batch is given up."""

GRACE_S = 30
"""Seconds that a loader process outlives the signal that ends the run."""

_EXAMPLES = 31
"""Purpose number of the examples' random generators."""


@dataclass(frozen=True)
class Loaded:
    """A batch, and what went wrong on the way.

    Attributes:
        spec: which batch.
        batch: the arrays.
        bad: (item, reason) of recordings that could not be used; others took their place.
    """

    spec: Spec
    batch: Batch
    bad: list[tuple[str, str]] = field(default_factory=list)

    def pin_memory(self) -> Loaded:
        """The same with the batch where a GPU can fetch it while it computes (torch calls this)."""
        return replace(self, batch={name: value.pin_memory() for name, value in self.batch.items()})


class _Batches(Dataset["Loaded | VoxstrataError"]):
    """Makes the batch of a spec. An error is returned, not raised: on its way home from a loader
    process torch would wrap it into a traceback."""

    def __init__(self, items: Items, examples: Examples, seed: int) -> None:
        self.items, self.examples, self.seed = items, examples, seed

    def __getitem__(self, spec: Spec) -> Loaded | VoxstrataError:  # type: ignore[override]
        try:
            return self._load(spec)
        except VoxstrataError as error:
            return error

    def _load(self, spec: Spec) -> Loaded:
        made, bad = [], []
        for index in spec.items:
            for attempt in range(ATTEMPTS + 1):
                item = self.items[(index + attempt) % len(self.items)]
                rng = np.random.default_rng([self.seed, _EXAMPLES, spec.epoch, index, attempt])
                try:
                    made.append(self.examples.make(item, rng))
                    break
                except VoxstrataError as error:
                    bad.append((item.id, f"{error.what} ({error.got})"))
            else:
                raise CorpusError(
                    f"{ATTEMPTS + 1} recordings in a row cannot be used",
                    got="; ".join(f"{name}: {why}" for name, why in bad[-3:]),
                    fix="look at the corpus with `voxstrata corpora validate`; data.min_s leaves "
                    "short recordings out",
                )
        return Loaded(spec, self.examples.collate(made), bad)


class _Order(Sampler[Spec]):
    def __init__(self, plan: BatchPlan, epoch: int, position: int) -> None:
        self._plan, self._from = plan, (epoch, position)

    def __iter__(self) -> Iterator[Spec]:
        return self._plan.after(*self._from)


def batches(
    plan: BatchPlan, examples: Examples, *, epoch: int = 0, position: int = 0, pin: bool = False
) -> Generator[Loaded]:
    """Batches without end; closing the generator ends the loader processes.

    Args:
        plan: which items form which batch.
        examples: how an item becomes arrays.
        epoch, position: where to begin.
        pin: keep batches where a GPU can fetch them while it computes.

    Raises:
        CorpusError: too many recordings in a row cannot be used.
    """
    loader: Any = DataLoader(
        _Batches(plan.items, examples, plan.seed),
        batch_size=None,
        sampler=_Order(plan, epoch, position),
        num_workers=plan.data.workers,
        prefetch_factor=3 if plan.data.workers else None,
        worker_init_fn=_settle,
        pin_memory=pin,
        # Its own, or it would draw from the generator that dropout draws from.
        generator=torch.Generator().manual_seed(plan.seed),
    )
    for loaded in loader:
        if isinstance(loaded, VoxstrataError):
            raise loaded
        yield loaded


def _settle(_worker: int) -> None:
    """One thread a process; and what stops the run must not stop its loaders at once.

    A terminal, and schedulers of clusters, send their signal to all processes of a run. The run
    itself ends after its step and then ends the loaders, for which they live on a while.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(GRACE_S))
