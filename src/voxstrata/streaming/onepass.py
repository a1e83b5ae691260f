"""The one pass: every recording once, every model side by side, every reducer fed.

Determinism is what makes resuming exact: shards, batches and their order follow from the corpus
and the settings alone, reducers see rows in that order, and the state written after a shard is
the state of an uninterrupted run at that point. A run that was killed goes on from its last
checkpoint and ends with the same bits.
"""

from __future__ import annotations

import copy
import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from voxstrata.errors import CorpusError, RunInterruptedError, StorageError, VoxstrataError
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.batches import Shard, make_batches
from voxstrata.streaming.fitting import Room
from voxstrata.streaming.outputs import Asking, Clock, Encoded, Forwards, encode_shared, prefetch
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.reducers import Reducer, Rows, load_state, save_state
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import Unit
from voxstrata.sums import read_sealed_json, write_sealed_json
from voxstrata.types import Utterance

CURSOR = "pass.json"
PARTS = "parts"
"""Folder in a pass's state of what a cluster has done of it."""

TRIM_SECONDS = 100.0
"""Audio between two returns of freed memory to the system; each makes the next outputs fault
their pages in again, which after every shard of 10 s cost 3 % of a pass."""


@dataclass(frozen=True)
class Sink:
    """A unit and the reducer its rows go to.

    Attributes:
        unit: how recordings are cut into rows.
        layers: positions in the stack of the layers the unit accepts.
        reducer: what consumes the rows.
        name: unique within the pass; names the state file.
    """

    unit: Unit
    layers: tuple[int, ...]
    reducer: Reducer
    name: str


@dataclass
class PassReport:
    """What happened during a pass.

    Attributes:
        recordings: recordings that contributed.
        seconds: their length.
        rows: rows by sink.
        skipped: recordings that did not contribute, with the reason.
        fold_rows: rows by sink and fold (folds as text: it is a JSON key).
        dropped: rows left out, by sink and reason.
        noted: rows kept, but not as labelled, by sink and reason.
        clock: seconds spent by what they were spent on (this process only).
    """

    recordings: int = 0
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    fold_rows: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    noted: dict[str, dict[str, int]] = field(default_factory=dict)
    clock: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """JSON-like form, without the clock."""
        return {
            "recordings": self.recordings,
            "seconds": self.seconds,
            "rows": self.rows,
            "fold_rows": self.fold_rows,
            "skipped": self.skipped,
            "dropped": self.dropped,
            "noted": self.noted,
        }

    def whole(self) -> dict[str, Any]:
        """JSON-like form, from which :meth:`of` makes an equal one."""
        return {**self.facts(), "clock": self.clock}

    @staticmethod
    def of(whole: Mapping[str, Any]) -> PassReport:
        """The report of which ``whole`` is the form."""
        return PassReport(**whole)

    def merge(self, other: PassReport) -> None:
        """Add what happened in shards that come after these."""
        self.recordings += other.recordings
        self.seconds += other.seconds
        _count(self.rows, other.rows)
        self.skipped += other.skipped
        for mine, theirs in (
            (self.fold_rows, other.fold_rows),
            (self.dropped, other.dropped),
            (self.noted, other.noted),
        ):
            for name, counts in theirs.items():
                _count(mine.setdefault(name, {}), counts)
        for what, seconds in other.clock.items():
            self.clock[what] = self.clock.get(what, 0.0) + seconds


@dataclass(frozen=True)
class Away:
    """A cluster that a pass is to be made on (:mod:`voxstrata.streaming.cluster`).

    Attributes:
        cluster: "local:N", "tcp://HOST:PORT", "slurm:PROFILE.yaml".
        device, batch_s: as asked for, since workers' devices may be others than this machine's.
    """

    cluster: str
    device: str = "auto"
    batch_s: float | None = None


