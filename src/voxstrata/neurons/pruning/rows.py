"""One step of row pruning: scores, order, protected neurons, surgery, and the sets afterwards."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.pruning.order import ascending, lowest_of_all
from voxstrata.neurons.pruning.scores import SCORES, Evidence, Floats
from voxstrata.neurons.pruning.surgery import Removal, remove_rows
from voxstrata.neurons.sets import Indices, NeuronSet

ALL = -1
"""As a number of rows: every one that is not protected."""

_SPARE = 6101  # purpose number of the rows that are kept where none would be

Strategy = Literal["all", "each"]
Find = Callable[[SpeechModel], NeuronSet]
"""Finds the neurons to protect in a model as it stands."""


@dataclass(frozen=True)
class PrunedRows:
    """What a step made.

    Attributes:
        model: the smaller model.
        removed: what went, lowest score first, in the numbering of the model before.
        protected: the protected neurons, in the numbering of the model after; ``None`` for none.
    """

    model: SpeechModel
    removed: dict[str, list[int]]
    protected: NeuronSet | None = None


def prune_rows(
    model: SpeechModel,
    rows: int | Sequence[int],
    *,
    score: str = "l1",
    evidence: Evidence | None = None,
    protected: NeuronSet | Find | None = None,
    strategy: Strategy = "all",
    scope: Literal["layer", "whole"] = "layer",
    prune_min: int = 1,
    seed: int = 0,
    spec: str | None = None,
) -> PrunedRows:
    """A model without the feed-forward neurons that are worth least.

    Args:
        model: left as it is.
        rows: how many go from each layer; one number for each layer; -1 for all that are not
            protected.
        score: name of a pruning score.
        evidence: what a score from data looks at.
        protected: neurons that stay: a set of this model, or what finds one in a model.
        strategy: where it is a finder: ``"all"`` asks it once, of the model as given; ``"each"``
            anew for each layer, after the layers below were pruned.
        scope: ``"layer"`` as above; ``"whole"``: as many in all, wherever scores are lowest.
        prune_min: rows that every layer keeps at least. Where nothing is protected and all would
            go, a seeded sample of so many is kept, as published.
        seed: of that sample.
        spec: text to name the result by.

    Raises:
        UsageError: more rows are protected than are to be kept; or a number is wrong.
        ModelError: the set belongs to another model.
    """
    layers = [part.layer for part in feed_forwards(model)]
    asked = _asked(rows, layers)
    evidence = evidence or Evidence(seed=seed)
    if strategy == "each":
        if not callable(protected):
            raise UsageError(
                "the strategy 'each' looks for neurons in every layer anew",
                got="a fixed set" if protected is not None else "nothing to protect",
                expected="a function that finds them in a model",
                fix="use the strategy 'all'",
            )
        if scope == "whole":
            raise UsageError("the strategy 'each' goes layer by layer", fix="use scope 'layer'")
        return _layer_by_layer(model, asked, score, evidence, protected, prune_min, seed, spec)
    found = protected(model) if callable(protected) else protected
    if found is not None:
        found.check(model)
    barred = {k: found.layers.get(k, ()) for k in layers} if found is not None else {}
    values = SCORES.get(score).rows(model, evidence)
    if scope == "whole":
        removed = _whole(values, asked, barred, prune_min)
    else:
        removed = {
            layer: choose(values[layer], asked[layer], barred.get(layer, ()), prune_min,
                          [seed, number], layer)
            for number, layer in enumerate(layers)
        }  # fmt: skip
    pruned = remove_rows(model, removed, spec)
    return PrunedRows(
        pruned, removed, None if found is None else after_removal(found, removed, pruned)
    )


def choose(
    scores: Floats,
    count: int,
    protected: Sequence[int],
    prune_min: int,
    seed: Sequence[int],
    layer: str,
) -> list[int]:
    """The rows of a layer that go, lowest score first.

    Args:
        scores: [F].
        count: how many, or -1 for all that are not protected.
        protected: rows that stay.
        prune_min: rows that stay at least.
        seed: of the sample that is kept where nothing is protected and all would go.
        layer: for messages.

    Raises:
        UsageError: so many cannot go.
    """
    F = len(scores)
    if not 1 <= prune_min <= F:
        raise UsageError("prune_min is a number of rows", got=prune_min, expected=f"1 to {F}")
    order = ascending(scores, protected)
    if count == ALL:
        if not protected:
            kept = np.random.default_rng([_SPARE, *seed]).choice(F, prune_min, replace=False)
            stay = {int(i) for i in kept}
            return [i for i in order if i not in stay]
        return order[: max(0, min(len(order), F - prune_min))]
    if count > F - max(len(protected), prune_min):
        raise UsageError(
            f"{layer} cannot be pruned so far",
            got=f"{count} of {F} rows to go, {len(protected)} protected",
            expected=f"at most {F - max(len(protected), prune_min)}",
            fix="keep more rows, protect fewer, or let each layer keep what is protected (rows -1)",
        )
    return order[:count]


def after_removal(found: NeuronSet, removed: Removal, model: SpeechModel) -> NeuronSet:
    """A set of neurons in the numbering of the model that is left.

    Args:
        found: of the model before.
        removed: what went; members of the set among it are gone.
        model: the model after.
    """
    gone = {layer: sorted(indices) for layer, indices in removed.items()}

    def moved(layers: Indices) -> dict[str, tuple[int, ...]]:
        return {k: _renumbered(indices, gone.get(k, [])) for k, indices in layers.items()}

    widths = {i.name: i.width for i in model.layers}
    return replace(
        found,
        model=model.spec,
        fingerprint=model.fingerprint,
        widths={layer: widths[layer] for layer in found.widths},
        layers=moved(found.layers),
        groups={group: moved(layers) for group, layers in found.groups.items()},
    )


def _renumbered(indices: Sequence[int], gone: Sequence[int]) -> tuple[int, ...]:
    """Those of the indices that are left, by their new numbers; ``gone`` is sorted."""
    lost = set(gone)
    return tuple(i - bisect.bisect_left(gone, i) for i in indices if i not in lost)


def _asked(rows: int | Sequence[int], layers: Sequence[str]) -> dict[str, int]:
    numbers = [rows] * len(layers) if isinstance(rows, int) else [int(n) for n in rows]
    if len(numbers) != len(layers) or any(n < ALL for n in numbers):
        raise UsageError(
            "rows to prune are a number, or one for each layer",
            got=str(rows),
            expected=f"{len(layers)} numbers, each at least 0, or -1 for all unprotected ones",
        )
    return dict(zip(layers, numbers, strict=True))


def _whole(
    values: Mapping[str, Floats],
    asked: Mapping[str, int],
    barred: Mapping[str, Sequence[int]],
    prune_min: int,
) -> dict[str, list[int]]:
    if ALL in asked.values():
        raise UsageError("over all layers a number of rows is needed", got=ALL)
    return lowest_of_all(values, sum(asked.values()), barred, prune_min)


def _layer_by_layer(
    model: SpeechModel,
    asked: Mapping[str, int],
    score: str,
    evidence: Evidence,
    find: Find,
    prune_min: int,
    seed: int,
    spec: str | None,
) -> PrunedRows:
    """Layers from below, each with neurons and scores found in what is left by then."""
    now, removed = model, dict[str, list[int]]()
    total: dict[str, tuple[int, ...]] = {}
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for number, layer in enumerate(asked):
        found = find(now)
        found.check(now)
        values = SCORES.get(score).rows(now, evidence)[layer]
        protected = found.of(layer)
        removed[layer] = choose(values, asked[layer], protected, prune_min, [seed, number], layer)
        now = remove_rows(now, {layer: removed[layer]}, spec)
        gone = sorted(removed[layer])
        total[layer] = _renumbered(protected, gone)
        for name, members in found.groups.items():
            groups.setdefault(name, {})[layer] = _renumbered(members.get(layer, ()), gone)
    widths = {i.name: i.width for i in now.layers}
    kept = NeuronSet(
        "protected layer by layer",
        now.spec,
        now.fingerprint,
        {layer: widths[layer] for layer in asked},
        total,
        groups,
    )
    return PrunedRows(now, removed, kept)
