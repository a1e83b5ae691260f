"""Everything a run needs, made and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from voxstrata.augmentation.augmenter import Augmenter, Sources
from voxstrata.augmentation.config import AugmentConfig
from voxstrata.config import Config, build
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.load import JOIN, join_corpora
from voxstrata.errors import UsageError
from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.models.placement import torch_device
from voxstrata.streaming.setup import choose_device
from voxstrata.training import distributed
from voxstrata.training.data.batches import BatchPlan
from voxstrata.training.data.items import Items
from voxstrata.training.encoders import build_encoder, build_front_end
from voxstrata.training.evaluate import check_evaluation
from voxstrata.training.objective import Context, ObjectiveKind
from voxstrata.training.registry import OBJECTIVES
from voxstrata.training.settings import DataConfig, TrainConfig

_ORDER = 3
"""Purpose number of the order of recordings."""


@dataclass(frozen=True)
class Prepared:
    """A run, checked and planned.

    Attributes:
        config: the settings.
        kind, options: the objective and its own settings.
        items: what is trained on.
        valid: corpora of the evaluations, by name.
        front: front end.
        encoder: maker of the initial network.
        plan: batches of this process.
        steps: optimiser steps.
        device: where it runs.
        identity: digest of all that the weights depend on.
    """

    config: TrainConfig
    kind: ObjectiveKind
    options: Config
    items: Items
    valid: dict[str, Corpus]
    front: FrontEnd
    encoder: Callable[[], nn.Module]
    plan: BatchPlan
    steps: int
    device: str
    identity: str

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one pass."""
        return max(1, self.plan.per_epoch // self.config.run.accumulate)

    def context(self, folder: Path, say: Callable[[str], None] = print) -> Context:
        """What the objective is built on."""
        return Context(
            self.config,
            self.items,
            self.front,
            self.encoder,
            folder,
            self.steps,
            self.steps_per_epoch,
            say,
        )


def prepare(config: TrainConfig) -> Prepared:
    """Open corpora, build the network once, check that the objective can work.

    Raises:
        VoxstrataError: names what is wrong and what to do.
    """
    kind = OBJECTIVES.get(config.objective["name"])
    given = {k: v for k, v in config.objective.items() if k != "name"}
    options = build(kind.Options, given, source=f"objective {config.objective['name']!r}")
    if config.model.family not in kind.families:
        raise UsageError(
            f"the objective {config.objective['name']!r} does not train this family",
            got=config.model.family,
            expected=" or ".join(kind.families),
        )
    device = choose_device(config.run.device)
    if device.startswith("cuda") and distributed.size() > 1:
        device = f"cuda:{torch.cuda.current_device()}"
    torch_device(device)  # one that is not there is told now
    front = build_front_end(config.model)
    encoder = build_encoder(config.model, front, config.run.seed)
    data = config.data
    corpus, repeats = _open(data)
    items = Items(corpus, data.speeds, repeats=repeats)
    kind.check(options, config, items)
    valid = {name: load_corpus(text, check=data.check) for name, text in data.valid.items()}
    for name, one in valid.items():
        _refuse_shared(name, one, corpus)
        if config.model.family == "ecapa":
            check_evaluation(name, one)
    seed = config.run.seed * 1000 + _ORDER
    plan = BatchPlan(items, data, seed, distributed.rank(), distributed.size())
    per_epoch = max(1, plan.per_epoch // config.run.accumulate)
    steps = config.run.steps or max(1, round(float(config.run.epochs or 0) * per_epoch))
    identity = fingerprint(
        [
            numbers(config),
            corpus.fingerprint,
            [one.fingerprint for one in valid.values()],
            items.classes,
            front.fingerprint,
            distributed.size(),
        ]
    )
    return Prepared(
        config, kind, options, items, valid, front, encoder, plan, steps, device, identity
    )


def _open(data: DataConfig) -> tuple[Corpus, list[int]]:
    """The training corpus, joined, and how often each recording comes in a pass."""
    parts = [
        load_corpus(text, min_s=data.min_s, max_s=data.max_s, check=data.check)
        for text in data.corpora
    ]
    repeats = [n for one, n in zip(parts, data.corpora.values(), strict=True) for _ in one]
    if len(parts) == 1:
        return parts[0], repeats
    return join_corpora(parts, spec=JOIN.join(data.corpora)), repeats


def augmenter(config: TrainConfig, items: Items) -> Augmenter | None:
    """The augmenter of a configuration; babble is made of the training corpus itself."""
    if config.augment is None:
        return None
    return Augmenter(config.augment, sources(config.augment, items))


def sources(config: AugmentConfig, items: Items) -> Sources:
    """Where an augmenter's sounds come from: MUSAN and RIRs where given, the corpus for babble."""
    babble = [item.read for item in items if item.speed == 1.0 and item.copy == 0]
    found: dict[str, list[Any]] = {"noises": [], "musics": [], "speeches": [], "rooms": []}
    if config.musan is not None:
        groups = {"noise": "noises", "music": "musics", "speech": "speeches"}
        for utterance in load_corpus(config.musan):
            kind = str(utterance.tiers.get("kind", utterance.tiers.get("category", "noise")))
            found[groups.get(kind, "noises")].append(utterance.read)
    if config.rirs is not None:
        for utterance in load_corpus(config.rirs):
            # The corpus of simulated rooms comes with point-source and isotropic noises.
            noise = "noise" in str(utterance.tiers.get("kind", "room"))
            found["noises" if noise else "rooms"].append(utterance.read)
    return Sources(babble=babble, **found)


def numbers(config: TrainConfig) -> dict[str, Any]:
    """The settings that numbers depend on."""
    values = config.model_dump(mode="json")
    for name in ("device", "log_every", "save_every_s", "tensorboard", "weights", "mean_of"):
        values["run"].pop(name)
    for name in ("workers", "check"):
        values["data"].pop(name)
    values.pop("name")
    if not values["model"]["keep_zeros"]:  # as runs that were begun before there was such a thing
        values["model"].pop("keep_zeros")
    return values


def _refuse_shared(name: str, valid: Corpus, train: Corpus) -> None:
    """Refuse to evaluate on recordings that are trained on.

    Names alone do not tell: synthetic corpora of other seeds share theirs. So the audio of some
    that agree in name and length is compared.
    """
    lengths = {u.id: u for u in train.utterances}
    same = [
        (u, lengths[u.id])
        for u in valid.utterances
        if u.id in lengths and u.duration_s == lengths[u.id].duration_s
    ]
    for one, other in same[:: max(1, len(same) // 5)]:
        if not np.array_equal(one.read(), other.read()):
            continue
        raise UsageError(
            f"the evaluation corpus {name!r} shares recordings with the training corpus",
            got=f"{len(same)} of the same name and length, among them {one.id}",
            expected="other speakers",
            fix="evaluate on a corpus with speakers of its own",
        )
