"""Pooling onto a coarser grid, and the units ``frame`` and ``sequence`` of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import CorpusError, UsageError
from voxstrata.models.load import load_model
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.pooling import pool, windows
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.stack import StackLayer, build_stack
from voxstrata.streaming.unit_pooled import PooledFrames
from voxstrata.streaming.unit_sequence import SequenceFrames, choose_recordings
from voxstrata.types import FrameGrid, LayerInfo, Utterance

MEL = FrameGrid(160, 400)
W2V = FrameGrid(320, 400)
# wav2vec 2.0's local encoder: kernels 10, 3, 3, 3, 3, 2, 2 and strides 5, 2, 2, 2, 2, 2, 2.
CONV = [
    FrameGrid(5, 10),
    FrameGrid(10, 20),
    FrameGrid(20, 40),
    FrameGrid(40, 80),
    FrameGrid(80, 160),
    FrameGrid(160, 240),
]
PASAD = [(79, 32), (39, 16), (19, 8), (9, 4), (4, 2), (2, 1)]


def _frames(grid: FrameGrid, samples: int) -> int:
    return max(0, (samples - grid.start - grid.receptive) // grid.stride + 1)


def _layer(name: str, grid: FrameGrid | None, width: int = 3) -> StackLayer:
    return StackLayer(0, "m", LayerInfo(name, width, "frame" if grid else "utterance", grid))


def _by_hand(fine: FrameGrid, frames: int, target: FrameGrid, index: int) -> list[int]:
    """Centres in [c - s/2, c + s/2), by the definition, on half samples."""
    low = target.centre2(index) - target.stride
    return [j for j in range(frames) if low <= fine.centre2(j) < low + 2 * target.stride]


@pytest.mark.parametrize("fine", [*CONV, MEL, FrameGrid(160, 400, -200), FrameGrid(150, 301, -7)])
@pytest.mark.parametrize("target", [MEL, W2V, FrameGrid(320, 1040, -520), FrameGrid(320, 401)])
def test_windows_are_their_definition(fine: FrameGrid, target: FrameGrid) -> None:
    samples = 9000
    frames, count = _frames(fine, samples), _frames(target, samples)
    found = windows(fine, frames, target, count)
    # With 40 frames more on either side nothing can be cut off.
    wide = FrameGrid(fine.stride, fine.receptive, fine.start - 400 * fine.stride)
    for index in range(count):
        assert list(range(found.first[index], found.last[index])) == [
            j - 400 for j in _by_hand(wide, frames + 800, target, index)
        ]
        cut = _by_hand(fine, frames, target, index)
        whole = found.last[index] - found.first[index]
        assert found.whole[index] == (len(cut) == whole)
    assert found.whole.sum() >= count - 4


def test_windows_tile_the_finer_grid() -> None:
    """Neighbours share no frame and leave none out."""
    found = windows(FrameGrid(150, 301), 1000, W2V, 300)
    assert (found.last[:-1] == found.first[1:]).all()


def test_the_same_grid_is_met_by_itself() -> None:
    for rule in ("centre", "pasad2023"):
        found = windows(MEL, 70, MEL, 70, rule)
        assert found.first.tolist() == list(range(70))
        assert (found.last == found.first + 1).all()
        assert found.whole.all()


@pytest.mark.parametrize(("grid", "published"), list(zip(CONV, PASAD, strict=True)))
def test_published_mean_filters(grid: FrameGrid, published: tuple[int, int]) -> None:
    """Kernel and stride of P2023's table, and as many frames as its filters give."""
    kernel, stride = published
    frames = _frames(grid, 16000)
    count = (frames - kernel) // stride + 1
    found = windows(grid, frames, MEL, _frames(MEL, 16000), "pasad2023")
    assert int(found.whole.sum()) == count == 98
    assert found.first.tolist() == [stride * i for i in range(count)]
    assert set((found.last - found.first).tolist()) == {kernel}
    values = torch.randn(frames, 4, dtype=torch.float64)
    expected = torch.nn.functional.avg_pool1d(values.T[None], kernel, stride)[0].T
    torch.testing.assert_close(pool(values, found.first, found.last), expected)


