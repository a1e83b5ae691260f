"""What every step of a run takes away and how long it is tuned, settled before work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.pruning.copies import Copy, take_copy
from voxstrata.neurons.pruning.intervals import even_parts
from voxstrata.neurons.pruning.rows import ALL
from voxstrata.neurons.pruning.scores import SCORES
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.pruning.surgery import rank_keeping
from voxstrata.neurons.sets import NeuronSet

_NEEDS = {
    "rows": "keep (rows left of each layer) or each_step (rows that go each time)",
    "heads": "keep (heads left of each block) or each_step (heads that go each time)",
    "weights": "sparsity (share of zeros)",
    "low-rank": "rank, or share (of the parameters that stay)",
    "layers": "keep (blocks that are left)",
}
_TAKES = {
    "rows": {
        "keep",
        "each_step",
        "score",
        "scope",
        "protect",
        "protect_by",
        "rule",
        "sigma",
        "strategy",
        "prune_min",
    },
    "heads": {"keep", "each_step", "score", "scope"},
    "weights": {"sparsity"},
    "low-rank": {"rank", "share", "maps"},
    "layers": {"keep"},
}


@dataclass(frozen=True)
class Step:
    """One pruning, and the training after it.

    Attributes:
        number: from 1; 0 for training before the first pruning.
        amount: what goes: numbers of rows or heads by layer, a share of zeros, ranks by map, or
            blocks that stay; ``None`` for nothing.
        tune: optimiser steps; 0 for none, ``None`` for the recipe's own number.
    """

    number: int
    amount: Any
    tune: int | None

    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {"number": self.number, "amount": self.amount, "tune": self.tune}


def plan(
    config: PruneConfig, model: SpeechModel, protected: NeuronSet | None, found: bool = False
) -> list[Step]:
    """The steps of a run.

    Args:
        config: settings.
        model: the model.
        protected: neurons that stay.
        found: whether such neurons will be found later, in the model as it is then.

    Raises:
        UsageError: settings do not go with what is pruned, or more is to go than there is.
        ModelError: heads of the model cannot be pruned.
    """
    _refuse_others(config)
    copy = take_copy(model)
    amounts = {
        "rows": _rows,
        "heads": _heads,
        "weights": _weights,
        "low-rank": _ranks,
        "layers": _layers,
    }[config.what](config, copy, protected, found)
    tune = _tuning(config, len(amounts))
    steps = [Step(n, a, t) for n, (a, t) in enumerate(zip(amounts, tune, strict=True), start=1)]
    if config.warm_up:
        steps.insert(0, Step(0, None, config.warm_up))
    return steps


def _refuse_others(config: PruneConfig) -> None:
    """Settings of one kind of pruning say nothing about another."""
    every = set().union(*_TAKES.values()) - _TAKES[config.what]
    defaults = PruneConfig(model=config.model)
    strange = sorted(n for n in every if getattr(config, n) != getattr(defaults, n))
    if strange:
        raise UsageError(
            f"settings that pruning of {config.what} does not have",
            got=", ".join(strange),
            expected=", ".join(sorted(_TAKES[config.what])),
            fix="drop them, or change what is pruned (--what)",
        )
    if config.what in ("rows", "heads"):
        SCORES.get(config.score)
    if config.tune is None and (config.warm_up or config.changes or config.tune_steps is not None):
        raise UsageError("there is no recipe to tune with", fix="give one: --tune RECIPE")


def _missing(config: PruneConfig) -> UsageError:
    return UsageError(
        f"how many {config.what} shall go?", got="neither", expected=_NEEDS[config.what]
    )


def _rows(config: PruneConfig, copy: Copy, protected: NeuronSet | None, found: bool) -> list[Any]:
    layers = copy.layers()
    widths = {}
    for layer in layers:
        parts, name = copy.part(layer)
        widths[layer] = int(parts.map(f"{name}.up").out_features)
    held = {layer: len(protected.layers.get(layer, ())) if protected else 0 for layer in layers}
    if config.keep == "protected":
        if protected is None and not found:
            raise UsageError("no set of neurons is protected", fix="give one: --protect SET.json")
        if config.steps > 1:
            raise UsageError("what is not protected goes in one step", fix="drop --steps")
        return [ALL]
    per_step = _split(config, list(widths.values()))
    gone = {layer: sum(step[i] for step in per_step) for i, layer in enumerate(layers)}
    if config.scope == "whole":
        least = sum(max(held[layer], config.prune_min) for layer in layers)
        short = sum(widths.values()) - sum(gone.values()) < least
        names = layers if short else []
    else:
        names = [
            layer
            for layer in layers
            if widths[layer] - gone[layer] < max(held[layer], config.prune_min)
        ]
    if names:
        raise UsageError(
            "more rows are protected than rows are to be kept",
            got="; ".join(
                f"{n}: {held[n]} protected, {widths[n] - gone[n]} of {widths[n]} kept"
                for n in names[:4]
            ),
            expected=f"room for the protected ones, and at least {config.prune_min} a layer",
            fix="keep more rows, protect fewer (a larger sigma, or one group of the set), or "
            "keep 'protected'",
        )
    return per_step


def _heads(config: PruneConfig, copy: Copy, *_given: Any) -> list[Any]:
    copy.refuse_heads()
    heads = [parts.heads for parts in copy.blocks]
    per_step = _split(config, heads)
    left = [n - sum(step[i] for step in per_step) for i, n in enumerate(heads)]
    if min(left) < 1 if config.scope == "layer" else sum(left) < len(left):
        raise UsageError(
            "a block would be left without heads", got=f"{heads} heads, {left} to be left",
            fix="prune fewer",
        )  # fmt: skip
    return per_step


def _split(config: PruneConfig, sizes: Sequence[int]) -> list[list[int]]:
    """How many go from each layer in each step."""
    if config.each_step is not None and config.keep is None:
        each = config.each_step
        numbers = [each] * len(sizes) if isinstance(each, int) else list(each)
        if len(numbers) != len(sizes):
            raise UsageError(
                "each_step is a number, or one for each layer", got=len(numbers),
                expected=len(sizes),
            )  # fmt: skip
        return [numbers for _ in range(config.steps)]
    if not isinstance(config.keep, int) or config.each_step is not None:
        raise _missing(config)
    small = [n for n in sizes if n < config.keep]
    if small or all(n == config.keep for n in sizes):
        raise UsageError(
            f"there is nothing to prune to {config.keep} {config.what}",
            got=f"{min(sizes)} to {max(sizes)} there",
            expected="fewer than there are",
        )
    keep = config.keep
    parts = [even_parts(n - keep, config.steps) if n > keep else [0] * config.steps for n in sizes]
    return [[part[k] for part in parts] for k in range(config.steps)]


def _weights(config: PruneConfig, *_given: Any) -> list[Any]:
    given = config.sparsity
    if given is None:
        raise _missing(config)
    if isinstance(given, float):
        return [given * (k + 1) / config.steps for k in range(config.steps)]
    if config.steps not in (1, len(given)) or list(given) != sorted(set(given)):
        raise UsageError(
            "the shares of zeros of the steps must grow", got=str(given),
            expected=f"growing numbers, one for each of {config.steps} steps",
        )  # fmt: skip
    return list(given)


def _ranks(config: PruneConfig, copy: Copy, *_given: Any) -> list[Any]:
    if (config.rank is None) == (config.share is None) or config.steps > 1:
        raise (
            _missing(config)
            if config.steps == 1
            else UsageError("ranks are reduced in one step", fix="drop --steps")
        )
    known = list(copy.blocks[0].maps)
    maps = list(config.maps or known)
    if unknown := [name for name in maps if name not in known]:
        raise UsageError("no such linear maps", got=", ".join(unknown), expected=", ".join(known))
    if config.share is not None:
        fitting = rank_keeping(copy.source, config.share)
        return [{name: fitting[name] for name in maps}]
    assert config.rank is not None
    for name in maps:
        one: Any = copy.blocks[0].map(name)
        most = min(int(one.in_features), int(one.out_features))
        if config.rank > most:
            raise UsageError(
                f"no rank for {name}", got=config.rank, expected=f"at most {most}",
                fix="give a smaller rank, or name other maps",
            )  # fmt: skip
    return [dict.fromkeys(maps, config.rank)]


def _layers(config: PruneConfig, copy: Copy, *_given: Any) -> list[Any]:
    if not isinstance(config.keep, int):
        raise _missing(config)
    if config.keep >= len(copy.blocks) or config.steps > 1:
        raise UsageError(
            "fewer blocks are kept, in one step",
            got=f"{config.keep} of {len(copy.blocks)} blocks, {config.steps} steps",
        )
    return [config.keep]


def _tuning(config: PruneConfig, steps: int) -> list[int | None]:
    if config.tune is None:
        return [0] * steps
    given = config.tune_steps
    if given is None or isinstance(given, int):
        return [given] * steps
    if len(given) != steps:
        raise UsageError(
            "tune_steps is a number, or one for each step", got=len(given), expected=steps
        )
    return list(given)
