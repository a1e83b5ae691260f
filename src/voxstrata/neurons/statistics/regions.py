"""Exact set algebra: how many things are in these sets and in no other (Venn, UpSet)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations
from typing import TypeVar

from voxstrata.errors import UsageError

T = TypeVar("T", bound=Hashable)
Names = tuple[str, ...]


def regions(sets: Mapping[str, Iterable[T]]) -> dict[Names, frozenset[T]]:
    """Members of exactly the named sets, for every combination that has some.

    Args:
        sets: by name; members are anything hashable (an index, or (layer, index)).

    Returns:
        combination (names in the order given) to members, small combinations first. The regions
        are disjoint and their union is that of the sets.

    Example:
        >>> {k: len(v) for k, v in regions({"a": [1, 2, 3], "b": [3, 4]}).items()}
        {('a',): 2, ('b',): 1, ('a', 'b'): 1}
    """
    members: dict[T, list[str]] = {}
    for name, things in sets.items():
        for thing in set(things):
            members.setdefault(thing, []).append(name)
    found: dict[Names, set[T]] = {}
    for thing, names in members.items():
        found.setdefault(tuple(names), set()).add(thing)
    place = {name: number for number, name in enumerate(sets)}
    order = sorted(found, key=lambda names: (len(names), [place[n] for n in names]))
    return {names: frozenset(found[names]) for names in order}


def region_sizes(shared: Mapping[Names, int], sets: Iterable[str]) -> dict[Names, int]:
    """Sizes of the exclusive regions from sizes of the sets and of what they share.

    Published figures give |A|, |A and B|, ...; a Venn diagram needs those in A and B and nowhere
    else. Inclusion and exclusion: exclusive(S) = sum over T that contain S of
    (-1)^(|T| - |S|) shared(T).

    Args:
        shared: combination of names (in the order of ``sets``) to the number of things in all of
            them; what is missing is 0.
        sets: names of the sets, k of them.

    Returns:
        combination to the number of things in exactly these sets, all 2^k - 1 of them.

    Raises:
        UsageError: a name is not one of the sets, or no sets share as many as is said.

    Example:
        >>> region_sizes({("a",): 3, ("b",): 2, ("a", "b"): 1}, ["a", "b"])
        {('a',): 2, ('b',): 1, ('a', 'b'): 1}
    """
    names = tuple(sets)
    every = [c for size in range(1, len(names) + 1) for c in combinations(names, size)]
    unknown = [c for c in shared if c not in set(every)]
    if unknown:
        raise UsageError(
            "a combination is none of the sets in their order",
            got=str(unknown[0]),
            expected=", ".join(names),
        )
    found = {}
    for inner in every:
        found[inner] = sum(
            (-1) ** (len(outer) - len(inner)) * shared.get(outer, 0)
            for outer in every
            if set(inner) <= set(outer)
        )
    impossible = [c for c, size in found.items() if size < 0]
    if impossible:
        raise UsageError(
            "no sets have these sizes",
            got=f"{found[impossible[0]]} in {' and '.join(impossible[0])} alone",
            expected="what several sets share is part of what fewer of them share",
        )
    return found
