"""Pruning as a job: steps, training in between, resuming, what the folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import planted
from voxstrata import load_model
from voxstrata.config import build
from voxstrata.errors import (
    ConfigError,
    LabelError,
    ModelError,
    ResultsError,
    RunInterruptedError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from voxstrata.models.weights import read_checkpoint
from voxstrata.neurons.pruning.job import prepare, run_pruning
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.pruning.tuning import fit_recipe
from voxstrata.neurons.sets import NeuronSet, load_set, neuron_set
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.training.engine import Engine
from voxstrata.training.job import run_training

MODEL = (
    "random:melhubert,inputs=80,width=32,layers=3,heads=4,ffn=48,conv_pos=8,conv_groups=4,"
    "clusters=8"
)
LAYERS = [f"block.{i}.ffn.inner" for i in (1, 2, 3)]
WAVE = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted.write_corpus(tmp_path_factory.mktemp("corpus") / "c", 12, 4))


@pytest.fixture(scope="module")
def recipe(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"family": "melhubert", "options": {"inputs": 80, "clusters": 8}},
        "data": {"corpus": corpus, "batch_s": 6, "workers": 0, "buckets": 2},
        "objective": {
            "name": "masked", "max_frames": 60, "dropout": 0.1,
            "targets": {"starts": 1, "statistics": "corpus"},
        },
        "optimiser": {"kind": "adamw", "clip": 5.0, "weight_decay": 0.1},
        "schedule": {"kind": "constant", "lr": 0.003},
        "run": {"steps": 99, "device": "cpu", "log_every": 2, "save_every_s": 0.0},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def settings(**given: Any) -> PruneConfig:
    values = {"model": MODEL, "device": "cpu", "repeats": 2, "latency_s": 0.5, **given}
    return build(PruneConfig, values)


def sizes(folder: Path) -> list[int]:
    widths = {i.name: i.width for i in load_model(folder / "model").layers}
    return [widths[layer] for layer in LAYERS]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_steps_with_training_in_between(recipe: str, tmp_path: Path) -> None:
    source = load_model(MODEL)
    protected = neuron_set("kept", source, {LAYERS[0]: [0, 40, 47], LAYERS[1]: [], LAYERS[2]: [5]})
    protected.save(tmp_path / "set.json")
    config = settings(
        keep=20, steps=3, tune=recipe, tune_steps=3, protect=str(tmp_path / "set.json")
    )
    found = run_pruning(config, tmp_path / "out")
    assert sizes(tmp_path / "out") == [20, 20, 20]
    # 28 rows in three steps: 10, 9, 9; each step's set is in that step's own numbering.
    for step, width in ((1, 38), (2, 29), (3, 20)):
        place = tmp_path / "out" / "steps" / f"{step:02d}"
        left = load_set(place / "protected.json")
        assert dict(left.widths) == dict.fromkeys(LAYERS, width)
        assert left.counts() == {LAYERS[0]: 3, LAYERS[1]: 0, LAYERS[2]: 1}
        left.check(load_model(place / "pruned"))
        assert json.loads((place / "tuned" / "run.json").read_text())["steps"] == 3
    final = load_model(tmp_path / "out" / "model")
    load_set(tmp_path / "out" / "protected.json").check(final)
    # The numbers in the results are those of the two models.
    rows = {(r.model, r.layer, r.measure): r.value for r in found.table.itertuples()}
    assert rows[MODEL, "", "parameters"] == source.details["parameters"]
    assert rows["pruned", "", "parameters"] == final.details["parameters"]
    assert rows["pruned", "", "parameters"] == rows[MODEL, "", "parameters"] - 3 * 28 * 65
    assert rows["pruned", "", "flops_per_second"] < rows[MODEL, "", "flops_per_second"]
    assert rows["pruned", "", "latency_s_per_s"] > 0
    assert [rows["pruned", layer, "neurons"] for layer in LAYERS] == [20, 20, 20]
    # Codes are computed once; the front end stays the model's.
    assert not (tmp_path / "out" / "steps" / "02" / "tuned" / "targets").exists()
    assert final.details["front_end"] == source.details["front_end"]
    card = json.loads((tmp_path / "out" / "model" / "card.json").read_text())
    assert [s.get("tuned") for s in card["pruning"]["steps"]] == [None, 3, None, 3, None, 3]
    assert len(card["pruning"]["steps"][0]["removed"][LAYERS[0]]) == 10
    (encoded,) = final.encode([WAVE], [*LAYERS, "3"])
    assert encoded[LAYERS[0]].shape[1] == 20


def test_a_stopped_run_ends_with_the_same_weights(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(keep=24, steps=2, tune=recipe, tune_steps=4)
    run_pruning(config, tmp_path / "whole")
    own, calls = Engine._one_step, [0]

    def stop(engine: Engine, *args: Any) -> Any:
        calls[0] += 1
        if calls[0] == 7:  # the third training step of the second pruning step
            raise RunInterruptedError("stopped")
        return own(engine, *args)

    monkeypatch.setattr(Engine, "_one_step", stop)
    with pytest.raises(RunInterruptedError, match="Ctrl-C"):
        run_pruning(config, tmp_path / "cut")
    assert not (tmp_path / "cut" / "model").exists()
    first = tmp_path / "cut" / "steps" / "01" / "pruned" / "card.json"
    written = first.stat().st_mtime_ns
    with pytest.raises(StorageError, match="unfinished run of other settings"):
        run_pruning(settings(keep=23, steps=2, tune=recipe, tune_steps=4), tmp_path / "cut")
    run_pruning(config, tmp_path / "cut")
    assert first.stat().st_mtime_ns == written
    assert calls[0] == 9  # the stopped one, and the two that were missing
    assert same(tmp_path / "whole", tmp_path / "cut")
    run_pruning(config, tmp_path / "cut")  # finished: nothing is done again
    assert calls[0] == 9
    with pytest.raises(ResultsError, match="other settings"):
        run_pruning(settings(keep=30), tmp_path / "cut")


def test_weights_stay_zero_while_the_rest_is_trained(recipe: str, tmp_path: Path) -> None:
    config = settings(what="weights", sparsity=(0.3, 0.6), tune=recipe, tune_steps=3)
    found = run_pruning(config, tmp_path / "out")
    before = read_checkpoint(tmp_path / "out/steps/02/pruned/model.safetensors")
    after = weights(tmp_path / "out")
    assert any(not torch.equal(before[k], after[k]) for k in before)
    zeros = total = 0
    for name, value in before.items():
        if name.startswith("encoder.layers") and "norm" not in name:
            assert torch.equal(value == 0, after[name] == 0), name
            zeros, total = zeros + int((value == 0).sum()), total + value.numel()
    assert zeros == round(0.6 * total)
    rows = {(r.model, r.measure): r.value for r in found.table.itertuples()}
    assert rows["pruned", "parameters"] == rows[MODEL, "parameters"]
    assert rows["pruned", "nonzero_parameters"] < rows[MODEL, "nonzero_parameters"]
    assert "saves neither" in found.record["summary"]


def test_a_student_learns_from_the_whole(recipe: str, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    run_pruning(settings(keep=47), teacher)  # any folder with trained-like weights
    config = settings(
        model=str(teacher / "model"), what="layers", keep=1, tune=recipe, tune_steps=40,
        changes=("schedule.lr=0.01",),
    )  # fmt: skip
    run_pruning(config, tmp_path / "out")
    model = load_model(tmp_path / "out" / "model")
    assert [i.name for i in model.layers if i.name.isdigit()] == ["0", "1"]
    log = (tmp_path / "out/steps/01/tuned/train.jsonl").read_text().splitlines()
    soft = [json.loads(line)["soft_loss"] for line in log if "soft_loss" in line]
    assert soft[-1] < 0.7 * soft[0]


def test_heads_by_the_training_loss(recipe: str, tmp_path: Path) -> None:
    config = settings(
        what="heads", keep=3, scope="whole", score="taylor", tune=recipe, tune_steps=0, batches=2
    )
    found = run_pruning(config, tmp_path / "out")
    heads = found.record["after"]["heads"]
    assert sum(heads) == 9
    assert min(heads) >= 1
    assert not (tmp_path / "out" / "scoring").exists()


def test_codes_are_computed_once_or_taken_over(recipe: str, tmp_path: Path) -> None:
    """For scores and for every training; or those of an earlier run, to which the head is used."""
    fitted = fit_recipe(recipe, load_model(MODEL), MODEL, steps=2)
    run_training(fitted, tmp_path / "base")
    model = str(tmp_path / "base" / "model")
    given: dict[str, Any] = {
        "model": model, "keep": 40, "score": "taylor", "batches": 2, "tune": recipe,
        "tune_steps": 2, "repeats": 0,
    }  # fmt: skip
    folder = f"objective.targets.folder={tmp_path / 'base'}"
    run_pruning(settings(**given, changes=(folder,)), tmp_path / "taken")
    run_pruning(settings(**given), tmp_path / "own")
    for name in ("taken", "own"):
        assert not list((tmp_path / name).glob("steps/*/tuned/targets"))
        assert not (tmp_path / name / "scoring").exists()
    # The same recipe makes the same codes.
    assert same(tmp_path / "taken", tmp_path / "own")
    with pytest.raises(ConfigError, match="go together"):
        prepare(settings(**given, changes=("objective.targets.model=melhubert-small",)))
    stats = np.stack([np.zeros(40), np.ones(40)])
    np.save(tmp_path / "stats.npy", stats)
    foreign = f"{MODEL},stats={tmp_path / 'stats.npy'}"
    with pytest.raises(ConfigError, match="go with another front end"):
        prepare(settings(**{**given, "model": foreign}, changes=(folder,)))


@pytest.mark.parametrize("what", ["rows", "low-rank"])
def test_other_scores_and_ranks(corpus: str, tmp_path: Path, what: str) -> None:
    given: dict[str, Any] = {"what": what}
    if what == "rows":
        given |= {"keep": 40, "score": "activation", "corpus": corpus, "seconds": 3.0}
    else:
        given |= {"share": 0.5, "maps": ("ffn.up", "ffn.down")}
    found = run_pruning(settings(**given), tmp_path / "out")
    table = found.table.set_index(["model", "measure"])["value"]
    assert table["pruned", "parameters"].max() < table[MODEL, "parameters"].max()
    if what == "rows":
        # The rows that are active least are those that went.
        from voxstrata.corpora import load_corpus
        from voxstrata.neurons.pruning.speech import speech

        total, model = np.zeros(48), load_model(MODEL)
        for batch in speech(load_corpus(corpus), 3.0, 0)():
            for wave in batch:
                total += model.encode([wave], [LAYERS[1]])[0][LAYERS[1]].abs().sum(0).numpy()
        gone = found.record["steps"][0]["removed"][LAYERS[1]]
        assert set(gone) == set(np.argsort(total)[:8].tolist())


def test_neurons_found_anew_before_every_step(recipe: str, tmp_path: Path) -> None:
    seen: list[int] = []

    def find(model: Any) -> NeuronSet:
        width = next(i.width for i in model.layers if i.name == LAYERS[0])
        seen.append(width)
        return neuron_set("last", model, {layer: [width - 1] for layer in LAYERS})

    config = settings(keep=40, steps=2, tune=recipe, tune_steps=2)
    run_pruning(config, tmp_path / "out", find=find)
    assert seen == [48, 44]


def test_what_cannot_be_done_is_told_before_work(recipe: str, corpus: str, tmp_path: Path) -> None:
    model = load_model(MODEL)
    many = neuron_set("many", model, {layer: range(30) for layer in LAYERS})
    many.save(tmp_path / "many.json")
    foreign = neuron_set("f", load_model(MODEL.replace("random:", "random:") + ",seed=3"), {})
    foreign.save(tmp_path / "foreign.json")
    for expected, error, given in (
        ("more rows are protected", UsageError, {"keep": 20, "protect": "many.json"}),
        ("belongs to another model", ModelError, {"keep": 20, "protect": "foreign.json"}),
        ("no set of neurons is protected", UsageError, {"keep": "protected"}),
        ("nothing to prune", UsageError, {"keep": 48}),
        ("how many rows shall go", UsageError, {}),
        ("settings that pruning of heads", UsageError, {"what": "heads", "keep": 2, "rank": 3}),
        ("without heads", UsageError, {"what": "heads", "each_step": 4}),
        ("how many weights", UsageError, {"what": "weights"}),
        ("must grow", UsageError, {"what": "weights", "sparsity": (0.5, 0.3)}),
        ("how many low-rank", UsageError, {"what": "low-rank"}),
        ("no rank for", UsageError, {"what": "low-rank", "rank": 40}),
        ("fewer blocks", UsageError, {"what": "layers", "keep": 3}),
        ("no recipe to tune", UsageError, {"keep": 20, "tune_steps": 3}),
        ("own training loss", UsageError, {"keep": 20, "score": "taylor"}),
        ("needs speech", UsageError, {"keep": 20, "score": "activation"}),
        ("unknown pruning score", UsageError, {"keep": 20, "score": "l2"}),
        ("so few cannot go", UsageError, {"keep": 47, "steps": 2}),
        ("each_step is a number", UsageError, {"each_step": (1, 2)}),
        ("anew", UsageError, {"keep": 20, "strategy": "each"}),
        ("found in speech", UsageError, {"keep": 20, "protect_by": "gender/phones"}),
        ("to be found", UsageError,
         {"keep": 20, "protect_by": "gender/phones", "corpus": corpus, "protect": "x.json"}),
        ("nothing called 'bogus'", LabelError,
         {"keep": 20, "protect_by": "bogus", "corpus": corpus, "rule": "top=0.1"}),
        ("unknown activation rule", UnknownNameError, {"keep": 20, "rule": "nope=1"}),
        ("leaves no choice", UsageError,
         {"keep": 20, "protect_by": "clusters=2", "corpus": corpus, "rule": "top=0.001"}),
        ("0.02 of 20 neurons leaves no choice", UsageError,  # before the last step
         {"each_step": 14, "steps": 3, "protect_by": "clusters=2", "corpus": corpus,
          "rule": "top=0.02"}),
        ("does not train a MelHuBERT", ConfigError,
         {"keep": 20, "tune": "ecapa-small-supervised"}),
        ("cannot be tuned", ModelError,
         {"model": "random:sew-tiny,layers=1", "keep": 20, "tune": recipe}),
        ("cannot be pruned", ModelError, {"model": "log-mel", "keep": 20}),
    ):  # fmt: skip
        values = dict(given)
        if "protect" in values:
            values["protect"] = str(tmp_path / str(values["protect"]))
        with pytest.raises(error, match=expected):
            prepare(settings(**values))
    enough = {"each_step": 14, "steps": 2, "protect_by": "clusters=2", "rule": "top=0.02"}
    assert len(prepare(settings(**enough, corpus=corpus)).steps) == 2  # 34 neurons, the top one


def test_only_the_protected_stay(tmp_path: Path) -> None:
    model = load_model(MODEL)
    kept = neuron_set("kept", model, {LAYERS[0]: [3, 9], LAYERS[1]: [], LAYERS[2]: [47]})
    kept.save(tmp_path / "set.json")
    config = settings(keep="protected", protect=str(tmp_path / "set.json"), prune_min=2)
    run_pruning(config, tmp_path / "out")
    assert sizes(tmp_path / "out") == [2, 2, 2]
    left = load_set(tmp_path / "out" / "protected.json")
    assert dict(left.layers) == {LAYERS[0]: (0, 1), LAYERS[1]: (), LAYERS[2]: left.of(LAYERS[2])}
    own, pruned = model._module, load_model(tmp_path / "out" / "model")._module  # type: ignore[attr-defined]
    assert torch.equal(
        own.encoder.layers[0].fc1.weight[[3, 9]], pruned.encoder.layers[0].fc1.weight
    )


@pytest.mark.parametrize(("strategy", "steps"), [("all", 2), ("each", 1)])
def test_neurons_are_found_in_speech(
    corpus: str, tmp_path: Path, strategy: str, steps: int
) -> None:
    """What is protected are the neurons that an analysis of the model as it stands finds."""
    from voxstrata.neurons.job import run_neurons
    from voxstrata.neurons.settings import NeuronsConfig

    config = settings(
        each_step=10, steps=steps, protect_by="clusters=2", corpus=corpus, strategy=strategy,
        rule="top=0.1", repeats=0,
    )  # fmt: skip
    run_pruning(config, tmp_path / "out")
    assert sizes(tmp_path / "out") == [48 - 10 * steps] * 3
    asked = list((tmp_path / "out" / "finding").glob("*/union.json"))
    assert len(asked) == (steps if strategy == "all" else 3 * steps)
    place = tmp_path / "out" / "steps"
    last = str(place / "01" / "pruned") if steps == 2 else MODEL
    now = build(
        NeuronsConfig,
        {"models": last, "corpus": corpus, "contrasts": "clusters=2", "rule": "top=0.1",
         "draws": 0, "splits": 0, "rankings": False, "twins": False, "device": "cpu"},
    )  # fmt: skip
    run_neurons(now, tmp_path / "neurons")
    (path,) = (tmp_path / "neurons" / "sets").glob("*/*clusters*2.json")
    found = load_set(path)
    removed = json.loads((place / f"{steps:02d}" / "step.json").read_text())["removed"]
    assert len(found) > 0
    # In the first layer both strategies ask the model as it is before the step.
    assert len(removed[LAYERS[0]]) == 10
    assert not set(removed[LAYERS[0]]) & set(found.of(LAYERS[0]))
    union, left = (load_set(p) for p in (asked[0], tmp_path / "out" / "protected.json"))
    assert set(union.groups) == set(left.groups) == {"cluster 1", "cluster 2"}
    for layer in LAYERS:
        members = [set(of[layer]) for of in left.groups.values()]
        assert set.union(*members) == set(left.of(layer))
