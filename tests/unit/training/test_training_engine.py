"""The loop: hooks, clipping, accumulation, resume, averages, and the reasons to stop."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import training_made as made
from voxstrata.errors import CheckpointError, NumericsError, RunInterruptedError, StorageError
from voxstrata.training import state
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.engine import Engine
from voxstrata.training.log import read_log
from voxstrata.training.objective import Batch, Clock, Loss, Objective
from voxstrata.training.optimise import clip, make_optimiser, set_rate
from voxstrata.training.settings import OptimiserConfig


def _weights(engine: Engine) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in engine.objective.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_step_is_what_it_is_by_hand(tmp_path: Path) -> None:
    """Two steps of SGD with momentum and clipping against formulas written out here."""
    config = made.settings(
        optimiser={"momentum": 0.9, "weight_decay": 0.1, "clip": 0.5}, run={"steps": 2}
    )
    engine = made.engine(tmp_path, config)
    other = made.PlantedObjective()
    plan = BatchPlan(made.planted_items(), config.data, seed=1)
    examples = made.PlantedExamples()
    params = list(other.parameters())
    speed = [torch.zeros_like(p) for p in params]
    losses, norms = [], []
    for step, spec in enumerate(list(plan.epoch(0))[:2]):
        rows = [
            examples.make(plan.items[i], np.random.default_rng([1, 31, 0, i, 0]))
            for i in spec.items
        ]
        loss = other(examples.collate(rows)).value
        grads = torch.autograd.grad(loss, params)
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
        factor = min(1.0, 0.5 / (norm + 1e-6))
        with torch.no_grad():
            for p, v, g in zip(params, speed, grads, strict=True):
                v.mul_(0.9).add_(g * factor + 0.1 * p)
                p.sub_(v * 0.1 / (1 + step))
            other.slow.mul_(0.9).add_(other.encoder.weight, alpha=0.1)
        losses.append(loss.item())
        norms.append(norm)
    engine.run()
    assert norms[0] > 0.5  # clipping did something
    for name, value in engine.objective.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=1e-6), name
    line = read_log(tmp_path)[0]
    assert line["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert line["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-5)
    assert line["lr"] == pytest.approx(0.075)
    assert line["epochs"] == pytest.approx(2 / 6)


def test_hooks_are_called_in_their_order_around_every_step(tmp_path: Path) -> None:
    objective = made.PlantedObjective()
    made.engine(tmp_path, made.settings(run={"steps": 2, "accumulate": 2}), objective).run()
    step = ["begin_step", "forward", "forward", "after_backward", "before_update", "after_update"]
    assert objective.called == step * 2


def test_the_hooks_see_gradients_before_and_after_clipping(tmp_path: Path) -> None:
    seen: dict[str, float] = {}

    class Watching(made.PlantedObjective):
        def norm(self) -> float:
            grads = [p.grad.flatten() for p in self.parameters() if p.grad is not None]
            return float(torch.cat(grads).norm())

        def after_backward(self, clock: Clock) -> None:
            seen["before"] = self.norm()

        def before_update(self, clock: Clock) -> None:
            seen["after"] = self.norm()

    config = made.settings(optimiser={"clip": 0.25}, run={"steps": 1})
    made.engine(tmp_path, config, Watching()).run()
    assert seen["before"] > 0.5
    assert seen["after"] == pytest.approx(0.25, rel=1e-4)


def test_it_learns(tmp_path: Path) -> None:
    config = made.settings(run={"steps": 120, "log_every": 20})
    made.engine(tmp_path, config, rate=lambda step: 0.03).run()
    lines = [e for e in read_log(tmp_path) if e["kind"] == "step"]
    assert lines[0]["loss"] > 2 * lines[-1]["loss"]
    assert lines[-1]["accuracy"] > 0.9
    assert [e["step"] for e in lines] == [20, 40, 60, 80, 100, 120]
    assert all(0 <= e["waiting"] <= 1 and e["audio_s_per_s"] > 0 for e in lines)


class _Norms(nn.Module):
    """Three tensors with gradients of norms 3, 4 and 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(n)) for n in (1, 2, 1))
        self.a.grad = torch.tensor([3.0])
        self.b.grad = torch.tensor([0.0, 4.0])
        self.c.grad = torch.tensor([0.5])


