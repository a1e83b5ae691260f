"""The planner: the cheapest exact route that fits, said in words."""

from __future__ import annotations

import pytest

from voxstrata.errors import StorageError, UsageError
from voxstrata.similarity.planner import checkpoint_shards, plan_unit

GB = 1e9
TERMS = frozenset({"terms"})
LARGE = [768] * 26 + [1024] * 25 + [512] * 4 + [1536, 80]


def test_few_rows_take_gram_form() -> None:
    plan = plan_unit(
        "utterance", LARGE, 100, 10, needs=TERMS, memory_bytes=8 * GB, disk_bytes=100 * GB
    )
    assert plan.route == "gram"
    assert plan.disk_bytes == pytest.approx(4 * 100 * sum(LARGE))


def test_wide_stacks_with_many_rows_take_blocks() -> None:
    # the case of A2024's five models on 767 s: rows 7.6 GB, moments of ten folds 97 GB in float64
    plan = plan_unit(
        "frame", LARGE, 38_000, 10, needs=TERMS, memory_bytes=6 * GB, disk_bytes=12 * GB
    )
    assert plan.route == "blocks"
    assert "rows" in plan.reason
    assert 7 * GB < plan.disk_bytes < 8 * GB


def test_narrow_stacks_with_many_rows_take_moments() -> None:
    plan = plan_unit(
        "frame", [80, 20], 10**8, 10, needs=TERMS, memory_bytes=2 * GB, disk_bytes=1000 * GB
    )
    assert plan.route == "moments"
    assert plan.disk_bytes == 0


def test_row_measures_need_rows_and_moment_measures_cannot_use_gram() -> None:
    rows = plan_unit(
        "frame",
        [80, 20],
        10**6,
        10,
        needs=frozenset({"rows"}),
        memory_bytes=2 * GB,
        disk_bytes=100 * GB,
    )
    assert rows.route == "blocks"
    moments = plan_unit(
        "utterance",
        LARGE,
        100,
        10,
        needs=frozenset({"moments"}),
        memory_bytes=8 * GB,
        disk_bytes=100 * GB,
    )
    assert moments.route == "blocks"


def test_nothing_fits_is_an_error_with_remedies() -> None:
    with pytest.raises(StorageError, match="minibatch"):
        plan_unit("frame", LARGE, 10**8, 10, needs=TERMS, memory_bytes=GB, disk_bytes=GB)


def test_a_forced_route_that_cannot_serve_is_refused() -> None:
    for route, needs in (("moments", {"rows"}), ("gram", {"moments"}), ("minibatch", {"rows"})):
        with pytest.raises(UsageError):
            plan_unit(
                "frame",
                [80, 20],
                1000,
                10,
                needs=frozenset(needs),
                memory_bytes=GB,
                disk_bytes=GB,
                route=route,  # type: ignore[arg-type]
            )


def test_large_state_is_written_rarely() -> None:
    narrow = plan_unit(
        "frame", [80], 10**8, 10, needs=TERMS, memory_bytes=GB, disk_bytes=GB, route="moments"
    )
    wide = plan_unit(
        "frame", [768] * 9, 10**6, 10, needs=TERMS, memory_bytes=6 * GB, disk_bytes=0,
        route="moments",
    )  # fmt: skip
    assert checkpoint_shards([narrow], 100, 1e15) == 1
    every = checkpoint_shards([wide], 100, 1e15)
    writing_s, shard_s = wide.state_bytes / 200e6, 1e15 / 100e9 / 100
    assert every > 1
    assert writing_s <= 0.05 * every * shard_s


def test_row_sums_and_distances_are_in_the_plan() -> None:
    # 10^6 rows of 100 narrow layers: chunks of one layer fit, two numbers a row and fold do not
    with pytest.raises(StorageError, match="no exact route"):
        plan_unit(
            "frame", [500] * 100, 10**6, 10, needs=TERMS, memory_bytes=9 * GB, disk_bytes=1000 * GB
        )
    plan = plan_unit(
        "frame", [500] * 100, 10**6, 10, needs=TERMS, memory_bytes=14 * GB, disk_bytes=1000 * GB
    )
    assert plan.route == "blocks"
    with pytest.raises(UsageError, match="--max-rows"):
        plan_unit(
            "frame",
            [80] * 50,
            10**6,
            10,
            needs=frozenset({"rows"}),
            memory_bytes=30 * GB,
            disk_bytes=1000 * GB,
            sample=10_000,
        )
