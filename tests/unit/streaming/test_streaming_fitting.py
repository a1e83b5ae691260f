"""Batches that fit: measured, halved where memory was short, the same outputs in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import AudioError
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.fitting import Room, parts, size
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.store import StoreReducer
from voxstrata.streaming.unit_frame import FrameUnit
from voxstrata.types import SAMPLE_RATE

NAMES = ("0", "1")


@dataclass
class SmallModel(FakeModel):
    """Runs out of memory above some samples, padding counted."""

    most: int = 30_000
    words: str = ""
    given: list[int] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)

    def encode(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        padded = len(audio) * max(len(one) for one in audio)
        self.tried.append(padded)
        if padded > self.most:
            raise RuntimeError(self.words) if self.words else torch.OutOfMemoryError("short")
        self.given.append(padded)
        return super().encode(audio, layers)


class FakeMeter:
    """Ten bytes a sample of the recordings that were run."""

    def __init__(self, free: float, model: SmallModel) -> None:
        self._free, self._model, self._begun = free, model, 0

    def free(self, device: torch.device) -> float:
        return self._free

    def begin(self, device: torch.device) -> None:
        self._begun = len(self._model.given)

    def taken(self, device: torch.device) -> float:
        return 10.0 * max(self._model.given[self._begun :])


def waves(*lengths: int) -> list[torch.Tensor]:
    maker = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=maker) for n in lengths]


def same(found: object, audio: Sequence[torch.Tensor]) -> None:
    expected = FakeModel().encode(audio, NAMES)
    assert isinstance(found, list)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert all(torch.equal(one[name], other[name]) for name in NAMES)


@pytest.mark.parametrize("words", ["", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_parts_that_run_out_of_memory_are_halved_and_remembered(words: str) -> None:
    model, room = SmallModel(words=words), Room()
    audio = waves(9000, 9000, 8000, 8000, 7000, 6000, 6000)
    fitted = room.encode(model, audio, NAMES)
    same(fitted.outputs, audio)
    assert not fitted.failed
    assert max(model.given) <= model.most < max(model.tried)
    assert "batches of fake halved: out of memory" in fitted.spent
    # The next batch is cut before it is tried.
    tried = len(model.tried)
    again = room.encode(model, audio, NAMES)
    same(again.outputs, audio)
    assert max(model.tried[tried:]) <= model.most
    assert not again.spent
    assert room.seconds(model) * SAMPLE_RATE == 63_000 / 2


def test_a_recording_that_does_not_fit_alone_fails_alone() -> None:
    model = SmallModel(most=10_000)
    audio = waves(20_000, 5000, 5000)
    fitted = Room().encode(model, audio, NAMES)
    assert fitted.outputs[0] is None
    same(fitted.outputs[1:], audio[1:])
    assert isinstance(fitted.failed[0], AudioError)
    assert "1.2 s for fake" in str(fitted.failed[0].got)
    assert "memory" in fitted.failed[0].what


def test_other_errors_are_not_taken_for_it() -> None:
    model = SmallModel(words="mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1"):
        Room().encode(model, waves(40_000), NAMES)


def test_batches_are_planned_from_what_the_longest_recording_takes() -> None:
    model = SmallModel(most=26_000)
    model.device = torch.device("cpu")  # type: ignore[attr-defined]
    room = Room(FakeMeter(300_000.0, model))
    audio = waves(8000, 8000, 8000, 8000, 7000)
    fitted = room.encode(model, audio, NAMES)
    same(fitted.outputs, audio)
    # 0.8 of 300,000 bytes, ten a sample: 24,000 samples, three recordings.
    assert room.seconds(model) == 1.5
    assert model.given == [7000, 8000, 24_000, 16_000]
    assert "memory of fake measured" in fitted.spent
    # As long a recording is not measured again; a much longer one is.
    room.encode(model, waves(9000), NAMES)
    assert model.given[4:] == [9000]
    room.encode(model, waves(12_000), NAMES)
    assert model.given[5:] == [12_000, 12_000]


def test_without_a_gpu_nothing_is_measured() -> None:
    model = SmallModel()
    model.device = torch.device("cpu")  # type: ignore[attr-defined]
    room = Room()
    assert not room.encode(model, waves(8000, 7000), NAMES).spent
    assert model.given == [16_000]
    assert room.seconds(model) == float("inf")


def test_parts_keep_order_and_are_as_large_as_may_be() -> None:
    lengths = [9, 8, 8, 3, 3, 3]
    assert parts(range(6), lengths, 18) == [[0, 1], [2, 3], [4, 5]]
    assert parts(range(6), lengths, 1) == [[i] for i in range(6)]
    assert parts(range(6), lengths, float("inf")) == [[0, 1, 2, 3, 4, 5]]
    assert size([2, 3], lengths) == 16


def test_a_pass_goes_on_with_the_same_rows(tmp_path) -> None:  # type: ignore[no-untyped-def]
    corpus = make_corpus(10)
    stores = []
    for name, model in (("whole", FakeModel()), ("short", SmallModel(most=25_000))):
        stack = [StackLayer(0, model.spec, info) for info in model.layers]
        store = StoreReducer(tmp_path / name, stack, meta={})
        shards = make_shards(corpus, [0] * len(corpus), 60.0)
        sinks = [Sink(FrameUnit(), (0, 1), store, "frame")]
        report = Pass(corpus, [model], stack, sinks, shards, batch_s=60.0).run()
        assert not report.skipped
        assert ("batches of fake halved: out of memory" in report.clock) == (name == "short")
        stores.append(store.finish())
    for layer in (0, 1):
        assert torch.equal(stores[0].layer(layer), stores[1].layer(layer))


def test_a_pass_lists_a_recording_that_does_not_fit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    corpus = make_corpus(10)
    longest = max(corpus, key=lambda one: one.duration_s)
    model = SmallModel(most=round(longest.duration_s * SAMPLE_RATE) - 1)
    stack = [StackLayer(0, model.spec, info) for info in model.layers]
    shards = make_shards(corpus, [0] * len(corpus), 60.0)

    def run(on_error: str) -> Pass:
        store = StoreReducer(tmp_path / on_error, stack, meta={})
        sinks = [Sink(FrameUnit(), (0, 1), store, "frame")]
        return Pass(corpus, [model], stack, sinks, shards, batch_s=60.0, on_error=on_error)  # type: ignore[arg-type]

    report = run("skip").run()
    assert [item["id"] for item in report.skipped] == [longest.id]
    assert "memory" in report.skipped[0]["what"]
    assert report.recordings == len(corpus) - 1
    with pytest.raises(AudioError, match="does not fit into the memory"):
        run("stop").run()
