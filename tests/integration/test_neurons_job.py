"""The neurons job whole: planted neurons are found, runs resume, what is wrong is told."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

import ivectors_made
import killable
import neurons_planted
from neurons_planted import LAYERS, MEN, WIDTH, WOMEN
from neurons_spoken import write
from voxstrata.cli import app, commands
from voxstrata.corpora import load_corpus
from voxstrata.errors import (
    ConfigError,
    LabelError,
    ModelError,
    ResultsError,
    UnknownNameError,
    UsageError,
    VoxstrataError,
)
from voxstrata.models import load_model
from voxstrata.neurons import prepare as preparing
from voxstrata.neurons.conditions.vectors import vector_clusters
from voxstrata.neurons.job import NEURONS, run_neurons
from voxstrata.neurons.sets import load_set
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.unit_vectors import Vectors
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.results import load_results
from voxstrata.streaming import setup
from voxstrata.training.kinds import KINDS
from voxstrata.verification.embed import embed

if not app.registered_commands:
    commands.attach(app)

MODEL = "random:melhubert,inputs=80,width=32,layers=2,heads=4,ffn=48,conv_pos=8,conv_groups=4"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoken") / "c", 18, 6, phones=4)


def config(corpus: Path, **changes: Any) -> NeuronsConfig:
    values: dict[str, Any] = {
        "models": (MODEL,), "corpus": str(corpus), "contrasts": ("gender/phones", "clusters=2"),
        "rule": "top=0.1", "draws": 20, "splits": 4, "rankings": False, "twins": False,
        "device": "cpu",
    }  # fmt: skip
    return NeuronsConfig.model_validate(values | changes)


# --- planted neurons ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty speakers; and four labels that call ten of them one thing and ten another."""
    folder = write(tmp_path_factory.mktemp("voices") / "c", 40, 20, phones=5)
    rng = np.random.default_rng(3)
    lines = ["speaker,a,b,c,d"]
    columns = [rng.permutation(["x", "y"] * 10) for _ in range(4)]
    lines += [",".join([f"s{i:02d}", *(c[i] for c in columns)]) for i in range(20)]
    (folder / "dealt.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def planted(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the planted model, asked about gender and about the dealt tables."""
    patch = pytest.MonkeyPatch()
    patch.setattr(preparing, "load_model", neurons_planted.load)
    patch.setattr(preparing, "find_family", lambda _spec: None)
    dealt = tuple(f"labels={voices}/dealt.csv:{c}" for c in "abcd")
    settings = config(
        voices, models=("planted-neurons", "plain-neurons"), rule="top=0.05", draws=100, splits=0,
        contrasts=("gender/phones", *dealt),
    )  # fmt: skip
    out = tmp_path_factory.mktemp("planted") / "out"
    try:
        run_neurons(settings, out)
    finally:
        patch.undo()
    return out


def sets(out: Path, model: str) -> dict[str, Any]:
    return {s.name: s for s in map(load_set, (out / "sets" / model).glob("*.json"))}


def test_planted_neurons_are_found_and_hardly_any_other(planted: Path) -> None:
    found = sets(planted, "planted-neurons")
    truth = {"F": WOMEN, "M": MEN}
    many = sum(len(v) for group in truth.values() for v in group.values())
    false = {"gender/phones": 0, "gender/phones (tested)": 0}
    for name in false:
        for group, layers in truth.items():
            for layer in LAYERS:
                mine = set(found[name].groups[group][layer])
                assert set(layers[layer]) <= mine, (name, group, layer)  # recall is 1
                false[name] += len(mine - set(layers[layer]))
    # Tested: a false discovery rate of 5 % of about ten discoveries.
    assert false["gender/phones (tested)"] <= 2
    null = load_results(planted).table
    null = null[(null.model == "planted-neurons") & (null.property == "gender/phones")]
    whole = null[(null.layer == "all") & (null.measure == "neurons")]
    band = whole[whole.control == "permuted-labels"].iloc[0]
    seen = whole[(whole.control == "") & (whole.estimator == "published")].iloc[0]
    assert seen.value == many + false["gender/phones"]
    # The published rule finds as many beside the planted ones as chance gives, no more.
    assert false["gender/phones"] <= band.ci_high
    assert seen.value > band.ci_high
    lines = pd.read_parquet(planted / NEURONS)
    lines = lines[(lines.model == "planted-neurons") & (lines.contrast == "gender/phones")]
    for group, layers in truth.items():
        for layer, neurons in layers.items():
            one = lines[(lines.layer == layer) & (lines.group == group)].set_index("neuron")
            assert (one.loc[list(neurons), "probability"] > 0.3).all()
            assert (one.loc[list(neurons), "probability_elsewhere"] < 0.01).all()
            assert (one.loc[list(neurons), "auc"] == 1.0).all()
            assert (one.loc[list(neurons), "selected_by_chance"] < 0.2).all()


def test_rankings_put_planted_neurons_first(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "load_model", neurons_planted.load)
    monkeypatch.setattr(preparing, "find_family", lambda _spec: None)
    settings = config(
        voices, models=("planted-neurons",), rule="top=0.05", draws=0, splits=0, rankings=True,
        contrasts=("gender",), layers=(LAYERS[0],),
    )  # fmt: skip
    table = run_neurons(settings, tmp_path / "out").table
    accuracy = table[table.measure == "subset-accuracy"].set_index(
        ["other_layer", "estimator", "other_d"]
    )["value"]
    assert accuracy.loc["top", "trained", 4] == 1.0  # four neurons know gender, and are first
    assert accuracy.loc["random", "trained", 4] < 0.9
    assert table[table.measure == "minimal-subset"]["value"].item() <= 4
    pairs = table[table.measure.str.startswith("ranking-") & (table.control == "")]
    assert len(set(pairs.other_layer)) >= 10  # five rankings
    assert pairs["value"].between(-1, 1).all()


def test_shuffled_labels_find_none_beyond_the_stated_rate(planted: Path) -> None:
    """Labels dealt to speakers, of neurons that know gender and of neurons that know nothing."""
    table = load_results(planted).table
    for model in ("planted-neurons", "plain-neurons"):
        found = sets(planted, model)
        dealt = [name for name in found if name.startswith("labels=")]
        assert len(dealt) == 8
        tested = [len(found[name]) for name in dealt if name.endswith(" (tested)")]
        # With nothing to find, a false discovery rate of 5 % is a 5 % chance of any discovery.
        assert sum(n > 0 for n in tested) <= 1, tested
        rows = table[(table.model == model) & table.property.str.startswith("labels=")]
        p = rows[(rows.layer == "all") & (rows.measure == "neurons-p")]["value"]
        assert len(p) == 4
        assert (p <= 0.05).sum() <= 1
    plain = sets(planted, "plain-neurons")
    assert len(plain["gender/phones (tested)"]) <= 1
    rows = table[(table.model == "plain-neurons") & (table.property == "gender/phones")]
    # And yet the published rule calls some of these gender neurons: hence the null beside it.
    observed = rows[(rows.layer == "all") & (rows.measure == "neurons") & (rows.control == "")]
    assert observed[observed.estimator == "published"]["value"].item() > 0
    assert rows[(rows.layer == "all") & (rows.measure == "neurons-p")]["value"].item() > 0.02


# --- the run and its folder --------------------------------------------------------------------


def test_the_folder_holds_what_it_says(corpus: Path, tmp_path: Path) -> None:
    contrasts = ("gender/phones", "clusters=2", "speaker/clusters=2", "pitch/phones", "classes")
    settings = config(corpus, contrasts=contrasts)
    result = run_neurons(settings, tmp_path / "out")
    record = result.record
    assert [c["name"] for c in record["contrasts"]] == list(contrasts)
    assert record["job"] == "neurons"
    assert record["left_out"] == []
    assert not (tmp_path / "out" / "state").exists()
    assert not (tmp_path / "out" / "store").exists()
    table = result.table
    lines = pd.read_parquet(tmp_path / "out" / NEURONS)
    assert {"model", "contrast", "layer", "neuron", "group", "probability", "selected",
            "probability_elsewhere", "selected_by_chance", "log_odds", "auc", "p", "q_bh"} <= set(
        lines.columns
    )  # fmt: skip
    model = load_model(MODEL)
    for contrast in record["contrasts"]:
        name = contrast["name"]
        mine = lines[lines.contrast == name]
        assert len(mine) == 2 * 48 * len(contrast["groups"])
        assert mine.probability.between(0, 1).all()
        one = next(s for s in sets(tmp_path / "out", MODEL_NAME).values() if s.name == name)
        one.check(model)
        own = table[(table.property == name) & (table.measure == "neurons")]
        own = own[(own.control == "") & (own.estimator == "published")]
        for layer in ("block.1.ffn.inner", "block.2.ffn.inner"):
            selected = mine[mine.selected & (mine.layer == layer)]
            assert tuple(sorted(set(selected.neuron))) == one.of(layer)
            total = own[(own.layer == layer) & (own.other_layer == "")]["value"].item()
            assert total == len(one.of(layer))
            for group in contrast["groups"]:
                picked = tuple(selected[selected.group == group].neuron)
                assert picked == one.groups[group][layer]
        whole = own[(own.layer == "all") & (own.other_layer == "")]["value"].item()
        assert whole == len(one)
    # Every frame has a cluster; the active ones of a frame are 5 of 48.
    frames = next(c["frames"] for c in record["contrasts"] if c["name"] == "clusters=2")
    grouped = lines[lines.contrast == "clusters=2"].groupby("layer")
    for _, mine in grouped:
        assert mine.probability.sum() == pytest.approx(2 * 5)
    assert frames == record["rows"]["counts-0"]
    matched = table[table.property == "clusters=2 ~ phones"]
    assert {"purity", "nmi", "ari"} <= set(matched.measure)
    again = run_neurons(settings, tmp_path / "out")  # finished: read, not done again
    assert again.record["wall_s"] == record["wall_s"]
    with pytest.raises(ResultsError, match="other settings"):
        run_neurons(settings.model_copy(update={"sigma": 0.7}), tmp_path / "out")
    fewer = config(corpus, contrasts=("gender",), draws=0, splits=0)
    run_neurons(fewer, tmp_path / "out", overwrite="always")
    left = sets(tmp_path / "out", MODEL_NAME)
    assert {name.removesuffix(" (tested)") for name in left} == {"gender"}  # none of old
    assert len(list((tmp_path / "out" / "counts").glob("*/*.json"))) == 1


MODEL_NAME = "random-melhubert-inputs=80-width=32-layers=2-heads=4-ffn=48-conv_pos=8-conv_groups=4"


def test_a_contrast_asked_for_twice_is_one(corpus: Path, tmp_path: Path) -> None:
    result = run_neurons(
        config(corpus, contrasts=("gender", "gender"), draws=0, splits=0), tmp_path / "out"
    )
    assert [c["name"] for c in result.record["contrasts"]] == ["gender"]


def test_killed_and_resumed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "SHARD_S", 2.0)
    settings = config(
        corpus, contrasts=("gender/phones", "gender/clusters=2"), rule="quantile=0.9", rankings=True
    )
    want = run_neurons(settings, tmp_path / "whole")
    out = tmp_path / "broken"
    context = multiprocessing.get_context("spawn")
    child = context.Process(
        target=killable.run_slow_neurons, args=(settings.model_dump(mode="json"), str(out), 0.7)
    )
    child.start()
    cursor = out / "state" / "count" / "pass.json"
    until = time.monotonic() + 60
    while not cursor.exists() and time.monotonic() < until and child.is_alive():
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert cursor.exists()
    assert not (out / "run.json").exists()
    assert 0 < json.loads(cursor.read_text())["recordings"] < 18
    assert (out / "learned" / "learned.json").exists()
    got = run_neurons(settings, out)
    assert got.record["resumed"] is True
    pd.testing.assert_frame_equal(want.table, got.table, check_exact=True)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "whole" / NEURONS), pd.read_parquet(out / NEURONS),
        check_exact=True,
    )  # fmt: skip
    for path in sorted((tmp_path / "whole" / "counts").rglob("*.safetensors")):
        other = out / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes()


