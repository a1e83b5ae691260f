"""A training objective small enough to test the machinery with, and everything around it.

Run as a script it is the command line with the objective ``toy`` registered, so that tests can
start, kill and join processes of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxstrata.config import Config, build
from voxstrata.errors import AudioError, CorpusError
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.data.crops import CropExamples, crops
from voxstrata.training.data.items import Item, Items
from voxstrata.training.engine import Engine, steps_per_epoch
from voxstrata.training.objective import Batch, Clock, Context, Examples, Loss, Made, Objective
from voxstrata.training.registry import OBJECTIVES
from voxstrata.training.settings import TrainConfig
from voxstrata.types import SAMPLE_RATE, Utterance

WIDTH = 6
"""Numbers that an example of :class:`PlantedExamples` has."""


class PlantedCorpus:
    """Utterances in memory with all that :class:`Items` asks of a corpus.

    Each is noise with a level that its speaker decides.
    """

    spec = "planted"

    def __init__(self, seconds: Sequence[float], speakers: int) -> None:
        self.utterances = tuple(
            Utterance(f"u{i:03d}", s, {"speaker": f"s{i % speakers}"}, _Wave(i, s, i % speakers))
            for i, s in enumerate(seconds)
        )
        self.speakers = tuple(sorted({u.tiers["speaker"] for u in self.utterances}))


@dataclass(frozen=True)
class _Wave:
    number: int
    seconds: float
    speaker: int

    def __call__(self) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.number)
        noise = rng.standard_normal(round(self.seconds * SAMPLE_RATE))
        return np.asarray(0.01 * (1 + self.speaker) * noise, dtype=np.float32)


def planted_items(count: int = 24, speakers: int = 4, **options: Any) -> Items:
    """Items of 0.5 to 1.6 s, no two lengths alike."""
    seconds = [0.5 + 1.1 * ((7 * i) % count) / count for i in range(count)]
    return Items(PlantedCorpus(seconds, speakers), **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PlantedExamples:
    """An example is its speaker's direction in ``WIDTH`` numbers, with noise of its own.

    Attributes:
        bad: ids of recordings that cannot be used.
    """

    seconds: float = 2.0
    bad: Collection[str] = ()
    noise: float = 0.5

    def make(self, item: Item, rng: np.random.Generator) -> Made:
        if item.utterance.id in self.bad:
            raise AudioError(f"{item.id} is empty", got="0 samples")
        centre = np.random.default_rng(item.label).standard_normal(WIDTH)
        row = centre + self.noise * rng.standard_normal(WIDTH)
        return {
            "x": row.astype(np.float32),
            "label": np.array(item.label),
            "item": np.array(item.index),
        }

    def collate(self, made: Sequence[Made]) -> Batch:
        return {key: torch.from_numpy(np.stack([one[key] for one in made])) for key in made[0]}


class PlantedObjective(Objective):
    """Two layers and a softmax; a moving average of the first layer, updated after each step.

    Args:
        break_loss, break_gradient: the step at which that becomes NaN.
        stop: what :meth:`judge` says to a loss below this.
    """

    def __init__(
        self,
        classes: int = 4,
        dropout: float = 0.0,
        break_loss: int | None = None,
        break_gradient: int | None = None,
        stop: float | None = None,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.encoder = nn.Linear(WIDTH, 12)
            self.head = nn.Linear(12, classes)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("slow", self.encoder.weight.detach().clone())
        self.break_loss, self.break_gradient, self.stop = break_loss, break_gradient, stop
        self.called: list[str] = []
        self.step = 0

    def begin_step(self, clock: Clock) -> None:
        self.called.append("begin_step")
        self.step = clock.step

    def forward(self, batch: Batch) -> Loss:
        self.called.append("forward")
        logits = self.head(self.dropout(torch.relu(self.encoder(batch["x"]))))
        loss = nn.functional.cross_entropy(logits.float(), batch["label"])
        if self.step == self.break_loss:
            loss = loss * float("nan")
        if self.step == self.break_gradient:  # finite itself, but its slope is not
            loss = loss + torch.sqrt(self.encoder.bias[0] - self.encoder.bias[0].detach())
        right = (logits.argmax(1) == batch["label"]).float().mean()
        return Loss(loss, {"accuracy": right})

    def after_backward(self, clock: Clock) -> None:
        self.called.append("after_backward")

    def before_update(self, clock: Clock) -> None:
        self.called.append("before_update")

    def after_update(self, clock: Clock) -> None:
        self.called.append("after_update")
        self.slow.mul_(0.9).add_(self.encoder.weight.detach(), alpha=0.1)

    def network(self) -> nn.Module:
        return self.encoder

    def judge(self, found: Mapping[str, float]) -> str | None:
        if self.stop is not None and found.get("loss", 9.0) < self.stop:
            return f"the loss fell below {self.stop}"
        return None


def settings(**changes: Any) -> TrainConfig:
    """A configuration; ``data``, ``run``, ... are merged over small defaults."""
    values: dict[str, Any] = {
        "name": "toy",
        "data": {"corpus": "planted", "batch": 4, "workers": 0},
        "objective": {"name": "toy"},
        "optimiser": {"kind": "sgd"},
        "schedule": {"kind": "constant", "lr": 0.1},
        "run": {"steps": 12, "device": "cpu", "log_every": 2, "save_every_s": 0.0},
    }
    for name, value in changes.items():
        values[name] = {**values[name], **value} if name in values else value
        if name == "data" and "batch_s" in value:
            values[name].pop("batch")
    return build(TrainConfig, values)


def engine(
    folder: Path,
    config: TrainConfig | None = None,
    objective: Objective | None = None,
    examples: Examples | None = None,
    items: Items | None = None,
    *,
    rate: Callable[[int], float] = lambda step: 0.1 / (1 + step),
    identity: str = "same",
    **options: Any,
) -> Engine:
    """An engine on planted items."""
    config = config or settings()
    plan = BatchPlan(items or planted_items(), config.data, seed=1)
    steps = config.run.steps or round((config.run.epochs or 1) * steps_per_epoch(config, plan))
    return Engine(
        config,
        objective or PlantedObjective(),
        examples or PlantedExamples(),
        plan,
        steps=steps,
        rate=rate,
        folder=folder,
        identity=identity,
        device="cpu",
        **options,
    )


def untimed(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Log entries without what depends on the clock on the wall."""
    timed = ("audio_s_per_s", "waiting")
    return [{k: v for k, v in entry.items() if k not in timed} for entry in entries]


