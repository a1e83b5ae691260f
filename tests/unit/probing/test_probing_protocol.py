"""The protocol, held against an upstream whose hidden states are known: even weights at first,
every state in the sum once, the upstream's own frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import simulated
from simulated import PARTS, Recording, Upstream, code, noise
from simulated_run import FRAMES, Run, accuracy, corpus, planted_for, planted_in, run
from voxstrata.models import load_model
from voxstrata.probing.cells import SUM
from voxstrata.probing.frames import FrameFeatures, FrameStore
from voxstrata.probing.seeded import initial_weights
from voxstrata.probing.sequences.rows import Rows
from voxstrata.streaming.store import RowStore

__all__ = ["corpus", "run"]  # fixtures

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

    def held(self: Rows, layers: Any, ids: Any, *scratch: Any) -> Any:
        rows, lengths = kept(self, layers, ids, *scratch)
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
    assert sizes[0] == 1 < 4 < sizes[1]
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
