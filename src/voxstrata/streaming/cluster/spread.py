"""A pass on a cluster: the side that hands out work and takes it in.

Every leaf of the tree (``tree.py``) is a task; a node's parts are joined as soon as all of them are
there. States lie in the run's own folder (``parts.py``), so that a run whose scheduler or own
process died goes on from what was finished, and no task counts twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from voxstrata.errors import ClusterError, RunInterruptedError, VoxstrataError
from voxstrata.files import fingerprint, read_json, write_json
from voxstrata.streaming.cluster import parts, worker
from voxstrata.streaming.cluster.tree import Node, leaves, tree
from voxstrata.streaming.cluster.workers import Crew, crew_of, threads_of
from voxstrata.streaming.onepass import Away, Pass, PassReport
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.reducers import Anchored, FoldWise

PARTS = "parts"
"""Folder of the parts, in the pass's state."""

AHEAD = 2
"""Tasks handed out for each worker: one to do, and one to begin with when it is done."""

LOOK_S = 1.0
"""Seconds between two looks at who is still there."""

PATIENCE_S = 60.0
"""Seconds that a cluster may be without any worker. Jobs in Slurm's queue may take longer."""


@dataclass
class _Work:
    """What is under way.

    Attributes:
        waiting: leaves nobody has been given yet, last first.
        running: nodes by their task.
        allowed: workers that a task was restricted to.
        finished: nodes that are whole.
        refused: workers that cannot do the work, by address, with the reason.
        alone: since when there has been no worker at all.
        ended: set whenever a task ends.
    """

    waiting: list[Node]
    running: dict[Any, Node] = field(default_factory=dict)
    allowed: dict[Any, list[str]] = field(default_factory=dict)
    finished: set[Node] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    alone: float | None = None
    ended: Event = field(default_factory=Event)


def spread(one: Pass, away: Away, advance: Advance, say: Callable[[str], None]) -> None:
    """Do what is left of a pass on a cluster; its reducers and report are then as if done here.

    Args:
        one: begun (:meth:`voxstrata.streaming.onepass.Pass.begin`), with a folder for its state.
        away: where to.
        advance: called with seconds of audio as they are done.
        say: shows a line.

    Raises:
        ClusterError: no worker is left, or none can do the work; the scheduler is gone.
        RunInterruptedError: Ctrl-C; what was finished is kept.
        VoxstrataError: what the pass raises.
    """
    from voxstrata.streaming.cluster.plugin import Teach

    _to_fold_end(one, advance)
    if one.done == len(one.shards):
        return
    crew = crew_of(away.cluster, say)
    plan = _Plan.of(one)
    _begin(one, plan)
    name = f"voxstrata-{plan.token}"
    blueprint = _blueprint(one, away, plan, threads_of(crew.place))
    crew.client.register_plugin(Teach(blueprint, max(1, crew.place.workers)), name=name)
    try:
        _all(crew, one, plan, advance, say)
    except KeyboardInterrupt:
        raise RunInterruptedError(
            "stopped by Ctrl-C",
            got="work on the cluster",
            fix="run the same command again: it goes on from the shards that were finished",
        ) from None
    finally:
        if crew.client.status == "running":
            crew.client.unregister_worker_plugin(name)
    _take(one, plan)


@dataclass(frozen=True)
class _Plan:
    """How a pass is cut, and where its parts lie."""

    token: str
    place: Any
    given: Node | None
    pieces: tuple[Node, ...]
    root: Node
    leading: bool

    @staticmethod
    def of(one: Pass) -> _Plan:
        assert one.state is not None
        reducers = [sink.reducer for sink in one.sinks]
        leading = any(isinstance(reducer, Anchored) for reducer in reducers)
        whole = any(isinstance(r, FoldWise) and r.whole_folds for r in reducers)
        total = len(one.shards)
        pieces = leaves(
            one.done,
            total,
            one.task_shards,
            lead=leading and not one.done,
            whole=[shard.fold for shard in one.shards] if whole else None,
        )
        given = Node(0, one.done) if one.done else None
        token = fingerprint(
            [one.identity, str(one.state), one.done, [node.name for node in pieces]]
        )
        root = tree([*([given] if given else []), *pieces])
        place = (one.state / PARTS).absolute()
        return _Plan(token, place, given, tuple(pieces), root, leading)


