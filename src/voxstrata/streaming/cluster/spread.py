"""A pass on a cluster: the side that hands out work and takes it in.

Every leaf of the tree (``tree.py``) is a task; a node's parts are joined as soon as all of them are
there. States lie in the run's own folder (``parts.py``), so that a run whose scheduler or own
process died goes on from what was finished, and no task counts twice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from voxstrata.errors import ClusterError, RunInterruptedError, VoxstrataError
from voxstrata.streaming.cluster import parts, worker
from voxstrata.streaming.cluster.plan import Plan, begin, blueprint, take, to_fold_end
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.cluster.workers import Crew, crew_of, threads_of
from voxstrata.streaming.onepass import Away, Pass
from voxstrata.streaming.progress import Advance

AHEAD = 2
"""Tasks handed out for each worker: one to do, and one to begin with when it is done."""

LOOK_S = 1.0
"""Seconds between two looks at who is still there."""

PATIENCE_S = 60.0
"""Seconds that a cluster may be without any worker. Jobs in Slurm's queue may take longer."""

ASK_S = 10.0
"""Seconds between two questions to Slurm, which jobs there are."""

EARLY_DEATHS = 4
"""Jobs that may end before their worker is there, as long as there is no other worker."""


def spread(
    passes: Sequence[Pass], away: Away, advance: Advance, say: Callable[[str], None]
) -> None:
    """Do what is left of passes on a cluster; reducers and reports are then as if done here.

    Args:
        passes: begun (:meth:`voxstrata.streaming.onepass.Pass.begin`), each with a folder for its
            state. What is left of them are the same recordings in the same batches; they are read
            and encoded once.
        away: where to.
        advance: called with seconds of audio as they are done.
        say: shows a line.

    Raises:
        ClusterError: no worker is left, or none can do the work; the scheduler is gone.
        RunInterruptedError: Ctrl-C; what was finished is kept.
        VoxstrataError: what the pass raises.
    """
    from voxstrata.streaming.cluster.plugin import Teach

    to_fold_end(passes, advance)
    if passes[0].done == len(passes[0].shards):
        return
    crew = crew_of(away.cluster, say)
    plan = Plan.of(passes)
    begin(plan)
    name = f"voxstrata-{plan.token}"
    told = blueprint(away, plan, threads_of(crew.place))
    teach = Teach(told, max(1, crew.place.workers), ours=crew.place.kind == "local")
    crew.client.register_plugin(teach, name=name)
    work = _Work(crew, plan, advance, say)
    try:
        work.all()
    except KeyboardInterrupt:
        work.cancel()
        raise RunInterruptedError(
            "stopped by Ctrl-C",
            got="work on the cluster",
            fix="run the same command again: it goes on from the shards that were finished",
        ) from None
    finally:
        if crew.client.status == "running":
            crew.client.unregister_worker_plugin(name)
    take(plan)


