"""Damaged files of runs: a flipped bit or a cut is told, naming the file, or changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import damage
from fakes import FakeModel, make_corpus
from voxstrata.errors import StorageError, VoxstrataError
from voxstrata.files import read_json, write_json
from voxstrata.properties.job import _Part, _read_part, _written
from voxstrata.properties.property import Score
from voxstrata.properties.table import Scored
from voxstrata.results import Row, load_results, write_results
from voxstrata.similarity.sweep import load_partial, save_partial
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.onepass import CURSOR, Pass, Sink
from voxstrata.streaming.reducers import load_state, save_state
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.sealed import read_tensors, write_rows, write_tensors
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.sums import DamagedError, read_arrays, read_sealed_json, write_sealed_json
from voxstrata.training import state

MANY = 300


class Holder:
    """A reducer that is nothing but its state."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self.tensors: Mapping[str, torch.Tensor] = tensors
        self.facts: Mapping[str, Any] = {"n": 3, "who": "ä"}

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        return self.tensors, self.facts

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        self.tensors, self.facts = tensors, facts


def _equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture
def work(tmp_path: Path) -> Pass:
    """A pass to a store and to its end, with its last checkpoint."""
    corpus, model = make_corpus(6), FakeModel(widths=(3, 2))
    unit = make_unit("utterance")
    unit.prepare(corpus, 0)
    stack = build_stack([model])
    sink = Sink(unit, (0, 1), StoreReducer(tmp_path / "store", stack), "rows")
    shards = make_shards(corpus, [i % 2 for i in range(6)], 2.0)
    made = Pass(corpus, [model], stack, [sink], shards, batch_s=2.0, state=tmp_path / "state")
    made.run()
    return made


def test_every_file_of_a_store(work: Pass) -> None:
    store = work.sinks[0].reducer.finish()
    rows, index = [store.layer(0), store.layer(1)], store.index

    def read() -> RowStore:
        found = RowStore(store.folder)
        found.read = [found.layer(0), found.layer(1)]
        return found

    def same(found: Any) -> bool:
        equal = all(torch.equal(a, b) for a, b in zip(found.read, rows, strict=True))
        return equal and found.index.equals(index) and found.meta == store.meta

    shard = store.shard(0, 0)
    told, harmless = damage.assert_told(shard, read, same, MANY)
    assert harmless == 0
    assert told > MANY
    damage.assert_told(store.folder / "index.parquet", read, same, MANY)
    damage.assert_told(store.folder / "meta.json", read, same, MANY)
    shard.write_bytes(store.shard(0, 1).read_bytes())
    if store.index.groupby("shard")["rows"].sum().nunique() > 1:
        with pytest.raises(StorageError, match="does not fit its index"):
            store.layer(0)
    shard.unlink()
    with pytest.raises(StorageError, match="missing or damaged") as caught:
        store.layer(0)
    assert "--overwrite always" in caught.value.fix
    assert shard.name in str(caught.value)


def test_the_index_of_a_shard(work: Pass) -> None:
    reducer = work.sinks[0].reducer
    index = reducer.finish().index
    part = next((reducer.folder / "index").glob("*.parquet"))
    damage.assert_told(part, lambda: reducer.finish().index, index.equals, MANY)


def test_a_store_of_schema_1_is_read_though_it_has_no_sums(work: Pass) -> None:
    from safetensors.torch import load_file, save_file

    store = work.sinks[0].reducer.finish()
    rows = store.layer(0)
    for path in store.folder.rglob("*.safetensors"):
        save_file(load_file(path), path)
    with pytest.raises(StorageError, match="holds no sum"):
        store.layer(0)
    store.index.to_parquet(store.folder / "index.parquet", index=False)
    meta = read_json(store.folder / "meta.json") | {"schema": 1}
    write_json(store.folder / "meta.json", meta)
    assert torch.equal(RowStore(store.folder).layer(0), rows)


def test_the_cursor_of_a_pass(work: Pass) -> None:
    def begin() -> int:
        made = Pass(
            work.utterances, work.models, work.stack, work.sinks, work.shards,
            batch_s=2.0, state=work.state,
        )  # fmt: skip
        made.begin()
        return made.done

    assert work.state is not None
    told, _ = damage.assert_told(
        work.state / CURSOR, begin, lambda done: done == len(work.shards), MANY
    )
    assert told > MANY // 2


def test_a_checkpoint_of_a_pass(tmp_path: Path) -> None:
    held = Holder(a=torch.randn(3, 2, dtype=torch.float64), none=torch.empty(0, 4),
                  n=torch.tensor(7))  # fmt: skip
    path = tmp_path / "moments-00003.safetensors"
    save_state(path, held)  # type: ignore[arg-type]

    def read() -> Holder:
        found = Holder()
        load_state(path, found)  # type: ignore[arg-type]
        return found

    def same(found: Holder) -> bool:
        return _equal(found.tensors, held.tensors) and found.facts == held.facts

    _, harmless = damage.assert_told(path, read, same, 2 * MANY)
    assert harmless == 0