def _to_fold_end(one: Pass, advance: Advance) -> None:
    """Finish a fold that was begun here, where reducers keep rows until its end."""
    if not any(isinstance(s.reducer, FoldWise) and s.reducer.whole_folds for s in one.sinks):
        return
    while 0 < one.done < len(one.shards) and (
        one.shards[one.done].fold == one.shards[one.done - 1].fold
    ):
        one.work(one.shards[one.done], advance)
    one.keep()


def _begin(one: Pass, plan: _Plan) -> None:
    """Make the folder of parts, or go on with that of a run that was stopped."""
    path = plan.place / parts.PLAN
    if path.exists() and read_json(path).get("token") == plan.token:
        return
    shutil.rmtree(plan.place, ignore_errors=True)
    if plan.given is not None:
        parts.save(plan.place, plan.given, one.sinks, one.report.whole())
        worker.keep_anchors(plan.place, one.sinks)
    write_json(path, {"token": plan.token})


def _blueprint(one: Pass, away: Away, plan: _Plan, threads: int | None) -> worker.Blueprint:
    return worker.Blueprint(
        token=plan.token,
        place=plan.place,
        models=tuple(
            worker.Wanted(model.spec, dtype_of(model), model.fingerprint) for model in one.models
        ),
        device=away.device,
        batch_s=away.batch_s,
        stack=tuple(one.stack),
        sinks=tuple(one.blank),
        on_error=one.on_error,
        identity=one.identity,
        source=one.source,
        threads=threads,
    )


def dtype_of(model: Any) -> str:
    """Name of the type of a model's numbers."""
    return str(getattr(model, "dtype", "float32")).removeprefix("torch.")


def _all(crew: Crew, one: Pass, plan: _Plan, advance: Advance, say: Callable[[str], None]) -> None:
    """Have every node made, up to the root."""
    work = _Work([], finished={n for n in plan.root.walk() if parts.done(plan.place, n)})
    if plan.given:
        work.finished.add(plan.given)
    ready = [node for node in plan.pieces if _missing(node, plan, work)]
    advance(sum(_seconds(one, node) for node in plan.pieces if node not in ready))
    work.waiting = ready[::-1]
    _wait_for_workers(crew, say)
    while plan.leading and work.waiting and not worker.anchored(plan.place, one.sinks):
        lead = work.waiting.pop()  # one after another, until what all must share is known
        _give(crew, one, plan, work, lead)
        while work.running:
            _look(crew, one, plan, work, advance)
    _joins(crew, plan, work)
    while plan.root not in work.finished:
        while work.waiting and len(work.running) < AHEAD * max(1, len(_able(crew, work))):
            _give(crew, one, plan, work, work.waiting.pop())
        _look(crew, one, plan, work, advance)
        _joins(crew, plan, work)


def _missing(leaf: Node, plan: _Plan, work: _Work) -> bool:
    """Whether a leaf is neither there nor in anything that is."""
    return not any(n.first <= leaf.first and leaf.stop <= n.stop for n in work.finished)


def _seconds(one: Pass, node: Node) -> float:
    return sum(one.seconds(shard) for shard in one.shards[node.first : node.stop])


def _able(crew: Crew, work: _Work) -> list[str]:
    return [address for address in crew.workers() if address not in work.refused]


def _give(crew: Crew, one: Pass, plan: _Plan, work: _Work, node: Node) -> None:
    """Hand out a leaf; where workers have refused, only to others."""
    piece = worker.pick(one.utterances, one.folds, one.shards, node)
    _submit(crew, work, node, worker.work, plan.token, piece, 0)


def _joins(crew: Crew, plan: _Plan, work: _Work) -> None:
    """Hand out every join whose parts are there."""
    busy = set(work.running.values())
    for node in plan.root.walk():
        if not node.parts or node in busy or not _missing(node, plan, work):
            continue
        if all(part in work.finished for part in node.parts):
            _submit(crew, work, node, worker.join, plan.token, node, 1)


def _submit(
    crew: Crew, work: _Work, node: Node, act: Any, token: str, what: Any, priority: int
) -> None:
    allowed = _able(crew, work) if work.refused else None
    future = crew.client.submit(
        act, token, what, pure=False, priority=priority, workers=allowed, key=None
    )
    future.add_done_callback(lambda _future: work.ended.set())
    work.running[future] = node
    if allowed is not None:
        work.allowed[future] = allowed


def _look(crew: Crew, one: Pass, plan: _Plan, work: _Work, advance: Advance) -> None:
    """Wait a while for tasks, and take in those that ended."""
    if crew.client.status != "running":
        raise _lost(crew, plan, work)
    work.ended.wait(LOOK_S)
    work.ended.clear()
    for future in [future for future in work.running if future.done()]:
        _end(crew, one, plan, work, future, advance)
    _reassign(crew, one, plan, work)


