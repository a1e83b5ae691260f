"""Frame conditions that look at the audio's own layers: clusters of states, thirds of pitch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.kmeans import assign, fit
from voxstrata.numerics.threads import one_blas_thread

Ints = NDArray[np.int64]

PITCH_LAYERS = ("acoustic/f0", "acoustic/voicing")


class StateClusters:
    """Frames by the nearest of K centres of a layer's states (k-means on z-scored features).

    Args:
        name: of the condition ("clusters=3").
        clusters: K.
        layer: key of the layer.
        seed: of the first k-means start.
    """

    def __init__(self, name: str, clusters: int, layer: str, seed: int = 0) -> None:
        if clusters < 1:
            raise UsageError(f"{name}: clusters", got=clusters, expected="at least 1")
        self.name, self.clusters, self.seed = name, clusters, seed
        self.layers: tuple[str, ...] = (layer,)
        self.rows = tuple(f"cluster {i + 1}" for i in range(clusters))
        self.facts: dict[str, Any] = {}
        self._centres: NDArray[np.float64] | None = None
        self._mean = self._scale = np.zeros(0)

    def learn(self, sample: Sequence[NDArray[Any]], starts: int = 10) -> None:
        """Fit the centres.

        Args:
            sample: [N, D] frames of the layer.
            starts: k-means starts; the one with the least inertia is taken.

        Raises:
            UsageError: fewer frames than clusters; NumericsError: fewer different ones.
        """
        (rows,) = sample
        wide = np.asarray(rows, dtype=np.float64)
        self._mean, deviation = wide.mean(axis=0), wide.std(axis=0)
        if not deviation.any():
            raise NumericsError(f"{self.name}: the layer {self.layers[0]} is constant")
        self._scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0.0)
        scored = ((wide - self._mean) * self._scale).astype(np.float32)
        fits = [fit(scored, self.clusters, self.seed + i) for i in range(starts)]
        best = min(fits, key=lambda one: one.inertia)
        # Starts end in any order of clusters: the largest comes first.
        codes, _ = assign(scored, best.centres)
        sizes = np.bincount(codes, minlength=self.clusters)
        self._centres = best.centres[np.argsort(-sizes, kind="stable")]
        self.facts = {
            "layer": self.layers[0],
            "clusters": self.clusters,
            "frames fitted": len(rows),
            "inertia": best.inertia,
            "inertia of all starts": sorted(one.inertia for one in fits),
        }

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Nearest centre of each frame."""
        if self._centres is None:
            raise UsageError(f"{self.name} has no centres yet", fix="call learn() first")
        # In blocks that stay in a core's cache; and the threads of a product of some microseconds
        # would go on spinning for 36 ms, on cores that the model's next forward pass needs.
        found = []
        with one_blas_thread():
            for part in torch.split(states[0].detach().cpu(), 128):
                scored = (part.double().numpy() - self._mean) * self._scale
                found.append(assign(scored, self._centres)[0])
        return np.concatenate(found)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Centres, mean and scale."""
        assert self._centres is not None
        return {
            "centres": torch.from_numpy(self._centres.copy()),
            "mean": torch.from_numpy(self._mean.copy()),
            "scale": torch.from_numpy(self._scale.copy()),
        }

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take over what :meth:`tensors` gave."""
        self._centres = tensors["centres"].numpy()
        self._mean, self._scale = tensors["mean"].numpy(), tensors["scale"].numpy()
        self.facts = facts


class PitchThirds:
    """Voiced frames by thirds of F0 over the sample, as published (percentiles 33 and 66).

    Ours differs from the published scripts in three ways: F0 is estimated by
    :mod:`voxstrata.frontend.pitch` and joined by time, so that nothing is shifted; a value equal
    to a bound belongs to the third below it; unvoiced frames belong to none.
    """

    name = "pitch"
    rows: tuple[str, ...] = ("low", "middle", "high")
    layers: tuple[str, ...] = PITCH_LAYERS

    def __init__(self) -> None:
        self._bounds: NDArray[np.float64] | None = None
        self.facts: dict[str, Any] = {}

    def learn(self, sample: Sequence[NDArray[Any]]) -> None:
        """Take the percentiles of voiced frames.

        Args:
            sample: [N, 1] of log2 Hz, [N, 1] of voicing.

        Raises:
            NumericsError: hardly a frame is voiced.
        """
        pitch, voiced = sample[0].reshape(-1), sample[1].reshape(-1) > 0.5
        if voiced.sum() < 100:
            raise NumericsError(
                "too few voiced frames for thirds of pitch",
                got=int(voiced.sum()),
                expected="at least 100",
            )
        self._bounds = np.percentile(pitch[voiced].astype(np.float64), [33, 66])
        self.facts = {"bounds_hz": (2**self._bounds).tolist(), "frames": int(voiced.sum())}

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Third of each voiced frame, -1 elsewhere."""
        if self._bounds is None:
            raise UsageError("pitch has no bounds yet", fix="call learn() first")
        pitch = states[0].detach().cpu().double().numpy().reshape(-1)
        voiced = states[1].detach().cpu().numpy().reshape(-1) > 0.5
        return np.where(voiced, np.searchsorted(self._bounds, pitch), -1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The bounds."""
        assert self._bounds is not None
        return {"bounds": torch.from_numpy(self._bounds.copy())}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take over what :meth:`tensors` gave."""
        self._bounds, self.facts = tensors["bounds"].numpy(), facts