def test_a_checkpoint_of_training(tmp_path: Path) -> None:
    weights = {"w": torch.randn(5, 3), "b": torch.arange(4)}
    held = {"identity": "mine", "objective": weights, "step": 7}
    state.save(tmp_path, held)

    def same(found: Any) -> bool:
        return found["step"] == 7 and _equal(found["objective"], weights)

    path = tmp_path / state.STATE / state.CHECKPOINT
    told, _ = damage.assert_told(path, lambda: state.load(tmp_path, "mine"), same, 2 * MANY)
    assert told > MANY


def test_what_properties_keep(tmp_path: Path) -> None:
    score = Score("cca", 0.25, by_fold=((0, 0.125), (1, 0.5)))
    part = _Part([Scored("mel", "0", 0, score)], {"n": 12}, ["few"], "")
    path = tmp_path / "cca-word.json"
    write_sealed_json(path, json.loads(json.dumps(_written(part), default=str).replace(
        "Infinity", "null").replace("-null", "null")))  # fmt: skip
    want = _written(_read_part(path))
    damage.assert_told(path, lambda: _written(_read_part(path)), want.__eq__, 2 * MANY)


def test_values_of_similarity_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "values-frame.safetensors"
    products, value = np.random.default_rng(0).random((2, 2, 2)), np.arange(4.0)
    save_partial(path, products, [(0, 1), (1, 1)], {"cka": value})

    def read() -> tuple[Any, ...]:
        into: dict[str, Any] = {}
        grid = np.zeros_like(products)
        return load_partial(path, grid, into), grid, into

    def same(found: tuple[Any, ...]) -> bool:
        done, grid, into = found
        equal = np.array_equal(grid, products) and np.array_equal(into["cka"], value)
        return equal and done == [(0, 1), (1, 1)]

    damage.assert_told(path, read, same, 2 * MANY)


def test_arrays_of_heads_vectors_and_statistics(tmp_path: Path) -> None:
    """What NumPy's own reader takes for a shorter array is damage here."""
    path = tmp_path / "part-00000.npz"
    held = {"ids": np.array(["a", "bö"]), "rows": np.arange(12, dtype=np.float32).reshape(4, 3),
            "none": np.zeros((0, 3))}  # fmt: skip
    np.savez(path, **held)

    def read() -> dict[str, Any]:
        try:
            return {name: found[name] for name in held} if (found := read_arrays(path)) else {}
        except (DamagedError, OSError, KeyError) as error:  # what its readers expect of it
            raise StorageError(f"{path} is damaged", got=str(error), fix="delete it") from None

    def same(found: dict[str, Any]) -> bool:
        return all(np.array_equal(found[n], v) and found[n].dtype == v.dtype
                   for n, v in held.items())  # fmt: skip

    told, _ = damage.assert_told(path, read, same, 2 * MANY)
    assert told > MANY


def test_a_table_of_results(tmp_path: Path) -> None:
    row = Row(
        study="s", model="mel", layer="0", other_model="mfcc", other_layer="1",
        property="similarity", measure="cka", unit="frame", value=0.5, ci_low=0.25, ci_high=0.75,
        n=40, groups=4, d=80, other_d=13, estimator="debiased", seed=0,
    )  # fmt: skip
    write_results(tmp_path, [row, row], {"job": "similarity"})
    want = load_results(tmp_path).table
    path = tmp_path / "results.parquet"
    damage.assert_told(path, lambda: load_results(tmp_path).table, want.equals, MANY)


def test_sealed_files_are_plain_safetensors_whatever_their_size(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    rows = [torch.randn(700, 1000), torch.randn(1, 1000)]  # more than one block
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        write_rows(file, "rows", rows)
    assert torch.equal(load_file(path)["rows"], torch.cat(rows))
    with path.open("wb") as file:
        write_tensors(file, {"crc32": rows[0].bfloat16()}, {"facts": '"crc32": "12345678"'})
    held, metadata = read_tensors(path)
    assert torch.equal(held["crc32"], rows[0].bfloat16())
    assert metadata == {"facts": '"crc32": "12345678"'}


def test_json_without_its_sum_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_sealed_json(path, {"folds": {1: 2, 10: 3, 2: 4}, "t": (1, 2)})
    assert read_sealed_json(path, "")["folds"] == {"1": 2, "10": 3, "2": 4}
    text = path.read_text()
    assert '"10": 3' in text
    for wrong in ("NaN", "1e999", '"\\ud800"'):  # no numbers of JSON, no text of UTF-8
        path.write_text(text.replace('"10": 3', f'"10": {wrong}'))
        with pytest.raises(StorageError, match="damaged"):
            read_sealed_json(path, "")
    path.write_text(text)
    for wrong in ({"folds": {}}, [1], 7):
        write_json(path, wrong)
        with pytest.raises(VoxstrataError, match="no sum"):
            read_sealed_json(path, "")
