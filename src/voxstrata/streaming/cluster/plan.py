"""How passes are cut for a cluster, what workers are told of them, and how they end."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.errors import ClusterError, StorageError
from voxstrata.files import fingerprint
from voxstrata.streaming.cluster import parts, worker
from voxstrata.streaming.cluster.tree import Node, leaves, tree
from voxstrata.streaming.onepass import PARTS, Away, Pass, Sink, work_shard
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.reducers import Anchored, FoldWise


@dataclass(frozen=True)
class Plan:
    """How passes are cut, and where their parts lie.

    Attributes:
        passes: the passes.
        token: digest of all that parts depend on.
        place: folder of the parts.
        given: what was done before, if anything was.
        pieces: leaves that are to be done.
        root: of the tree.
    """

    passes: tuple[Pass, ...]
    token: str
    place: Path
    given: Node | None
    pieces: tuple[Node, ...]
    root: Node

    @staticmethod
    def of(passes: Sequence[Pass]) -> Plan:
        """How passes that have been begun are cut."""
        first = passes[0]
        assert first.state is not None  # the output folder of a job
        whole = [one for one in passes if _whole_folds([one])]
        folds = [shard.fold for shard in whole[0].shards] if whole else None
        pieces = leaves(
            first.done,
            len(first.shards),
            max(one.task_shards for one in passes),
            lead=not first.done and _anchors(passes),
            whole=folds,
            state_bytes=sum(s.reducer.state_bytes() for one in passes for s in one.blank),
        )
        given = Node(0, first.done) if first.done else None
        names = [node.name for node in pieces]
        token = fingerprint([[[one.identity, one.done] for one in passes], names])
        root = tree([*([given] if given else []), *pieces])
        place = (first.state / PARTS / token).absolute()
        return Plan(tuple(passes), token, place, given, tuple(pieces), root)

    @property
    def sinks(self) -> list[Sequence[Sink]]:
        """Sinks of each pass."""
        return [one.sinks for one in self.passes]

    def seconds(self, node: Node) -> float:
        """Audio of a node."""
        first = self.passes[0]
        return sum(first.seconds(shard) for shard in first.shards[node.first : node.stop])


def _anchors(passes: Sequence[Pass]) -> bool:
    return any(isinstance(sink.reducer, Anchored) for one in passes for sink in one.sinks)


def _whole_folds(passes: Sequence[Pass]) -> bool:
    reducers = [sink.reducer for one in passes for sink in one.sinks]
    return any(isinstance(reducer, FoldWise) and reducer.whole_folds for reducer in reducers)


def to_fold_end(passes: Sequence[Pass], advance: Advance) -> None:
    """Finish a fold that was begun here, where reducers keep rows until its end."""
    whole = next((one for one in passes if _whole_folds([one])), None)
    if whole is None:
        return
    while 0 < whole.done < len(whole.shards) and (
        whole.shards[whole.done].fold == whole.shards[whole.done - 1].fold
    ):
        work_shard(passes, [one.shards[one.done] for one in passes], advance)
    for one in passes:
        one.keep()


def begin(plan: Plan) -> None:
    """Make the folder of parts, or go on with that of a run that was stopped."""
    made = parts.begin(plan.place)
    if plan.given is not None and (made or not parts.done(plan.place, plan.given)):
        parts.save(plan.place, plan.given, plan.sinks, [one.report for one in plan.passes])
        parts.keep_anchors(plan.place, plan.sinks)


def blueprint(away: Away, plan: Plan, threads: int | None) -> worker.Blueprint:
    """What workers are told of the passes."""
    drawn = [
        worker.Drawn(
            models=tuple(worker.Wanted(m.spec, dtype_of(m), m.fingerprint) for m in one.models),
            stack=tuple(one.stack),
            sinks=tuple(one.blank),
            on_error=one.on_error,
            identity=one.identity,
            source=one.source,
        )
        for one in plan.passes
    ]
    return worker.Blueprint(
        plan.token, plan.place, tuple(drawn), away.device, away.batch_s, worker.versions(), threads
    )


def dtype_of(model: Any) -> str:
    """Name of the type of a model's numbers."""
    return str(getattr(model, "dtype", "float32")).removeprefix("torch.")


def take(plan: Plan) -> None:
    """Go on from the root as if all had been done here.

    Raises:
        ClusterError: recordings are missing or were counted twice.
        StorageError: the root is damaged; it is removed, so that the next run makes it anew.
    """
    try:
        reports = parts.load(plan.place, plan.root, plan.sinks)
    except StorageError:
        parts.remove(plan.place, plan.root)
        raise
    for one, report in zip(plan.passes, reports, strict=True):
        expected = sum(len(shard.members) for shard in one.shards)
        seen = report.recordings + len(report.skipped)
        if seen != expected:
            raise ClusterError(
                "the parts of the pass do not add up",
                got=f"{seen} recordings",
                expected=f"{expected}",
                fix="run again with --overwrite always, and report this",
            )
        one.report = report
        for what, seconds in report.clock.items():
            one.clock.book(what, seconds)
        one.done = len(one.shards)
        one.keep()
    shutil.rmtree(plan.place.parent, ignore_errors=True)