def test_an_unfinished_run_of_other_labels_is_not_gone_on_with(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of the contrast is the same, the file is another one."""
    lines = map(json.loads, (corpus / "manifest.jsonl").read_text().splitlines())
    model = load_model(MODEL)
    frames = {e["id"]: model.frames("2", round(16000 * e["duration"])) for e in lines}
    rng = np.random.default_rng(0)

    def make() -> None:
        rows = ["/", *(f"{name}.wav\t1" for name in frames)]
        (tmp_path / "x.tsv").write_text("\n".join(rows))
        lines = [" ".join(map(str, rng.integers(0, 2, n))) for n in frames.values()]
        (tmp_path / "x.km").write_text("\n".join(lines))

    make()
    settings = config(corpus, contrasts=(f"gender/km={tmp_path}/x.km",), draws=0, splits=0)
    first = run_neurons(settings, tmp_path / "out")
    make()
    with pytest.raises(ResultsError, match="other settings, models, corpus"):
        run_neurons(settings, tmp_path / "out")
    second = run_neurons(settings, tmp_path / "out", overwrite="always")
    assert first.record["identity"] != second.record["identity"]


def test_a_bad_recording_is_left_out_and_told(corpus: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    file = broken / "r03.wav"
    wave, rate = soundfile.read(file, dtype="float32")
    wave[1000] = np.nan
    soundfile.write(file, wave, rate, subtype="FLOAT")
    settings = config(broken, draws=5, splits=0)
    result = run_neurons(settings, tmp_path / "out")
    (skipped,) = result.record["corpus"]["skipped"]
    assert skipped["id"] == "r03"
    assert result.record["corpus"]["utterances"] == 17
    other = tmp_path / "without"
    shutil.copytree(corpus, other)
    lines = (other / "manifest.jsonl").read_text().splitlines()
    (other / "manifest.jsonl").write_text("\n".join(x for x in lines if '"r03"' not in x))
    assert "r03" not in (other / "manifest.jsonl").read_text()
    clean = run_neurons(config(other, draws=5, splits=0), tmp_path / "clean")
    own = [
        r.table[(r.table.measure == "neurons") & (r.table.control == "")] for r in (result, clean)
    ]
    pd.testing.assert_frame_equal(*(t.drop(columns="n").reset_index(drop=True) for t in own))
    with pytest.raises(VoxstrataError):
        run_neurons(config(broken, on_error="stop"), tmp_path / "stop")


def test_speakers_are_counted_where_asked(corpus: Path, tmp_path: Path) -> None:
    by = {}
    for units in ("recording", "speaker"):
        settings = config(corpus, contrasts=("gender/phones",), units=units, draws=0, splits=0)
        by[units] = run_neurons(settings, tmp_path / units)
    names = {k: json.loads(next((tmp_path / k / "counts").rglob("*.json")).read_text())["units"]
             for k in by}  # fmt: skip
    assert names["speaker"] == [f"s{i:02d}" for i in range(6)]
    assert len(names["recording"]) == 18
    selected = [
        r.table[(r.table.measure == "neurons") & (r.table.control == "")]["value"].tolist()
        for r in by.values()
    ]
    assert selected[0] == selected[1]


def test_labels_that_differ_within_speakers_keep_their_recordings_apart(
    corpus: Path, tmp_path: Path
) -> None:
    """Added up are only recordings that no contrast tells apart: the same neurons are selected."""
    rng = np.random.default_rng(1)
    table = ["utterance,a", *(f"r{i:02d},{'xy'[int(rng.integers(0, 2))]}" for i in range(18))]
    (tmp_path / "t.csv").write_text("\n".join(table))
    contrasts = (f"labels={tmp_path}/t.csv/phones", "gender/phones", "clusters=2")
    found = {}
    for units in ("recording", "speaker"):
        settings = config(corpus, contrasts=contrasts, units=units, draws=10)
        result = run_neurons(settings, tmp_path / units)
        rows = result.table[(result.table.measure == "neurons") & (result.table.control == "")]
        rows = rows[~rows.estimator.str.contains("tested")].drop(columns="groups")
        found[units] = (result.record, rows.reset_index(drop=True))
    record = found["speaker"][0]
    assert record["units"] == "speaker and label"
    for one, _ in found.values():
        assert [c["moved"] for c in one["contrasts"]] == [
            "labels of whole speakers", "speaker", "rows within each speaker",
        ]  # fmt: skip
    pd.testing.assert_frame_equal(found["recording"][1], found["speaker"][1])
    names = json.loads(next((tmp_path / "speaker" / "counts").rglob("*.json")).read_text())["units"]
    assert {name.partition(" ")[0] for name in names} == {f"s{i:02d}" for i in range(6)}
    assert 6 < len(names) <= 12


def test_clusters_of_ivectors_make_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on the corpus itself where no model is named; once, and held against speakers."""
    speech = ivectors_made.write_voices(tmp_path / "speech", 4, 3)
    changes = ivectors_made.recipe(speech, **{"model.rank": 2})
    plain = KINDS.get("ivector").read

    def small(name: str, given: Any, *rest: Any) -> Any:
        assert name == "ivector-small"
        kept = [one for one in changes if not one.startswith("data.")]
        return plain(name, [*kept, *given], *rest)

    monkeypatch.setattr(KINDS.get("ivector"), "read", small)
    settings = config(speech, contrasts=("ivector=2/clusters=2", "ivector=2"), draws=0, splits=0)
    result = run_neurons(settings, tmp_path / "out")
    (labels,) = result.record["labels"]
    assert sum(labels["sizes"]) == 12
    assert labels["sizes"][0] >= labels["sizes"][1] > 0
    model = str(tmp_path / "out" / "ivector" / "model")
    vectors = embed(load_model(model), load_corpus(str(speech)))
    expected = vector_clusters("ivector=2", vectors, 2, 0)
    speaker = {u.id: str(u.tiers["speaker"]) for u in load_corpus(str(speech)).utterances}
    table = np.zeros((2, 4))
    for name, cluster in expected.of.items():
        table[cluster, int(speaker[name][1])] += 1
    purity = table.max(axis=1).sum() / 12
    rows = result.table[result.table.property == "ivector=2 ~ speaker"]
    found = rows[(rows.measure == "purity") & (rows.control == "")]
    assert found["value"].item() == pytest.approx(purity)
    assert found["unit"].item() == "utterance"
    named = config(speech, contrasts=("ivector=2",), ivector=model, draws=0, splits=0)
    again = run_neurons(named, tmp_path / "named")
    assert not (tmp_path / "named" / "ivector").exists()
    (other,) = again.record["labels"]
    assert other["sizes"] == labels["sizes"]
    record = json.loads((tmp_path / "out" / "ivector" / "run.json").read_text())
    assert record["config"]["data"]["valid"] in (None, {})  # nothing else is made for it
    seeded = settings.model_copy(update={"seed": 3})
    afresh = run_neurons(seeded, tmp_path / "out", overwrite="always")
    assert afresh.record["seed"] == 3
    retrained = json.loads((tmp_path / "out" / "ivector" / "run.json").read_text())
    assert retrained["config"]["run"]["seed"] == 3


def test_what_was_not_asked_for_may_be_left_out(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contrasts of a run that names none: those the corpus has labels for."""
    bare = tmp_path / "bare"
    shutil.copytree(corpus, bare)
    lines = [json.loads(x) for x in (bare / "manifest.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in e.items() if k not in ("phones", "gender")} for e in lines]
    (bare / "manifest.jsonl").write_text("\n".join(map(json.dumps, kept)))
    tried: list[str] = []
    plain = Vectors._trained
    monkeypatch.setattr(Vectors, "_trained", lambda self: tried.append("trained") or plain(self))
    both = config(bare, models=(MODEL, f"{MODEL},seed=2"), contrasts=None, draws=0, splits=0)
    result = run_neurons(both, tmp_path / "out")
    assert "clusters=3" in {c["name"] for c in result.record["contrasts"]}
    assert tried == ["trained"]  # not once a model
    gone = {item["name"] for item in result.record["left_out"]}
    missing = {"ivector=2/clusters=3", "gender/clusters=3", "gender/phones", "classes/phones"}
    assert gone == missing
    for given, error in (
        ({"ivector": str(tmp_path / "nowhere")}, VoxstrataError),
        ({"cluster_layer": "77"}, UnknownNameError),
    ):
        with pytest.raises(error):
            run_neurons(config(bare, contrasts=None, **given), tmp_path / "other")


# --- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"models": ("log-mel",)}, ModelError, "no layer of neurons"),
        ({"models": ("melhubrt-small",)}, UnknownNameError, "melhubert-small"),
        ({"rule": "topp=0.1"}, UnknownNameError, "unknown activation rule"),
        ({"rule": "top=0.001"}, UsageError, "leaves no choice"),
        ({"contrasts": ("gendr/phones",)}, LabelError, "nothing called 'gendr'"),
        ({"contrasts": ("gender/phonse",)}, LabelError, "nothing called 'phonse'"),
        ({"contrasts": ("clusters=x",)}, ConfigError, "no number of clusters"),
        ({"contrasts": ("gender/clusters=3:77",)}, UnknownNameError, "77"),
        ({"contrasts": ("vectors=2",)}, UsageError, "whose vectors"),
        ({"contrasts": ("vectors=2:no-such-model",)}, UnknownNameError, "no-such-model"),
        ({"contrasts": ("ivector=2",), "ivector": "no/such/model"}, VoxstrataError, "no/such"),
        ({"contrasts": ("labels=nowhere.csv/phones",)}, UsageError, "nowhere"),
        ({"layers": ("0",)}, UsageError, "holds neurons"),
        ({"layers": ("block.9.ffn.inner",)}, UnknownNameError, "block.9"),
        ({"cluster_layer": "block.9"}, UnknownNameError, "block.9"),
    ],
)
def test_what_is_wrong_is_told_before_work(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as told:
        run_neurons(config(corpus, **changes), tmp_path / "out")
    assert isinstance(told.value, VoxstrataError)
    assert told.value.fix or told.value.expected
    assert not (tmp_path / "out" / "state").exists()


def test_labels_of_another_corpus_are_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("utterance,a\nq00,x\nq01,y\n")
    with pytest.raises(LabelError, match="another corpus") as told:
        run_neurons(config(corpus, contrasts=(f"labels={tmp_path}/t.csv",)), tmp_path / "out")
    assert "r00" in str(told.value.expected)


def test_cells_without_frames_are_told_and_groups_without_are_refused(
    corpus: Path, tmp_path: Path
) -> None:
    """A phone that no man says is an empty row; men who never speak are no group."""
    lines = [json.loads(x) for x in (corpus / "manifest.jsonl").read_text().splitlines()]
    for mute, name in ((lambda e, p: p[2] == "S", "phone"), (lambda e, p: True, "all")):
        folder = tmp_path / name
        shutil.copytree(corpus, folder)
        kept = [
            e | {"phones": [p for p in e["phones"] if not (e["gender"] == "M" and mute(e, p))]}
            for e in lines
        ]
        (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, kept)))
    settings = config(tmp_path / "phone", contrasts=("gender/phones",), draws=5, splits=0)
    result = run_neurons(settings, tmp_path / "out")
    (one,) = result.record["contrasts"]
    assert "M | S" in one["thin"]
    assert any("fewer than 10 frames" in notice for notice in result.record["notices"])
    lines_found = pd.read_parquet(tmp_path / "out" / NEURONS)
    assert lines_found.probability.notna().all()
    with pytest.raises(LabelError, match="without a frame") as told:
        run_neurons(config(tmp_path / "all", contrasts=("gender/phones",)), tmp_path / "none")
    assert told.value.got == "M"
    assert told.value.fix
    # Beside others it is left out with the reason: the pass was not for nothing.
    both = config(tmp_path / "all", contrasts=("gender/phones", "gender"), draws=0, splits=0)
    result = run_neurons(both, tmp_path / "both")
    assert [c["name"] for c in result.record["contrasts"]] == ["gender"]
    (gone,) = result.record["left_out"]
    assert gone["name"] == "gender/phones"
    assert "without a frame: M" in gone["reason"]


# --- the command -------------------------------------------------------------------------------


def test_command(corpus: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    plan = runner.invoke(
        app,
        ["neurons", MODEL, "-c", str(corpus), "--contrast", "ivector=2/clusters=3", "--rule",
         "top=0.1", "--no-twins", "--dry-run", "-o", str(tmp_path / "dry")],
    )  # fmt: skip
    assert plan.exit_code == 0, plan.output
    assert "96" in plan.output  # neurons
    assert "ivector=2/clusters=3" in plan.output
    assert not (tmp_path / "dry").exists()
    for wrong, words in (
        (["--contrast", "ivector=2", "--ivector", "no/such/model"], "no/such/model"),
        (["--contrast", "vectors=2:no-such"], "no-such"),
        (["--contrast", "vectors=2"], "whose vectors"),
        (["--contrast", "gendr/phones"], "gendr"),
    ):
        told = runner.invoke(
            app, ["neurons", MODEL, "-c", str(corpus), "--rule", "top=0.1", "--dry-run", *wrong]
        )
        assert isinstance(told.exception, VoxstrataError)
        assert words in str(told.exception)
    done = runner.invoke(
        app,
        ["neurons", MODEL, "-c", str(corpus), "--contrast", "gender/phones", "--rule", "top=0.1",
         "--no-twins", "--no-rankings", "--draws", "5", "--splits", "0", "-q", "-o",
         str(tmp_path / "out")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "gender/phones" in (tmp_path / "out" / "report.html").read_text()
    wrong = runner.invoke(
        app,
        ["neurons", MODEL, "-c", str(corpus), "--rule", "top=0.1", "--contrast", "gendr",
         "--no-twins", "-o", str(tmp_path / "x")],
    )  # fmt: skip
    assert isinstance(wrong.exception, LabelError)
    nothing = runner.invoke(app, ["neurons"])
    assert nothing.exit_code != 0


def test_every_neuron_of_the_model_is_looked_at(planted: Path) -> None:
    lines = pd.read_parquet(planted / NEURONS)
    one = lines[(lines.model == "planted-neurons") & (lines.contrast == "gender/phones")]
    assert len(one) == 2 * 2 * WIDTH
