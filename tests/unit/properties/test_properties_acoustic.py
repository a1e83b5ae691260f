"""Acoustic properties: planted truth, independent regressions, and log-mel against itself."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.corpora import load_corpus
from voxstrata.errors import UsageError
from voxstrata.models.load import load_model
from voxstrata.properties.property import SHUFFLED, Property, Score, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views import acoustic
from voxstrata.streaming.stack import StackLayer, build_stack
from voxstrata.streaming.unit_pooled import PooledFrames
from voxstrata.types import FrameGrid, LayerInfo, Segment, Utterance

CONFIG = PropertiesConfig(models=("m",), corpus="c")
GRID = FrameGrid(160, 400)


def _layer(model: str, name: str, width: int) -> StackLayer:
    return StackLayer(0, model, LayerInfo(name, width, "frame", GRID))


def _planted(
    n: int = 1500, folds: int = 5, *, noise: float = 0.5, voiced: float = 0.6, seed: int = 0
) -> Sample:
    """A layer of 12 numbers that holds F0 of voiced frames, in a random direction, under noise."""
    rng = np.random.default_rng(seed)
    f0 = rng.normal(7.2, 0.4, n)
    voicing = (rng.random(n) < voiced).astype(float)
    shown = np.where(voicing == 1, (f0 - 7.2) / 0.4, rng.normal(0, 30, n))
    mixing = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    parts = rng.standard_normal((n, 12))
    parts[:, 0] = shown + noise * rng.standard_normal(n)
    corpus = [Utterance(f"u{i}", 1.0, {"speaker": f"s{i}"}) for i in range(folds * 2)]
    owner = rng.integers(0, len(corpus), n)
    layers = [
        _layer("m", "1", 12),
        _layer("acoustic", "f0", 1),
        _layer("acoustic", "voicing", 1),
        _layer("acoustic", "energy", 1),
    ]
    values = [parts @ mixing, f0[:, None], voicing[:, None], parts[:, 1:2] * 3 - 40]
    return sample_of(
        values,
        layers=layers,
        utterances={u.id: u for u in corpus},
        utterance=[corpus[i].id for i in owner],
        fold=(owner % folds).tolist(),
        unit="frame",
    )


def _scores(one: Property, sample: Sample, at: int = 0, **changes: Any) -> dict[str, Score]:
    """Main measure and its control."""
    draw = one.draw(sample, CONFIG.model_copy(update=changes), 3)
    found = draw.score(sample.read(at), sample.layers[at])
    return {s.control: s for s in found if s.measure == one.main}


def _held_out_correlation(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> float:
    """Mean over folds of the correlation of y with its least-squares prediction from the others."""
    found = []
    for f in np.unique(fold):
        train = fold != f
        design = np.column_stack([np.ones(train.sum()), x[train]])
        weights = np.linalg.lstsq(design, y[train], rcond=None)[0]
        guess = np.column_stack([np.ones((~train).sum()), x[~train]]) @ weights
        found.append(np.corrcoef(guess, y[~train])[0, 1])
    return float(np.mean(found))


def test_f0_is_the_multiple_correlation_over_voiced_frames() -> None:
    sample = _planted()
    rows = sample.read(2)[:, 0].numpy() == 1
    found = _scores(acoustic.f0(""), sample)
    x, y = (sample.read(i).double().numpy()[rows] for i in (0, 1))
    expected = _held_out_correlation(x, y[:, 0], sample.fold[rows])
    assert found[""].value == pytest.approx(expected, abs=1e-9)
    assert found[""].value == pytest.approx(1 / np.sqrt(1.25), abs=0.03)  # the planted one
    assert found[""].n == rows.sum()
    assert found[""].groups == 10
    assert abs(found[SHUFFLED].value) < 0.1
    assert found[""].error is not None


def test_voiceless_frames_would_spoil_f0() -> None:
    """They hold rubbish here: the level of all frames is found, their pitch is not."""
    sample = _planted()
    everything = acoustic.FrameView(
        "x", "x", "acoustic", "frame", "pwcca", helper="acoustic", layer="f0"
    )
    assert _scores(everything, sample)[""].value < 0.3
    assert _scores(acoustic.energy(""), sample)[""].value > 0.999


def test_rows_that_mix_voiced_and_voiceless_frames_are_left_out() -> None:
    sample = _planted(200)
    voicing = sample.read(2)
    voicing[:40] = 0.5  # pooled from one of each
    rows = acoustic.voiced_rows(sample)
    assert rows.min() >= 40
    assert (voicing[rows] == 1).all()
    draw = acoustic.f0("").draw(sample, CONFIG, 0)
    assert draw.facts["voiced_share"] == len(rows) / 200
    voicing[:] = 0
    with pytest.raises(TooFewError, match="voiced"):
        acoustic.f0("").draw(sample, CONFIG, 0)


def test_a_layer_that_knows_nothing_scores_nothing() -> None:
    sample = _planted(4000)
    blank = torch.randn(4000, 12)
    draw = acoustic.f0("").draw(sample, CONFIG, 0)
    value = next(s for s in draw.score(blank, sample.layers[0]) if s.measure == "pwcca").value
    assert abs(value) < 0.08


@lru_cache(maxsize=1)
def _encoded(shared: Path) -> tuple[list[Utterance], list[StackLayer], list[list[torch.Tensor]]]:
    corpus = load_corpus(str(shared / "data" / "librispeech_test_other")).utterances[::10]
    models = [load_model("log-mel"), load_model("acoustic")]
    stack = build_stack(models, None)
    outputs = []
    for utterance in corpus:
        found: dict[str, torch.Tensor] = {}
        for model in models:
            names = [info.name for info in model.layers]
            found.update(model.encode([utterance.read()], names)[0])
        outputs.append([found[layer.info.name] for layer in stack])
    return list(corpus), stack, outputs


def _recorded(shared: Path, stride: int, limit: int, rule: str = "centre") -> Sample:
    """Real speech through log-mel and the acoustic model, pooled to one grid."""
    corpus, stack, encoded = _encoded(shared)
    unit = PooledFrames(stride, limit, rule=rule)  # type: ignore[arg-type]
    unit.prepare(corpus, 0)
    values: list[list[torch.Tensor]] = [[] for _ in stack]
    names, fold, starts = [], [], []
    for number, (utterance, outputs) in enumerate(zip(corpus, encoded, strict=True)):
        rows = unit.rows(utterance, outputs, stack)
        for held, value in zip(values, rows.values, strict=True):
            held.append(value)
        names += [utterance.id] * len(rows)
        fold += [number % 5] * len(rows)
        starts += rows.start_s
    return sample_of(
        [torch.cat(held) for held in values],
        layers=stack,
        utterances={u.id: u for u in corpus},
        utterance=names,
        fold=fold,
        start_s=starts,
        unit="frame",
    )


@pytest.mark.parametrize("stride", [160, 320])
@pytest.mark.parametrize("rule", ["centre", "pasad2023"])
def test_log_mel_knows_itself(shared: Path, stride: int, rule: str) -> None:
    sample = _recorded(shared, stride, 2000, rule)
    one = acoustic.mel("")
    found = _scores(one, sample, 0)
    assert found[""].value == pytest.approx(1, abs=1e-6)
    assert found[SHUFFLED].value < 0.2
    assert (found[""].d, found[""].other_d) == (80, 80)
    # Rotated and scaled in float32, as a layer might hold it.
    turned = sample.read(0) @ torch.linalg.qr(torch.randn(80, 80))[0] * 7
    scores = one.draw(sample, CONFIG, 0).score(turned, sample.layers[0])
    assert next(s.value for s in scores if s.measure == "pwcca") == pytest.approx(1, abs=2e-5)
    # With principal components of both sides, as the small scale takes them.
    reduced = _scores(one, sample, 0, pca=20)[""]
    assert reduced.value == pytest.approx(1, abs=1e-6)
    assert reduced.other_d == 20


def test_what_log_mel_knows_of_recordings(shared: Path) -> None:
    sample = _recorded(shared, 320, 3000)
    level, slope, pitch = (
        _scores(one(""), sample, 0) for one in (acoustic.energy, acoustic.tilt, acoustic.f0)
    )
    assert level[""].value > 0.8
    assert slope[""].value > 0.9
    # 80 mel bands resolve the harmonics of high voices in part.
    assert 0.3 < pitch[""].value < 0.98
    for found in (level, slope, pitch):
        assert abs(found[SHUFFLED].value) < 0.2


def test_speaking_rate() -> None:
    spans = (
        Segment(0.0, 0.5, "SIL"),
        Segment(0.5, 0.6, "AA"),
        Segment(0.6, 0.8, "B"),
        Segment(0.8, 1.2, "SIL"),
        Segment(1.2, 1.5, "AA"),
        Segment(1.5, 3.0, "SIL"),
    )
    utterance = Utterance("u", 3.0, {"phones": spans})
    assert acoustic.speaking_rate(utterance) == pytest.approx(3 / 1.0)
    assert np.isnan(acoustic.speaking_rate(Utterance("u", 3.0, {"phones": spans[:2]})))
    assert np.isnan(acoustic.speaking_rate(Utterance("u", 3.0, {})))


def test_speaking_rate_of_recordings() -> None:
    rng = np.random.default_rng(0)
    corpus, rates = [], []
    for number in range(300):
        rate = rng.uniform(8, 18)
        edges = 0.2 + np.arange(21) / rate
        spans = [Segment(a, b, "AA") for a, b in pairwise(edges)]
        tiers = {"phones": tuple(spans)} if number % 10 else {}
        corpus.append(Utterance(f"u{number}", 3.0, tiers))
        rates.append(rate)
    layer = rng.standard_normal((300, 6))
    layer[:, 2] += np.array(rates)
    sample = sample_of(
        [layer],
        layers=[_layer("m", "1", 6)],
        utterances={u.id: u for u in corpus},
        utterance=[u.id for u in corpus],
        fold=[i % 5 for i in range(300)],
        unit="utterance",
    )
    one = acoustic.rate("")
    assert not one.missing(_Holding(corpus), CONFIG)  # type: ignore[arg-type]
    assert "phones" in one.missing(_Holding(corpus[:1]), CONFIG)  # type: ignore[arg-type]
    draw = one.draw(sample, CONFIG, 0)
    assert draw.facts["without_phones"] == 30
    found = {s.control: s for s in draw.score(sample.read(0), sample.layers[0])}
    has = np.array([bool(u.tiers) for u in corpus])
    expected = _held_out_correlation(layer[has], np.array(rates)[has], sample.fold[has])
    scores = _scores(one, sample)
    # The layer is kept in float32.
    assert scores[""].value == pytest.approx(expected, abs=1e-5)
    assert scores[""].n == 270
    assert abs(found[SHUFFLED].value) < 0.3
    with pytest.raises(TooFewError, match="speaking rate"):
        one.draw(_planted(50), CONFIG, 0)


class _Holding:
    """A corpus as far as a property looks at one."""

    def __init__(self, utterances: list[Utterance]) -> None:
        self.utterances = utterances


def test_helpers_and_refusals() -> None:
    asked = {
        one("").name: tuple(one("").helpers(CONFIG))
        for one in (acoustic.mel, acoustic.f0, acoustic.energy, acoustic.tilt, acoustic.rate)
    }
    assert asked == {
        "cca-mel": ("log-mel",),
        "cca-f0": ("acoustic",),
        "cca-energy": ("acoustic",),
        "cca-tilt": ("acoustic",),
        "speaking-rate": (),
    }
    for make in (acoustic.mel, acoustic.rate):
        with pytest.raises(UsageError, match="takes no argument"):
            make("x")
    sample = _planted(100)
    with pytest.raises(UsageError, match="lacks the layer 'logmel'"):
        acoustic.mel("").draw(sample, CONFIG, 0)
    with pytest.raises(TooFewError, match="too few"):
        acoustic.energy("").draw(_planted(12), CONFIG, 0)
    # Helpers exist, and have the layers that views are read from.
    for model, layer in (("log-mel", "logmel"), ("acoustic", "f0"), ("acoustic", "tilt")):
        assert layer in [info.name for info in load_model(model).layers]


def test_draws_are_seeded() -> None:
    sample = _planted(400)
    one = acoustic.energy("")
    values = [
        [s.value for s in one.draw(sample, CONFIG, seed).score(sample.read(0), sample.layers[0])]
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]  # other rows in the control
