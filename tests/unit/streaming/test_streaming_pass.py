"""The one pass: batching, bad recordings, checkpoints, the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import AudioError, CorpusError, NumericsError, StorageError
from voxstrata.streaming.batches import make_batches, make_shards
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.sealed import write_tensors
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import DTYPES, RowStore, StoreReducer
from voxstrata.types import Utterance


def make_pass(
    corpus: Sequence[Utterance], models: list[FakeModel], folder: Path, **kwargs: object
) -> Pass:
    stack = build_stack(models)
    folds = [int(u.id[1:]) % 3 for u in corpus]
    sinks = []
    for name in ("frame", "utterance"):
        unit = make_unit(name)
        unit.prepare(corpus, 0)
        layers = tuple(i for i, layer in enumerate(stack) if unit.accepts(layer))
        chosen = [stack[i] for i in layers]
        sinks.append(
            Sink(unit, layers, StoreReducer(folder / "store" / name, chosen), f"{name}-store")
        )
        widths = [layer.width for layer in chosen]
        sinks.append(Sink(unit, layers, MomentsReducer(widths, 3), f"{name}-moments"))
    shards = make_shards(corpus, folds, 2.0)
    return Pass(corpus, models, stack, sinks, shards, batch_s=1.5, state=folder / "state", **kwargs)


def two_models() -> list[FakeModel]:
    return [FakeModel(), FakeModel("ten-ms", stride=160, widths=(7, 5), seed=3, pooled=True)]


def test_shards_are_fold_pure_and_complete() -> None:
    corpus = make_corpus(15)
    folds = [i % 4 for i in range(15)]
    shards = make_shards(corpus, folds, 1.5)
    assert sorted(m for s in shards for m in s.members) == list(range(15))
    for shard in shards:
        assert {folds[m] for m in shard.members} == {shard.fold}
        assert len(shard.members) == 1 or sum(corpus[m].duration_s for m in shard.members) <= 1.5


def test_batches_respect_the_padded_length() -> None:
    corpus = make_corpus(15)
    batches = make_batches(corpus, range(15), 3.0)
    assert sorted(m for b in batches for m in b) == list(range(15))
    for batch in batches:
        longest = max(corpus[m].duration_s for m in batch)
        assert len(batch) == 1 or longest * len(batch) <= 3.0


def test_rows_equal_the_plain_way(tmp_path: Path) -> None:
    corpus, models = make_corpus(9), two_models()
    run = make_pass(corpus, models, tmp_path)
    report = run.run()
    assert report.recordings == 9
    store = run.sinks[0].reducer.finish()
    assert report.rows["frame-store"] == store.rows
    # the plain way: one recording at a time, HuBERT-like frames against every second 10 ms one
    plain = {}
    for utterance in corpus:
        audio = torch.from_numpy(utterance.read())
        a, b = (m.encode([audio], ["0", "1"])[0] for m in models)
        plain[utterance.id] = [a["0"], a["1"], b["0"][::2], b["1"][::2]]
    for position in range(4):
        want = torch.cat(
            [plain[name][position][: len(plain[name][0])] for name in store.index["utterance"]]
        )
        torch.testing.assert_close(store.layer(position), want, rtol=0, atol=0)
    pooled = run.sinks[2].reducer.finish()
    assert pooled.rows == 9
    assert [layer["name"] for layer in pooled.meta["layers"]] == ["0", "1", "0", "1", "embedding"]


def test_bad_recordings_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    corpus = make_corpus(8)

    def broken() -> np.ndarray:
        raise AudioError("cannot read u003.flac", got="no FLAC frame")

    corpus[3] = Utterance("u003", 1.0, {}, broken)
    corpus[5] = Utterance("u005", 0.01, {}, lambda: np.zeros(160, dtype=np.float32))
    length = len(corpus[6].read())
    models = [FakeModel(poison=(length, float("nan")))]
    report = make_pass(corpus, models, tmp_path).run()
    assert report.recordings == 5
    assert {item["id"] for item in report.skipped} == {"u003", "u005", "u006"}
    text = {item["id"]: item["what"] for item in report.skipped}
    assert "cannot read" in text["u003"]
    assert "too short" in text["u005"]
    assert "fake/1 is not finite" in text["u006"]


def test_on_error_stop_raises_the_first(tmp_path: Path) -> None:
    corpus = make_corpus(4)
    length = len(corpus[2].read())
    with pytest.raises(NumericsError, match="fake/1"):
        make_pass(
            corpus, [FakeModel(poison=(length, float("inf")))], tmp_path, on_error="stop"
        ).run()


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    corpus = [Utterance("u001", 0.01, {}, lambda: np.zeros(100, dtype=np.float32))]
    with pytest.raises(CorpusError, match="no recording"):
        make_pass(corpus, [FakeModel()], tmp_path).run()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, after: int) -> None:
    corpus = make_corpus(14)
    whole = make_pass(corpus, two_models(), tmp_path / "whole")
    whole.run()
    broken = make_pass(corpus, two_models(), tmp_path / "broken")
    assert len(broken.shards) > 6
    original, count = broken._checkpoint, 0

    def dying(done: int) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise KilledError  # after the shard's work, before its checkpoint
        original(done)

    broken._checkpoint = dying  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        broken.run()
    again = make_pass(corpus, two_models(), tmp_path / "broken")
    report = again.run()
    assert report.facts() == whole.report.facts()
    for one, two in zip(whole.sinks, again.sinks, strict=True):
        a, b = one.reducer.finish(), two.reducer.finish()
        if isinstance(a, RowStore):
            for position in range(len(a.widths)):
                assert torch.equal(a.layer(position), b.layer(position))
            assert a.index.equals(b.index)
        else:
            for name in ("shift", "n", "s", "a", "v", "q"):
                assert torch.equal(getattr(a, name), getattr(b, name))
            assert all(torch.equal(x, y) for x, y in zip(a.blocks, b.blocks, strict=True))


def test_state_of_another_run_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(6)
    make_pass(corpus, [FakeModel()], tmp_path, identity="one").run()
    with pytest.raises(StorageError, match="other settings"):
        make_pass(corpus, [FakeModel()], tmp_path, identity="two").run()


def test_damaged_state_and_shards_are_named(tmp_path: Path) -> None:
    corpus = make_corpus(6)
    run = make_pass(corpus, [FakeModel()], tmp_path)
    run.run()
    store = run.sinks[0].reducer.finish()
    shard = next((store.folder / store.meta["layers"][0]["folder"]).glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(StorageError, match="damaged"):
        store.layer(0)
    state = next((tmp_path / "state").glob("frame-moments*.safetensors"))
    state.write_bytes(b"not a tensor")
    with pytest.raises(StorageError, match="damaged"):
        make_pass(corpus, [FakeModel()], tmp_path).run()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_rows_are_plain_safetensors(tmp_path: Path, dtype: str, rows: int) -> None:
    from safetensors.torch import load_file

    x = torch.randn(rows, 5).to(DTYPES[dtype])
    with (tmp_path / "x.safetensors").open("wb") as file:
        write_tensors(file, {"rows": x})
    assert torch.equal(load_file(tmp_path / "x.safetensors")["rows"], x)


def test_a_shard_of_bad_recordings_alone_leaves_the_rest_readable(tmp_path: Path) -> None:
    corpus = make_corpus(9)

    def broken() -> np.ndarray:
        raise AudioError("cannot read it")

    for number in (0, 3, 6):  # all of fold 0
        corpus[number] = Utterance(f"u{number:03d}", 1.0, {}, broken)
    run = make_pass(corpus, two_models(), tmp_path)
    report = run.run()
    assert set(report.fold_rows["utterance-store"]) == {"1", "2"}
    store = run.sinks[0].reducer.finish()
    assert store.index["fold"].dtype == np.int64
    assert set(store.folds()) == {1, 2}
    assert len(store.layer(0)) == store.rows == report.rows["frame-store"]


def test_states_are_readable_by_the_library_and_leave_no_litter(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from voxstrata.streaming.reducers import load_state, save_state

    class Holder:
        def __init__(self) -> None:
            self.held: dict[str, torch.Tensor] = {}

        def state(self) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
            return self.held, {"umlaut": "ä", "n": 3}

        def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, object]) -> None:
            self.held, self.facts = tensors, facts

    one, two = Holder(), Holder()
    one.held = {
        "turned": torch.arange(6, dtype=torch.float64).reshape(2, 3).T,
        "none": torch.empty(0, 4),
        "single": torch.tensor(7),
        "part": torch.randn(4, 5)[:, 1:3],
    }
    path = tmp_path / "x.safetensors"
    save_state(path, one)  # type: ignore[arg-type]
    load_state(path, two)  # type: ignore[arg-type]
    assert two.facts == {"umlaut": "ä", "n": 3}
    read = load_file(path)
    for name, tensor in one.held.items():
        assert torch.equal(two.held[name], tensor)
        assert torch.equal(read[name], tensor)
    corpus = make_corpus(6)
    litter = tmp_path / "state" / ".frame-00001.safetensors.abc.tmp"
    litter.parent.mkdir()
    litter.write_bytes(b"half")
    make_pass(corpus, [FakeModel()], tmp_path).run()
    assert not litter.exists()
