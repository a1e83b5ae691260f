"""The training loop: steps, checkpoints, evaluation, and the reasons to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from voxstrata.errors import NumericsError, RunInterruptedError
from voxstrata.streaming.progress import bar
from voxstrata.training import distributed, state
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.data.loader import Loaded, batches
from voxstrata.training.log import TrainLog
from voxstrata.training.objective import Batch, Clock, Evaluator, Examples, Loss, Objective
from voxstrata.training.optimise import clip, make_optimiser, set_decay, set_rate
from voxstrata.training.settings import TrainConfig

_STEPS = 17
"""Purpose number of the generators behind dropout and the like."""


@dataclass
class Told:
    """What a run tells beside its weights.

    Attributes:
        bad: reason by recording that could not be used.
        valid: the last evaluation.
        seconds: seconds of audio trained on by this process, in all sittings of the run.
        busy_s: seconds it took, and of these
        waiting_s: seconds in which the loop waited for data.
    """

    bad: dict[str, str] = field(default_factory=dict)
    valid: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    busy_s: float = 0.0
    waiting_s: float = 0.0


class Engine:
    """One process of a run.

    Args:
        config: the settings.
        objective: networks and loss, on the device already.
        examples: the data side.
        plan: batches of this process.
        steps: optimiser steps of the run.
        rate: learning rate of each step.
        folder: where checkpoints and the log go.
        identity: digest that a checkpoint must share.
        device: where the objective is.
        evaluators: called every ``run.evaluate_every`` steps.
        progress: show a progress bar.
    """

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        examples: Examples,
        plan: BatchPlan,
        *,
        steps: int,
        rate: Callable[[int], float],
        folder: Path,
        identity: str,
        device: str,
        evaluators: tuple[Evaluator, ...] = (),
        progress: bool = False,
    ) -> None:
        self.config, self.objective, self.examples, self.plan = config, objective, examples, plan
        self.steps, self.rate, self.folder, self.identity = steps, rate, folder, identity
        self.device, self.evaluators, self.progress = device, evaluators, progress
        self.per_epoch = steps_per_epoch(config, plan)
        self.optimiser = make_optimiser(objective, config.optimiser)
        self.step, self._epoch, self._position = 0, 0, 0
        self.told = Told()
        self._wrapped = self._wrap()
        self._asked = threading.Event()
        self._sums: dict[str, float] = {}  # of what is logged, since the last line
        self._since = 0

    def _wrap(self) -> nn.Module:
        if distributed.size() == 1:
            return self.objective
        where = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(
            self.objective, device_ids=where, find_unused_parameters=True
        )

    @property
    def lead(self) -> bool:
        """Whether this process writes files."""
        return distributed.rank() == 0

    def run(self) -> Told:
        """Train from the latest checkpoint to the end.

        Raises:
            NumericsError: loss or gradient stopped being finite, or the objective collapsed.
            RunInterruptedError: Ctrl-C or SIGTERM; a checkpoint was written.
            StorageError: a checkpoint cannot be written; the one before it is whole.
        """
        self._resume()
        log = TrainLog(self.folder, self.step, self.config.run.tensorboard) if self.lead else None
        try:
            try:
                with self._signals():
                    self._loop(log)
                    self._average(log)
            finally:
                if log is not None:
                    log.close()
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not self._loader_died(error):
                raise
            raise RunInterruptedError(
                f"a process that loads recordings died at step {self.step} of {self.steps}",
                got=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="it may have run out of memory: make data.workers smaller; the same command "
                f"goes on from the latest checkpoint in {self.folder}",
            ) from None
        return self.told

    def _loader_died(self, error: Exception) -> bool:
        """Whether an error is what is left of a loader process: torch's own message, or a
        connection to it that broke before torch noticed."""
        if isinstance(error, RuntimeError):
            return "DataLoader worker" in str(error)
        return self.config.data.workers > 0

    def _resume(self) -> None:
        found = state.load(self.folder, self.identity)
        if found is None:
            return
        state.restore(self.objective, found["objective"], str(self.folder))
        self.optimiser.load_state_dict(found["optimiser"])
        self.step, self._epoch, self._position = found["step"], found["epoch"], found["position"]
        self._sums, self._since = dict(found["sums"]), found["since"]
        self.told = Told(**found["told"])

    def save(self) -> None:
        """Write a checkpoint (the first process) and wait for it (the others).

        Raises:
            NumericsError: a weight is not finite: the checkpoint before is kept.
            StorageError: it cannot be written; the one before is whole.
        """
        wrong = [n for n, p in self.objective.named_parameters() if not p.isfinite().all()]
        if wrong:
            raise self._broken(f"weight {wrong[0]}", math.nan, self.rate(self.step - 1), {})
        self.told.bad = distributed.merged(self.told.bad)
        if self.lead:
            state.save(
                self.folder,
                {
                    "identity": self.identity,
                    "objective": self.objective.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "step": self.step,
                    "epoch": self._epoch,
                    "position": self._position,
                    "sums": dict(self._sums),
                    "since": self._since,
                    "told": dataclasses.asdict(self.told),
                },
            )
        if distributed.size() > 1:
            dist.barrier()

    def _loop(self, log: TrainLog | None) -> None:
        run = self.config.run
        self.objective.train()
        saved = time.monotonic()
        begun = saved - self.told.busy_s
        every = run.evaluate_every or self.per_epoch
        show = self.progress and self.lead
        start, pin = (self._epoch, self._position), self.device.startswith("cuda")
        with (
            contextlib.closing(
                batches(self.plan, self.examples, epoch=start[0], position=start[1], pin=pin)
            ) as data,
            bar("training", self.steps, "steps", show=show) as advance,
        ):
            advance(self.step)
            while self.step < self.steps:
                logs = self._one_step(data, log)
                self._since += 1
                for name, value in logs.items():
                    self._sums[name] = self._sums.get(name, 0.0) + value
                advance(1)
                self.told.busy_s = time.monotonic() - begun
                if self.step % run.log_every == 0 or self.step == self.steps:
                    means = distributed.means(
                        {name: value / self._since for name, value in self._sums.items()},
                        self.device,
                    )
                    self._tell(log, means, advance)
                    self._sums, self._since = {}, 0
                    self._judge(means)
                if self.step % self.per_epoch == 0 and run.average > 1 and self.lead:
                    epoch = self.step // self.per_epoch
                    state.keep_epoch(self.folder, epoch, self.objective.network(), run.average)
                if self.evaluators and (self.step % every == 0 or self.step == self.steps):
                    self._evaluate(log)
                stop = self._told_to_stop()
                due = time.monotonic() - saved >= run.save_every_s
                if self._any(due) or stop or self.step == self.steps:
                    self.save()
                    saved = time.monotonic()
                if stop and self.step < self.steps:
                    raise RunInterruptedError(
                        "training was stopped",
                        got=f"step {self.step} of {self.steps}",
                        fix=f"run the same command again: it goes on from what {self.folder} holds",
                    )

    def _one_step(self, data: Iterator[Loaded], log: TrainLog | None) -> dict[str, float]:
        clock = Clock(self.step, self.steps, self.per_epoch)
        seed = [self.config.run.seed, _STEPS, self.step, distributed.rank()]
        torch.manual_seed(_mix(seed))
        rate = self.rate(self.step)
        set_rate(self.optimiser, rate)
        self.objective.begin_step(clock)
        set_decay(self.optimiser, self.objective.decay(clock))
        self.optimiser.zero_grad(set_to_none=True)
        count = self.config.run.accumulate
        logs: dict[str, float] = {}
        for part in range(count):
            asked = time.monotonic()
            loaded = next(data)
            self.told.waiting_s += time.monotonic() - asked
            self._note(loaded, log)
            batch = {k: v.to(self.device, non_blocking=True) for k, v in loaded.batch.items()}
            # Gradients of all but the last part need not be shared yet.
            quiet = getattr(self._wrapped, "no_sync", contextlib.nullcontext)
            with quiet() if part < count - 1 else contextlib.nullcontext():
                loss = self._forward(batch)
                value = float(loss.value.detach())
                if not math.isfinite(value):
                    raise self._broken("loss", value, rate, loss.logs)
                (loss.value / count).backward()  # type: ignore[no-untyped-call]
            self.told.seconds += self._seconds(loaded.batch)
            for name, found in {"loss": value, **loss.logs}.items():
                logs[name] = logs.get(name, 0.0) + float(found) / count
            self._epoch, self._position = loaded.spec.epoch, loaded.spec.position + 1
        self.objective.after_backward(clock)
        norm = float(clip(self.objective.parameters(), self.config.optimiser))
        if not math.isfinite(norm):
            raise self._broken("gradient", norm, rate, logs)
        self.objective.before_update(clock)
        self.optimiser.step()
        self.objective.after_update(clock)
        self.step += 1
        return {**logs, "gradient_norm": norm, "lr": rate}

    def _forward(self, batch: Batch) -> Loss:
        if self.config.run.precision == "float32":
            found: Loss = self._wrapped(batch)
            return found
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16):
            cast: Loss = self._wrapped(batch)
        return cast

    def _seconds(self, batch: Batch) -> float:
        """Seconds of audio in a batch: what it says itself, or so much for each item."""
        if "seconds" in batch:
            return float(batch["seconds"].sum())
        return self.examples.seconds * len(batch["item"])

    def _note(self, loaded: Loaded, log: TrainLog | None) -> None:
        for name, why in loaded.bad:
            if name not in self.told.bad:
                self.told.bad[name] = why
                if log is not None:
                    # Of the step being made: a run that resumes before it will add it again.
                    log.add("bad", self.step + 1, {"recording": name, "why": why})

    def _broken(
        self, what: str, value: float, rate: float, logs: Mapping[str, Any]
    ) -> NumericsError:
        known = ", ".join(f"{name} {float(v):.4g}" for name, v in logs.items())
        return NumericsError(
            f"the {what} is no longer finite at step {self.step}",
            got=f"{what} {value}, learning rate {rate:.3g}; {known}",
            expected="finite numbers",
            fix="lower the learning rate, clip gradients, or use float32; the latest checkpoint "
            f"in {self.folder} is from before",
        )

    def _tell(self, log: TrainLog | None, means: dict[str, float], advance: Any) -> None:
        told = self.told
        speed = told.seconds * distributed.size() / told.busy_s if told.busy_s else 0.0
        waiting = told.waiting_s / told.busy_s if told.busy_s else 0.0
        if log is not None:
            epochs = self.step / self.per_epoch
            facts = {"epochs": epochs, "audio_s_per_s": speed, "waiting": waiting}
            log.add("step", self.step, {**means, **facts})
        advance.at(f"loss {means['loss']:.3f}, {speed:.0f} s of audio a second")

    def _average(self, log: TrainLog | None) -> None:
        """Take the mean of the last epochs' weights, where that is asked for, and evaluate it."""
        kept = min(self.config.run.average, self.steps // self.per_epoch)
        if kept < 2:
            return
        if self.lead:
            mean = state.average(self.folder, kept)
            assert mean is not None
            state.restore(self.objective.network(), mean, "the mean of the last epochs")
        self._evaluate(log, "end", {"averaged": kept})

    def _evaluate(
        self, log: TrainLog | None, kind: str = "valid", facts: Mapping[str, Any] | None = None
    ) -> None:
        if self.lead:
            self.objective.eval()
            with torch.no_grad():
                found: dict[str, float] = {}
                for evaluate in self.evaluators:
                    found |= evaluate(self.objective)
            self.objective.train()
            self.told.valid = found
            if log is not None:
                log.add(kind, self.step, {**(facts or {}), **found})
        if distributed.size() > 1:
            shared = [self.told.valid]
            dist.broadcast_object_list(shared)
            self.told.valid = shared[0]
        self._judge(self.told.valid)

    def _judge(self, found: Mapping[str, float]) -> None:
        why = self.objective.judge(found)
        if why is not None:
            self.save()
            raise NumericsError(
                f"training stopped at step {self.step} of {self.steps}: {why}",
                fix="change the settings and start again with --overwrite always",
            )

    def _told_to_stop(self) -> bool:
        return self._any(self._asked.is_set())

    def _any(self, mine: bool) -> bool:
        """Whether any process says yes; all processes learn the same."""
        if distributed.size() == 1:
            return mine
        flag = torch.tensor([float(mine)], device=self.device)
        return float(distributed.total(flag)) > 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the step; a second Ctrl-C ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, _frame: object) -> None:
            if self._asked.is_set() and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._asked.set()

        before = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def steps_per_epoch(config: TrainConfig, plan: BatchPlan) -> int:
    """Optimiser steps of one pass, at least 1."""
    return max(1, plan.per_epoch // config.run.accumulate)


def _mix(parts: list[int]) -> int:
    """One seed from several numbers."""
    import numpy as np

    return int(np.random.SeedSequence(parts).generate_state(2, "uint64")[0] >> 1)
