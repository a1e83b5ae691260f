"""Which recordings form which batch."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

import training_made as made
from voxstrata.errors import CorpusError
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.settings import DataConfig


def _plan(count: int = 24, **options: object) -> BatchPlan:
    ranks = {k: options.pop(k) for k in ("rank", "processes", "seed") if k in options}
    data = DataConfig.model_validate({"corpus": "planted", **options})
    return BatchPlan(made.planted_items(count), data, **{"seed": 1, **ranks})  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "batch"), [(24, 4), (23, 4), (9, 8)])
def test_every_item_comes_at_most_once_a_pass_and_batches_are_full(count: int, batch: int) -> None:
    for epoch in range(3):
        specs = list(_plan(count, batch=batch).epoch(epoch))
        assert [spec.position for spec in specs] == list(range(count // batch))
        assert {spec.epoch for spec in specs} == {epoch}
        assert all(len(spec.items) == batch for spec in specs)
        seen = Counter(i for spec in specs for i in spec.items)
        assert set(seen) <= set(range(count))
        assert max(seen.values()) == 1


def test_other_passes_and_other_seeds_have_other_orders_and_equal_ones_the_same() -> None:
    first, second = list(_plan(batch=4).epoch(0)), list(_plan(batch=4).epoch(1))
    assert [s.items for s in first] != [s.items for s in second]
    assert first == list(_plan(batch=4).epoch(0))
    assert [s.items for s in first] != [s.items for s in _plan(batch=4, seed=2).epoch(0)]
    # Not the order of the corpus either.
    assert [i for s in first for i in s.items] != list(range(24))


@pytest.mark.parametrize("options", [{"batch": 4}, {"batch_s": 5.0, "buckets": 3}])
def test_a_resume_from_any_position_goes_on_in_the_same_order(options: dict[str, float]) -> None:
    plan = _plan(**options)
    whole = list(islice(plan.after(0, 0), 15))
    for at in range(len(whole) - 1):
        last = whole[at]
        rest = list(islice(_plan(**options).after(last.epoch, last.position + 1), 15 - at - 1))
        assert rest == whole[at + 1 :], at


def test_the_batches_of_two_processes_joined_are_one_process_double_batch() -> None:
    for count in (24, 27, 31):
        alone = [spec.items for spec in _plan(count, batch=8).epoch(1)]
        pair = [list(_plan(count, batch=4, rank=r, processes=2).epoch(1)) for r in (0, 1)]
        assert len(pair[0]) == len(pair[1])
        joined = [a.items + b.items for a, b in zip(*pair, strict=True)]
        assert [set(items) for items in joined] == [set(items) for items in alone]
        assert all(len(set(items)) == 8 for items in joined)


def test_buckets_keep_to_the_seconds_and_put_like_lengths_together() -> None:
    plan = _plan(96, batch_s=6.0, buckets=4)
    seconds = [item.duration_s for item in plan.items]
    specs = list(plan.epoch(0))
    spread = []
    for spec in specs:
        mine = [seconds[i] for i in spec.items]
        assert sum(mine) <= 6.0 + 1e-6
        spread.append(max(mine) - min(mine))
    seen = Counter(i for spec in specs for i in spec.items)
    assert max(seen.values()) == 1
    assert len(seen) > 0.75 * 96  # what does not fill a batch at the end is left out
    # Four buckets over 1.1 s: a batch of the whole corpus would span nearly all of it.
    assert sum(spread) / len(spread) < 0.45
    plain = _plan(96, batch=6)
    wide = [[seconds[i] for i in s.items] for s in plain.epoch(0)]
    assert sum(max(w) - min(w) for w in wide) / len(wide) > 0.6


def test_two_processes_get_equally_many_buckets_and_no_recording_in_common() -> None:
    pair = [list(_plan(96, batch_s=6.0, rank=r, processes=2).epoch(0)) for r in (0, 1)]
    assert len(pair[0]) == len(pair[1]) > 3
    mine, yours = ({i for s in part for i in s.items} for part in pair)
    assert not mine & yours


def test_a_corpus_smaller_than_a_batch_is_refused_with_the_remedy() -> None:
    with pytest.raises(CorpusError, match="too small for one batch") as caught:
        _plan(3, batch=4)
    assert "3 recordings" in str(caught.value)
    assert "data.batch" in caught.value.fix
    with pytest.raises(CorpusError, match="2 processes"):
        _plan(6, batch=4, processes=2)
