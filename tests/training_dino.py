"""Planted speakers for self-distillation: spectra, and crop-wise changes in a few directions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxstrata.metrics.eer import eer
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import preset_options
from voxstrata.training.objective import Batch, Clock, Loss, Objective
from voxstrata.training.optimise import clip, make_optimiser, set_decay, set_rate
from voxstrata.training.settings import OptimiserConfig

BINS = 24
EMBED = 24


def network(seed: int = 0, **options: object) -> Ecapa:
    """A small ECAPA-TDNN."""
    sizes = {"inputs": BINS, "channels": 16, "mfa": 48, "embed": EMBED, "attention": 16, "se": 16}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Ecapa(preset_options("wespeaker", {**sizes, **options}))


@dataclass
class Planted:
    """Crops are a speaker's spectrum, a change of the crop's own, and noise in every frame."""

    speakers: int = 12
    seed: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.spectra = 0.6 * self.rng.standard_normal((self.speakers, BINS))
        self.changes = 0.7 * self.rng.standard_normal((4, BINS))

    def crop(self, label: int, frames: int) -> NDArray[np.float32]:
        own = self.spectra[label] + self.rng.standard_normal(4) @ self.changes
        return (own + self.rng.standard_normal((frames, BINS))).astype(np.float32)

    def crops(self, labels: NDArray[np.int64], count: int, frames: int) -> torch.Tensor:
        rows = [self.crop(int(label), frames) for _ in range(count) for label in labels]
        return torch.from_numpy(np.stack(rows))

    def batch(self, size: int = 24, seen: int = 2, local: int = 4) -> Batch:
        labels = self.rng.integers(self.speakers, size=size)
        return {"global": self.crops(labels, seen, 40), "local": self.crops(labels, local, 25)}

    def error(self, encoder: nn.Module, each: int = 8) -> float:
        """EER over all pairs of new crops, percent; the mean is subtracted."""
        labels = np.repeat(np.arange(self.speakers), each)
        features = self.crops(labels, 1, 60)
        encoder.eval()
        with torch.no_grad():
            rows = encoder(features)
        encoder.train()
        unit = nn.functional.normalize(rows - rows.mean(0), dim=1)
        first, second = torch.triu_indices(len(unit), len(unit), offset=1)
        scores, same = (unit @ unit.T)[first, second].numpy(), labels[first] == labels[second]
        return 100 * float(eer(scores[same], scores[~same]))


class Trainer:
    """The engine's step, without its files."""

    def __init__(self, objective: Objective, config: OptimiserConfig, steps: int) -> None:
        self.objective, self.config = objective.train(), config
        self.optimiser = make_optimiser(objective, config)
        self.steps, self.per_epoch = steps, max(1, steps // 10)

    def step(self, step: int, batch: Batch, rate: float) -> Loss:
        clock = Clock(step, self.steps, self.per_epoch)
        set_rate(self.optimiser, rate)
        self.objective.begin_step(clock)
        set_decay(self.optimiser, self.objective.decay(clock))
        self.optimiser.zero_grad()
        loss: Loss = self.objective(batch)
        loss.value.backward()  # type: ignore[no-untyped-call]
        self.objective.after_backward(clock)
        clip(self.objective.parameters(), self.config)
        self.objective.before_update(clock)
        self.optimiser.step()
        self.objective.after_update(clock)
        return loss

    def run(self, data: Planted, rate: float, seen: int = 2) -> tuple[list[Loss], list[str]]:
        """All steps, every one judged; rate rises for 20 steps and then falls as a cosine."""
        losses, said = [], []
        for step in range(self.steps):
            now = rate * min(1.0, (step + 1) / 20) * (1 + np.cos(np.pi * step / self.steps)) / 2
            loss = self.step(step, data.batch(seen=seen), now + 1e-5)
            found = {"loss": float(loss.value.detach())}
            found |= {name: float(value) for name, value in loss.logs.items()}
            why = self.objective.judge(found)
            losses.append(loss)
            if why is not None:
                said.append(why)
        return losses, said