def test_clipping_of_all_gradients_together() -> None:
    module = _Norms()
    norm = clip(module.parameters(), OptimiserConfig(clip=1.0))
    whole = math.sqrt(9 + 16 + 0.25)
    assert float(norm) == pytest.approx(whole)
    grads = [p.grad for p in module.parameters()]
    for grad, wanted in zip(grads, ([3.0], [0.0, 4.0], [0.5]), strict=True):
        assert grad is not None
        assert grad.tolist() == pytest.approx([w / (whole + 1e-6) for w in wanted], rel=1e-6)


def test_clipping_of_each_tensor_by_itself_leaves_small_ones() -> None:
    module = _Norms()
    clip(module.parameters(), OptimiserConfig(clip=1.0, clip_each=True))
    grads = [p.grad for p in module.parameters()]
    wanted = ([3 / (3 + 1e-6)], [0.0, 4 / (4 + 1e-6)], [0.5])
    for grad, row in zip(grads, wanted, strict=True):
        assert grad is not None
        assert grad.tolist() == pytest.approx(row, rel=1e-6)


def test_without_a_limit_gradients_stay_and_their_norm_is_told() -> None:
    module = _Norms()
    assert float(clip(module.parameters(), OptimiserConfig())) == pytest.approx(math.sqrt(25.25))
    assert module.b.grad is not None
    assert module.b.grad.tolist() == [0.0, 4.0]
    assert float(clip([nn.Parameter(torch.zeros(2))], OptimiserConfig(clip=1.0))) == 0.0


class _Grouped(made.PlantedObjective):
    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.encoder.parameters()), "scale": 0.5},
            {"params": [self.head.weight], "weight_decay": 0.0},
            {"params": [self.head.bias], "fixed_lr": 0.007},
        ]


def test_groups_of_weight_decay_and_learning_rate() -> None:
    objective = _Grouped()
    kept = make_optimiser(objective, OptimiserConfig(weight_decay=0.3)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in kept] == [(2, 0.3), (1, 0.0), (1, 0.3)]
    config = OptimiserConfig(kind="adamw", weight_decay=0.3, decay_vectors=False)
    optimiser = make_optimiser(objective, config)
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay[id(objective.encoder.weight)] == 0.3
    assert decay[id(objective.encoder.bias)] == 0.0
    assert decay[id(objective.head.weight)] == 0.0  # its group's own
    assert decay[id(objective.head.bias)] == 0.0
    assert len(decay) == len(list(objective.parameters()))
    set_rate(optimiser, 0.2)
    rates = {id(p): g["lr"] for g in optimiser.param_groups for p in g["params"]}
    assert rates[id(objective.encoder.weight)] == rates[id(objective.encoder.bias)] == 0.1
    assert rates[id(objective.head.weight)] == 0.2
    assert rates[id(objective.head.bias)] == 0.007


def test_what_is_frozen_is_not_optimised() -> None:
    objective = made.PlantedObjective()
    objective.head.requires_grad_(False)
    (group,) = make_optimiser(objective, OptimiserConfig()).param_groups
    assert len(group["params"]) == 2


def test_two_batches_of_four_are_one_of_eight(tmp_path: Path) -> None:
    small = made.engine(
        tmp_path / "4", made.settings(data={"batch": 4}, run={"steps": 6, "accumulate": 2})
    )
    large = made.engine(tmp_path / "8", made.settings(data={"batch": 8}, run={"steps": 6}))
    assert small.per_epoch == large.per_epoch == 3
    small.run()
    large.run()
    for name, value in small.objective.state_dict().items():
        assert torch.allclose(value, large.objective.state_dict()[name], atol=1e-6), name
    ours, theirs = read_log(tmp_path / "4"), read_log(tmp_path / "8")
    for one, other in zip(ours, theirs, strict=True):
        for key in ("loss", "accuracy", "gradient_norm", "epochs"):
            assert one[key] == pytest.approx(other[key], rel=1e-5)


def test_bfloat16_runs_on_the_cpu(tmp_path: Path) -> None:
    kinds = set()

    class Watching(made.PlantedObjective):
        def forward(self, batch: Batch) -> Loss:
            kinds.add(self.encoder(batch["x"]).dtype)
            return super().forward(batch)

    config = made.settings(run={"steps": 40, "precision": "bfloat16", "log_every": 10})
    engine = made.engine(tmp_path, config, Watching(), rate=lambda step: 0.03)
    engine.run()
    assert kinds == {torch.bfloat16}
    assert {v.dtype for v in engine.objective.state_dict().values()} == {torch.float32}
    lines = read_log(tmp_path)
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]


