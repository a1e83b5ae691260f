"""Activation patching: what a model would say, had some neurons heard another recording.

Heimersheim and Nanda 2024 (arXiv 2404.15255). A *clean* recording gives its activations to a
*corrupt* one (the same words by another speaker, say); the share of the metric's difference that
comes back is what the neurons carry of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.models.base import SpeechModel, Wave
from voxstrata.models.edited.hooks import encode_changed
from voxstrata.neurons.interventions.alignment import NONE, by_index
from voxstrata.neurons.sets import NeuronSet

Metric = Callable[[Mapping[str, Tensor]], float]
"""A number from the layers of one recording, each [T, D]."""


@dataclass(frozen=True)
class Patched:
    """What patching did to a metric.

    Attributes:
        clean: metric of the recording that gives its activations.
        corrupt: of the one that receives them.
        patched: of the latter with the neurons patched.
        frames: share of its frames that received anything.
    """

    clean: float
    corrupt: float
    patched: float
    frames: float

    @property
    def recovered(self) -> float:
        """``(patched - corrupt) / (clean - corrupt)``: 0 no effect, 1 as if all were clean."""
        return recovered(self.patched, self.corrupt, self.clean)


def recovered(patched: float, corrupt: float, clean: float) -> float:
    """Recovered effect ``(m_patched - m_corrupt) / (m_clean - m_corrupt)``.

    Raises:
        NumericsError: the metric does not tell clean from corrupt, or is not finite.
    """
    difference = clean - corrupt
    limit = 1e-9 * max(abs(clean), abs(corrupt))
    if not np.isfinite([patched, corrupt, clean]).all() or abs(difference) <= limit:
        raise NumericsError(
            "the recovered effect has no value here",
            got=f"metric {clean:g} clean, {corrupt:g} corrupt, {patched:g} patched",
            expected="finite metrics that tell the two recordings apart",
            fix="take recordings that differ in what the metric measures",
        )
    return (patched - corrupt) / difference


def patch(
    model: SpeechModel,
    neurons: NeuronSet,
    corrupt: Wave,
    clean: Wave,
    layers: Sequence[str],
    alignment: NDArray[np.int64] | None = None,
) -> list[dict[str, Tensor]]:
    """Layers of both recordings, and of the corrupt one with clean neurons.

    Args:
        model: whose neurons they are; may be edited.
        neurons: which are overwritten.
        corrupt: recording [S] that receives.
        clean: recording [S'] that gives.
        layers: wanted layers.
        alignment: for each frame of ``corrupt`` the frame of ``clean`` that it takes its values
            from, or -1 (:mod:`.alignment`); default: the frame of the same index.

    Returns:
        layers of clean, corrupt and patched: name to [T, D].

    Raises:
        ModelError: the set belongs to another model; UsageError: it is empty.
        ShapeError: the alignment is not one of these recordings.
        AudioError: a recording cannot be run.
    """
    neurons.check(model)
    chosen = {layer: list(index) for layer, index in neurons.layers.items() if index}
    if not chosen:
        raise UsageError(f"the neuron set {neurons.name!r} is empty: nothing would be patched")
    wanted = list(dict.fromkeys([*layers, *chosen]))
    good, bad = model.encode([clean], wanted)[0], model.encode([corrupt], wanted)[0]
    plans = {}
    for layer in chosen:
        frames, source = len(bad[layer]), len(good[layer])
        plan = by_index(frames, source) if alignment is None else np.asarray(alignment)
        if plan.shape != (frames,) or plan.min(initial=0) < NONE or plan.max(initial=0) >= source:
            raise ShapeError(
                f"the alignment does not fit the frames of {layer}",
                got=f"shape {plan.shape}, values {plan.min(initial=0)} to {plan.max(initial=0)}",
                expected=f"[{frames}], values from -1 to {source - 1}",
            )
        plans[layer] = plan

    def changes() -> dict[str, _Overwrite]:
        return {
            layer: _Overwrite(index, good[layer][:, index], plans[layer])
            for layer, index in chosen.items()
        }

    with torch.inference_mode():
        third = encode_changed(model, [corrupt], list(layers), changes)[0]
    return [{name: found[name] for name in layers} for found in (good, bad, third)]


def patch_effect(
    model: SpeechModel,
    neurons: NeuronSet,
    corrupt: Wave,
    clean: Wave,
    metric: Metric,
    layers: Sequence[str],
    alignment: NDArray[np.int64] | None = None,
) -> Patched:
    """How much of a metric comes back with the neurons; see :func:`patch`.

    Args:
        metric: takes ``layers`` of a recording (cosine of a pooled layer to a speaker's mean, say).
    """
    good, bad, third = patch(model, neurons, corrupt, clean, layers, alignment)
    clean_m, corrupt_m, patched_m = (float(metric(found)) for found in (good, bad, third))
    if alignment is None:
        first = next(layer for layer, index in neurons.layers.items() if index)
        samples = (len(corrupt), len(clean))
        alignment = by_index(*(model.frames(first, s) for s in samples))
    return Patched(clean_m, corrupt_m, patched_m, float(np.mean(np.asarray(alignment) != NONE)))


class _Overwrite:
    """Puts values of another recording in place of some neurons' own; counts frames."""

    def __init__(self, index: list[int], values: Tensor, plan: NDArray[np.int64]) -> None:
        self._index, self._values, self._plan = torch.tensor(index), values, plan
        self._seen = 0

    def __call__(self, activations: Tensor) -> Tensor:
        """[B, T, D] to a changed copy; rows follow each other in time."""
        batch, frames = activations.shape[:2]
        out = activations.clone().reshape(batch * frames, -1)
        plan = self._plan[self._seen : self._seen + batch * frames]
        self._seen += batch * frames
        # Frames beyond the plan are padding of the last window.
        rows = torch.from_numpy(np.flatnonzero(plan != NONE)).to(out.device)
        source = torch.from_numpy(plan[plan != NONE].copy())
        values = self._values[source.to(self._values.device)].to(out)
        out[rows[:, None], self._index.to(out.device)] = values
        return out.view(activations.shape)
