"""What is done to which neurons, as data: one object for hooks, weights and files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from voxstrata.errors import ShapeError, UsageError
from voxstrata.files import fingerprint
from voxstrata.models.base import Wave
from voxstrata.models.weights import hash_tensors
from voxstrata.registry import unknown_name

Kind = Literal["erase", "mean", "resample", "scale"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_BLOCK = 1024  # draws made at once; part of what a seed means


@dataclass(frozen=True)
class Edit:
    """A change of neurons.

    Attributes:
        kind: what neuron i of a frame becomes: ``erase`` 0, ``mean`` a constant, ``scale`` its
            own value times ``factor``, ``resample`` its value in another frame, drawn for each
            frame of a recording (one frame for all neurons and layers, so that what neurons say
            together stays together).
        neurons: sorted indices (from 0) by layer, at least one.
        values: by layer, ``mean``: constants [n]; ``resample``: frames to draw from [P, n], the
            same P frames in all layers. n neurons in the order of ``neurons``.
        factor: of ``scale``.
        seed: of the draws of ``resample``, beside the audio itself: a recording has its draws
            whatever else is in its batch.
        name: of the set of neurons.

    Raises:
        UsageError: a setting is missing, wrong, or belongs to another kind.
        ShapeError: values do not fit the neurons.
    """

    kind: Kind
    neurons: Mapping[str, tuple[int, ...]]
    values: Mapping[str, Tensor] = field(default_factory=dict)
    factor: float | None = None
    seed: int = 0
    name: str = "neurons"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of intervention", str(self.kind), list(KINDS))
        kept = {layer: tuple(chosen) for layer, chosen in self.neurons.items() if len(chosen)}
        object.__setattr__(self, "neurons", kept)
        if not kept:
            raise UsageError(
                f"the neuron set {self.name!r} is empty: nothing would be changed",
                expected="at least one neuron in some layer",
            )
        for layer, chosen in kept.items():
            if list(chosen) != sorted(set(chosen)) or chosen[0] < 0:
                raise UsageError(
                    f"these are not indices of neurons of {layer}",
                    got=str(list(chosen[:12])),
                    expected="different whole numbers from 0, sorted",
                )
        if (self.factor is not None) != (self.kind == "scale"):
            raise UsageError(
                f"the intervention {self.kind} {'needs' if self.factor is None else 'takes no'} "
                "factor",
                got=self.factor,
                expected="a number, with the kind scale alone",
            )
        if self.factor is not None and not np.isfinite(self.factor):
            raise UsageError("the factor must be finite", got=self.factor)
        if self.kind in ("mean", "resample"):
            self._check_values()
        elif self.values:
            raise UsageError(f"the intervention {self.kind} takes no values")

    def _check_values(self) -> None:
        kept: dict[str, Tensor] = {}
        frames: int | None = None
        for layer, chosen in self.neurons.items():
            found = self.values.get(layer)
            if found is None:
                raise UsageError(
                    f"the intervention {self.kind} has no values for {layer}",
                    got=", ".join(self.values) or "no values at all",
                    expected=", ".join(self.neurons),
                    fix="measure them first: voxstrata.neurons.interventions.measure",
                )
            if self.kind == "resample" and frames is None and found.ndim == 2:
                frames = len(found)
            wanted = (len(chosen),) if self.kind == "mean" else (frames, len(chosen))
            if tuple(found.shape) != wanted or not found.numel():
                raise ShapeError(
                    f"the values of {layer} do not fit its neurons",
                    got=f"shape {tuple(found.shape)}",
                    expected=f"shape {wanted}" if frames or self.kind == "mean" else "[P, n]",
                )
            if not bool(found.isfinite().all()):
                raise UsageError(f"the values of {layer} are not all finite")
            kept[layer] = found.detach().cpu().contiguous()
        object.__setattr__(self, "values", kept)

    def __len__(self) -> int:
        return sum(len(chosen) for chosen in self.neurons.values())

    @property
    def by_recording(self) -> bool:
        """Whether the change differs from recording to recording."""
        return self.kind == "resample"

    def within(self, layers: set[str]) -> Edit | None:
        """The part of it in ``layers``; ``None`` where nothing is left."""
        left = {layer: chosen for layer, chosen in self.neurons.items() if layer in layers}
        if len(left) == len(self.neurons):
            return self
        values = {layer: value for layer, value in self.values.items() if layer in left}
        return Edit(self.kind, left, values, self.factor, self.seed, self.name) if left else None

    def digest(self) -> str:
        """Hex digest of everything that touches a number; the name does not."""
        return fingerprint(
            [
                self.kind,
                {layer: list(chosen) for layer, chosen in self.neurons.items()},
                hash_tensors(self.values),
                self.factor,
                self.seed if self.by_recording else None,
            ]
        )

    def changes(self, wave: Wave | None = None) -> dict[str, Change]:
        """What to do in each layer, for one recording [S] or, if the kind allows it, for all.

        Raises:
            UsageError: ``resample`` without a recording.
        """
        if not self.by_recording:
            return {layer: Change(self, layer) for layer in self.neurons}
        if wave is None:
            raise UsageError("resampling needs the recording: its draws follow from it")
        pool = len(next(iter(self.values.values())))
        draws = Draws(self.seed, wave, pool)
        return {layer: Change(self, layer, draws) for layer in self.neurons}


class Draws:
    """Frames drawn for the frames of one recording; equal recordings have equal draws.

    Args:
        seed: of the run.
        wave: the recording [S].
        pool: number of frames to draw from.
    """

    def __init__(self, seed: int, wave: Wave, pool: int) -> None:
        samples = wave.detach().cpu().numpy() if isinstance(wave, Tensor) else np.asarray(wave)
        text = hashlib.sha256(np.ascontiguousarray(samples, dtype=np.float32).tobytes()).digest()
        words = np.frombuffer(text, dtype=np.uint32).tolist()
        self._generator = np.random.default_rng([seed, *words])
        self._pool = pool
        self._drawn = np.empty(0, dtype=np.int64)

    def take(self, start: int, count: int) -> Tensor:
        """Places in the pool for frames ``start`` to ``start + count``, int64 [count]."""
        while len(self._drawn) < start + count:
            more = self._generator.integers(0, self._pool, size=_BLOCK)
            self._drawn = np.concatenate([self._drawn, more])
        return torch.from_numpy(self._drawn[start : start + count].copy())


class Change:
    """What happens to the neurons of one layer.

    Args:
        edit: which change.
        layer: where.
        draws: of the recording, for ``resample``. A change with draws counts frames: it belongs
            to one forward pass of one recording.
    """

    def __init__(self, edit: Edit, layer: str, draws: Draws | None = None) -> None:
        self._edit, self._draws = edit, draws
        self._index = torch.tensor(edit.neurons[layer])
        self._values = edit.values.get(layer)
        self._seen = 0

    def __call__(self, activations: Tensor) -> Tensor:
        """[B, T, D] to a changed copy; rows of a recording with draws follow each other in time."""
        index = self._index.to(activations.device)
        out = activations.clone()
        out[..., index] = self._new(activations, index)
        return out

    def _new(self, activations: Tensor, index: Tensor) -> Tensor:
        if self._edit.kind == "erase":
            return activations.new_zeros(())
        if self._edit.kind == "scale":
            assert self._edit.factor is not None
            return activations[..., index] * self._edit.factor
        assert self._values is not None
        if self._draws is None:
            return self._values.to(activations)
        batch, frames = activations.shape[:2]
        drawn = self._draws.take(self._seen, batch * frames)
        self._seen += batch * frames
        return self._values[drawn].to(activations).view(batch, frames, -1)