# Resume


def _interrupted(folder: Path, config: Any, at: int, **options: Any) -> Engine:
    """Run to the step ``at``, stop as after a kill, and go on with a new engine."""
    first = made.engine(folder, config, made.PlantedObjective(dropout=0.3), **options)
    with pytest.raises(_KilledError):
        _kill_after(first, at)
    second = made.engine(folder, config, made.PlantedObjective(dropout=0.3), **options)
    second.run()
    return second


class _KilledError(BaseException):
    pass


def _kill_after(engine: Engine, at: int) -> None:
    plain = engine._one_step

    def step(*arguments: Any) -> dict[str, float]:
        if engine.step == at:
            raise _KilledError
        return plain(*arguments)

    engine._one_step = step  # type: ignore[method-assign]
    engine.run()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("at", [1, 6, 11])
def test_stopped_anywhere_and_resumed_is_the_run_that_was_not(
    tmp_path: Path, kind: str, at: int
) -> None:
    config = made.settings(
        data={"batch": 5}, optimiser={"kind": kind}, run={"steps": 14, "log_every": 3}
    )
    examples = made.PlantedExamples(bad=("u004", "u017"))
    plain = made.engine(
        tmp_path / "plain", config, made.PlantedObjective(dropout=0.3), examples=examples
    )
    plain.run()
    resumed = _interrupted(tmp_path / "resumed", config, at, examples=examples)
    assert _same(_weights(plain), _weights(resumed))
    ours, theirs = read_log(tmp_path / "plain"), read_log(tmp_path / "resumed")
    assert made.untimed(ours) == made.untimed(theirs)
    assert sum(e["kind"] == "bad" for e in ours) == 2
    assert resumed.told.bad == plain.told.bad == {
        "u004": "u004 is empty (0 samples)",
        "u017": "u017 is empty (0 samples)",
    }  # fmt: skip
    # Seconds of both sittings are counted.
    assert resumed.told.seconds == plain.told.seconds == 14 * 5 * 2.0


def test_a_resume_behind_the_latest_line_of_the_log_has_no_duplicates(tmp_path: Path) -> None:
    """Checkpoints are rarer than lines: what came after the last one is made again."""
    config = made.settings(run={"steps": 12, "log_every": 1, "save_every_s": 3600.0})
    plain = made.engine(tmp_path / "plain", config, made.PlantedObjective(dropout=0.3))
    plain.run()
    first = made.engine(tmp_path / "r", config, made.PlantedObjective(dropout=0.3))
    first._any = lambda due: first.step == 5  # type: ignore[method-assign]
    first._told_to_stop = lambda: False  # type: ignore[method-assign]
    with pytest.raises(_KilledError):
        _kill_after(first, 9)
    assert [e["step"] for e in read_log(tmp_path / "r")] == list(range(1, 10))
    second = made.engine(tmp_path / "r", config, made.PlantedObjective(dropout=0.3))
    second._resume()
    assert second.step == 5
    second = made.engine(tmp_path / "r", config, made.PlantedObjective(dropout=0.3))
    second.run()
    assert made.untimed(read_log(tmp_path / "r")) == made.untimed(read_log(tmp_path / "plain"))
    assert _same(_weights(plain), _weights(second))


_KILLABLE = """
import sys, time
from pathlib import Path
import torch
import training_made as made
torch.set_num_threads(1)
folder, pause, workers, steps = sys.argv[1], *map(float, sys.argv[2:])
class Slow(made.PlantedObjective):
    def begin_step(self, clock):
        time.sleep(pause)
        super().begin_step(clock)
config = made.settings(data={"workers": int(workers)}, run={"steps": int(steps), "log_every": 3})
made.engine(Path(folder), config, Slow(dropout=0.3)).run()
"""


