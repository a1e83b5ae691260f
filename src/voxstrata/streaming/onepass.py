"""The one pass: every recording once, every model side by side, every reducer fed.

Determinism is what makes resuming exact: shards, batches and their order follow from the corpus
and the settings alone, reducers see rows in that order, and the state written after a shard is
the state of an uninterrupted run at that point. A run that was killed goes on from its last
checkpoint and ends with the same bits.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from voxstrata.errors import CorpusError, RunInterruptedError, StorageError, VoxstrataError
from voxstrata.files import read_json, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.batches import Shard, make_batches
from voxstrata.streaming.outputs import Clock, encode_batch, prefetch
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.reducers import Reducer, Rows, load_state, save_state
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import Unit
from voxstrata.types import Utterance

CURSOR = "pass.json"

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
    ) -> None:
        self.utterances, self.models, self.stack = utterances, models, stack
        self.sinks, self.shards = sinks, shards
        self.batch_s, self.on_error = batch_s, on_error
        self.state, self.identity, self.every = state, identity, every
        self.report = PassReport()
        self._clock = Clock()
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
        first = self._resume()
        advance(sum(self._seconds(shard) for shard in self.shards[:first]))
        done = first
        try:
            for shard in self.shards[first:]:
                self._shard(shard, advance)
                done += 1
                if done % self.every == 0 or done == len(self.shards):
                    self._checkpoint(done)
        except KeyboardInterrupt:
            raise RunInterruptedError(
                "stopped by Ctrl-C",
                got=f"{done} of {len(self.shards)} shards done",
                fix="run the same command again: it goes on from the last checkpoint"
                if self.state
                else "",
            ) from None
        if not self.report.recordings:
            reasons = "; ".join(item["what"] for item in self.report.skipped[:3])
            raise CorpusError(
                "no recording of the corpus could be used",
                got=f"{len(self.report.skipped)} skipped: {reasons}",
            )
        self.report.clock = dict(self._clock.spent)
        return self.report

    def _seconds(self, shard: Shard) -> float:
        return sum(self.utterances[member].duration_s for member in shard.members)

    def _shard(self, shard: Shard, advance: Advance) -> None:
        groups = make_batches(self.utterances, shard.members, self.batch_s)
        batches = [[self.utterances[member] for member in group] for group in groups]
        begun = time.perf_counter()
        for loaded in prefetch(batches):
            self._clock.add("waiting for audio", begun)
            for utterance, error in loaded.failed:
                self._skip(utterance, error)
            with torch.inference_mode():
                good, failed = encode_batch(self.models, self.stack, loaded, self._clock)
                for utterance, error in failed:
                    self._skip(utterance, error)
                for utterance, outputs in good:
                    self._feed(utterance, outputs, shard.fold)
            advance(sum(u.duration_s for u in loaded.utterances))
            advance(sum(u.duration_s for u, _ in loaded.failed))
            begun = time.perf_counter()
        begun = time.perf_counter()
        with torch.inference_mode():
            for sink in self.sinks:
                sink.reducer.end_shard(shard.number)
        self._clock.add("reducers", begun)
        self._since_trim += self._seconds(shard)
        if self._since_trim >= TRIM_SECONDS:
            give_back_memory()
            self._since_trim = 0.0

    def _feed(self, utterance: Utterance, outputs: list[torch.Tensor], fold: int) -> None:
        for sink in self.sinks:
            begun = time.perf_counter()
            layers = [self.stack[position] for position in sink.layers]
            cut = sink.unit.rows(utterance, [outputs[p] for p in sink.layers], layers)
            begun = self._clock.add("pooling", begun)
            rows = Rows(utterance.id, fold, cut.values, cut.start_s, cut.end_s, cut.labels)
            sink.reducer.update(rows)
            self._clock.add("reducers", begun)
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
        write_json(
            self.state / CURSOR,
            {"identity": self.identity, "done": done, "files": files, **self.report.facts()},
        )
        for old in self.state.glob("*.safetensors"):
            if old.name not in files.values():
                old.unlink()
        self._clock.add("checkpoints", begun)

    def _resume(self) -> int:
        for broken in self.state.glob(".*.tmp") if self.state else ():
            broken.unlink()  # half a state that a kill left behind
        if self.state is None or not (self.state / CURSOR).exists():
            return 0
        saved: Mapping[str, Any] = read_json(self.state / CURSOR)
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
