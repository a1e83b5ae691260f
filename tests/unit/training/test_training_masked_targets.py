"""Targets: statistics, centres and codes against arrays worked out here; killed and resumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import planted
from voxstrata.config import build
from voxstrata.corpora import load_corpus
from voxstrata.errors import AudioError, ConfigError, CorpusError, StorageError
from voxstrata.frontend import FrontEnd, front_end
from voxstrata.models.load import load_model
from voxstrata.numerics.kmeans import assign
from voxstrata.training.data.items import Item, Items
from voxstrata.training.objective import Context
from voxstrata.training.objectives.masked import recordings, sources, targets
from voxstrata.training.objectives.masked.examples import MaskedExamples
from voxstrata.training.objectives.masked.kind import KIND
from voxstrata.training.objectives.masked.settings import MaskedOptions, TargetsConfig
from voxstrata.training.settings import TrainConfig
from voxstrata.types import FrameGrid, Utterance

CLUSTERS = 7
MODEL = "random:melhubert,layers=2,width=16,heads=2,ffn=32,conv_pos=8,conv_groups=4,clusters=5"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("corpus"), recordings=10, speakers=5)


def _context(corpus: Path, folder: Path, inputs: int = 80, **changes: Any) -> Context:
    values = {
        "name": "small",
        "model": {
            "family": "melhubert",
            "options": {"inputs": inputs, "width": 16, "layers": 2, "heads": 2, "ffn": 32,
                        "conv_pos": 8, "conv_groups": 4, "clusters": CLUSTERS},
        },
        "data": {"corpus": str(corpus), "batch": 4, "workers": 0, **changes},
        "objective": {"name": "masked"},
        "run": {"steps": 4, "device": "cpu"},
    }  # fmt: skip
    config = build(TrainConfig, values)
    loaded = load_corpus(str(corpus))
    repeats = [1 + i % 2 for i in range(len(loaded))]
    items = Items(loaded, config.data.speeds, repeats=repeats)
    front = front_end({40: "melhubert-10ms", 80: "melhubert-20ms"}[inputs])
    said: list[str] = []
    return Context(config, items, front, lambda: torch.nn.Identity(), folder, 4, 2, said.append)


def _options(**changes: Any) -> MaskedOptions:
    given = {"starts": 2, "per_recording": 30, **changes.pop("targets", {})}
    return build(MaskedOptions, {"targets": given, "max_frames": 20, **changes})


def _raw(context: Context) -> list[NDArray[np.float32]]:
    """Raw log-mel frames, from the waveforms."""
    plain = front_end("melhubert-10ms", normalise="none", mean=(), std=())
    made = [torch.from_numpy(u.read())[None] for u in context.items.corpus]
    return [plain(wave)[0].numpy() for wave in made]


def test_statistics_and_codes_are_those_by_hand(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path)
    found = targets.prepare_targets(_options(), context, CLUSTERS)
    raw = _raw(context)
    times = [1 + i % 2 for i in range(len(raw))]
    every = np.concatenate([x for x, n in zip(raw, times, strict=True) for _ in range(n)])
    config: Any = found.front.config
    np.testing.assert_allclose(config.mean, every.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(config.std, every.std(axis=0, dtype=np.float64), rtol=1e-7)
    assert found.centres.shape == (CLUSTERS, 40)
    mean, std = np.float32(config.mean), np.float32(config.std)
    for index, frames in enumerate(raw):
        apart = (((frames - mean) / std)[:, None].astype(np.float64) - found.centres) ** 2
        wanted = apart.sum(axis=2).argmin(axis=1)[::2]  # a code of 20 ms is that of its first half
        assert found.codes(index).tolist() == wanted.tolist()
    counts = np.bincount(np.concatenate([found.codes(i) for i in range(len(raw))]))
    assert found.facts["used"] == (counts > 0).sum()
    assert 0 < found.facts["pnmi"] < 1
    assert found.facts["purity"] > 0.4  # tones are easy
    fits = found.facts["fits"]
    assert [one["seed"] for one in fits] == [0, 1]


def test_frames_of_10_ms_and_speeds(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path, 40, speeds=[1.0, 0.9])
    found = targets.prepare_targets(_options(), context, CLUSTERS)
    assert len(found.recordings) == 2 * len(context.items.corpus)
    for place, item in enumerate(found.recordings.items):
        features = found.front(torch.from_numpy(item.read())[None])[0].numpy()
        assert found.codes(place).tolist() == assign(features, found.centres)[0].tolist()
    for item in context.items:
        same = found.recordings.items[found.recordings.of_item[item.index]]
        assert (same.utterance.id, same.speed) == (item.utterance.id, item.speed)


@pytest.mark.parametrize("inputs", [40, 80])
def test_a_crop_of_features_is_the_features_of_the_crop(
    inputs: int, corpus: Path, tmp_path: Path
) -> None:
    """Bit for bit, with the last frame of an odd number of them too."""
    context = _context(corpus, tmp_path, inputs, speeds=[1.0, 1.1])
    on_disk = targets.prepare_targets(_options(), context, CLUSTERS)
    assert on_disk.features.kept
    computed = targets.prepare_targets(
        _options(targets={"features_gb": 0}), replace(context, folder=tmp_path / "b"), CLUSTERS
    )
    assert not computed.features.kept
    assert np.array_equal(on_disk.centres, computed.centres)
    options, stack, odd = _options(), inputs // 40, 0
    for max_frames in (20, 10_000):
        one = MaskedExamples(on_disk, options.mask, max_frames)
        other = MaskedExamples(computed, options.mask, max_frames)
        for item in context.items:
            for seed in range(3):
                ours = one.make(item, np.random.default_rng(seed))
                theirs = other.make(item, np.random.default_rng(seed))
                for key, value in ours.items():
                    assert np.array_equal(value, theirs[key]), key
            odd += int(on_disk.features.counts[on_disk.recordings.of_item[item.index]] % 2)
            if max_frames > 20:
                whole = on_disk.front(torch.from_numpy(item.read())[None])[0].numpy()
                assert np.array_equal(ours["features"], whole)
                assert ours["seconds"] == pytest.approx(len(whole) * 0.01 * stack)
            else:
                assert ours["features"].shape == (20, inputs)
                assert len(ours["codes"]) == len(ours["mask"]) == 20
    assert odd


class _KilledError(Exception):
    pass


def test_a_killed_run_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PART", 3)
    whole = targets.prepare_targets(_options(), _context(corpus, tmp_path / "a"), CLUSTERS)
    context = _context(corpus, tmp_path / "b")
    for module, name in ((recordings, "_one_part"), (targets, "_assign")):
        calls, real = [0], getattr(module, name)

        def dying(*given: Any, calls: list[int] = calls, real: Any = real) -> None:
            calls[0] += 1
            if calls[0] == 3:
                raise _KilledError
            real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying)
            with pytest.raises(_KilledError):
                targets.prepare_targets(_options(), context, CLUSTERS)
        assert not (tmp_path / "b" / "targets").exists()
        calls[0] = -100  # the rest, counted
        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying)
            patch.setattr(targets, "_make", _stop if module is recordings else targets._make)
            if module is recordings:
                with pytest.raises(_KilledError):
                    targets.prepare_targets(_options(), context, CLUSTERS)
            else:
                found = targets.prepare_targets(_options(), context, CLUSTERS)
        assert calls[0] == -98  # four parts, two were there
    assert np.array_equal(found.centres, whole.centres)
    for index in range(len(whole.recordings)):
        assert np.array_equal(found.codes(index), whole.codes(index))
    assert found.facts == whole.facts


def _stop(*_: Any) -> None:
    raise _KilledError


def test_what_is_there_is_not_computed_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _context(corpus, tmp_path)
    first = targets.prepare_targets(_options(), context, CLUSTERS)
    with monkeypatch.context() as patch:
        patch.setattr(targets, "_make", _stop)
        patch.setattr(recordings, "_one_part", _stop)
        again = targets.prepare_targets(_options(), context, CLUSTERS)
        assert np.array_equal(first.centres, again.centres)
        with pytest.raises(_KilledError):  # other settings
            targets.prepare_targets(_options(targets={"seed": 5}), context, CLUSTERS)
    other = targets.prepare_targets(_options(targets={"seed": 5}), context, CLUSTERS)
    assert not np.array_equal(first.centres, other.centres)


def test_targets_of_another_run(corpus: Path, tmp_path: Path) -> None:
    first = targets.prepare_targets(_options(), _context(corpus, tmp_path / "a"), CLUSTERS)
    shared = _options(targets={"folder": str(tmp_path / "a")})
    context = _context(corpus, tmp_path / "b")
    taken = targets.prepare_targets(shared, context, CLUSTERS)
    assert taken.front.fingerprint == first.front.fingerprint
    assert all(np.array_equal(taken.codes(i), first.codes(i)) for i in range(10))
    assert not (tmp_path / "b" / "targets").exists()
    with pytest.raises(ConfigError, match="clusters: 7 there, 8 here"):
        targets.prepare_targets(shared, context, 8)
    with pytest.raises(ConfigError, match="stack: 2 there, 1 here"):
        targets.prepare_targets(shared, _context(corpus, tmp_path / "c", 40), CLUSTERS)
    with pytest.raises(ConfigError, match="holds no targets"):
        KIND.check(_options(targets={"folder": str(tmp_path)}), context.config, context.items)
    (tmp_path / "a" / "targets" / "codes.npz").write_bytes(b"PK broken")
    with pytest.raises(StorageError, match="damaged"):
        targets.prepare_targets(shared, context, CLUSTERS)


def test_codes_of_a_layer(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path, 40)  # 10 ms, while the model has 20 ms
    options = _options(targets={"model": MODEL, "layer": "1"})
    found = targets.prepare_targets(options, context, CLUSTERS)
    model = load_model(MODEL)
    for index, utterance in enumerate(context.items.corpus):
        wave = utterance.read()
        (made,) = model.encode([wave], ["1"])
        codes = assign(made["1"].numpy(), found.centres)[0]
        frames = np.arange(len(found.codes(index)))
        # Frames 2t and 2t + 1 lie 80 samples before and behind the centre of frame t.
        wanted = codes[np.minimum(frames // 2, len(codes) - 1)]
        assert (found.codes(index) == wanted).mean() > 0.99  # batched and alone differ by 1e-6
    with pytest.raises(Exception, match="layer of model"):
        targets.prepare_targets(_options(targets={"model": MODEL, "layer": "9"}), context, CLUSTERS)


@dataclass(frozen=True)
class _Wave:
    samples: NDArray[np.float32]

    def __call__(self) -> NDArray[np.float32]:
        return self.samples


def test_recordings_that_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path)
    broken = {2: np.zeros(9_000, dtype=np.float32), 3: np.ones(399, dtype=np.float32)}

    class Spoilt(Items):
        def __getitem__(self, index: int) -> Item:  # type: ignore[override]
            item = super().__getitem__(index)
            place = int(item.utterance.id[1:])
            if place in broken:
                return replace(item, utterance=replace(item.utterance, read=_Wave(broken[place])))
            return item

    items = Spoilt(context.items.corpus)
    found = targets.prepare_targets(_options(), replace(context, items=items), CLUSTERS)
    assert set(found.facts["unusable"]) == {"r02", "r03"}
    assert "digital silence" in found.facts["unusable"]["r02"]
    assert len(found.codes(2)) == len(found.codes(3)) == 0
    made = MaskedExamples(found, _options().mask, 20)
    with pytest.raises(AudioError, match="399 samples"):
        made.make(items[3], np.random.default_rng(0))
    made.make(items[4], np.random.default_rng(0))
    with pytest.raises(CorpusError, match="too small for 5000 clusters"):
        targets.prepare_targets(_options(), replace(context, folder=tmp_path / "x"), 5_000)


def test_mixing_changes_the_input_alone(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path)
    plain = KIND.examples(_options(max_frames=60), context)
    mixing = {"probability": 0.5, "noise": 0.0}
    noisy = KIND.examples(_options(max_frames=60, mixing=mixing), context)
    shares = []
    for item in context.items:
        for seed in range(6):
            ours = plain.make(item, np.random.default_rng([seed, item.index]))
            theirs = noisy.make(item, np.random.default_rng([seed, item.index]))
            for key in ("codes", "mask", "seconds", "item"):
                assert np.array_equal(ours[key], theirs[key]), key
            shares.append((ours["features"] != theirs["features"]).any(axis=1).mean())
    assert np.mean(np.array(shares) > 0) == pytest.approx(0.5, abs=0.2)
    # Half of the crop at most, and the frames that reach into it.
    assert max(shares) <= 0.5 + 3 / 60
    assert max(shares) > 0.25


def test_nearest_frames_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        one = FrameGrid(
            int(rng.integers(1, 400)), int(rng.integers(1, 900)), int(rng.integers(-300, 300))
        )
        two = FrameGrid(
            int(rng.integers(1, 400)), int(rng.integers(1, 900)), int(rng.integers(-300, 300))
        )
        found = sources.nearest_frames(one, 9, two, 12)
        for frame, place in enumerate(found):
            apart = [abs(two.centre2(frame) - one.centre2(i)) for i in range(9)]
            assert place == int(np.argmin(apart))


def test_front_ends_whose_crops_differ_are_refused(corpus: Path, tmp_path: Path) -> None:
    context = _context(corpus, tmp_path)
    for changes in ({"front_end": "wespeaker"}, {"front_end_options": {"normalise": "mean"}}):
        model = context.config.model.model_copy(update=changes)
        config = context.config.model_copy(update={"model": model})
        with pytest.raises(ConfigError, match="cannot be trained on the front end"):
            KIND.check(_options(), config, context.items)
    with pytest.raises(CorpusError, match="too short"):
        KIND.check(_options(mask={"length": 500}), context.config, context.items)


def test_other_features_as_targets(corpus: Path, tmp_path: Path) -> None:
    """Log-mel frames normalised by recording and with their neighbours are clustered; what the
    network sees stays."""
    context = _context(corpus, tmp_path)
    changes = {"normalise": "instance", "mean": [], "std": []}
    found = targets.prepare_targets(
        _options(targets={"front_end_options": changes, "context": 1}), context, CLUSTERS
    )
    own: FrontEnd = front_end("melhubert-10ms", normalise="instance", mean=(), std=())
    utterance: Utterance = context.items.corpus.utterances[4]
    frames = own(torch.from_numpy(utterance.read())[None])[0].numpy()
    before, behind = np.vstack([frames[:1], frames[:-1]]), np.vstack([frames[1:], frames[-1:]])
    joined = np.hstack([before, frames, behind])
    assert found.codes(4).tolist() == assign(joined, found.centres)[0][::2].tolist()
    config: Any = found.front.config
    assert (config.normalise, config.stack) == ("global", 2)


def test_frames_of_a_layer_may_be_normalised_and_joined() -> None:
    model = load_model(MODEL)
    rng = np.random.default_rng(0)
    waves = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (9000, 16000)]
    plain = sources.ModelSource(model, "1").rows(waves)
    found = sources.ModelSource(model, "1", "instance", 1).rows(waves)
    for frames, made in zip(plain, found, strict=True):
        z = (frames - frames.mean(0)) / np.sqrt(frames.var(0) + 1e-5)
        assert made.shape == (len(z), 3 * z.shape[1])
        np.testing.assert_allclose(made[1:-1, : z.shape[1]], z[:-2], atol=1e-4)
        np.testing.assert_allclose(made[:, z.shape[1] : -z.shape[1]], z, atol=1e-4)
        np.testing.assert_allclose(made[-1, -z.shape[1] :], z[-1], atol=1e-4)
    digests = {
        sources.ModelSource(model, "1", how, n).fingerprint
        for how in ("none", "mean", "instance")
        for n in (0, 1)
    }
    assert len(digests) == 6
    with pytest.raises(ValueError, match="layers of a model"):
        TargetsConfig(normalise="mean")
