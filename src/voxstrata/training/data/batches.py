"""Which items form which batch: lhotse's samplers, one order an epoch, the same on every resume."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from voxstrata.errors import CorpusError
from voxstrata.training.data.items import Items
from voxstrata.training.settings import DataConfig

if TYPE_CHECKING:
    from lhotse import CutSet


@dataclass(frozen=True)
class Spec:
    """One batch to be made.

    Attributes:
        epoch: pass over the items.
        position: batch of that pass, of this process.
        items: positions of its items.
    """

    epoch: int
    position: int
    items: tuple[int, ...]


class BatchPlan:
    """Batches of all epochs, for one of several processes.

    All processes draw the same order and take turns, so the batches of a step, joined, are those a
    single process with ``processes`` times the batch would have.

    Args:
        items: what to draw from.
        data: batch size or batch seconds.
        seed: of the order.
        rank, processes: who this is.

    Raises:
        CorpusError: the items do not fill one batch.
    """

    def __init__(
        self, items: Items, data: DataConfig, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.items, self.data, self.seed = items, data, seed
        self.rank, self.processes = rank, processes
        if not self.per_epoch:
            raise CorpusError(
                f"{items.corpus.spec} is too small for one batch in each of {processes} processes",
                got=f"{len(items)} recordings, {items.seconds:.0f} s",
                expected=f"{data.batch} recordings"
                if data.batch
                else f"{data.batch_s:g} s of speech a batch, of like lengths (data.buckets "
                f"{data.buckets})",
                fix="make data.batch smaller"
                if data.batch
                else "make data.batch_s or data.buckets smaller",
            )

    @cached_property
    def _cuts(self) -> CutSet:
        """The items as lhotse knows them: a name and a length."""
        from lhotse import CutSet, MonoCut

        return CutSet.from_cuts(
            MonoCut(id=str(item.index), start=0.0, duration=round(item.duration_s, 4), channel=0)
            for item in self.items
        )

    def epoch(self, number: int) -> Iterator[Spec]:
        """The batches of one pass."""
        from lhotse.dataset import DynamicBucketingSampler, SimpleCutSampler

        shared: dict[str, Any] = {
            "shuffle": True,
            "drop_last": True,
            "world_size": self.processes,
            "rank": self.rank,
            "seed": self.seed,
        }
        sampler: Any
        if self.data.batch is not None:
            sampler = SimpleCutSampler(self._cuts, max_cuts=self.data.batch, **shared)
        else:
            buckets = min(self.data.buckets, max(1, len(self.items) // 2))
            with warnings.catch_warnings():
                # It would rather read lazily; the items are in memory, names and lengths only.
                warnings.filterwarnings("ignore", message="You are using DynamicBucketingSampler")
                sampler = DynamicBucketingSampler(
                    self._cuts, max_duration=self.data.batch_s, num_buckets=buckets, **shared
                )
        sampler.set_epoch(number)
        for position, cuts in enumerate(sampler):
            yield Spec(number, position, tuple(int(cut.id) for cut in cuts))

    @cached_property
    def per_epoch(self) -> int:
        """Batches of the first pass (with length buckets other passes may differ by a few)."""
        return sum(1 for _ in self.epoch(0))

    def after(self, epoch: int, position: int) -> Iterator[Spec]:
        """All batches that follow, without end, from batch ``position`` of ``epoch`` on."""
        while True:
            for spec in self.epoch(epoch):
                if spec.position >= position:
                    yield spec
            epoch, position = epoch + 1, 0