def _start(folder: Path, pause_s: float, workers: int = 0, steps: int = 40) -> Any:
    here = Path(made.__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", _KILLABLE, str(folder), str(pause_s), str(workers), str(steps)],
        env={**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _until_line(folder: Path, process: Any, lines: int) -> None:
    until = time.monotonic() + 60
    while len(read_log(folder)) < lines:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "no log after a minute"
        time.sleep(0.01)


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """SIGKILL in the middle of whatever it is doing, more than once, with a loader process."""
    folder = tmp_path / "killed"
    config = made.settings(run={"steps": 40, "log_every": 3})
    plain = made.engine(tmp_path / "plain", config, made.PlantedObjective(dropout=0.3))
    plain.run()
    for lines in (2, 6):
        process = _start(folder, 0.03, workers=1)
        _until_line(folder, process, lines)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    assert len(read_log(folder)) < 14
    resumed = made.engine(folder, config, made.PlantedObjective(dropout=0.3))
    resumed.run()
    assert _same(_weights(plain), _weights(resumed))
    assert made.untimed(read_log(folder)) == made.untimed(read_log(tmp_path / "plain"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_the_run_after_its_step(
    tmp_path: Path, number: signal.Signals
) -> None:
    """As a terminal's Ctrl-C or a scheduler's SIGTERM reach the run and its loaders alike."""
    process = _start(tmp_path, 0.03, workers=1, steps=4000)
    _until_line(tmp_path, process, 2)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1  # the error, uncaught: the script has no command line
    assert "RunInterruptedError: training was stopped" in said, said
    assert "of 4000" in said
    assert "run the same command again" in said
    held = state.load(tmp_path, "same")
    assert held is not None
    last = read_log(tmp_path)[-1]["step"]
    assert last <= held["step"] < last + 3


def test_ctrl_c_writes_a_checkpoint_though_none_is_due(tmp_path: Path) -> None:
    config = made.settings(run={"steps": 1000, "save_every_s": 3600.0})
    engine = made.engine(tmp_path, config)
    plain = engine._one_step

    def step(*arguments: Any) -> dict[str, float]:
        if engine.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments)

    engine._one_step = step  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RunInterruptedError) as caught:
        engine.run()
    assert caught.value.got == "step 8 of 1000"
    held = state.load(tmp_path, "same")
    assert held is not None
    assert held["step"] == 8
    assert signal.getsignal(signal.SIGINT) is before  # as it was found


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    engine = made.engine(tmp_path, made.settings(run={"steps": 2}))
    thread = threading.Thread(target=engine.run)
    thread.start()
    thread.join(30)
    assert engine.step == 2


def test_a_loader_process_that_dies_is_told_and_the_checkpoint_stays(tmp_path: Path) -> None:
    config = made.settings(data={"workers": 1}, run={"steps": 50})
    engine = made.engine(tmp_path, config, examples=_Dying(4))
    with pytest.raises(RunInterruptedError, match="loads recordings died") as caught:
        engine.run()
    assert "data.workers" in caught.value.fix
    held = state.load(tmp_path, "same")
    assert held is not None
    assert 1 <= held["step"] < 50


class _Dying(made.PlantedExamples):
    def __init__(self, after: int) -> None:
        super().__init__()
        object.__setattr__(self, "after", after)

    def make(self, item: Any, rng: Any) -> Any:
        object.__setattr__(self, "after", self.after - 0.1)
        if self.after < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().make(item, rng)


# What must be refused


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    made.engine(tmp_path, made.settings(run={"steps": 2})).run()
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="other settings"):
        made.engine(tmp_path, identity="another").run()
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    made.engine(tmp_path, made.settings(run={"steps": 2})).run()
    with pytest.raises(CheckpointError, match=r"head\.weight \(4, 12\) instead of \(7, 12\)"):
        made.engine(tmp_path, objective=made.PlantedObjective(classes=7)).run()


def test_a_disk_that_fills_up_stops_the_run_and_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made.settings(run={"steps": 12})
    plain = made.engine(tmp_path / "plain", config, made.PlantedObjective(dropout=0.3))
    plain.run()
    engine = made.engine(tmp_path / "full", config, made.PlantedObjective(dropout=0.3))
    rename, done = os.replace, []

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(state.CHECKPOINT):
            done.append(engine.step)
            if len(done) > 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(StorageError, match=state.CHECKPOINT) as caught:
            engine.run()
    assert "free some space" in caught.value.fix
    assert "same command" in caught.value.fix
    held = state.load(tmp_path / "full", "same")
    assert held is not None
    assert held["step"] == 5
    # With room again the run ends as if nothing had happened.
    resumed = made.engine(tmp_path / "full", config, made.PlantedObjective(dropout=0.3))
    resumed.run()
    assert _same(_weights(plain), _weights(resumed))


@pytest.mark.parametrize(
    ("what", "argument"), [("loss", "break_loss"), ("gradient", "break_gradient")]
)
def test_numbers_that_are_not_finite_stop_the_run_at_once(
    tmp_path: Path, what: str, argument: str
) -> None:
    engine = made.engine(tmp_path, objective=made.PlantedObjective(**{argument: 6}))  # type: ignore[arg-type]
    with pytest.raises(NumericsError, match=f"the {what} is no longer finite at step 6") as caught:
        engine.run()
    text = str(caught.value)
    assert "learning rate 0.0143" in text
    assert "accuracy" in text
    for remedy in ("lower the learning rate", "clip gradients", "float32"):
        assert remedy in text
    held = state.load(tmp_path, "same")
    assert held is not None
    assert held["step"] == 6
    assert all(v.isfinite().all() for v in held["objective"].values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """A last update with a far too high learning rate: no later loss would tell."""
    config = made.settings(optimiser={"weight_decay": 10.0}, run={"steps": 6})
    engine = made.engine(tmp_path, config, rate=lambda step: 3e38 if step == 5 else 0.01)
    with pytest.raises(NumericsError, match=r"weight .* is no longer finite") as caught:
        engine.run()
    assert "learning rate 3e+38" in str(caught.value)
    held = state.load(tmp_path, "same")
    assert held is not None
    assert held["step"] == 5


def test_a_collapse_stops_the_run_with_what_the_objective_says(tmp_path: Path) -> None:
    config = made.settings(run={"steps": 400, "log_every": 10})
    engine = made.engine(tmp_path, config, made.PlantedObjective(stop=0.4), rate=lambda step: 0.03)
    with pytest.raises(NumericsError, match=r"the loss fell below 0\.4") as caught:
        engine.run()
    assert "of 400" in str(caught.value)
    assert read_log(tmp_path)[-1]["loss"] < 0.4


# Evaluation and averages


def _bias(objective: Objective) -> dict[str, float]:
    assert not objective.training
    assert not torch.is_grad_enabled()
    weight = objective.network().bias
    assert isinstance(weight, torch.Tensor)
    return {"bias": float(weight.double().sum())}


def test_evaluation_comes_as_often_as_asked_and_at_the_end(tmp_path: Path) -> None:
    config = made.settings(run={"steps": 13, "evaluate_every": 5})
    engine = made.engine(tmp_path, config, evaluators=(_bias,))
    engine.run()
    lines = [e for e in read_log(tmp_path) if e["kind"] == "valid"]
    assert [e["step"] for e in lines] == [5, 10, 13]
    assert engine.told.valid == {"bias": lines[-1]["bias"]}
    assert engine.objective.training
    once = made.engine(tmp_path / "epoch", made.settings(), evaluators=(_bias,))
    once.run()
    assert [e["step"] for e in read_log(tmp_path / "epoch") if e["kind"] == "valid"] == [6, 12]


def test_the_mean_of_the_last_epochs_is_what_remains_and_is_evaluated(tmp_path: Path) -> None:
    """Three epochs of six steps, the last two averaged; two more steps do not count."""
    after: dict[int, torch.Tensor] = {}

    class Watching(made.PlantedObjective):
        def after_update(self, clock: Clock) -> None:
            super().after_update(clock)
            after[clock.step + 1] = self.encoder.bias.detach().clone()

    config = made.settings(run={"steps": 20, "average": 2})
    engine = made.engine(tmp_path, config, Watching(), evaluators=(_bias,))
    engine.run()
    wanted = (after[12].double() + after[18].double()) / 2
    bias = engine.objective.network().bias
    assert isinstance(bias, torch.Tensor)
    assert torch.allclose(bias.double(), wanted, atol=1e-7)
    assert not torch.allclose(after[20].double(), wanted, atol=1e-4)
    assert engine.told.valid["bias"] == pytest.approx(float(wanted.sum()), abs=1e-6)
    last = read_log(tmp_path)[-1]
    assert (last["kind"], last["averaged"]) == ("end", 2)
    # Asked for again (killed before the model was exported), it is the same mean.
    again = made.engine(tmp_path, config, Watching(), evaluators=(_bias,))
    again.run()
    assert torch.equal(again.objective.network().bias, bias)  # type: ignore[arg-type]
    assert sum(e["kind"] == "end" for e in read_log(tmp_path)) == 1
