"""The moments reducer: exact, mergeable, safe in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import UsageError
from voxstrata.similarity.estimators import cka
from voxstrata.similarity.from_moments import terms_from_moments
from voxstrata.similarity.terms import terms_from_rows
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.reducers import Rows


def _rows(x: torch.Tensor, widths: list[int], fold: int) -> Rows:
    values = list(x.split(widths, dim=1))
    return Rows("u", fold, values, [0.0] * len(x), [0.0] * len(x))


def test_moments_give_the_terms_of_the_rows() -> None:
    torch.manual_seed(0)
    widths, folds = [5, 9, 4], 3
    x = torch.randn(90, 18, dtype=torch.float64) @ torch.randn(18, 18, dtype=torch.float64) + 7
    reducer = MomentsReducer(widths, folds, dtype=torch.float64, buffer_bytes=8 * 18 * 300)
    for fold in range(folds):
        for start in range(30 * fold, 30 * fold + 30, 6):
            reducer.update(_rows(x[start : start + 6], widths, fold))
        reducer.end_shard(fold)
    got = terms_from_moments(reducer.finish())
    want = terms_from_rows(list(x.split(widths, dim=1)), folds=np.repeat([0, 1, 2], 30))
    for debiased in (True, False):
        np.testing.assert_allclose(
            cka(got, debiased=debiased), cka(want, debiased=debiased), rtol=0, atol=1e-12
        )


def test_merge_equals_one_reducer_and_needs_one_shift() -> None:
    torch.manual_seed(1)
    x = torch.randn(60, 6)
    shift = x.mean(0)
    whole = MomentsReducer([4, 2], 2, shift=shift)
    parts = [MomentsReducer([4, 2], 2, shift=shift) for _ in range(2)]
    for number, fold in enumerate((0, 0, 1, 1)):
        rows = _rows(x[15 * number : 15 * number + 15], [4, 2], fold)
        whole.update(rows)
        whole.end_shard(number)
        parts[number % 2].update(rows)
        parts[number % 2].end_shard(number)
    parts[0].merge(parts[1])
    a, b = whole.finish(), parts[0].finish()
    for name in ("n", "s", "a", "v", "q"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-12)
    for one, two in zip(a.blocks, b.blocks, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    stranger = MomentsReducer([4, 2], 2, shift=shift + 1)
    stranger.update(_rows(x[:15], [4, 2], 0))
    with pytest.raises(UsageError, match="different shifts"):
        parts[0].merge(stranger)


def test_float32_is_safe_at_ten_million_rows_with_large_means() -> None:
    """10^7 rows whose means are 1000 standard deviations: CKA to 1e-6 of the float64 value.

    The rows are one block repeated 1220 times (8,192 rows a block), so that the exact answer is
    known from the block; every product and sum runs over all rows.
    """
    torch.manual_seed(2)
    shared = torch.randn(8192, 3)
    block = torch.cat(
        [shared @ torch.randn(3, 6), shared @ torch.randn(3, 5) + 0.5 * torch.randn(8192, 5)], dim=1
    )
    block = block + 1000.0 * torch.randn(11)
    repeats = 1220
    reducer = MomentsReducer([6, 5], 1)
    for _ in range(repeats):
        reducer.update(_rows(block, [6, 5], 0))
    reducer.end_shard(0)
    moments = reducer.finish()
    assert float(moments.n.sum()) == 8192 * repeats > 9.99e6
    want = terms_from_rows(list(block.double().split([6, 5], dim=1)))
    got = terms_from_moments(moments)
    np.testing.assert_allclose(cka(got, debiased=False), cka(want, debiased=False), atol=1e-6)
    np.testing.assert_allclose(cka(got, debiased=True), cka(want, debiased=False), atol=1e-4)
