"""Settings of a pruning run: one frozen object for command line, YAML file and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from voxstrata.config import Config

What = Literal["rows", "heads", "weights", "low-rank", "layers"]

_Share = Annotated[float, Field(gt=0, lt=1)]


class PruneConfig(Config):
    """What goes from a model, in how many steps, with what in between.

    Attributes:
        model: model name or folder (docs/models.md).
        what: "rows" (feed-forward neurons), "heads" (of attention), "weights" (single numbers
            become zero), "low-rank" (linear maps become products of two), "layers" (fewer
            blocks, taught by the whole model).
        score: pruning score of rows and heads; the lowest go.
        scope: "layer": the same number from each; "whole": the lowest of all layers together.
        keep: rows of each feed-forward part, heads of each block (on average with scope
            "whole"), or blocks that are left at the end; "protected": exactly the protected rows.
        each_step: instead, how many rows or heads go from each layer in every step; or a number
            for each layer.
        sparsity: share of zeros at the end; or at each step.
        rank: rank of the linear maps; or
        share: share of the parameters of those maps that is left.
        maps: which linear maps; all of every block by default.
        steps: how many.
        protect: file with a set of neurons that stay.
        protect_by: instead, contrasts ("gender/phones") whose neurons are found in ``corpus`` anew
            before every step.
        rule, sigma: when a neuron is active, and in what share of a group's rows it must be, for
            ``protect_by``.
        ivector: i-vector model, where a contrast needs one.
        strategy: of neurons that are found: "all" once a step, for all layers; "each" anew for
            each layer, after those below were pruned.
        prune_min: rows that each layer keeps at least.
        corpus: speech that neurons to protect are found in, and that "activation" looks at;
        seconds: how much the latter.
        batches: batches of the training that the score "taylor" looks at.
        tune: training recipe of what happens between the steps (and after the last); ``None``
            for nothing.
        changes: ``KEY=VALUE`` changes to the recipe.
        tune_steps: optimiser steps after each pruning; one number, or one a step; the recipe's
            own by default.
        warm_up: optimiser steps before the first pruning.
        repeats, latency_s: how often, and on how many seconds of audio, latency is measured.
        name: of the model that comes out.
        study: name written into the results.
        seed: of samples.
        device: where scores from data and latency are computed.
    """

    model: str
    what: What = "rows"
    score: str = "l1"
    scope: Literal["layer", "whole"] = "layer"
    keep: PositiveInt | Literal["protected"] | None = None
    each_step: PositiveInt | tuple[NonNegativeInt, ...] | None = None
    sparsity: _Share | tuple[_Share, ...] | None = None
    rank: PositiveInt | None = None
    share: _Share | None = None
    maps: tuple[str, ...] | None = None
    steps: PositiveInt = 1
    protect: str | None = None
    protect_by: tuple[str, ...] | None = None
    rule: str = "top=0.01"
    sigma: Annotated[float, Field(gt=0, le=1)] = 0.8
    ivector: str | None = None
    strategy: Literal["all", "each"] = "all"
    prune_min: PositiveInt = 1
    corpus: str | None = None
    seconds: PositiveFloat = 600.0
    batches: PositiveInt = 50
    tune: str | None = None
    changes: tuple[str, ...] = ()
    tune_steps: NonNegativeInt | tuple[NonNegativeInt, ...] | None = None
    warm_up: NonNegativeInt = 0
    repeats: NonNegativeInt = 5
    latency_s: PositiveFloat = 5.0
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "pruned"
    study: str = "pruning"
    seed: NonNegativeInt = 0
    device: str = "auto"

    @field_validator("maps", "changes", "protect_by", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One name need not be a list."""
        return (given,) if isinstance(given, str) else given
