"""Threads of our own: what is the same in each of them."""

from __future__ import annotations

import torch

from voxstrata.numerics.threads import on_threads


def test_work_comes_back_in_order_on_one_torch_thread_each() -> None:
    before = torch.get_num_threads()
    found = on_threads(lambda i: (i, torch.get_num_threads()), range(20), 3)
    assert found == [(i, 1) for i in range(20)]
    assert torch.get_num_threads() == before


def test_numbers_that_fade_are_zero_there_and_nowhere_else() -> None:
    def faded(_: int) -> float:
        return float(torch.full((8,), 1e-30).mul(1e-10).sum())

    assert on_threads(faded, range(4), 2) == [0.0] * 4
    assert faded(0) > 0