class _Work:
    """What is under way: leaves and joins that wait, run, or are done.

    Args:
        crew: who does it.
        plan: what is to be done.
        advance: called with seconds of audio as they are done.
        say: shows a line.
    """

    def __init__(
        self, crew: Crew, plan: Plan, advance: Advance, say: Callable[[str], None]
    ) -> None:
        self.crew, self.plan, self.advance, self.say = crew, plan, advance, say
        self.above = {part: node for node in plan.root.walk() for part in node.parts}
        self.waiting: list[Node] = []  # the next one last
        self.running: dict[Any, Node] = {}
        self.allowed: dict[Any, list[str]] = {}  # workers that a task was restricted to
        self.finished: set[Node] = set()
        self.refused: dict[str, str] = {}  # workers that cannot do it, and why
        self.alone: float | None = None  # since when there is no worker
        self.settled = False  # what leaves must share is written
        self.met = False  # there has been a worker
        self.told = self.asked = time.monotonic()  # when somebody was told, or Slurm asked, last
        self.missing: set[str] = set()  # jobs that were not there at the last look
        self.died = 0  # jobs that ended before their worker was there

    def all(self) -> None:
        """Have every node made, up to the root.

        Raises:
            ClusterError: no worker is left, or none can do the work; the scheduler is gone.
            VoxstrataError: what the pass raises.
        """
        self._find(self.plan.root)
        self.waiting.reverse()
        while self.plan.root not in self.finished:
            able = len(self._able())
            # One by one, until what all must share is settled.
            most = AHEAD * able if self._settled() else min(1, able)
            while self.waiting and len(self.running) < most:
                self._give(self.waiting.pop())
            self._look()

    def _settled(self) -> bool:
        if not self.settled:
            self.settled = parts.anchored(self.plan.place, self.plan.sinks)
        return self.settled

    def _find(self, node: Node) -> None:
        """See what of a node is there already; what is not waits, leaves first to last."""
        here = parts.done(self.plan.place, node)
        if here and not parts.sound(self.plan.place, node):
            parts.remove(self.plan.place, node)
            here = False
        if here or node == self.plan.given:
            self.finished.add(node)
            self.advance(0.0 if node == self.plan.given else self.plan.seconds(node))
        elif not node.parts:
            self.waiting.append(node)
        else:
            for part in node.parts:
                self._find(part)
            if all(part in self.finished for part in node.parts):
                self.waiting.append(node)

    def _able(self) -> list[str]:
        return [address for address in self.crew.workers() if address not in self.refused]

    def _give(self, node: Node) -> None:
        """Hand out a node; where workers have refused, only to others."""
        act: Any = worker.join if node.parts else worker.work
        views = () if node.parts else tuple(worker.pick(one, node) for one in self.plan.passes)
        what = node if node.parts else worker.Piece(node, views, self._settled())
        allowed = self._able() if self.refused else None
        future = self.crew.client.submit(
            act,
            self.plan.token,
            what,
            pure=False,
            priority=1 if node.parts else 0,
            workers=allowed,
        )
        self.running[future] = node
        if allowed is not None:
            self.allowed[future] = allowed

    def _look(self) -> None:
        """Wait a while for tasks, and take in those that ended."""
        if self.crew.client.status != "running":
            raise self._lost()
        if self.running:
            from distributed import wait

            unmoved = contextlib.suppress(TimeoutError, CancelledError)
            with self.crew.client.as_current(), unmoved:
                wait(list(self.running), timeout=LOOK_S, return_when="FIRST_COMPLETED")
        else:
            time.sleep(LOOK_S / 5)
        for future in [future for future in self.running if future.done()]:
            self._end(future)
        self._reassign()

    def _end(self, future: Any) -> None:
        """Take in a task that ended, one way or another."""
        node = self.running.pop(future)
        self.allowed.pop(future, None)
        if future.status in ("cancelled", "lost"):
            raise self._lost()
        if future.status == "error":
            raise self._failure(future.exception(), node)
        found = future.result()
        if isinstance(found, worker.Spoilt):
            self._again(found, node)
            return
        if found is not None:
            self._refuse(found)
            self.waiting.append(node)
            return
        self.finished.add(node)
        if not node.parts:
            self.advance(self.plan.seconds(node))
        above = self.above.get(node)
        if above is not None and all(part in self.finished for part in above.parts):
            self.waiting.append(above)

    def _again(self, spoilt: worker.Spoilt, above: Node) -> None:
        """Have a damaged part made anew; what it was made of is there no more."""
        self.say(f"shards {spoilt.part.first} to {spoilt.part.stop - 1} again: {spoilt.reason}")
        if spoilt.part == self.plan.given:
            begin(self.plan)  # it is what this process holds
            self.waiting.append(above)
            return
        # The same object as in the tree: parts are no part of what makes nodes equal.
        part = next(one for one in above.parts if one == spoilt.part)
        gone = set(part.walk())
        self.finished -= gone
        leaves = sum(self.plan.seconds(one) for one in gone if not one.parts)
        self.advance(-leaves)
        before, self.waiting = self.waiting, []
        self._find(part)
        self.waiting = [*before, *reversed(self.waiting)]

    def _refuse(self, refused: worker.Refused) -> None:
        self.refused[refused.address] = f"{refused.host}: {refused.reason}"
        queueing = self.crew.place.kind == "slurm" and len(self.refused) < self.crew.place.workers
        if self._able() or queueing:
            self.say(f"a worker is left out: {self.refused[refused.address]}")
            return
        self.cancel()
        raise ClusterError(
            f"no worker of {self.crew.place.text} can do this work",
            got="; ".join(dict.fromkeys(self.refused.values())),
            fix="mend that, and run the same command again",
        )

    def _reassign(self) -> None:
        """Hand out again what only workers could do that are gone.

        Raises:
            ClusterError: there have been no workers for long, and none may be queueing; or jobs
                of Slurm end before their worker is there.
        """
        alive, now = set(self.crew.workers()), time.monotonic()
        if alive:
            self.alone, self.met = None, True
        elif self.alone is None:
            self.alone = self.told = now
        elif self.crew.place.kind != "slurm" and now - self.alone > PATIENCE_S:
            self.cancel()
            raise self._nobody()
        elif now - self.told > PATIENCE_S:
            self.told = now
            self.say(f"still waiting for workers of {self.crew.place.text}")
        if now - self.asked > ASK_S:
            self.asked = now
            self._jobs_that_died()
        for future, allowed in list(self.allowed.items()):
            if not alive & set(allowed):
                self.waiting.append(self.running.pop(future))
                del self.allowed[future]
                future.cancel()

    def _nobody(self) -> ClusterError:
        if self.met:
            return ClusterError(
                f"all workers of {self.crew.place.text} are gone",
                got=f"none for {PATIENCE_S:.0f} s",
                fix="start some, and run the same command again: it goes on from what was finished",
            )
        return ClusterError(
            f"the cluster {self.crew.place.text} has no workers",
            expected="at least one within a minute",
            fix="start some: `dask worker ADDRESS` on machines that see the same files",
        )

    def _jobs_that_died(self) -> None:
        """Ask again for Slurm jobs that ended before their worker was there.

        Raises:
            ClusterError: too many do.
        """
        gone = self.crew.jobs_gone()
        dead, self.missing = gone & self.missing, gone  # two looks: a worker may just have come
        if not dead:
            return
        self.died += len(dead)
        where = self.crew.logs()
        if self.died >= EARLY_DEATHS and not self._able():
            self.cancel()
            raise ClusterError(
                f"jobs of {self.crew.place.text} end before their worker is there",
                got=f"{self.died} of them",
                expected="workers with voxstrata and dask, that reach this machine",
                fix=f"look into their logs in {where}, mend the profile, and run the same command "
                "again: it goes on from what was finished",
            )
        self.say(f"{len(dead)} jobs ended before their worker was there (logs: {where}); again")
        self.crew.again(dead)
        self.missing = set()

    def _failure(self, error: BaseException, node: Node) -> Exception:
        from distributed.scheduler import KilledWorker

        self.cancel()
        if isinstance(error, VoxstrataError):
            return error
        shards = f"shards {node.first} to {node.stop - 1}"
        if isinstance(error, KilledWorker):
            return ClusterError(
                f"{shards} ended every worker that took them",
                got="workers that died while they worked on these shards, again and again",
                expected="workers with enough memory, of a machine that lets them live",
                fix="give workers more memory or shorter batches (--batch-seconds), look into "
                "their logs, and run the same command again: it goes on from what was finished",
            )
        return ClusterError(
            f"a worker could not do {shards}",
            got=f"{type(error).__name__}: {error}",
            expected=f"workers with voxstrata and Python as here ({self.crew.place.text})",
            fix="look into the worker's log, and run the same command again",
        )

    def _lost(self) -> ClusterError:
        self.cancel()
        missing = sum(not node.parts for node in self.waiting)
        done = len(self.plan.pieces) - missing
        return ClusterError(
            f"the scheduler of {self.crew.place.text} is gone",
            got=f"{done} of {len(self.plan.pieces)} pieces of the pass done or begun",
            fix="start it again, and run the same command: it goes on from what was finished",
        )

    def cancel(self) -> None:
        """Call off what is under way."""
        if self.crew.client.status == "running":
            self.crew.client.cancel(list(self.running))
        self.running.clear()
        self.allowed.clear()
