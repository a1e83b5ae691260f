"""How a pass is cut into stretches of shards, and in which order they are put together.

Both follow from the shards alone, never from how many workers there are or which is faster: the
same pass gives the same bits on any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LEAST_LEAVES, MOST_LEAVES = 512, 4096
"""Most pieces of a long pass. More than the second keep a scheduler busy with itself; fewer than
the first leave workers idle at the end."""

MOST_BYTES = 1 << 40
"""What the states of all pieces may take on disk, where that still allows LEAST_LEAVES."""


@dataclass(frozen=True)
class Node:
    """Some shards that follow each other.

    Attributes:
        first, stop: numbers of the first shard, and of the one behind the last.
        parts: the nodes it is put together from, from first to last; a leaf has none. (Shards
            alone tell nodes of a tree apart.)
    """

    first: int
    stop: int
    parts: tuple[Node, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.first:07d}-{self.stop:07d}"

    def walk(self) -> Iterator[Node]:
        """The node and all below it, parts before what they make."""
        for part in self.parts:
            yield from part.walk()
        yield self


def leaves(
    first: int,
    stop: int,
    size: int,
    *,
    lead: bool,
    whole: Sequence[int] | None = None,
    state_bytes: int = 0,
) -> list[Node]:
    """Cut shards into pieces.

    Args:
        first, stop: shards to cut.
        size: shards of a piece, raised where there would be too many pieces.
        lead: a first piece of one shard, for what all others must know of the first rows.
        whole: fold of each shard, where pieces may end only where a fold does.
        state_bytes: of a piece's state.
    """
    if first >= stop:
        return []
    most = min(MOST_LEAVES, max(LEAST_LEAVES, MOST_BYTES // max(1, state_bytes)))
    size = max(1, size, -(-(stop - first) // most))
    if whole is not None:
        ends = [at for at in range(first + 1, stop) if whole[at] != whole[at - 1]]
    else:
        start = first + 1 if lead else first
        ends = [*([start] if lead else []), *range(start + size, stop, size)]
    cuts = [first, *(end for end in ends if first < end < stop), stop]
    return [Node(a, b) for a, b in pairwise(cuts)]


def tree(pieces: Sequence[Node]) -> Node:
    """Neighbours two by two, until one is left.

    Args:
        pieces: at least one, each beginning where the one before it ends.
    """
    level = list(pieces)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [
            pair[0] if len(pair) == 1 else Node(pair[0].first, pair[1].stop, tuple(pair))
            for pair in pairs
        ]
    return level[0]