class Pass:
    """One pass over a corpus.

    Args:
        utterances: the corpus.
        models: the models, on their devices.
        stack: chosen layers of all models.
        sinks: units with their reducers.
        shards: order of work (:func:`voxstrata.streaming.batches.make_shards`).
        batch_s: seconds of audio (padding counted) a batch.
        on_error: "skip" leaves a bad recording out and lists it; "stop" raises its error.
        state: folder for checkpoints; ``None`` keeps no state.
        identity: digest of everything the numbers depend on; a state with another identity
            is refused.
        every: shards between checkpoints.
        folds: fold of each recording; ``None`` for that of its shard.
        source: digest of the corpus: recordings of one id and source are the same audio. Passes
            without one are never shared (:mod:`voxstrata.streaming.together`).
        away: where :func:`voxstrata.streaming.cluster.run.run_pass` makes the pass; ``None`` for
            here.
        task_shards: shards of a task on a cluster.
        still: raises an error where what a shard made must not be written any more; asked when it
            is about to be.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        models: Sequence[SpeechModel],
        stack: Sequence[StackLayer],
        sinks: Sequence[Sink],
        shards: Sequence[Shard],
        *,
        batch_s: float,
        on_error: Literal["skip", "stop"] = "skip",
        state: Path | None = None,
        identity: str = "",
        every: int = 1,
        folds: Sequence[int] | None = None,
        source: str = "",
        away: Away | None = None,
        task_shards: int = 1,
        still: Callable[[], None] = lambda: None,
    ) -> None:
        self.utterances, self.models, self.stack = utterances, models, stack
        self.sinks, self.shards = sinks, shards
        self.batch_s, self.on_error = batch_s, on_error
        self.state, self.identity, self.every = state, identity, every
        self.folds, self.source = folds, source
        self.away, self.task_shards, self.still = away, task_shards, still
        # Reducers of workers begin as these did, whatever a checkpoint puts into them here.
        self.blank = self._fresh() if away or self.has_parts() else []
        self.report = PassReport()
        self.done = 0
        self.clock, self.room = Clock(), Room()
        self._saved = 0
        self._since_trim = 0.0

    def run(self, advance: Advance = lambda _amount: None) -> PassReport:
        """Do what is left of the pass.

        Args:
            advance: called with seconds of audio as they are done.

        Raises:
            RunInterruptedError: Ctrl-C; the last checkpoint stands, the message says how to go on.
            CorpusError: no recording at all could be used.
            VoxstrataError: with ``on_error="stop"`` the first bad recording's error.
            StorageError: state cannot be written or read.
        """
        self.begin()
        advance(sum(self.seconds(shard) for shard in self.shards[: self.done]))
        try:
            for shard in self.shards[self.done :]:
                self.work(shard, advance)
        except KeyboardInterrupt:
            raise RunInterruptedError(
                "stopped by Ctrl-C",
                got=f"{self.done} of {len(self.shards)} shards done",
                fix="run the same command again: it goes on from the last checkpoint"
                if self.state
                else "",
            ) from None
        return self.ended()

    def ended(self) -> PassReport:
        """The report of a pass that is done.

        Raises:
            CorpusError: no recording at all could be used.
        """
        if not self.report.recordings:
            reasons = "; ".join(item["what"] for item in self.report.skipped[:3])
            raise CorpusError(
                "no recording of the corpus could be used",
                got=f"{len(self.report.skipped)} skipped: {reasons}",
            )
        self.report.clock = dict(self.clock.spent)
        return self.report

    def begin(self) -> None:
        """Go to where the last checkpoint stands: ``done`` counts finished shards.

        Raises:
            StorageError: the state cannot be read, or is of another run.
        """
        self.done = self._saved = self._resume()

    def has_parts(self) -> bool:
        """Whether a cluster has done some of it, in a run that was stopped."""
        return self.state is not None and (self.state / PARTS).exists()

    def seconds(self, shard: Shard) -> float:
        """Audio of a shard."""
        return sum(self.utterances[member].duration_s for member in shard.members)

    def batches(self, shard: Shard) -> list[list[Utterance]]:
        """Recordings of a shard as models get them."""
        groups = make_batches(self.utterances, shard.members, self.batch_s)
        return [[self.utterances[member] for member in group] for group in groups]

    def work(self, shard: Shard, advance: Advance) -> None:
        """Do the next shard."""
        work_shard([self], [shard], advance)

    def _fresh(self) -> list[Sink]:
        return [replace(sink, reducer=copy.deepcopy(sink.reducer)) for sink in self.sinks]

    def take(self, shard: Shard, unread: Sequence[tuple[Utterance, VoxstrataError]],
             encoded: Encoded) -> None:  # fmt: skip
        """Feed the outputs of a batch to the sinks.

        Args:
            shard: the shard that the batch belongs to.
            unread: recordings that could not be read, with the reason.
            encoded: what models made of the others.
        """
        good, failed = encoded
        own = {self.utterances[member].id: member for member in shard.members}
        for utterance, error in [*unread, *failed]:
            self._skip(utterance, error)
        for utterance, outputs in good:
            # Another pass may have read the recording: labels are this one's.
            member = own[utterance.id]
            fold = shard.fold if self.folds is None else self.folds[member]
            self._feed(self.utterances[member], outputs, fold)

    def end_shard(self, shard: Shard) -> None:
        """Finish a shard that all sinks have seen, and write a checkpoint where one is due."""
        self.still()
        begun = time.perf_counter()
        with torch.inference_mode():
            for sink in self.sinks:
                sink.reducer.end_shard(shard.number)
        self.clock.add("reducers", begun)
        self._since_trim += self.seconds(shard)
        if self._since_trim >= TRIM_SECONDS:
            give_back_memory()
            self._since_trim = 0.0
        self.done += 1
        if self.done % self.every == 0 or self.done == len(self.shards):
            self.keep()

    def keep(self) -> None:
        """Write a checkpoint of the shards done, if there is none yet."""
        if self.done > self._saved:
            self._checkpoint(self.done)
            self._saved = self.done

    def _feed(self, utterance: Utterance, outputs: list[torch.Tensor], fold: int) -> None:
        for sink in self.sinks:
            begun = time.perf_counter()
            layers = [self.stack[position] for position in sink.layers]
            cut = sink.unit.rows(utterance, [outputs[p] for p in sink.layers], layers)
            begun = self.clock.add("pooling", begun)
            rows = Rows(utterance.id, fold, cut.values, cut.start_s, cut.end_s, cut.labels)
            sink.reducer.update(rows)
            self.clock.add("reducers", begun)
            self.report.rows[sink.name] = self.report.rows.get(sink.name, 0) + len(cut)
            by_fold = self.report.fold_rows.setdefault(sink.name, {})
            by_fold[str(fold)] = by_fold.get(str(fold), 0) + len(cut)
            _count(self.report.dropped.setdefault(sink.name, {}), cut.dropped)
            _count(self.report.noted.setdefault(sink.name, {}), cut.noted)
        self.report.recordings += 1
        self.report.seconds += utterance.duration_s

    def _skip(self, utterance: Utterance, error: VoxstrataError) -> None:
        if self.on_error == "stop":
            raise error
        what = error.what if error.got is None else f"{error.what} ({error.got})"
        self.report.skipped.append({"id": utterance.id, "what": what})

    def _checkpoint(self, done: int) -> None:
        if self.state is None:
            return
        begun = time.perf_counter()
        files: dict[str, str] = {}
        for sink in self.sinks:
            name = f"{sink.name}-{done:05d}.safetensors"
            save_state(self.state / name, sink.reducer)
            files[sink.name] = name
        # The cursor is written last and whole: it is what makes the new state files count.
        write_sealed_json(
            self.state / CURSOR,
            {"identity": self.identity, "done": done, "files": files, **self.report.facts()},
        )
        for old in self.state.glob("*.safetensors"):
            if old.name not in files.values():
                old.unlink()
        self.clock.add("checkpoints", begun)

    def _resume(self) -> int:
        for broken in self.state.glob(".*.tmp") if self.state else ():
            broken.unlink()  # half a state that a kill left behind
        if self.state is None or not (self.state / CURSOR).exists():
            return 0
        again = "run again with --overwrite always to start afresh"
        saved: Mapping[str, Any] = read_sealed_json(self.state / CURSOR, again)
        if saved.get("identity") != self.identity:
            raise StorageError(
                f"{self.state.parent} holds an unfinished run with other settings",
                fix="use another output folder, or --overwrite always to discard that run",
            )
        for sink in self.sinks:
            load_state(self.state / saved["files"][sink.name], sink.reducer)
        self.report.recordings = saved["recordings"]
        self.report.seconds = saved["seconds"]
        self.report.rows = saved["rows"]
        self.report.fold_rows = saved["fold_rows"]
        self.report.skipped = saved["skipped"]
        self.report.dropped = saved["dropped"]
        self.report.noted = saved["noted"]
        return int(saved["done"])


def work_shard(
    passes: Sequence[Pass],
    shards: Sequence[Shard],
    advance: Advance,
    *,
    forwards: Forwards | None = None,
    failed: Callable[[Pass, VoxstrataError], None] | None = None,
) -> None:
    """Read the recordings of a shard once, run every model once, and feed all passes.

    Args:
        passes: passes whose shards hold the same recordings in the same batches.
        shards: the shard of each of them.
        advance: called with seconds of audio as they are done.
        forwards: counts models run.
        failed: told of a pass that cannot go on; the others do. Without it the error is raised.

    Raises:
        VoxstrataError: what a pass, or reading the audio, raises.
    """
    gone: set[int] = set()

    def attempt(number: int, act: Callable[[], None]) -> None:
        if number in gone:
            return
        try:
            act()
        except VoxstrataError as error:
            if failed is None:
                raise
            gone.add(number)
            failed(passes[number], error)

    everyone = range(len(passes))
    begun = time.perf_counter()
    for loaded in prefetch(passes[0].batches(shards[0])):
        waited = (time.perf_counter() - begun) / len(passes)
        for one in passes:
            one.clock.book("waiting for audio", waited)
        live = [number for number in everyone if number not in gone]
        with torch.inference_mode():
            those = [passes[i] for i in live]
            askings = [Asking(one.models, one.stack, one.clock, one.room) for one in those]
            encoded = dict(zip(live, encode_shared(askings, loaded, forwards), strict=True))
            for number in live:
                feed, own = passes[number].take, shards[number]
                attempt(number, partial(feed, own, loaded.failed, encoded.pop(number)))
        advance(sum(u.duration_s for u in loaded.utterances))
        advance(sum(u.duration_s for u, _ in loaded.failed))
        begun = time.perf_counter()
    for number in everyone:
        attempt(number, partial(passes[number].end_shard, shards[number]))


def _count(totals: dict[str, int], found: Mapping[str, int]) -> None:
    for reason, count in found.items():
        if count:
            totals[reason] = totals.get(reason, 0) + count


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); else nothing.

    Recordings differ in length, so freed outputs leave holes that grow with the corpus: without
    this a pass over 3,000 s held a sixth more memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
