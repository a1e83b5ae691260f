"""The protocol, held against an upstream whose hidden states are known: even weights at first,
every state in the sum once, its own frames, choices by dev alone, the grid on record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from numpy.typing import NDArray

import simulated
from simulated import PARTS, Recording, Upstream, code, noise, phone_states, turn_states
from voxstrata.models import load_model
from voxstrata.probing import prepare
from voxstrata.probing.cells import SUM
from voxstrata.probing.frames import FrameFeatures, FrameStore
from voxstrata.probing.job import PROBES, WEIGHTS, run_probing
from voxstrata.probing.seeded import initial_weights
from voxstrata.probing.sequences.rows import Rows
from voxstrata.probing.settings import ProbeConfig, read_protocol
from voxstrata.results import Results
from voxstrata.streaming.store import RowStore

TASK = {"name": "mood", "title": "Mood", "summary": "planted", "targets": {"mood": "mood"}}
PROTOCOL: dict[str, Any] = {
    "name": "tiny",
    "lrs": [0.03, 0.003],
    "seeds": 2,
    "default": {"steps": 40, "batch": 8, "hidden": 12, "every": 5},
    "tasks": {
        "pr": {"steps": 16, "batch": 8, "hidden": 12, "every": 4, "lrs": [0.1, 0.02], "seeds": 1},
        "asr": {"steps": 4, "batch": 8, "hidden": 6, "every": 2, "screen": 4, "lrs": [0.02],
                "seeds": 1, "chooses": "cer", "masks": {"feature_masks": 1, "widest_feature": 2,
                                                        "time_masks": 1, "widest_time": 3}},
        "sd": {"steps": 6, "batch": 8, "hidden": 6, "every": 3, "screen": 3, "lrs": [0.05, 0.01],
               "seeds": 1},
        "asv": {"steps": 8, "batch": 16, "hidden": 16, "every": 4, "screen": 4, "decay": 0.01,
                "lrs": [0.01, 0.003], "seeds": 1, "clip": 1000},
    },
}  # fmt: skip

Run = Callable[..., tuple[Results, pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated.write(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the job on an upstream; gives the results, the probes and the weights."""
    (tmp_path / "mood.yaml").write_text(yaml.safe_dump({**TASK, "speakers": "any"}))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PROTOCOL))
    runs = iter(range(99))

    def go(model: Upstream, **changes: Any) -> tuple[Results, pd.DataFrame, pd.DataFrame]:
        monkeypatch.setattr(prepare, "load_model", lambda _spec, **_: model)
        out = changes.pop("out", None) or tmp_path / f"out{next(runs)}"
        tasks = changes.pop("tasks", ("mood",))
        values: dict[str, Any] = {
            "models": (model.spec,),
            "tasks": [str(tmp_path / "mood.yaml") if t == "mood" else t for t in tasks],
            "corpus": str(corpus),
            "protocol": str(tmp_path / "tiny.yaml"),
            "twins": False,
            "baseline": "",
            "controls": False,
            "ablation": False,
            "device": "cpu",
        }
        result = run_probing(ProbeConfig.model_validate(values | changes), out)
        return result, pd.read_parquet(out / PROBES), pd.read_parquet(out / WEIGHTS)

    return go


