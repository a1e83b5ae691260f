"""How a pass is cut into stretches of shards, and in which order they are put together.

Both follow from the shards alone, never from how many workers there are or which is faster: the
same pass gives the same bits on any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

MOST_LEAVES = 4096
"""More pieces than this keep a scheduler busy with itself (about a millisecond each)."""


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
    first: int, stop: int, size: int, *, lead: bool, whole: Sequence[int] | None = None
) -> list[Node]:
    """Cut shards into pieces.

    Args:
        first, stop: shards to cut.
        size: shards of a piece, raised where there would be more than :data:`MOST_LEAVES`.
        lead: a first piece of one shard, for what all others must know of the first rows.
        whole: fold of each shard, where pieces may end only where a fold does.
    """
    if first >= stop:
        return []
    size = max(1, size, -(-(stop - first) // MOST_LEAVES))
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
