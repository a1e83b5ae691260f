"""A pass, here or on a cluster: what jobs call."""

from __future__ import annotations

from collections.abc import Callable

from voxstrata.streaming.onepass import Pass, PassReport
from voxstrata.streaming.progress import Advance


def run_pass(
    one: Pass,
    advance: Advance = lambda _amount: None,
    say: Callable[[str], None] = lambda _text: None,
) -> PassReport:
    """Do what is left of a pass, where it says.

    Args:
        one: the pass.
        advance: called with seconds of audio as they are done.
        say: shows a line.

    Raises:
        ClusterError: see :func:`voxstrata.streaming.cluster.spread.spread`.
        VoxstrataError: see :meth:`voxstrata.streaming.onepass.Pass.run`.
    """
    if one.away is None:
        if one.has_parts():
            from voxstrata.streaming.cluster.here import finish

            one.begin()
            if finish(one, advance):
                return one.ended()
        return one.run(advance)
    from voxstrata.streaming.cluster.spread import spread

    one.begin()
    advance(sum(one.seconds(shard) for shard in one.shards[: one.done]))
    spread([one], one.away, advance, say)
    return one.ended()
