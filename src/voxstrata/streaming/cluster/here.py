"""A pass that a cluster began and this process finishes, from the parts that are there."""

from __future__ import annotations

from voxstrata.errors import RunInterruptedError
from voxstrata.streaming.cluster import parts, worker
from voxstrata.streaming.cluster.plan import Plan, blueprint, take
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.onepass import Away, Pass
from voxstrata.streaming.progress import Advance


def finish(one: Pass, advance: Advance) -> bool:
    """Do what is missing of a pass, leaf by leaf, and put it together as a cluster would.

    Args:
        one: begun (:meth:`voxstrata.streaming.onepass.Pass.begin`), without a cluster.
        advance: called with seconds of audio as they are done.

    Returns:
        whether it was done; else the parts are of another pass (jobs that share one have
        their parts together), and nothing was touched.

    Raises:
        RunInterruptedError: Ctrl-C; what was finished is kept.
        VoxstrataError: what the pass raises.
    """
    if one.done == len(one.shards):
        return False
    plan = Plan.of([one])
    if not (plan.place / parts.PLAN).exists():
        return False
    advance(sum(one.seconds(shard) for shard in one.shards[: one.done]))
    device = str(getattr(next(iter(one.models), None), "device", "cpu"))
    told = blueprint(Away("", device, one.batch_s), plan, threads=None)
    worker.learn(told, models=[list(one.models)])
    try:
        _make(plan, plan.root, advance)
    except KeyboardInterrupt:
        raise RunInterruptedError(
            "stopped by Ctrl-C",
            got="work that a cluster began",
            fix="run the same command again: it goes on from the shards that were finished",
        ) from None
    finally:
        worker.forget(plan.token)
    take(plan)
    return True


def _make(plan: Plan, node: Node, advance: Advance) -> None:
    """Have a node made, its parts first."""
    if parts.done(plan.place, node):
        if parts.sound(plan.place, node):
            advance(plan.seconds(node) if node != plan.given else 0.0)
            return
        parts.remove(plan.place, node)
    if not node.parts:
        views = (worker.pick(plan.passes[0], node),)
        settled = parts.anchored(plan.place, plan.sinks)
        worker.do(plan.token, worker.Piece(node, views, settled))
        advance(plan.seconds(node))
        return
    for part in node.parts:
        _make(plan, part, advance)
    while isinstance(spoilt := worker.join(plan.token, node), worker.Spoilt):
        part = next(part for part in node.parts if part == spoilt.part)
        advance(-plan.seconds(part))
        _make(plan, part, advance)
