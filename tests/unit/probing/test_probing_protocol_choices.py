"""The protocol, held against an upstream whose hidden states are known: choices by dev alone, the
grid, seeds and controls on record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import simulated
from simulated import PARTS, Recording, Upstream, code, noise
from simulated_run import FRAMES, PROTOCOL, Run, accuracy, corpus, planted_for, planted_in, run
from voxstrata.probing.cells import SUM
from voxstrata.probing.settings import read_protocol

__all__ = ["corpus", "run"]  # fixtures

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
