"""Planted speakers for contrastive objectives, and two real processes that share a batch.

A recording is its speaker's spectrum; each crop adds a channel of its own, as strong as the
difference between speakers, in a few directions that all crops share. Who learns to look past
these directions recognises speakers never heard before.

Run as a script it is one of two processes: ``training_contrast.py FOLDER RANK PROCESSES``.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from training_made import settings
from voxstrata.frontend import front_end
from voxstrata.metrics.eer import eer
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import preset_options
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Batch, Clock, Context, Objective
from voxstrata.training.optimise import make_optimiser, set_rate
from voxstrata.training.settings import OptimiserConfig
from voxstrata.types import Utterance

FEATURES, FRAMES = 80, 30


def encoder(seed: int = 0, **options: Any) -> Ecapa:
    """A small ECAPA-TDNN."""
    given = {"channels": 16, "mfa": 48, "embed": 16, "attention": 8, "se": 8, **options}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Ecapa(preset_options("wespeaker", {"inputs": FEATURES, **given}))


class Voices:
    """Speakers with spectra, crops with channels.

    Args:
        seed: of the spectra.
        speakers: how many.
    """

    def __init__(self, seed: int, speakers: int) -> None:
        rng = np.random.default_rng(seed)
        self.spectra = rng.standard_normal((speakers, FEATURES))
        self.channels = 0.8 * np.random.default_rng(99).standard_normal((3, FEATURES))

    def channel(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Channels, [B, F]."""
        found: np.ndarray = rng.standard_normal((count, len(self.channels))) @ self.channels
        return found

    def crop(
        self, speakers: np.ndarray, rng: np.random.Generator, channel: np.ndarray | None = None
    ) -> torch.Tensor:
        """One crop of each, float32 [B, T, F], through channels of their own if none are given."""
        shape = (len(speakers), FRAMES, FEATURES)
        if channel is None:
            channel = self.channel(len(speakers), rng)
        found = (self.spectra[speakers] + channel)[:, None] + rng.standard_normal(shape)
        return torch.from_numpy(found.astype(np.float32))

    def batch(self, count: int, rng: np.random.Generator, crops: int = 2) -> Batch:
        """``crops`` crops of ``count`` different speakers, crop by crop."""
        chosen = rng.choice(len(self.spectra), count, replace=False)
        found = torch.cat([self.crop(chosen, rng) for _ in range(crops)])
        item = torch.from_numpy(chosen)
        return {"crops": found, "item": item, "label": torch.full((count,), -1)}

    @torch.no_grad()
    def eer(self, network: nn.Module, seed: int = 1) -> float:
        """Percent, cosine over all pairs of four crops a speaker."""
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(len(self.spectra)), 4)
        network.eval()
        rows = network(self.crop(codes, rng))
        network.train()
        unit = nn.functional.normalize(rows - rows.mean(0), dim=1)
        first, second = np.triu_indices(len(codes), 1)
        scores = (unit @ unit.T).numpy()[first, second]
        target = codes[first] == codes[second]
        return 100 * float(eer(scores[target], scores[~target]))