def _end(crew: Crew, one: Pass, plan: _Plan, work: _Work, future: Any, advance: Advance) -> None:
    """Take in a task that ended, one way or another."""
    node = work.running.pop(future)
    work.allowed.pop(future, None)
    if future.status in ("cancelled", "lost"):
        raise _lost(crew, plan, work)
    if future.status == "error":
        raise _failure(future.exception(), node, work, crew)
    done = future.result()
    if isinstance(done, worker.Refused):
        work.refused[done.address] = f"{done.host}: {done.reason}"
        if not _able(crew, work):
            raise ClusterError(
                f"no worker of {crew.place.text} can do this work",
                got="; ".join(dict.fromkeys(work.refused.values())),
                fix="mend that, and run the same command again",
            )
        work.waiting.append(node) if not node.parts else None
        return
    work.finished.add(node)
    if not node.parts:
        advance(_seconds(one, node))


def _reassign(crew: Crew, one: Pass, plan: _Plan, work: _Work) -> None:
    """Hand out again what only workers could do that are gone."""
    alive = set(crew.workers())
    _still_there(crew, work, alive)
    for future, allowed in list(work.allowed.items()):
        if not alive & set(allowed):
            node = work.running.pop(future)
            del work.allowed[future]
            future.cancel()
            if not node.parts:
                work.waiting.append(node)


def _still_there(crew: Crew, work: _Work, alive: set[str]) -> None:
    """Give up on a cluster that has been without workers for long, unless they may be queueing.

    Raises:
        ClusterError: it has.
    """
    now = time.monotonic()
    if alive:
        work.alone = None
    elif work.alone is None:
        work.alone = now
    elif crew.place.kind != "slurm" and now - work.alone > PATIENCE_S:
        _cancel(work)
        raise ClusterError(
            f"all workers of {crew.place.text} are gone",
            got=f"none for {PATIENCE_S:.0f} s",
            fix="start some, and run the same command again: it goes on from what was finished",
        )


def _failure(error: BaseException, node: Node, work: _Work, crew: Crew) -> Exception:
    from distributed.scheduler import KilledWorker

    _cancel(work)
    if isinstance(error, VoxstrataError):
        return error
    shards = f"shards {node.first} to {node.stop - 1}"
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"{shards} ended every worker that took them",
            got="workers that died while they worked on these shards, again and again",
            expected="workers with enough memory, of a machine that lets them live",
            fix="give workers more memory or shorter batches (--batch-seconds), look into their "
            "logs, and run the same command again: it goes on from what was finished",
        )
    return ClusterError(
        f"a worker could not do {shards}",
        got=f"{type(error).__name__}: {error}",
        expected=f"workers with the same voxstrata and Python as here ({crew.place.text})",
        fix="look into the worker's log, and run the same command again",
    )


def _lost(crew: Crew, plan: _Plan, work: _Work) -> ClusterError:
    _cancel(work)
    finished = sum(not _missing(node, plan, work) for node in plan.pieces)
    return ClusterError(
        f"the scheduler of {crew.place.text} is gone",
        got=f"{finished} of {len(plan.pieces)} pieces of the pass done",
        fix="start it again, and run the same command: it goes on from what was finished",
    )


def _cancel(work: _Work) -> None:
    for future in work.running:
        future.release()
    work.running.clear()
    work.allowed.clear()


def _wait_for_workers(crew: Crew, say: Callable[[str], None]) -> None:
    """Wait until there is a worker.

    Raises:
        ClusterError: none came, though none has to queue.
    """
    begun = told = time.monotonic()
    while not crew.workers():
        now = time.monotonic()
        if crew.place.kind != "slurm" and now - begun > PATIENCE_S:
            raise ClusterError(
                f"the cluster {crew.place.text} has no workers",
                expected="at least one within a minute",
                fix="start some: `dask worker ADDRESS` on machines that see the same files",
            )
        if now - told > PATIENCE_S:
            told = now
            say(f"still waiting for the first worker of {crew.place.text}")
        time.sleep(0.2)


def _take(one: Pass, plan: _Plan) -> None:
    """Go on from the root as if all had been done here.

    Raises:
        ClusterError: recordings are missing or were counted twice.
    """
    report = PassReport.of(parts.load(plan.place, plan.root, one.sinks))
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
    shutil.rmtree(plan.place, ignore_errors=True)
