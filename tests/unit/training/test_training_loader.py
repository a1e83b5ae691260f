"""Batches out of loader processes; recordings that fail."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

import training_made as made
from voxstrata.errors import CorpusError
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.data.loader import ATTEMPTS, Loaded, batches
from voxstrata.training.settings import DataConfig


def _load(
    count: int = 24, take: int = 8, *, workers: int = 0, bad: tuple[str, ...] = (), at: int = 0
) -> list[Loaded]:
    data = DataConfig(corpus="planted", batch=4, workers=workers)
    plan = BatchPlan(made.planted_items(count), data, seed=1)
    return list(islice(batches(plan, made.PlantedExamples(bad=bad), position=at), take))


def test_batches_are_the_same_whatever_the_number_of_processes() -> None:
    alone = _load(bad=("u003",))
    for workers in (1, 2):
        others = _load(bad=("u003",), workers=workers)
        assert [one.spec for one in others] == [one.spec for one in alone]
        assert [one.bad for one in others] == [one.bad for one in alone]
        for one, other in zip(alone, others, strict=True):
            assert one.batch.keys() == other.batch.keys()
            assert all(torch.equal(one.batch[k], other.batch[k]) for k in one.batch)


def test_examples_depend_on_pass_and_item_alone() -> None:
    first = _load(take=12)
    late = _load(take=3, at=4)  # as after a resume
    for one, other in zip(first[4:7], late, strict=True):
        assert torch.equal(one.batch["x"], other.batch["x"])
    rows = {}
    for one in first:  # two passes over 24 recordings
        for i, row in zip(one.batch["item"].tolist(), one.batch["x"], strict=True):
            rows.setdefault(i, []).append(row)
    assert all(len(mine) == 2 and not torch.equal(*mine) for mine in rows.values())


def test_a_recording_that_fails_is_replaced_by_the_next_and_listed() -> None:
    plain, broken = _load(take=6), _load(take=6, bad=("u003",))
    told = [entry for one in broken for entry in one.bad]
    assert told == [("u003", "u003 is empty (0 samples)")]
    for one, other in zip(plain, broken, strict=True):
        wanted = [4 if i == 3 else i for i in one.batch["item"].tolist()]
        assert other.batch["item"].tolist() == wanted


@pytest.mark.parametrize("workers", [0, 1])
def test_twenty_failures_in_a_row_are_survived_and_one_more_is_an_error(workers: int) -> None:
    bad = tuple(f"u{i:03d}" for i in range(ATTEMPTS))
    loaded = _load(take=6, bad=bad, workers=workers)
    assert {name for one in loaded for name, _ in one.bad} == set(bad)
    assert all(int(i) >= ATTEMPTS for one in loaded for i in one.batch["item"])
    with pytest.raises(CorpusError, match="21 recordings in a row") as caught:
        _load(take=6, bad=(*bad, f"u{ATTEMPTS:03d}"), workers=workers)
    text = str(caught.value)
    assert "is empty (0 samples)" in text
    assert "corpora validate" in text
    assert "Traceback" not in text  # as it would have from a loader process