def train(
    objective: Objective,
    batch: Callable[[int], Batch],
    steps: int,
    *,
    lr: float = 3e-3,
    kind: str = "adam",
) -> list[dict[str, float]]:
    """The engine's order of calls without the engine; logs of each step."""
    optimiser = make_optimiser(objective, OptimiserConfig(kind=kind))  # type: ignore[arg-type]
    objective.train()
    logs = []
    for step in range(steps):
        clock = Clock(step, steps, max(1, steps // 4))
        torch.manual_seed(step)
        set_rate(optimiser, lr)
        objective.begin_step(clock)
        optimiser.zero_grad(set_to_none=True)
        loss = objective(batch(step))
        loss.value.backward()
        objective.after_backward(clock)
        objective.before_update(clock)
        optimiser.step()
        objective.after_update(clock)
        numbers = {"loss": loss.value.detach(), **loss.logs}
        logs.append({k: float(v) for k, v in numbers.items()})
    return logs


class ItemCorpus:
    """Recordings of given lengths (seconds), with what :class:`Items` asks of a corpus."""

    spec = "listed"

    def __init__(self, *seconds: float, tiers: tuple[dict[str, Any], ...] = ()) -> None:
        self.utterances = tuple(
            Utterance(f"u{i}", s, tiers[i] if tiers else {}) for i, s in enumerate(seconds)
        )
        self.speakers: tuple[str, ...] = ()


def items(*seconds: float, **options: Any) -> Items:
    """Items of recordings of given lengths."""
    return Items(ItemCorpus(*seconds), **options)  # type: ignore[arg-type]


def context(found: Items, said: list[str] | None = None, **changes: Any) -> Context:
    """A context with a small encoder; what is said to the user is appended to ``said``."""
    front = front_end("wespeaker")
    say = (lambda line: None) if said is None else said.append
    return Context(settings(**changes), found, front, encoder, Path("unused"), 10, 5, say)


class Still(nn.Module):
    """An encoder without BatchNorm, so that rows do not depend on each other: mean over time,
    two layers."""

    def __init__(self, seed: int = 0, width: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.one = nn.Linear(FEATURES, 12)
            self.two = nn.Linear(12, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, T, F] to [B, D]."""
        rows: torch.Tensor = self.two(torch.tanh(self.one(features.mean(1))))
        return rows


def share(batch: Batch, rank: int, processes: int) -> Batch:
    """What one of several processes gets of a batch: a stretch of its recordings."""
    count = len(batch["item"]) // processes
    mine = slice(rank * count, (rank + 1) * count)
    found = {}
    for key, value in batch.items():
        crops = value.view(len(value) // len(batch["item"]), len(batch["item"]), *value.shape[1:])
        found[key] = crops[:, mine].flatten(0, 1)
    return found


def run_case(case: str, rank: int = 0, processes: int = 1) -> dict[str, torch.Tensor]:
    """Train the objective of a case (``module:function``, giving objective, batches and learning
    rate) and return its state and the mean of its logs over processes."""
    from voxstrata.training import distributed

    module, function = case.split(":")
    objective, batches, lr = getattr(importlib.import_module(module), function)()
    objective.double()  # so that nothing but rounding of the last digits may differ
    module_ = (
        nn.parallel.DistributedDataParallel(objective, find_unused_parameters=True)
        if processes > 1
        else objective
    )
    optimiser = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=lr)
    found: dict[str, torch.Tensor] = {}
    for step, batch in enumerate(batches):
        clock = Clock(step, len(batches), 2)
        objective.begin_step(clock)
        optimiser.zero_grad(set_to_none=True)
        doubled = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
        loss = module_(share(doubled, rank, processes))
        loss.value.backward()
        objective.after_backward(clock)
        objective.before_update(clock)
        optimiser.step()
        objective.after_update(clock)
        for name, value in {"loss": loss.value, **loss.logs}.items():
            number = distributed.mean(torch.as_tensor(value, dtype=torch.float64).detach())
            found[f"log.{step}.{name}"] = number
    return {**found, **{k: v.double() for k, v in objective.state_dict().items()}}


CASES = (
    "test_training_simclr:joint",
    "test_training_moco:joint",
    "test_training_moco:dealt",
    "test_training_angular:joint",
    "test_training_angular:joint_adversary",
    "test_training_ctc:joint",
)
"""What real processes run, all in one start of them."""


def together(case: str) -> list[dict[str, torch.Tensor]]:
    """What each of two real processes ends a case with."""
    found = []
    for state in _together():
        start = f"{case}/"
        found.append({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})
        assert found[-1], f"{case} did not run"
    return found


@cache
def _together(processes: int = 2) -> list[dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests / "unit" / "training")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        started = [
            subprocess.Popen(
                [sys.executable, __file__, folder, str(rank), str(processes)],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(processes)
        ]
        try:
            for one in started:
                said, _ = one.communicate(timeout=180)
                assert one.returncode == 0, said
        finally:
            for one in started:
                one.kill()
        return [load_file(Path(folder) / f"{rank}.safetensors") for rank in range(processes)]


def assert_two_equal_one(case: str) -> None:
    """State and logs of two processes with half a batch each are those of one with all of it."""
    alone = run_case(case)
    for found in together(case):
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, msg=name)


def _main(folder: str, rank: str, processes: str) -> None:
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=int(rank), world_size=int(processes)
    )
    found = {}
    for case in CASES:
        state = run_case(case, int(rank), int(processes))
        found.update({f"{case}/{name}": value.contiguous() for name, value in state.items()})
    save_file(found, f"{folder}/{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo may outlive their group and abort an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
