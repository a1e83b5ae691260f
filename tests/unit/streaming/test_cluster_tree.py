"""How a pass is cut for a cluster: all of it, once, and in one order whatever comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstrata.errors import ConfigError, UsageError
from voxstrata.streaming.cluster.tree import LEAST_LEAVES, MOST_LEAVES, Node, leaves, tree
from voxstrata.streaming.cluster.workers import parse_place


@given(st.integers(0, 50), st.integers(0, 400), st.integers(1, 60), st.booleans())
def test_leaves_cover_every_shard_once_and_in_order(
    first: int, count: int, size: int, lead: bool
) -> None:
    found = leaves(first, first + count, size, lead=lead)
    assert [n for leaf in found for n in range(leaf.first, leaf.stop)] == list(
        range(first, first + count)
    )
    assert all(leaf.stop - leaf.first <= size for leaf in found)
    if lead and found:
        assert found[0].stop - found[0].first == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60).map(sorted), st.data())
def test_leaves_of_whole_folds_end_only_where_a_fold_does(
    folds: list[int], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(folds) - 1))
    found = leaves(first, len(folds), 1, lead=True, whole=folds)
    assert found[0].first == first
    assert found[-1].stop == len(folds)
    for left, right in pairwise(found):
        assert left.stop == right.first
        assert folds[left.stop - 1] != folds[right.first]


def test_a_long_corpus_makes_no_more_tasks_than_a_scheduler_bears() -> None:
    found = leaves(0, 1_000_000, 1, lead=True)
    assert MOST_LEAVES / 2 < len(found) <= MOST_LEAVES + 1


def test_large_states_make_fewer_pieces_but_enough_for_many_workers() -> None:
    few = leaves(0, 1_000_000, 1, lead=True, state_bytes=26 << 30)
    some = leaves(0, 1_000_000, 1, lead=True, state_bytes=1 << 30)
    assert LEAST_LEAVES / 2 < len(few) <= LEAST_LEAVES + 1
    assert len(few) < len(some) <= 1025


@given(st.integers(1, 300))
def test_a_tree_puts_neighbours_together_and_uses_every_leaf_once(count: int) -> None:
    pieces = leaves(0, count, 1, lead=False)
    root = tree(pieces)
    assert (root.first, root.stop) == (0, count)
    assert [node for node in root.walk() if not node.parts] == pieces
    for node in root.walk():
        if node.parts:
            assert [node.parts[0].first, node.parts[-1].stop] == [node.first, node.stop]
            assert all(a.stop == b.first for a, b in pairwise(node.parts))


def test_names_sort_as_the_shards_do() -> None:
    assert Node(9, 10).name < Node(10, 11).name


@pytest.mark.parametrize(
    ("text", "kind"),
    [("local:3", "local"), ("tcp://node7:8786", "tcp"), ("tls://node7:8786", "tcp")],
)
def test_places_that_are_understood(text: str, kind: str) -> None:
    assert parse_place(text).kind == kind


@pytest.mark.parametrize(
    "text", ["", "local", "local:0", "local:-2", "tcp:node", "ray:4", "slurm:"]
)
def test_places_that_are_not(text: str) -> None:
    with pytest.raises(UsageError, match="local:N"):
        parse_place(text)


def test_a_slurm_profile_is_checked_before_anything_runs(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "profile.yaml"
    path.write_text("workers: 0\nqueue: gpu\n")
    with pytest.raises(ConfigError) as told:
        parse_place(f"slurm:{path}")
    assert "queue" in str(told.value)
    assert "workers" in str(told.value)
