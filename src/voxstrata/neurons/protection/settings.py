"""Settings of a protection run: one frozen object for command line, YAML file and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from voxstrata.config import Config

Condition = Literal["none", "protected", "random"]
CONDITIONS: tuple[Condition, ...] = ("none", "protected", "random")
"""Pruned by score alone; with the neurons found protected; with as many others protected."""


class ProtectionConfig(Config):
    """Which neurons are protected, how much goes, and what is measured on what is left.

    Attributes:
        model: model name or folder.
        corpus: where the neurons are found.
        contrast: what tells them apart (docs/neurons.md).
        group: protect the neurons of this group alone.
        found: the neurons that the "published" rule selects, or the "tested" ones.
        rule, sigma: when a neuron is active, and in what share of rows (docs/neurons.md).
        ivector: i-vector model of the contrast; ``None`` to train one.
        draws: labellings of the null.
        keep: rows of each feed-forward part that are left; a quarter, a half and three quarters
            by default.
        conditions: of "none", "protected" and "random".
        control: what condition "random" protects instead, as many in each layer: for each neuron
            one of nearly its rank in the pruning score ("score"), which would have been pruned as
            likely; one of the same weight in the residual stream ("norm"); or any ("random").
        seeds: each with its own control set and order of training. Without ``tune`` (and with a
            score that draws nothing), all seeds of "none" are one model, as are those of
            "protected". Heads have ``probe_seeds`` of their own.
        score: by which rows go.
        steps: prunings on the way.
        tune: training recipe between and after them; ``None`` for none. The unpruned model that
            all are held against is trained on as often and as long, from the same start.
        tune_steps: optimiser steps after each pruning; the recipe's own by default.
        base_steps: with ``tune``: optimiser steps of the model before anything is pruned, so that
            it knows the recipe's codes; the recipe's own by default.
        changes: ``KEY=VALUE`` changes to the recipe.
        tasks: probing tasks.
        corpus_map: YAML file with corpora by task (docs/probing.md), or what it would hold.
        protocol: of the heads.
        probe_steps, probe_lrs: instead of the protocol's.
        probe_seeds: runs of the heads with other initial weights, of each model; models have
            ``seeds`` of their own.
        trials: corpus whose pairs are verified too; ``None`` for no verification.
        layer: layer whose mean over time is the embedding there; the last by default.
        channel: "random": each recording of the trials through a seeded channel of its own.
        backend, backend_from: scoring of the trials, see ``voxstrata verify``.
        seed: first seed.
        study: name written into the results.
        device, batch_s: as for the other jobs.
    """

    model: str
    corpus: str
    contrast: str = "ivector=2/clusters=3"
    group: str | None = None
    found: Literal["published", "tested"] = "published"
    rule: str = "top=0.01"
    sigma: Annotated[float, Field(gt=0, le=1)] = 0.8
    ivector: str | None = None
    draws: NonNegativeInt = 200
    keep: tuple[PositiveInt, ...] | None = None
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)] = CONDITIONS
    control: Literal["score", "norm", "random"] = "score"
    seeds: PositiveInt = 2
    score: str = "l1"
    steps: PositiveInt = 1
    tune: str | None = None
    tune_steps: PositiveInt | None = None
    base_steps: PositiveInt | None = None
    changes: tuple[str, ...] = ()
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] = ("sid", "pr")
    corpus_map: str | dict[str, Any]
    protocol: str = "small"
    probe_steps: PositiveInt | None = None
    probe_seeds: PositiveInt = 1
    probe_lrs: tuple[PositiveFloat, ...] | None = None
    trials: str | None = None
    layer: str | None = None
    channel: Literal["none", "random"] = "random"
    backend: str | None = None
    backend_from: str | None = None
    seed: int = 0
    study: str = "protection"
    device: str = "auto"
    batch_s: PositiveFloat | None = None

    @field_validator("keep", "conditions", "tasks", "changes", "probe_lrs", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One value need not be a list; flags' commas are read."""
        if isinstance(given, str):
            return tuple(part.strip() for part in given.split(",") if part.strip())
        return (given,) if isinstance(given, int | float) else given

    @field_validator("keep")
    @classmethod
    def _different(cls, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if given is not None and (not given or len(set(given)) != len(given)):
            raise ValueError("sizes must be different, and at least one")
        return None if given is None else tuple(sorted(given))

    @model_validator(mode="after")
    def _together(self) -> ProtectionConfig:
        """Settings that say nothing without others are told, not passed over."""
        if bool(self.backend) != bool(self.backend_from):
            raise ValueError("backend and backend_from go together: what, and learned from where")
        if self.trials is None and (self.backend or self.layer):
            raise ValueError("backend and layer are of trials: name their corpus, or drop them")
        if self.tune is None and (self.changes or self.tune_steps or self.base_steps):
            raise ValueError("changes, tune_steps and base_steps are of training: name a recipe")
        return self