def test_published_mel_is_decimated() -> None:
    values = torch.randn(_frames(MEL, 16000), 5)
    found = windows(MEL, len(values), W2V, _frames(W2V, 16000), "pasad2023")
    assert torch.equal(pool(values, found.first, found.last), values[::2][: len(found.first)])


def test_published_rule_takes_the_nearest_of_wider_fields() -> None:
    found = windows(FrameGrid(320, 1040, -520), 50, W2V, 49, "pasad2023")
    # centres 320 j against 200 + 320 i: the next one is 120 away
    assert found.first.tolist() == list(range(1, 50))
    assert (found.last - found.first == 1).all()


def test_pooling_is_the_mean() -> None:
    values = torch.randn(40, 3, dtype=torch.float64)
    first, last = np.array([0, 7, 9, 39]), np.array([3, 8, 20, 40])
    expected = torch.stack([values[a:b].mean(0) for a, b in zip(first, last, strict=True)])
    torch.testing.assert_close(pool(values, first, last), expected)
    half = values.to(torch.bfloat16)
    assert pool(half, first, last).dtype == torch.float32
    assert pool(half, first[:0], last[:0]).shape == (0, 3)


def test_large_windows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(200, 3)
    first = np.arange(0, 160, 2)
    whole = pool(values, first, first + 40)
    monkeypatch.setattr("voxstrata.streaming.pooling._GATHER", 500)
    assert torch.equal(pool(values, first, first + 40), whole)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="finer grid"):
        windows(W2V, 10, MEL, 10)
    with pytest.raises(UsageError, match="unknown rule"):
        windows(MEL, 10, MEL, 10, "mean")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="limit"):
        PooledFrames(320, limit=0)
    unit = PooledFrames(320, limit=10)
    assert unit.accepts(_layer("a", MEL))
    assert unit.accepts(_layer("a", W2V))
    assert not unit.accepts(_layer("a", FrameGrid(640, 720)))
    assert not unit.accepts(_layer("a", None))
    with pytest.raises(UsageError, match=r"prepare\(\)"):
        unit.rows(make_corpus(1)[0], [torch.zeros(9, 3)], [_layer("a", W2V)])


def test_mel_on_its_own_grid_is_untouched() -> None:
    model = load_model("log-mel")
    utterance = make_corpus(1)[0]
    output = model.encode([utterance.read()], ["logmel"])[0]["logmel"]
    for rule in ("centre", "pasad2023"):
        unit = PooledFrames(160, rule=rule)
        unit.prepare([utterance], 0)
        rows = unit.rows(utterance, [output], build_stack([model], None))
        assert torch.equal(rows.values[0], output)
        assert rows.start_s[0] == pytest.approx(0.0125 - 0.005)
        assert rows.end_s[3] == pytest.approx(0.0125 + 0.03 + 0.005)


def _two() -> tuple[list[StackLayer], list[FrameGrid]]:
    found = [MEL, W2V, CONV[2]]
    return [_layer(str(i), grid) for i, grid in enumerate(found)], found


def _ramp(grid: FrameGrid, samples: int) -> torch.Tensor:
    """Each frame holds its own centre in samples."""
    return torch.tensor([[grid.centre2(i) / 2] for i in range(_frames(grid, samples))])


def test_all_layers_of_a_row_are_about_the_same_moment() -> None:
    layers, found = _two()
    utterance = make_corpus(1)[0]
    unit = PooledFrames(320)
    rows = unit.rows(utterance, [_ramp(g, 16000) for g in found], layers)
    centre = 8000 * (torch.tensor(rows.start_s) + torch.tensor(rows.end_s))
    assert torch.allclose(rows.values[1][:, 0], centre, atol=0.01)
    for value, grid in zip(rows.values, found, strict=True):
        # A half-open window's mean may lie half a fine stride before the centre.
        assert ((value[:, 0] - centre).abs() <= grid.stride / 2 + 0.01).all()
    # The first moment would need mel and convolution frames before the recording's first.
    assert rows.dropped["frames without a partner in every layer"] == 1
    assert rows.start_s[0] == pytest.approx((520 - 160) / 16000)


