"""Configuration of a training run, the same object for YAML, command line and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from voxstrata.augmentation.config import AugmentConfig, SpecAugmentConfig
from voxstrata.config import Config

_Positive = Annotated[float, Field(gt=0)]


class ModelConfig(Config):
    """The network.

    Attributes:
        family: ``"ecapa"`` or ``"melhubert"``.
        preset: variant of an ECAPA-TDNN ("wespeaker", "speechbrain", ...).
        options: of the network (channels, embed, ...; width, layers, ...).
        front_end: registered front end; the preset's own by default.
        front_end_options: changes to it.
        start: a trained model folder to start from (fine-tuning); ``None`` for random weights.
        keep_zeros: numbers that are exactly zero in the linear maps of the blocks of ``start``
            stay zero: a pruned network is tuned under its mask (MelHuBERT only).
    """

    family: Literal["ecapa", "melhubert"] = "ecapa"
    preset: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    front_end: str | None = None
    front_end_options: dict[str, Any] = Field(default_factory=dict)
    start: str | None = None
    keep_zeros: bool = False


class DataConfig(Config):
    """Recordings and batches.

    Attributes:
        corpus: text of the training corpus; or several, each with how often its recordings come
            in a pass (``{synthetic:large: 1, /corpora/real: 20}``).
        valid: corpora to evaluate on while training, by short name.
        min_s, max_s: shortest and longest recordings used.
        speeds: speed factors; each makes new speakers.
        batch: recordings of a batch in each process.
        batch_s: instead, seconds of speech of a batch (length buckets).
        buckets: how many length buckets, with ``batch_s``.
        workers: loader processes; 0 to load in the training process.
        check: how closely files are looked at before the run.
    """

    corpus: str | dict[str, Annotated[int, Field(ge=1)]]
    valid: dict[str, str] = Field(default_factory=dict)
    min_s: float | None = None
    max_s: float | None = None
    speeds: tuple[_Positive, ...] = (1.0,)
    batch: Annotated[int, Field(ge=2)] | None = None
    batch_s: _Positive | None = None
    buckets: Annotated[int, Field(ge=1)] = 10
    workers: Annotated[int, Field(ge=0)] = 2
    check: Literal["none", "header", "decode"] = "header"

    @field_validator("speeds")
    @classmethod
    def _with_one(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if 1.0 not in value or len(set(value)) != len(value):
            raise ValueError("speeds must be different and 1.0 among them")
        return value

    @property
    def corpora(self) -> dict[str, int]:
        """Texts of the corpora, with how often their recordings come."""
        return {self.corpus: 1} if isinstance(self.corpus, str) else dict(self.corpus)

    @model_validator(mode="after")
    def _one_size(self) -> DataConfig:
        if (self.batch is None) == (self.batch_s is None):
            raise ValueError("give batch (recordings) or batch_s (seconds of speech), not both")
        return self


class OptimiserConfig(Config):
    """The optimiser.

    Attributes:
        kind: "sgd" (momentum, Nesterov), "adam" or "adamw".
        momentum, nesterov: of SGD.
        betas, eps: of Adam.
        weight_decay: L2 factor.
        decay_vectors: whether biases and other 1-D tensors decay too.
        clip: largest gradient norm; ``None`` for no clipping.
        clip_each: clip each tensor by its own norm (DINO) instead of all together.
    """

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: _Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    decay_vectors: bool = True
    clip: _Positive | None = None
    clip_each: bool = False


class ScheduleConfig(Config):
    """The learning rate, step by step (:mod:`voxstrata.training.schedules`).

    Attributes:
        kind: "constant"; "exponential" (warm-up, then from ``lr`` to ``final``, wespeaker);
            "cosine" (warm-up, then half a cosine to ``final``); "step" (times ``decay`` each
            epoch, TaoRuijie); "cyclic" (triangular between ``final`` and ``lr``, SpeechBrain).
        lr: highest learning rate.
        final: lowest.
        warmup_epochs: epochs (fractions too) of linear rise.
        decay: factor an epoch ("step").
        half_cycle: steps of half a cycle ("cyclic").
        scale_to: if given, ``lr`` is for batches of so many recordings and is scaled by
            batch x processes x accumulation / ``scale_to``.
        scale_final: whether ``final`` is scaled too.
    """

    kind: Literal["constant", "exponential", "cosine", "step", "cyclic"] = "cosine"
    lr: _Positive = 0.1
    final: Annotated[float, Field(ge=0)] = 5e-5
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.97
    half_cycle: Annotated[int, Field(ge=1)] = 65_000
    scale_to: Annotated[int, Field(ge=1)] | None = None
    scale_final: bool = True


class RunConfig(Config):
    """How long, how exactly, how often.

    Attributes:
        epochs: passes over the items; or
        steps: optimiser steps.
        accumulate: batches an optimiser step.
        precision: "float32", or "bfloat16" for autocast.
        seed: of weights, order, crops, augmentation.
        device: "auto", "cpu", "cuda", ...
        log_every: steps between log lines.
        evaluate_every: steps between evaluations; ``None`` for once an epoch.
        save_every_s: seconds between checkpoints.
        average: exported weights are the mean of this many last epoch checkpoints.
        sync_norm: share BatchNorm statistics over processes.
        tensorboard: also write TensorBoard files.
        weights: precision of the exported weights.
        mean_of: training recordings whose mean embedding is exported with a speaker encoder,
            evenly spread over the corpus; 0 for no mean.
    """

    epochs: Annotated[float, Field(gt=0)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    accumulate: Annotated[int, Field(ge=1)] = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: str = "auto"
    log_every: Annotated[int, Field(ge=1)] = 50
    evaluate_every: Annotated[int, Field(ge=1)] | None = None
    save_every_s: Annotated[float, Field(ge=0)] = 120.0
    average: Annotated[int, Field(ge=1)] = 1
    sync_norm: bool = False
    tensorboard: bool = False
    weights: Literal["float32", "float16"] = "float32"
    mean_of: Annotated[int, Field(ge=0)] = 2000

    @model_validator(mode="after")
    def _one_length(self) -> RunConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give epochs or steps, not both")
        return self


class TrainConfig(Config):
    """A training run, whole.

    Attributes:
        name: of the model that comes out.
        model, data, optimiser, schedule, run: see the classes.
        augment: noise, rooms, ... on waveforms; ``None`` for none.
        spec_augment: masks on features; ``None`` for none.
        objective: ``name`` of the objective and its options.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: ModelConfig = ModelConfig()
    data: DataConfig
    augment: AugmentConfig | None = None
    spec_augment: SpecAugmentConfig | None = None
    objective: dict[str, Any]
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    run: RunConfig

    @field_validator("objective")
    @classmethod
    def _named(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str):
            raise ValueError("objective needs a name")
        return value