class ToyOptions(Config):
    """Settings of the objective ``toy``."""

    crop_s: float = 0.4
    noise: float = 0.0


class Toy(Objective):
    """Speakers from an ECAPA-TDNN whose BatchNorm keeps its first statistics."""

    def __init__(self, encoder: nn.Module, classes: int, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.LazyLinear(classes)
            self.head(encoder.eval()(torch.zeros(1, 30, 80)))

    def train(self, mode: bool = True) -> Toy:
        super().train(mode)
        self.encoder.eval()
        return self

    def begin_step(self, clock: Clock) -> None:
        time.sleep(float(os.environ.get("TOY_PAUSE_S", "0")))

    def forward(self, batch: Batch) -> Loss:
        logits = self.head(self.encoder(batch["crops"]))
        return Loss(
            nn.functional.cross_entropy(logits.float(), batch["label"]),
            {"accuracy": (logits.argmax(1) == batch["label"]).float().mean()},
        )

    def network(self) -> nn.Module:
        return self.encoder


class ToyKind:
    """Registered as ``toy``."""

    summary = "speakers, for tests"
    families = ("ecapa",)
    Options = ToyOptions

    def check(self, options: ToyOptions, config: TrainConfig, items: Items) -> None:
        if items.speakers < 2:
            raise CorpusError("the corpus has one speaker", got=items.speakers)

    def examples(self, options: ToyOptions, context: Context) -> CropExamples:
        return CropExamples(crops("crops", options.crop_s, 1), context.front)

    def build(self, options: ToyOptions, context: Context) -> Toy:
        return Toy(context.encoder(), context.items.classes, context.config.run.seed)


def register() -> None:
    """Make the objective known."""
    if "toy" not in OBJECTIVES:
        OBJECTIVES.put("toy", ToyKind(), "for tests")


RECIPE: dict[str, Any] = {
    "name": "toy",
    "model": {"options": {"channels": 16, "mfa": 48, "embed": 12, "attention": 8, "se": 8}},
    "data": {"corpus": "", "batch": 4, "workers": 0},
    "objective": {"name": "toy"},
    "optimiser": {"kind": "sgd", "clip": 1.0},
    "schedule": {"kind": "constant", "lr": 0.02},
    "run": {"steps": 12, "device": "cpu", "log_every": 2, "save_every_s": 0.0},
}
"""A recipe for :class:`Toy`; the corpus is to be filled in."""


def write_recipe(path: Path, corpus: Path | str, **changes: Any) -> Path:
    """:data:`RECIPE` as a file, with changes merged group by group."""
    import yaml

    values = {name: dict(v) if isinstance(v, dict) else v for name, v in RECIPE.items()}
    values["data"]["corpus"] = str(corpus)
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(values))
    return path


if __name__ == "__main__":
    from voxstrata.cli import main

    torch.set_num_threads(1)
    register()
    main()
