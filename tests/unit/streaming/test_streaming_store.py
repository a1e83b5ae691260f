"""The row store past shard 99999, the last one whose number fits the zeros of its name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from fakes import FakeModel
from voxstrata.files import numbered
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import RowStore, StoreReducer, _write_parquet

SHARDS = (99998, 99999, 100000, 100001)


@pytest.fixture
def store(tmp_path: Path) -> StoreReducer:
    """Shards of two recordings each; every row and label holds the shard's number."""
    reducer = StoreReducer(tmp_path, build_stack([FakeModel(widths=(3, 2))]))
    for shard in SHARDS:
        for name in ("a", "b"):
            n = shard % 3 + 1
            values = [torch.full((n, width), float(shard)) for width in (3, 2)]
            times = [0.0] * n
            labels = [str(shard)] * n
            reducer.update(Rows(f"{shard}{name}", shard % 2, values, times, times, labels))
        reducer.end_shard(shard)
    return reducer


def _in_step(found: RowStore) -> None:
    """Rows, labels, folds and the index tell of one order, that of the pass."""
    names = [f"{shard}{name}" for shard in SHARDS for name in "ab"]
    assert list(found.index["utterance"]) == names
    shards = [int(label) for label in found.labels()]
    assert shards == sorted(shards)
    assert found.folds().tolist() == [shard % 2 for shard in shards]
    for position in (0, 1):
        assert found.layer(position)[:, 0].tolist() == shards


def test_rows_and_labels_are_in_the_order_of_the_pass(store: StoreReducer) -> None:
    _in_step(store.finish())
    written = pd.read_parquet(store.folder / "index.parquet")
    assert list(written["shard"]) == [shard for shard in SHARDS for _ in "ab"]


def test_so_they_are_in_stores_whose_index_was_joined_by_names(store: StoreReducer) -> None:
    index = store.finish().index
    older = index.sort_values("shard", key=lambda s: s.map("{:05d}".format), kind="stable")
    assert list(older["shard"])[:2] == [100000, 100000]
    _write_parquet(store.folder / "index.parquet", older)
    _in_step(RowStore(store.folder))


def test_files_by_number(tmp_path: Path) -> None:
    for name in ("part-10.x", "part-9.x", "part-010.x", "part-.x", "part-7.y", "part-8 of 9z.x"):
        (tmp_path / name).touch()
    found = [path.name for path in numbered(tmp_path, "part-*.x")]
    assert found == ["part-9.x", "part-010.x", "part-10.x"]
    assert numbered(tmp_path / "nothing", "*") == []