def test_without_a_layer_of_the_stride_the_recording_is_cut_evenly() -> None:
    layers = [_layer("conv", CONV[2]), _layer("conv5", CONV[4])]
    unit = PooledFrames(320)
    shapes = [_ramp(CONV[2], 4000), _ramp(CONV[4], 4000)]
    rows = unit.rows(make_corpus(1)[0], shapes, layers)
    # The first moment would need frames centred at sample 0; the last is cut by the end.
    assert rows.start_s == pytest.approx([0.02 * i for i in range(1, 12)])
    assert len(rows) == unit.count(make_corpus(1)[0], [len(s) for s in shapes], layers)
    assert torch.allclose(rows.values[0][:, 0], torch.arange(1, 12) * 320 + 160.0, atol=10.01)


def test_published_rule_knows_its_grid_whatever_comes_first() -> None:
    layers = [_layer("conv6", CONV[5]), _layer("mel", MEL)]
    unit = PooledFrames(160, rule="pasad2023")
    outputs = [_ramp(CONV[5], 8000), _ramp(MEL, 8000)]
    rows = unit.rows(make_corpus(1)[0], outputs, layers)
    assert torch.equal(rows.values[1], outputs[1])
    assert torch.equal(rows.values[0], (outputs[0][:-1] + outputs[0][1:]) / 2)


def _drawn(unit: PooledFrames, corpus: list[Utterance]) -> dict[str, list[float]]:
    model = FakeModel()
    stack = build_stack([model], ["0"])
    found = {}
    for utterance in corpus:
        outputs = [model.encode([torch.from_numpy(utterance.read())], ["0"])[0]["0"]]
        rows = unit.rows(utterance, outputs, stack)
        assert unit.count(utterance, [len(o) for o in outputs], stack) == len(rows)
        assert rows.start_s == sorted(set(rows.start_s))
        found[utterance.id] = rows.start_s
    return found


def test_the_limit_is_met_and_dealt_by_length() -> None:
    corpus = make_corpus(60)
    unit = PooledFrames(320, limit=700)
    unit.prepare(corpus, 3)
    found = _drawn(unit, corpus)
    assert sum(len(rows) for rows in found.values()) == 700
    seconds = sum(u.duration_s for u in corpus)
    for utterance in corpus:
        # Durations are cut to whole frames, which costs up to 6 % of the shortest.
        assert abs(len(found[utterance.id]) - 700 * utterance.duration_s / seconds) < 2.5


def test_few_rows_favour_no_length() -> None:
    """With fewer rows than recordings, long and short ones are drawn as their lengths ask."""
    corpus = make_corpus(400)
    lengths = np.array([u.duration_s for u in corpus])
    longer = lengths > np.median(lengths)
    got = []
    for seed in range(20):
        unit = PooledFrames(320, limit=100)
        unit.prepare(corpus, seed)
        quota = np.array([unit._quota[u.id] for u in corpus])  # type: ignore[index]
        assert quota.sum() == 100
        got.append(quota[longer].sum())
    share = lengths[longer].sum() / lengths.sum()
    assert np.mean(got) == pytest.approx(100 * share, abs=4)


def test_the_draw_depends_on_the_seed_not_on_the_order() -> None:
    corpus = make_corpus(20)
    found = []
    for order, seed in ((corpus, 1), (corpus[::-1], 1), (corpus, 2)):
        unit = PooledFrames(320, limit=150)
        unit.prepare(order, seed)
        found.append(_drawn(unit, corpus))
    assert found[0] == found[1]
    assert found[0] != found[2]
    fixed = PooledFrames(320, limit=150, seed=1)
    fixed.prepare(corpus, 99)
    assert _drawn(fixed, corpus) == found[0]


def test_a_limit_over_everything_takes_everything() -> None:
    corpus = make_corpus(10)
    limited, free = PooledFrames(320, limit=10**6), PooledFrames(320)
    limited.prepare(corpus, 0)
    free.prepare(corpus, 0)
    assert _drawn(limited, corpus) == _drawn(free, corpus)


