"""Embeddings: pooling, batching, bad recordings, channels, what is kept and found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import fakes
import planted
from voxstrata.corpora import load_corpus
from voxstrata.errors import AudioError, CorpusError, UnknownNameError, UsageError
from voxstrata.models import load_model
from voxstrata.types import Utterance
from voxstrata.verification.embed import CROP, Extraction, choose, crops_of, embed, embed_all


def _alone(model: fakes.FakeModel, utterance: Utterance, layer: str) -> np.ndarray:
    (out,) = model.encode([torch.from_numpy(utterance.read())], [layer])
    return out[layer].double().numpy()


def test_what_is_taken_by_default() -> None:
    frames, pooled = fakes.FakeModel(), fakes.FakeModel(pooled=True)
    assert choose(pooled).layer.name == "embedding"
    assert choose(pooled).pooling == "none"
    assert (choose(frames).layer.name, choose(frames).pooling) == ("1", "mean")
    features = choose(load_model("mfcc"))
    assert (features.layer.name, features.pooling, features.width) == ("mfcc", "mean+std", 40)
    assert choose(frames, "0", "mean+std").width == 24
    assert choose(load_model("random:ecapa,channels=16,mfa=48,embed=24")).width == 24
    with pytest.raises(UsageError, match="cannot be pooled"):
        choose(pooled, "embedding", "mean")
    with pytest.raises(UsageError, match="cannot be pooled"):
        choose(frames, None, "none")
    with pytest.raises(UnknownNameError):
        choose(frames, "7")
    with pytest.raises(UnknownNameError, match="pooling"):
        choose(frames, None, "max")  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_s", [0.5, 4.0, 1000.0])
def test_batches_change_nothing(batch_s: float) -> None:
    corpus = fakes.make_corpus(9)
    model = fakes.FakeModel(pooled=True)
    found = embed(model, corpus, batch_s=batch_s)
    assert found.ids == tuple(u.id for u in corpus)
    expected = np.stack([_alone(model, u, "embedding")[0] for u in corpus])
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    both = embed(model, corpus, layer="0", pooling="mean+std", batch_s=batch_s)
    frames = [_alone(model, u, "0") for u in corpus]
    expected = np.stack([np.r_[f.mean(axis=0), f.std(axis=0)] for f in frames])
    np.testing.assert_allclose(both.vectors, expected, atol=1e-6)


def test_a_real_encoder_in_batches_and_alone() -> None:
    """Recordings of unequal length: no padding may reach mean, attention or statistics."""
    corpus = [
        Utterance(f"u{n}", s / 16000, {}, lambda s=s, n=n: fakes.noise(s, n))
        for n, s in enumerate((9000, 16000, 9000, 31000, 16001))
    ]
    model = load_model("random:ecapa,channels=16,mfa=48,embed=24")
    together = embed(model, corpus, batch_s=100).vectors
    for at, utterance in enumerate(corpus):
        alone = embed(model, [utterance]).vectors[0]
        np.testing.assert_allclose(together[at], alone, atol=2e-5)
    assert np.linalg.norm(together[0] - together[2]) > 1e-3


def test_crops_are_embedded_beside_the_whole() -> None:
    corpus = [
        Utterance(f"u{n}", s / 16000, {}, lambda s=s, n=n: fakes.noise(s, n))
        for n, s in enumerate((20_000, 100_000))
    ]
    model = fakes.FakeModel(pooled=True)
    found = embed(model, corpus, crops=True)
    assert found.crops is not None
    assert found.crops.shape == (2, 5, 8)
    np.testing.assert_allclose(found.vectors, embed(model, corpus).vectors, atol=1e-7)
    wave = corpus[1].read()
    starts = [0, 12940, 25880, 38820, 51760]
    for crop, start in zip(found.crops[1], starts, strict=True):
        part = replace(corpus[1], read=lambda start=start: wave[start : start + CROP])
        np.testing.assert_allclose(crop, _alone(model, part, "embedding")[0], atol=1e-6)
    short = crops_of(torch.from_numpy(corpus[0].read()))
    assert {len(c) for c in short} == {48240}
    assert torch.equal(short[0][:20_000], short[0][20_000:40_000])


def test_bad_recordings_are_skipped_and_listed() -> None:
    corpus = fakes.make_corpus(6)

    def broken() -> np.ndarray:
        raise AudioError("the file is torn")

    corpus[1] = replace(corpus[1], read=broken)
    corpus[2] = replace(corpus[2], read=lambda: np.zeros(100, dtype=np.float32))
    poisoned = len(corpus[4].read())
    model = fakes.FakeModel(pooled=True, poison=(poisoned, float("nan")))
    frames = embed(model, corpus, layer="1")
    assert frames.ids == ("u000", "u003", "u005")
    assert set(frames.skipped) == {"u001", "u002", "u004"}
    assert "torn" in frames.skipped["u001"]
    assert "too short" in frames.skipped["u002"]
    assert "not finite" in frames.skipped["u004"]
    with pytest.raises(AudioError, match="torn"):
        embed(model, corpus, on_error="stop")
    with pytest.raises(AudioError, match="too short"):
        embed(model, corpus[2:4], layer="1", on_error="stop")
    with pytest.raises(CorpusError, match="no recording"):
        embed(model, corpus[1:3], layer="1")
    with pytest.raises(CorpusError, match="no embedding"):
        frames.of(["u000", "u001"])


def test_a_recording_one_model_cannot_use_stays_with_the_others() -> None:
    corpus = fakes.make_corpus(4)
    poisoned = len(corpus[0].read())
    ill = fakes.FakeModel("ill", pooled=True, poison=(poisoned, float("inf")))
    well = fakes.FakeModel("well", seed=1, pooled=True)
    one, other = embed_all([(ill, choose(ill, "1")), (well, choose(well))], corpus)
    assert set(one.skipped) == {"u000"}
    assert not other.skipped


def test_every_recording_has_its_own_channel() -> None:
    corpus = fakes.make_corpus(5)
    model = fakes.FakeModel(pooled=True)
    heard: list[str] = []

    def channel(name: str):
        heard.append(name)
        return lambda wave: wave * np.float32(1 + int(name[1:]))

    found = embed(model, corpus, channel=channel)
    assert sorted(heard) == [u.id for u in corpus]
    loud = [replace(u, read=lambda u=u, n=n: u.read() * np.float32(1 + n))
            for n, u in enumerate(corpus)]  # fmt: skip
    np.testing.assert_allclose(found.vectors, embed(model, loud).vectors, atol=1e-7)
    assert np.abs(found.vectors[1:] - embed(model, corpus).vectors[1:]).max() > 1e-4


class Counting(fakes.FakeModel):
    def count(self) -> int:
        return len(self.calls)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxstrata.verification.embed.PART_S", 5.0)


def test_kept_embeddings_are_found_again(tmp_path: Path, parts: None) -> None:
    corpus = load_corpus(planted.write_corpus(tmp_path / "c", recordings=12))
    plain = embed(Counting(pooled=True), corpus)
    first = Counting(pooled=True)
    made = embed(first, corpus, cache=tmp_path / "kept")
    (folder,) = (tmp_path / "kept").iterdir()
    files = sorted(folder.glob("part-*.npz"))
    assert len(files) > 2
    files[1].write_bytes(b"torn")
    files[2].unlink()
    second = Counting(pooled=True)
    again = embed(second, corpus, cache=tmp_path / "kept")
    assert 0 < second.count() < first.count() == 12
    third = Counting(pooled=True)
    embed(third, corpus, cache=tmp_path / "kept")
    assert third.count() == 0
    for found in (made, again):
        assert found.ids == plain.ids
        np.testing.assert_array_equal(found.vectors, plain.vectors)


def test_other_settings_are_other_embeddings(tmp_path: Path) -> None:
    corpus = load_corpus(planted.write_corpus(tmp_path / "c", recordings=6))

    def places(model: fakes.FakeModel, **settings) -> int:
        embed(model, settings.pop("corpus", corpus), cache=tmp_path / "kept", **settings)
        return len(list((tmp_path / "kept").iterdir()))

    model = fakes.FakeModel(pooled=True)
    assert places(model) == 1
    assert places(model) == 1
    assert places(model, layer="1") == 2
    assert places(model, layer="1", pooling="mean+std") == 3
    assert places(fakes.FakeModel(pooled=True, seed=1)) == 4
    assert places(model, corpus=corpus.subset(utterances=3)) == 5
    assert places(model, channel=lambda _id: lambda wave: 2 * wave, channel_key="louder") == 6
    assert places(model, crops=True) == 7
    with pytest.raises(UsageError, match="key"):
        embed(model, corpus, cache=tmp_path, channel=lambda _id: lambda wave: wave)
    with pytest.raises(UsageError, match="bare list"):
        embed(model, corpus.utterances, cache=tmp_path)


def test_several_models_read_a_recording_once() -> None:
    reads: list[str] = []

    def counted(utterance: Utterance) -> Utterance:
        def read() -> np.ndarray:
            reads.append(utterance.id)
            return utterance.read()

        return replace(utterance, read=read)

    corpus = [counted(u) for u in fakes.make_corpus(4)]
    models = [fakes.FakeModel(f"m{n}", seed=n, pooled=True) for n in range(3)]
    systems: Sequence[tuple[fakes.FakeModel, Extraction]] = [(m, choose(m)) for m in models]
    done: list[float] = []
    found = embed_all(systems, corpus, advance=done.append)
    assert sorted(reads) == [u.id for u in corpus]
    assert sum(done) == pytest.approx(sum(u.duration_s for u in corpus))
    assert [f.model for f in found] == ["m0", "m1", "m2"]