def planted_in(layer: int, size: float = 2.0, loud: float = 1.0) -> simulated.States:
    """The class in one layer, nothing but noise in the others."""

    def states(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        if at == layer:
            return noise(one, at, frames) + code(one.mood, size)
        return noise(one, at, frames, loud)

    return states


FRAMES = ("pr", "asr", "sd", "asv")
"""Tasks whose heads read frames."""


def planted_for(task: str) -> simulated.States:
    """What a task asks for in layer 1, besides noise."""

    def states(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        found = noise(one, at, frames, 0.7)
        if task == "asv":  # all layers know: embeddings of noise alone are equal but for rounding
            return 10 * (found + code(one.speaker, 4.0 if at == 1 else 2.0))
        if at != 1:
            return found
        if task == "mood":
            return found + code(one.mood, 0.3)
        return found + (turn_states if task == "sd" else phone_states)(one, frames)

    return states


def accuracy(result: Results, layer: str = SUM, control: str = "") -> float:
    table = result.table
    mine = table[(table["measure"] == "accuracy") & (table["layer"] == layer)]
    return float(mine[mine["control"] == control]["value"].item())


# -- weights ---------------------------------------------------------------------------------------


def test_weights_begin_even_and_move_with_the_optimiser_of_the_head(run: Run) -> None:
    """Adam's first step is the learning rate in the direction of the gradient's sign, whatever its
    size: after one step the logits are plus or minus the learning rate, if they began at zero."""
    lr = 0.05
    _, _, weights = run(Upstream(planted_in(1)), steps=1, lrs=(lr,), seeds=3)
    assert len(weights) == 3 * 3
    for _, one in weights.groupby("seed"):
        logs = np.log(one["weight"].to_numpy())
        apart = np.abs(logs[:, None] - logs[None]) / lr
        np.testing.assert_allclose(apart, np.round(apart / 2) * 2, atol=1e-3)
        assert apart.max() == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("steps", [1, 20])
def test_weights_stay_even_at_a_tiny_rate(run: Run, steps: int) -> None:
    """No step of Adam is larger than the rate times (1 - .9) / sqrt(1 - .999)."""
    lr = 1e-6
    _, _, weights = run(Upstream(planted_in(0), count=5), steps=steps, lrs=(lr,), seeds=1)
    most = lr * steps * 0.1 / np.sqrt(0.001)
    np.testing.assert_allclose(weights["weight"], 0.2, rtol=0, atol=2 * most * 0.2 + 1e-7)


@pytest.mark.parametrize("task", FRAMES)
def test_weights_begin_even_in_heads_on_frames(run: Run, task: str) -> None:
    _, _, weights = run(Upstream(planted_for(task)), tasks=(task,), steps=1, lrs=(0.01,))
    assert set(weights["task"]) == {task}
    assert list(weights["layer"]) == ["0", "1", "2"]
    logs = np.log(weights["weight"].to_numpy())
    apart = np.abs(logs[:, None] - logs[None]) / 0.01
    np.testing.assert_allclose(apart, np.round(apart / 2) * 2, atol=2e-2)
    assert apart.max() == pytest.approx(2.0, abs=2e-2)


# -- which states are summed -------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_the_weight_of_the_layer_that_knows_grows(run: Run, layer: int) -> None:
    """Also of the first and the last: every state is in the sum."""
    model = Upstream(planted_in(layer, loud=5.0), count=4)
    result, _, weights = run(model, lrs=(0.1,), seeds=1)
    assert list(weights["layer"]) == ["0", "1", "2", "3"]
    assert weights["weight"].sum() == pytest.approx(1.0)
    assert weights.sort_values("weight")["layer"].iloc[-1] == str(layer)
    assert weights["weight"].max() > 0.35
    assert accuracy(result) > 0.9
    assert result.record["best"] == {"mood simulated": str(layer)}
    others = [accuracy(result, str(i)) for i in range(4) if i != layer]
    assert max(others) < 0.7


def test_states_that_are_needed_together_are_all_in_the_sum(run: Run) -> None:
    """One layer tells two pairs of classes apart, another the members of a pair: no layer alone
    knows the class, and states that cancel each other in the sum are known to no one."""

    def halves(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        bit = (one.mood // 2, one.mood % 2)[at] if at < 2 else 0
        return noise(one, at, frames, 0.3) + (code(2 * at + bit, 2.0) if at < 2 else 0)

    result, _, _ = run(Upstream(halves), steps=80)
    assert accuracy(result) == 1.0
    assert max(accuracy(result, str(i)) for i in range(3)) < 0.7


def test_no_state_is_in_the_sum_twice(run: Run) -> None:
    """Two states of opposite sign cancel under even weights: what is left is the bias, and every
    recording gets the same class, a quarter of each part. A state alone gives all classes."""

    def opposite(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        return (1.0, -1.0)[at] * (noise(one, 0, frames) + code(one.mood, 2.0))

    _, probes, _ = run(Upstream(opposite, count=2), lrs=(1e-7,), steps=1, seeds=4)
    summed = probes[probes["layer"] == SUM]
    assert set(summed["dev"]) == set(summed["test"]) == {0.25}
    alone = probes[probes["layer"] == "0"]
    assert not (alone["dev"] == 0.25).all()

    def equal(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        return noise(one, 0, frames) + code(one.mood, 0.5)

    # The mean of equal states is the state: the sum trains as one of them does.
    _, probes, weights = run(Upstream(equal, count=4))
    columns = ["lr", "seed", "dev", "test", "step"]
    found = [
        probes.loc[probes["layer"] == layer, columns].reset_index(drop=True)
        for layer in ("0", "3", SUM)
    ]
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])
    np.testing.assert_allclose(weights["weight"], 0.25, atol=1e-4)


def test_single_layers_are_the_layers_alone(run: Run) -> None:
    """A layer's score does not change when another layer does; the sum's does."""

    def other(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        return noise(one, 9, frames, 30.0) if at == 2 else planted_in(1, 0.5)(one, at, frames)

    _, before, _ = run(Upstream(planted_in(1, 0.5)))
    _, after, _ = run(Upstream(other))
    for layer, same in (("0", True), ("1", True), ("2", False), (SUM, False)):
        one, two = (p[p["layer"] == layer].reset_index(drop=True) for p in (before, after))
        assert one[["dev", "test", "step"]].equals(two[["dev", "test", "step"]]) is same, layer


# -- frames ----------------------------------------------------------------------------------------


def test_every_recording_is_heard_once_as_it_is(run: Run) -> None:
    """One extraction for all tasks: unpadded samples (the upstream refuses others), all layers."""
    model = Upstream(planted_in(1))
    run(model, tasks=("mood", *FRAMES), steps=2)
    want = {(one.number, one.samples, ("0", "1", "2")): 1 for one in simulated.recordings()}
    assert model.heard == want


def test_means_and_frames_are_of_the_upstreams_own_frames(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    run(Upstream(planted_in(1)), tasks=("mood", "pr"), steps=2, keep_store=True, out=out)
    means = RowStore(out / "store" / "means")
    rows = {name: i for i, name in enumerate(means.index["utterance"])}
    frames = FrameStore(RowStore(out / "store" / "frames" / "000"))
    assert len(rows) == sum(PARTS.values())
    counts = set()
    for one in simulated.recordings():
        own = simulated.frames_of(one.samples)
        counts.add(own)
        assert frames.count(one.id) == own
        for layer in range(3):
            states = planted_in(1)(one, layer, own)
            mean = means.layer(layer)[rows[one.id]].numpy()
            np.testing.assert_allclose(mean, states.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(frames.rows(layer, one.id).numpy(), states, atol=1e-6)
    assert len(counts) > 10  # lengths differ, so batches are padded


@pytest.mark.parametrize("task", FRAMES)
def test_heads_never_see_padding(run: Run, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """Heads get the upstream's own number of frames; those beyond a recording's own hold 50 instead
    of 0, and no number changes."""
    _, before, weights = run(Upstream(planted_for(task)), tasks=(task,))
    own = {one.id: simulated.frames_of(one.samples) for one in simulated.recordings()}
    features, kept = FrameFeatures.batch, Rows.batch
    poisoned = 0

    def beyond(ids: Sequence[str], lengths: torch.Tensor, frames: int) -> torch.Tensor:
        nonlocal poisoned
        assert lengths.tolist() == [own[name] for name in ids]
        assert frames == max(own[name] for name in ids)
        found = torch.arange(frames) >= lengths[:, None]
        poisoned += int(found.sum())
        return found[..., None]

    def read(self: FrameFeatures, layers: Any, ids: Any, stride: Any = None) -> Any:
        rows, lengths = features(self, layers, ids, stride)
        no = beyond(ids, lengths, rows[0].shape[1])
        return [torch.where(no, 50.0, x) for x in rows], lengths

    def held(self: Rows, layers: Any, ids: Any) -> Any:
        rows, lengths = kept(self, layers, ids)
        no = beyond(ids, lengths, len(next(iter(rows.values())))).transpose(0, 1)
        return {i: torch.where(no, 50.0, x) for i, x in rows.items()}, lengths

    monkeypatch.setattr(FrameFeatures, "batch", read)
    monkeypatch.setattr(Rows, "batch", held)
    _, after, again = run(Upstream(planted_for(task)), tasks=(task,))
    assert poisoned > 300
    exact = ["layer", "lr", "seed", "step", "chosen", "diverged"]
    pd.testing.assert_frame_equal(before[exact], after[exact])
    np.testing.assert_allclose(before[["dev", "test"]], after[["dev", "test"]], atol=1e-6)
    np.testing.assert_allclose(weights["weight"], again["weight"], atol=1e-6)
    assert before["test"].nunique() > 1  # what is held equal is no constant


def test_how_recordings_are_batched_changes_nothing(run: Run, tmp_path: Path) -> None:
    found, sizes = [], []
    for seconds in (0.5, 60.0):
        model = Upstream(planted_in(1, 0.5))
        found.append(run(model, tasks=("mood", "pr"), batch_s=seconds)[1])
        sizes.append(max(model.batches))
    assert sizes[0] == 1 < 10 < sizes[1]
    pd.testing.assert_frame_equal(found[0], found[1])


def test_a_real_encoder_gives_the_same_alone_and_in_padded_batches(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8")
    means = []
    for seconds in (0.5, 60.0):
        out = tmp_path / f"batch{seconds}"
        run(model, models=(model.spec,), batch_s=seconds, keep_store=True, steps=1, out=out)  # type: ignore[arg-type]
        store = RowStore(out / "store" / "means")
        order = np.argsort(store.index["utterance"].to_numpy())
        means.append([store.layer(i)[order] for i in range(3)])
    for one, other in zip(*means, strict=True):
        assert one.std(dim=0).max() > 1e-3
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


# -- choices -----------------------------------------------------------------------------------


def disagreeing(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
    """Layer 0 is right in dev and wrong in test; layer 1 knows nothing in dev, all in test."""
    found = noise(one, at, frames)
    if at == 0:
        return found + code((one.mood + (one.part == "test")) % 4, 2.0)
    return found + (at == 1 and one.part != "dev") * code(one.mood, 2.0)


def test_the_best_layer_is_the_best_on_dev(run: Run) -> None:
    result, _, _ = run(Upstream(disagreeing))
    assert accuracy(result, "0") < 0.1
    assert accuracy(result, "1") > 0.6
    assert result.record["best"] == {"mood simulated": "0"}
    table = result.table
    over = table[table["measure"] == "accuracy-over-best-layer"]
    assert over["other_layer"].item() == "0"
    assert over["value"].item() == pytest.approx(accuracy(result) - accuracy(result, "0"))
    assert set(table.loc[table["measure"] == "accuracy", "estimator"]) == {"dev-selected"}


@pytest.mark.parametrize("task", ["mood", *FRAMES])
def test_the_test_part_chooses_nothing(run: Run, task: str) -> None:
    """Other states of the test recordings change what test says, and no choice; other states of
    the dev recordings change choices."""

    def states(scrambled: str) -> simulated.States:
        def of(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
            if one.part == scrambled:
                return noise(one, at + 50, frames)
            return planted_for(task)(one, at, frames)

        return of

    def choices(scrambled: str) -> tuple[pd.DataFrame, pd.DataFrame, list[float], Any]:
        result, probes, weights = run(Upstream(states(scrambled)), tasks=(task,), controls=True)
        scores = list(probes.pop("test"))
        return probes, weights, scores, result.record["best"]

    probes, weights, scores, best = choices("")
    same, equal, other, as_before = choices("test")
    pd.testing.assert_frame_equal(probes, same)
    # norms of states are means over all recordings, those of test among them
    for columns in (["weight"], ["layer", "lr", "seed"]):
        pd.testing.assert_frame_equal(weights[columns], equal[columns])
    assert best == as_before
    assert scores != other
    dev = choices("dev")[0]
    assert not probes.equals(dev)
    assert not probes["dev"].equals(dev["dev"])


def test_what_the_published_rules_choose_on_test_is_called_so(run: Run) -> None:
    """Of diarization threshold and filter, of verification the step; nothing else."""
    tasks = ("mood", "pr", "sd", "asv")
    found = {}
    for selection in ("strict", "superb"):
        model = Upstream(planted_for("sd"))
        result, _, _ = run(model, tasks=tasks, selection=selection, steps=2)
        assert result.record["protocol"]["selection"] == selection
        table = result.table
        scores = table[table["measure"].isin(["accuracy", "per", "der", "eer"])]
        scores = scores[scores["estimator"] != "screen"]
        found[selection] = scores.groupby("property")["estimator"].unique().map(list).to_dict()
    assert found["strict"] == {task: ["dev-selected"] for task in tasks}
    assert found["superb"] == {
        "mood": ["dev-selected"],
        "pr": ["dev-selected"],
        "sd": ["test-selected"],
        "asv": ["test-selected"],
    }


def test_learning_rates_are_chosen_by_the_mean_of_dev(run: Run) -> None:
    _, probes, _ = run(
        Upstream(planted_in(1, 0.4)), lrs=(0.1, 0.01, 0.001), seeds=3, controls=True, ablation=True
    )
    differs = 0
    for (layer, control), cell in probes.groupby(["layer", "control"]):
        by_rate = cell.groupby("lr")[["dev", "test"]].mean().sort_index(ascending=False)
        picked = cell.loc[cell["chosen"], "lr"].unique()
        assert list(picked) == [by_rate["dev"].idxmax()], (layer, control)  # the largest of equals
        assert cell["chosen"].sum() == len(cell) / len(by_rate)
        differs += by_rate["test"].idxmax() != picked[0]
    assert differs  # a choice by test would be seen


def test_the_score_is_that_of_the_step_that_is_best_on_dev(run: Run) -> None:
    """A training that ends at the step that was kept says the same on dev and test."""
    model = Upstream(planted_in(1, 0.4))
    _, whole, _ = run(model, lrs=(0.03,), seeds=2)
    assert set(whole["step"]) <= set(range(5, 45, 5))
    early = whole[whole["step"] < 40]
    assert len(early) > 2
    for step in early["step"].unique()[:3]:
        _, part, _ = run(model, lrs=(0.03,), seeds=2, steps=int(step))
        at = whole["step"] == step
        pd.testing.assert_frame_equal(whole[at], part[at], check_like=True)
    _, full, _ = run(model, lrs=(0.03,), seeds=2, steps=80)
    assert (full["dev"] >= whole["dev"]).all()  # dev of the best step: never less for going on


# -- records -----------------------------------------------------------------------------------


def test_the_grid_is_recorded(run: Run) -> None:
    result, probes, _ = run(
        Upstream(planted_in(1)), tasks=("mood", "pr"), controls=True, ablation=True, seed=7
    )
    record = result.record
    assert record["protocol"]["lrs"] == PROTOCOL["lrs"]
    assert record["protocol"]["tasks"]["pr"]["lrs"] == PROTOCOL["tasks"]["pr"]["lrs"]
    assert record["protocol"]["seeds"] == 2
    assert record["config"]["seed"] == record["seed"] == 7
    for key in ("steps", "batch", "hidden", "every"):
        assert record["protocol"]["default"][key] == PROTOCOL["default"][key]
    for task, lrs, seeds in (("mood", [0.03, 0.003], [7, 8]), ("pr", [0.1, 0.02], [7])):
        mine = probes[probes["task"] == task]
        whole = mine[~mine["layer"].str.contains("without")]
        real = whole[whole["control"] == ""]
        got = sorted(zip(real["layer"], real["lr"], real["seed"], strict=True))
        layers = ("0", "1", "2", SUM)
        assert got == sorted((at, lr, seed) for at in layers for lr in lrs for seed in seeds)
        dealt = whole[whole["control"] == "permuted-labels"]
        got = sorted(zip(dealt["layer"], dealt["lr"], dealt["seed"], strict=True))
        assert got == sorted((at, lr, 7) for at in layers for lr in lrs)
        without = mine[mine["layer"].str.contains("without")]
        chosen_lr = real.loc[(real["layer"] == SUM) & real["chosen"], "lr"].unique()
        got = sorted(zip(without["layer"], without["lr"], without["seed"], strict=True))
        assert got == sorted(
            (f"{SUM} without {i}", chosen_lr[0], seed) for i in range(3) for seed in seeds
        )
        assert {"dev", "test", "step", "chosen", "diverged", "dev_measure"} < set(mine)


def test_settings_replace_the_grid_and_are_recorded(run: Run) -> None:
    changed = {"lrs": (0.02, 0.01, 0.005), "seeds": 3, "steps": 4}
    result, probes, _ = run(Upstream(planted_in(1)), tasks=("mood", "pr"), **changed)
    record = result.record
    assert record["protocol"]["lrs"] == record["config"]["lrs"] == [0.02, 0.01, 0.005]
    assert record["protocol"]["default"]["steps"] == 4
    assert record["protocol"]["tasks"]["pr"]["steps"] == 4
    for _, mine in probes.groupby("task"):
        assert sorted(mine["lr"].unique()) == [0.005, 0.01, 0.02]
        assert set(mine["seed"]) == {0, 1, 2}
        assert set(mine["step"]) == {4}


def test_protocols_of_the_package_have_a_grid() -> None:
    for name in ("small", "superb"):
        protocol = read_protocol(name)
        assert list(protocol.lrs) == [0.1, 0.01, 0.001, 0.0001, 0.00001]
    assert read_protocol("small").seeds == 3
    assert read_protocol("superb").default.clip == 1.0


def test_controls_are_of_labels_dealt_anew(run: Run) -> None:
    result, probes, _ = run(Upstream(planted_in(1)), controls=True)
    assert min(accuracy(result, "1"), accuracy(result)) > 0.9
    assert accuracy(result, "1", "permuted-labels") < 0.6
    assert accuracy(result, SUM, "permuted-labels") < 0.6
    real = probes[(probes["control"] == "") & (probes["layer"] == "1")]
    assert real["dev"].max() == 1.0


def test_controls_deal_train_and_dev_and_leave_test(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen by what there is to learn, which is nothing, and tested on what is true."""
    given: list[int] = []

    def dealt(targets: torch.Tensor, seed: int) -> torch.Tensor:
        given.append(len(targets))
        return targets

    monkeypatch.setattr("voxstrata.probing.linear.train.dealt", dealt)
    _, probes, _ = run(Upstream(planted_in(1)), controls=True, seeds=1)
    assert set(given) == {PARTS["train"], PARTS["dev"]}
    # Where nothing is dealt, a control is the probe it stands beside.
    columns = ["layer", "lr", "seed", "dev", "test", "step"]
    real, control = (
        probes.loc[probes["control"] == name, columns].reset_index(drop=True)
        for name in ("", "permuted-labels")
    )
    pd.testing.assert_frame_equal(real, control)


def test_seeds_are_runs_of_their_own_and_repeat(run: Run) -> None:
    def once(seed: int) -> pd.DataFrame:
        return run(Upstream(planted_in(1, 0.3)), seed=seed, seeds=3, lrs=(0.01,))[1]

    first, again, other = once(0), once(0), once(1)
    pd.testing.assert_frame_equal(first, again)
    for _, cell in first.groupby("layer"):
        assert len(set(zip(cell["dev"], cell["test"], cell["step"], strict=True))) > 1
    # seeds 1 and 2 of a run from seed 0 are the first two of a run from seed 1
    columns = ["layer", "dev", "test", "step"]
    one = first[first["seed"].isin([1, 2])][columns].reset_index(drop=True)
    two = other[other["seed"].isin([1, 2])][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, two)


def test_initial_weights_do_not_depend_on_other_threads() -> None:
    """All come from one generator of torch's: one thread at a time."""

    def drawn(meanwhile: Callable[[], None] = lambda: None) -> torch.Tensor:
        with initial_weights(3, "test"):
            meanwhile()
            return torch.nn.Linear(4, 4).weight.detach()

    def other() -> None:
        with initial_weights(4, "another"):
            inside.set()
            done.wait(5)

    def in_between() -> None:
        thread.start()
        inside.wait(0.3)

    inside, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    alone = drawn()
    beside = drawn(in_between)
    done.set()
    thread.join(5)
    assert inside.is_set()
    assert torch.equal(alone, beside)