def test_sequences_are_all_frames_in_order() -> None:
    corpus = make_corpus(12)
    model = FakeModel()
    stack = build_stack([model], ["0", "1"])
    unit = SequenceFrames(model.layers[0].grid, seconds=4.0)
    assert unit.accepts(stack[0])
    assert not unit.accepts(_layer("a", FrameGrid(320, 400, -200)))
    assert not unit.accepts(_layer("a", None))
    unit.prepare(corpus, 0)
    held = 0.0
    for utterance in corpus:
        outputs = list(model.encode([torch.from_numpy(utterance.read())], ["0", "1"])[0].values())
        outputs = outputs[:2]
        rows = unit.rows(utterance, outputs, stack)
        assert unit.count(utterance, [len(o) for o in outputs], stack) == len(rows)
        if len(rows):
            held += utterance.duration_s
            assert torch.equal(rows.values[1], outputs[1])
            assert rows.start_s[2] == pytest.approx(0.0125 + 0.04 - 0.01)
            assert rows.end_s[:-1] == rows.start_s[1:]
        else:
            assert rows.dropped == {"frames of recordings that were not chosen": len(outputs[0])}
            assert rows.values[0].shape == (0, 12)
    assert 2.5 < held <= 4.0


def test_layers_of_a_grid_may_end_early() -> None:
    utterance = make_corpus(1)[0]
    unit = SequenceFrames(W2V, seconds=10)
    unit.prepare([utterance], 0)
    layers = [_layer("a", W2V), _layer("b", W2V)]
    rows = unit.rows(utterance, [torch.zeros(9, 3), torch.zeros(8, 3)], layers)
    assert [len(v) for v in rows.values] == [8, 8]
    assert rows.dropped == {"frames without a partner in every layer": 1}
    assert unit.count(utterance, [9, 8], layers) == 8


def test_speakers_get_equal_time() -> None:
    """One speaker with most of the corpus gets no more than the others."""
    corpus = [Utterance(f"a{i}", 2.0, {"speaker": "a"}) for i in range(50)]
    corpus += [Utterance(f"{s}{i}", 1.0, {"speaker": s}) for s in "bcd" for i in range(12)]
    chosen = choose_recordings(corpus, 40.0, seed=1)
    seconds = {s: sum(u.duration_s for u in chosen if u.id[0] == s) for s in "abcd"}
    assert sum(seconds.values()) == 40.0
    assert max(seconds.values()) - min(seconds.values()) <= 2.0
    assert {u.id for u in choose_recordings(corpus[::-1], 40.0, 1)} == {u.id for u in chosen}
    assert {u.id for u in choose_recordings(corpus, 40.0, 2)} != {u.id for u in chosen}
    assert len(choose_recordings(corpus, 1000.0, 1)) == len(corpus)
    with pytest.raises(CorpusError, match="no recording fits"):
        choose_recordings(corpus, 0.5, 1)


class _Keep:
    """A reducer that keeps everything."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []

    def update(self, rows: Rows) -> None:
        self.rows.append(rows)

    def end_shard(self, shard: int) -> None:
        pass


def test_in_a_pass_over_recordings(shared: Path) -> None:
    """Two models of different strides, real speech: rows meet in time and in number."""
    from voxstrata.corpora import load_corpus

    corpus = load_corpus(str(shared / "data" / "librispeech_test_other")).utterances[:6]
    models = [load_model("log-mel"), FakeModel()]
    stack = build_stack(models, None)  # type: ignore[arg-type]
    units = {"frame": PooledFrames(320, limit=500), "sequence": SequenceFrames(W2V, 30.0)}
    kept = {name: _Keep() for name in units}
    sinks = []
    for name, unit in units.items():
        unit.prepare(corpus, 0)
        layers = tuple(i for i, layer in enumerate(stack) if unit.accepts(layer))
        sinks.append(Sink(unit, layers, kept[name], name))  # type: ignore[arg-type]
    shards = make_shards(corpus, [0] * len(corpus), 60.0)
    report = Pass(corpus, models, stack, sinks, shards, batch_s=30.0).run()  # type: ignore[arg-type]
    assert report.rows["frame"] == 500
    assert [len(s.layers) for s in sinks] == [3, 2]
    for rows in kept["frame"].rows:
        utterance = next(u for u in corpus if u.id == rows.utterance)
        mel = models[0].encode([utterance.read()], ["logmel"])[0]["logmel"]
        fake = models[1].encode([torch.from_numpy(utterance.read())], ["0"])[0]["0"]
        for row, start in enumerate(rows.start_s):
            index = round((start + 0.01 - 0.0125) / 0.02)
            assert torch.equal(rows.values[1][row], fake[index])
            expected = (mel[2 * index - 1] + mel[2 * index]) / 2
            torch.testing.assert_close(rows.values[0][row], expected)
