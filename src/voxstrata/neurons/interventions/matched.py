"""Control sets: as many other neurons of each layer, at random, of the same weight or score."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ModelError, UsageError, VoxstrataWarning
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.interventions.activity import Activity, value_norms
from voxstrata.neurons.sets import NeuronSet
from voxstrata.registry import unknown_name

Control = Literal["random", "norm"]
CONTROLS: tuple[Control, ...] = ("random", "norm")

SCORE: Literal["score"] = "score"
"""The kind of control whose quantity the caller gives."""

NEAR, CALIPER = 5, 0.2
"""A partner is drawn from up to five nearest free neurons, so that seeds have a choice; but one
farther than 0.2 standard deviations (Austin 2011, Pharmaceutical Statistics 10(2)) is taken only
where it is the nearest."""

LARGE = 0.25
"""Standardised difference of means above which a match is called poor (the rule of Rubin 2001,
Health Services and Outcomes Research Methodology 2)."""


def matched(
    neurons: NeuronSet,
    model: SpeechModel,
    activity: Activity | None = None,
    kind: Control | Literal["score"] = "random",
    seed: int = 0,
    *,
    exclude: Sequence[NeuronSet] = (),
    scores: Mapping[str, NDArray[np.float64]] | None = None,
) -> NeuronSet:
    """A control set: in each layer as many neurons, none of them in the set.

    ``random`` draws them with equal probability. ``norm`` gives each neuron of the set, in random
    order, a partner among the free ones nearest in ``mean |a_i| * ||v_i||`` (logarithms), what it
    adds to the residual stream on average: erasing a control then takes as much away. ``score``
    does the same by rank in given scores, so that as many of the control as of the set would have
    been pruned.

    Args:
        neurons: the set.
        model: whose neurons they are.
        activity: of the model; for ``norm``.
        kind: "random", "norm" or "score".
        seed: of the draw; layers have draws of their own.
        exclude: sets that a control must not touch either (the whole set, where ``neurons`` is
            one of its groups).
        scores: of every neuron [D] by layer; for ``score``.

    Returns:
        the control, its quality in ``details["match"]`` by layer: means of the matched quantity in
        set and control, their difference in standard deviations of the set, and the largest
        distance between the two distributions (Kolmogorov-Smirnov).

    Raises:
        UsageError: a layer has too few other neurons; ``norm`` without activity, ``score``
            without scores.
        ModelError: set or activity belongs to another model.
    """
    if kind not in (*CONTROLS, SCORE):
        raise unknown_name("kind of control", str(kind), [*CONTROLS, SCORE])
    neurons.check(model)
    if kind == "score":
        weights = _ranks(neurons, scores)
    else:
        weights = _weights(neurons, model, activity, kind)
    layers: dict[str, tuple[int, ...]] = {}
    quality: dict[str, dict[str, float | None]] = {}
    for number, (layer, width) in enumerate(neurons.widths.items()):
        chosen = np.array(neurons.of(layer), dtype=np.int64)
        taken = set(chosen.tolist()).union(*(o.layers.get(layer, ()) for o in exclude))
        free = np.array([i for i in range(width) if i not in taken], dtype=np.int64)
        if len(free) < len(chosen):
            raise UsageError(
                f"{layer} has too few other neurons for a control of {neurons.name!r}",
                got=f"{len(free)} others, {len(chosen)} wanted",
                expected="a set of at most half a layer",
                fix="take a stricter set (a higher sigma, or effect size)",
            )
        if not len(chosen):
            layers[layer] = ()
            continue
        generator = np.random.default_rng([seed, number])
        if kind == "random":
            drawn = generator.choice(free, size=len(chosen), replace=False)
        else:
            # Weights spread over decades; ranks do not.
            tiny = np.finfo(np.float64).tiny
            scale = weights[layer] if kind == "score" else np.log(np.maximum(weights[layer], tiny))
            drawn = _nearest(scale, chosen, free, generator)
        layers[layer] = tuple(sorted(int(i) for i in drawn))
        if weights:
            quality[layer] = match_quality(weights[layer][chosen], weights[layer][drawn])
    _warn(neurons, kind, quality)
    details: dict[str, Any] = {"control": kind, "of": neurons.name, "seed": seed}
    if quality:
        quantity = "rank in the pruning score" if kind == "score" else "mean |a_i| * ||v_i||"
        details |= {"matched_on": quantity, "match": quality}
    name = f"{kind} control (seed {seed}) of {neurons.name}"
    return replace(neurons, name=name, layers=layers, groups={}, details=details)


def matched_sets(
    neurons: NeuronSet,
    model: SpeechModel,
    activity: Activity | None = None,
    kind: Control = "random",
    *,
    many: int = 5,
    seed: int = 0,
    exclude: Sequence[NeuronSet] = (),
) -> list[NeuronSet]:
    """Controls with seeds ``seed``, ``seed + 1``, ...; see :func:`matched`."""
    if many < 1:
        raise UsageError("at least one control is needed", got=many)
    return [matched(neurons, model, activity, kind, seed + i, exclude=exclude) for i in range(many)]


def match_quality(
    wanted: NDArray[np.float64], found: NDArray[np.float64]
) -> dict[str, float | None]:
    """How well a control's quantity follows the set's: means, standardised difference, KS."""
    spread = float(np.std(wanted, ddof=1)) if len(wanted) > 1 else 0.0
    difference = float(found.mean() - wanted.mean())
    both = np.sort(np.concatenate([wanted, found]))
    shares = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (wanted, found)]
    return {
        "set": float(wanted.mean()),
        "control": float(found.mean()),
        "difference_sd": difference / spread if spread > 0 else None,
        "ks": float(np.abs(shares[0] - shares[1]).max()),
    }


def _weights(
    neurons: NeuronSet, model: SpeechModel, activity: Activity | None, kind: Control
) -> dict[str, NDArray[np.float64]]:
    """The quantity to match, by layer; empty where activity is not known and not needed."""
    if activity is None:
        if kind == "random":
            return {}
        raise UsageError(
            "a control of the same weight needs to know how active neurons are",
            expected="activity=measure(model, utterances)",
            fix="on the command line: --corpus CORPUS; or take random controls",
        )
    if activity.fingerprint != model.fingerprint:
        raise ModelError(
            "the activity was measured in another model",
            got=f"{activity.model}, fingerprint {activity.fingerprint}",
            expected=f"{model.spec}, fingerprint {model.fingerprint}",
        )
    norms = value_norms(model)
    if missing := [layer for layer in neurons.widths if layer not in activity.size]:
        raise UsageError("the activity of some layers was not measured", got=", ".join(missing))
    return {layer: activity.size[layer] * norms[layer] for layer in neurons.widths}


def _ranks(
    neurons: NeuronSet, scores: Mapping[str, NDArray[np.float64]] | None
) -> dict[str, NDArray[np.float64]]:
    """Ranks of scores, from 0; of equal scores, in the order of the neurons, as they are pruned."""
    given = scores or {}
    if missing := [layer for layer in neurons.widths if layer not in given]:
        raise UsageError(
            "a control of the same score needs the scores of all layers", got=", ".join(missing)
        )
    return {
        layer: np.argsort(np.argsort(given[layer], kind="stable")).astype(np.float64)
        for layer in neurons.widths
    }


def _nearest(
    scale: NDArray[np.float64],
    chosen: NDArray[np.int64],
    free: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """A partner for each of ``chosen``, near it on a scale."""
    left = free[np.argsort(scale[free], kind="stable")].tolist()
    values = scale[left].tolist()
    limit = CALIPER * float(np.std(scale))
    drawn = []
    for neuron in generator.permutation(chosen):
        own = float(scale[neuron])
        middle = int(np.searchsorted(values, own))
        low, high = max(0, middle - NEAR), min(len(left), middle + NEAR)
        near = sorted(range(low, high), key=lambda i: abs(values[i] - own))[:NEAR]
        near = [i for i in near if abs(values[i] - own) <= limit] or near[:1]
        place = near[int(generator.integers(len(near)))]
        drawn.append(left.pop(place))
        values.pop(place)
    return np.array(drawn, dtype=np.int64)


def _warn(neurons: NeuronSet, kind: str, quality: dict[str, dict[str, float | None]]) -> None:
    poor = {
        layer: found["difference_sd"]
        for layer, found in quality.items()
        if found["difference_sd"] is not None and abs(found["difference_sd"]) > LARGE
    }
    if kind == "norm" and poor:
        worst = max(poor, key=lambda layer: abs(poor[layer] or 0.0))
        warnings.warn(
            f"the controls of {neurons.name!r} have another weight than the set in {len(poor)} "
            f"layers (worst: {worst}, {poor[worst]:+.2f} standard deviations): too few other "
            "neurons are like it, and erasing a control does not take away as much",
            VoxstrataWarning,
            stacklevel=3,
        )
