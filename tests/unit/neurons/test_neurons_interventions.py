"""Interventions on neuron sets: activity, kinds, controls, effects, folders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from voxstrata.errors import ModelError, NumericsError, UnknownNameError, UsageError
from voxstrata.errors import VoxstrataWarning as Warned
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.load import load_model
from voxstrata.models.neurons import feed_forwards, neuron_layers
from voxstrata.neurons.interventions.activity import Activity, ActivityReducer, measure, value_norms
from voxstrata.neurons.interventions.effects import effects
from voxstrata.neurons.interventions.intervene import by_group, intervene, save_intervention
from voxstrata.neurons.interventions.matched import match_quality, matched, matched_sets
from voxstrata.neurons.sets import NeuronSet, load_set, neuron_set
from voxstrata.streaming.reducers import Rows
from voxstrata.types import Utterance

MELHUBERT = "random:melhubert,width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"
ECAPA = "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8,seed=1"
FIRST, SECOND, THIRD = (f"block.{i}.ffn.inner" for i in (1, 2, 3))


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    maker = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(samples, generator=maker)


def speech(*lengths: int) -> list[Utterance]:
    return [
        Utterance(f"u{i}", n / 16000, read=lambda n=n, i=i: noise(n, i).numpy())  # type: ignore[misc]
        for i, n in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return load_model(MELHUBERT)


@pytest.fixture(scope="module")
def activity(model: SpeechModel) -> Activity:
    return measure(model, speech(9000, 16000, 5000, 9000), pool=40, seed=1)


@pytest.fixture(scope="module")
def neurons(model: SpeechModel) -> NeuronSet:
    layers = {FIRST: (3, 5, 8, 20), SECOND: (), THIRD: (0, 39)}
    groups = {"F": {FIRST: (3, 5)}, "M": {FIRST: (8, 20), THIRD: (0, 39)}, "none": {}}
    return neuron_set("speaker", model, layers, groups=groups, details={"sigma": 0.8})


def test_means_are_over_all_frames(model: SpeechModel, activity: Activity) -> None:
    lengths = (9000, 16000, 5000, 9000)
    names = [info.name for info in neuron_layers(model)]
    outputs = [model.encode([noise(n, i)], names)[0] for i, n in enumerate(lengths)]
    assert activity.recordings == 4
    for name in names:
        whole = torch.cat([found[name] for found in outputs]).double()
        assert activity.frames == len(whole)
        assert np.allclose(activity.mean[name], whole.mean(0), rtol=0, atol=1e-6)
        assert np.allclose(activity.size[name], whole.abs().mean(0), rtol=0, atol=1e-6)
        # Frames of the pool are frames of the corpus, the same ones in every layer.
        distance = torch.cdist(activity.pool[name].double(), whole)
        assert float(distance.min(1).values.max()) < 1e-4
        places = distance.argmin(1)
        assert len(set(places.tolist())) == 40
        if name == names[0]:
            first = places
        assert torch.equal(places, first)


def _reduced(parts: list[list[tuple[str, torch.Tensor]]], seed: int = 3) -> Any:
    reducers = []
    for part in parts:
        reducer = ActivityReducer(["a"], pool=16, seed=seed)
        for name, value in part:
            spans = [0.0] * len(value)
            reducer.update(Rows(name, 0, [value], spans, spans))
        again = ActivityReducer(["a"], pool=16, seed=seed)
        tensors, facts = reducer.state()
        again.restore(tensors, facts)
        reducers.append(again)
    for other in reducers[1:]:
        reducers[0].merge(other)
    return reducers[0].frames, *reducers[0].finish()


def test_sample_does_not_depend_on_order_or_division() -> None:
    rows = [(f"u{i}", torch.randn(20 + i, 6, generator=_seeded(i))) for i in range(9)]
    count, mean, size, pool = _reduced([rows])
    assert count == sum(len(value) for _, value in rows)
    for other in ([rows[::-1]], [rows[:4], rows[4:]], [rows[5:], [], rows[:5]]):
        if other[1:] and not other[1]:
            other = [other[0], other[2]]
        n, m, s, p = _reduced(other)
        assert n == count
        assert np.allclose(m["a"], mean["a"], atol=1e-12)
        assert np.allclose(s["a"], size["a"], atol=1e-12)
        assert torch.equal(p["a"], pool["a"])
    assert not torch.equal(_reduced([rows], seed=4)[3]["a"], pool["a"])


def test_sample_is_uniform_over_frames() -> None:
    """Frames of long and short recordings are drawn alike (chi-square over recordings)."""
    lengths = [10, 20, 40, 80]
    drawn = np.zeros(4)
    for seed in range(60):
        rows = [(f"u{i}", torch.full((n, 1), float(i))) for i, n in enumerate(lengths)]
        found = _reduced([rows], seed=seed)[3]["a"]
        drawn += np.bincount(found[:, 0].long().numpy(), minlength=4)
    expected = drawn.sum() * np.array(lengths) / sum(lengths)
    assert chisquare(drawn, expected).pvalue > 0.01


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kinds(model: SpeechModel, activity: Activity, neurons: NeuronSet) -> None:
    wave = noise(12000, 9)
    before = model.encode([wave], [FIRST, THIRD, "3"])[0]
    for kind, rest in (
        ("erase", {}),
        ("mean", {"activity": activity}),
        ("scale", {"factor": 2.0}),
        ("resample", {"activity": activity, "seed": 4}),
    ):
        edited = intervene(model, neurons, kind, **rest)  # type: ignore[arg-type]
        found = edited.encode([wave], [FIRST, THIRD, "3"])[0]
        assert (found["3"] - before["3"]).abs().max() > 1e-3 * before["3"].abs().max()
        own = found[FIRST][:, [3, 5, 8, 20]]
        if kind == "erase":
            assert not own.any()
        elif kind == "mean":
            assert torch.equal(own[0].double(), own[-1].double())
            assert np.allclose(own[0], activity.mean[FIRST][[3, 5, 8, 20]], rtol=1e-6)
        elif kind == "scale":
            assert torch.equal(own, 2 * before[FIRST][:, [3, 5, 8, 20]])
        else:
            pool = activity.pool[FIRST][:, [3, 5, 8, 20]]
            assert all((pool == row).all(1).any() for row in own)
        assert kind in edited.spec
        assert edited.details["edited"]["neurons"] == {FIRST: 4, THIRD: 2}


def test_groups_are_changed_one_by_one(model: SpeechModel, neurons: NeuronSet) -> None:
    found = by_group(model, neurons, "erase")
    assert {name: dict(e.edit.neurons) for name, e in found.items()} == {
        "F": {FIRST: (3, 5)},
        "M": {FIRST: (8, 20), THIRD: (0, 39)},
    }
    with pytest.raises(UsageError, match="which group"):
        by_group(model, replace(neurons, groups={}), "erase")


def test_value_norms(model: SpeechModel) -> None:
    norms = value_norms(model)
    part = feed_forwards(model)[1]
    by_hand = [float(part.down.weight[:, i].square().sum().sqrt()) for i in range(40)]
    assert np.allclose(norms[SECOND], by_hand, rtol=1e-6)
    assert set(value_norms(load_model(ECAPA))["block1"]) == {1.0}


@pytest.mark.filterwarnings("ignore:the controls of")  # six neurons of 120 find no true peers
@pytest.mark.parametrize("kind", ["random", "norm"])
def test_controls_have_the_size_and_not_the_neurons(
    model: SpeechModel, activity: Activity, neurons: NeuronSet, kind: Any
) -> None:
    other = replace(neurons, layers={FIRST: (1, 2), SECOND: (4,), THIRD: ()}, groups={})
    found = matched_sets(neurons, model, activity, kind, many=6, seed=2, exclude=[other])
    assert len({tuple(sorted(s.layers.items())) for s in found}) > 4
    for control in found:
        assert control.counts() == neurons.counts()
        assert len(control.intersect(neurons)) == len(control.intersect(other)) == 0
        assert control.details["control"] == kind
        assert set(control.details["match"]) == {FIRST, THIRD}
        intervene(model, control, "erase")
    again = matched(neurons, model, activity, kind, 2, exclude=[other])
    assert again.layers == found[0].layers


def test_random_controls_are_uniform(model: SpeechModel) -> None:
    one = neuron_set("one", model, {FIRST: (7,)})
    drawn = [matched(one, model, seed=seed).of(FIRST)[0] for seed in range(1200)]
    counts = np.bincount(drawn, minlength=40)
    assert counts[7] == 0
    assert chisquare(np.delete(counts, 7)).pvalue > 0.01


def test_norm_controls_follow_the_distribution(model: SpeechModel) -> None:
    """A set of heavy neurons among weights spread over decades: matched controls are as heavy,
    random ones are not; where all heavy neurons are in the set, a warning says so."""
    generator = np.random.default_rng(0)
    wide = load_model(MELHUBERT.replace("ffn=40", "ffn=600"))
    norms = value_norms(wide)[FIRST]
    weights = np.exp(generator.normal(size=600) * 1.5)
    size = {FIRST: weights / norms}
    known = Activity(wide.spec, wide.fingerprint, 1, {}, size, {}, 1)
    heavy = np.argsort(weights)[300:]
    chosen = tuple(sorted(int(i) for i in generator.permutation(heavy)[:60]))
    neurons = neuron_set("heavy", wide, {FIRST: chosen})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = [
            matched(neurons, wide, known, "norm", seed).details["match"][FIRST] for seed in range(5)
        ]
    for fit in fits:
        assert abs(fit["difference_sd"]) < 0.1
        assert fit["ks"] < 0.15
        assert fit["set"] == pytest.approx(weights[list(chosen)].mean())
    plain = matched(neurons, wide, known, "random", 0).details["match"][FIRST]
    assert plain["ks"] > 0.35
    heaviest = tuple(sorted(int(i) for i in np.argsort(weights)[-60:]))
    with pytest.warns(Warned, match="does not take away as much"):
        matched(neuron_set("top", wide, {FIRST: heaviest}), wide, known, "norm", 0)


def test_partners_are_near_where_there_are_any(model: SpeechModel) -> None:
    """Four neurons each of weight 1, 2, 4, ...: none but its equals is within the caliper."""
    weights = np.repeat(2.0 ** np.arange(10), 4)
    size = {FIRST: weights / value_norms(model)[FIRST]}
    known = Activity(model.spec, model.fingerprint, 1, {}, size, {}, 1)
    neurons = neuron_set("s", model, {FIRST: (0, 5, 22, 39)})
    found = [matched(neurons, model, known, "norm", seed).of(FIRST) for seed in range(6)]
    assert {tuple(i // 4 for i in own) for own in found} == {(0, 1, 5, 9)}
    assert len(set(found)) > 3


def test_match_quality() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 10.0])
    found = match_quality(a, b)
    assert found["set"] == 2.5
    assert found["control"] == 4.0
    assert found["difference_sd"] == pytest.approx(1.5 / np.std(a, ddof=1))
    assert found["ks"] == 0.25
    assert match_quality(a[:1], b[:1])["difference_sd"] is None


def test_effects_stand_beside_controls(model: SpeechModel, neurons: NeuronSet) -> None:
    """The measure counts zeroed neurons of one layer; a control of one neuron less has less."""
    controls = matched_sets(neurons, model, many=3)
    fewer = [
        replace(control, layers={**control.layers, FIRST: control.of(FIRST)[:-1]})
        for control in controls
    ]

    def measure_of(one: SpeechModel) -> Mapping[str, float]:
        found = one.encode([noise(9000)], [FIRST, THIRD])[0]
        return {n: float((found[n] != 0).any(0).sum()) for n in (FIRST, THIRD)}

    table = effects(
        measure_of,
        model,
        {"all": intervene(model, neurons, "erase"), **by_group(model, neurons, "erase")},
        {"all": [intervene(model, one, "erase") for one in fewer]},
    ).set_index(["intervention", "measure"])
    assert list(table.loc[("all", FIRST)][["intact", "after", "effect"]]) == [40, 36, 4]
    row = table.loc[("all", FIRST)]
    assert list(row[["controls", "control_effect", "control_sd", "beyond"]]) == [3, 3, 0, 1]
    assert row["p"] == 0.25
    assert table.loc[("all", THIRD)]["p"] == 1.0
    assert table.loc[("F", FIRST)]["effect"] == 2
    assert table.loc[("F", THIRD)]["effect"] == 0
    assert table.loc[("M", FIRST)]["controls"] == 0
    with pytest.raises(UsageError, match="not there"):
        effects(measure_of, model, {}, {"all": []})
    with pytest.raises(NumericsError, match="not finite"):
        effects(lambda _m: {"x": float("nan")}, model, {})


def test_saved_interventions_load(
    model: SpeechModel, activity: Activity, neurons: NeuronSet, tmp_path: Path
) -> None:
    for kind in ("erase", "resample"):
        edited = intervene(model, neurons, kind, activity=activity)  # type: ignore[arg-type]
        assert save_intervention(edited, neurons, tmp_path / kind) == []
        again = load_model(tmp_path / kind)
        assert again.fingerprint == edited.fingerprint
        assert again.details["edited"]["made"]["found"] == {"sigma": 0.8}
        assert load_set(tmp_path / kind / "set.json") == neurons
        with pytest.raises(UsageError, match="not an empty folder"):
            save_intervention(edited, neurons, tmp_path / kind)
    edited = intervene(model, neurons, "erase")
    save_intervention(edited, neurons, tmp_path / "weights", as_weights=True)
    assert load_model(tmp_path / "weights").family == "melhubert"
    # An edit on top of an edit: refused while in memory, fine once saved.
    on_top = neuron_set("more", edited, {SECOND: (1, 2)})
    twice = intervene(edited, on_top, "erase")
    with pytest.raises(ModelError, match="in memory only"):
        save_intervention(twice, on_top, tmp_path / "twice")
    saved = load_model(tmp_path / "erase")
    twice = intervene(saved, replace(on_top, fingerprint=saved.fingerprint), "erase")
    save_intervention(twice, on_top, tmp_path / "twice")
    found = load_model(tmp_path / "twice")
    assert isinstance(found, EditedModel)
    assert found.fingerprint == twice.fingerprint
    wave = [noise(9000)]
    expected = intervene(
        model, replace(neurons, layers={**neurons.layers, SECOND: (1, 2)}), "erase"
    )
    assert torch.equal(found.encode(wave, ["3"])[0]["3"], expected.encode(wave, ["3"])[0]["3"])


def test_channels_of_a_speaker_encoder(tmp_path: Path) -> None:
    encoder = load_model(ECAPA)
    neurons = neuron_set("channels", encoder, {"block2": (0, 4), "mfa": (5, 40)})
    known = measure(encoder, speech(9000, 16000), pool=30)
    control = matched(neurons, encoder, known, "norm")
    assert control.counts() == {"block2": 2, "mfa": 2}
    wave = noise(9000, 3)
    top = encoder.encode([wave], ["embedding"])[0]["embedding"]
    for kind in ("erase", "mean", "resample"):
        edited = intervene(encoder, neurons, kind, activity=known)  # type: ignore[arg-type]
        save_intervention(edited, neurons, tmp_path / kind)
        again = load_model(tmp_path / kind).encode([wave], ["embedding", "mfa"])[0]
        assert (again["embedding"] - top).abs().max() > 1e-4
        assert torch.equal(again["mfa"], edited.encode([wave], ["mfa"])[0]["mfa"])


def test_bad_input(model: SpeechModel, activity: Activity, neurons: NeuronSet) -> None:
    other = load_model(MELHUBERT + ",seed=5")
    with pytest.raises(ModelError, match="another model"):
        intervene(other, neurons, "erase")
    with pytest.raises(ModelError, match="measured in another model"):
        intervene(model, neurons, "mean", activity=replace(activity, fingerprint="x"))
    with pytest.raises(UsageError, match=r"needs to know(.|\n)*--corpus"):
        intervene(model, neurons, "mean")
    with pytest.raises(UnknownNameError, match="erase"):
        intervene(model, neurons, "eras")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is empty"):
        intervene(model, neuron_set("none", model, {FIRST: ()}), "erase")
    with pytest.raises(UsageError, match="was not measured"):
        intervene(model, neurons, "mean", activity=replace(activity, mean={}))
    most = neuron_set("most", model, {FIRST: range(21)})
    with pytest.raises(UsageError, match=r"too few other neurons(.|\n)*19 others, 21 wanted"):
        matched(most, model)
    with pytest.raises(UsageError, match="needs to know how active"):
        matched(neurons, model, kind="norm")
    with pytest.raises(UnknownNameError, match="norm"):
        matched(neurons, model, kind="norms")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="measured in another model"):
        matched(neurons, model, replace(activity, fingerprint="x"), "norm")
