"""The minibatch reducer: small rests wait for the next shard, also across a resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import UsageError
from voxstrata.similarity.minibatch import minibatch_hsic
from voxstrata.similarity.minibatch_reducer import MinibatchReducer
from voxstrata.streaming.reducers import Rows


def feed(reducer: MinibatchReducer, shards: list[tuple[int, list[list[torch.Tensor]]]]) -> None:
    for number, (fold, recordings) in enumerate(shards):
        for values in recordings:
            times = [0.0] * len(values[0])
            reducer.update(Rows("u", fold, values, times, times))
        reducer.end_shard(number)


def one_row_recordings(count: int, dtype: torch.dtype = torch.float32) -> list[list[torch.Tensor]]:
    return [[torch.randn(1, 5).to(dtype), torch.randn(1, 3).to(dtype)] for _ in range(count)]


def test_small_shards_of_a_fold_make_one_batch() -> None:
    torch.manual_seed(0)
    shards = [(0, one_row_recordings(3)), (0, one_row_recordings(3)), (1, one_row_recordings(5))]
    reducer = MinibatchReducer(2, 2, 512)
    feed(reducer, shards)
    sums = reducer.finish()
    assert sums.rows.tolist() == [6.0, 5.0]
    assert reducer.lost == 0
    rows = [torch.cat([r[i] for _, part in shards[:2] for r in part]) for i in range(2)]
    np.testing.assert_allclose(sums.sums[0], 6 * minibatch_hsic(rows).numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_waiting_rows_survive_a_resume_bit_for_bit(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    shards = [(0, one_row_recordings(3, dtype)) for _ in range(4)]
    whole = MinibatchReducer(2, 1, 8)
    feed(whole, shards)
    first, second = MinibatchReducer(2, 1, 8), MinibatchReducer(2, 1, 8)
    feed(first, shards[:2])
    second.restore(*first.state())
    feed(second, shards[2:])
    assert np.array_equal(whole.finish().sums, second.finish().sums)
    assert whole.finish().rows.tolist() == second.finish().rows.tolist() == [12.0]


def test_no_batch_at_all_is_an_error() -> None:
    reducer = MinibatchReducer(2, 2, 512)
    feed(reducer, [(0, one_row_recordings(3)), (1, one_row_recordings(2))])
    with pytest.raises(UsageError, match="no minibatch came together"):
        reducer.finish()
    assert reducer.lost == 5
