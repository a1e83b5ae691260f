"""Where a model runs and in which precision, and the parts of ``SpeechModel`` that follow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from voxstrata.errors import ModelError, UsageError
from voxstrata.files import fingerprint
from voxstrata.models.base import Wave, layer
from voxstrata.models.batching import check_audio
from voxstrata.registry import unknown_name
from voxstrata.types import LayerInfo

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

M = TypeVar("M", bound="PlacedModel")


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype called ``name``.

    Raises:
        UnknownNameError: it is none of the four.
    """
    if name not in DTYPES:
        raise unknown_name("dtype", name, list(DTYPES))
    return DTYPES[name]


def torch_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises:
        UsageError: the name is malformed, or this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"the device {name!r} cannot be used",
            got=str(error).splitlines()[0],
            expected="cpu, cuda or cuda:N of this machine",
            fix="run `voxstrata doctor`, or use cpu",
        ) from None
    return device


class PlacedModel:
    """Base of models whose work is done by one ``nn.Module`` (or by none).

    Subclasses set ``_module`` and implement :meth:`_run` and :meth:`frames`.

    Args:
        spec: text the model was named by.
        family: registry name of the family.
        layers: all layers, in order of depth.
        digest: hex digest of weights and settings.
        details: facts for the run record.
        flops_per_second: operations of one second of audio.
        minimum: fewest samples the model can be run on.
        module: the network, in eval mode, or ``None``.
    """

    def __init__(
        self,
        spec: str,
        family: str,
        layers: tuple[LayerInfo, ...],
        digest: str,
        details: Mapping[str, Any],
        flops_per_second: float,
        minimum: int,
        module: nn.Module | None,
    ) -> None:
        self.spec = spec
        self.family = family
        self.layers = layers
        self.details: Mapping[str, Any] = dict(details)
        self.flops_per_second = flops_per_second
        self.minimum = minimum
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self._digest = digest
        self.fingerprint = fingerprint([digest, str(self.dtype)])
        self._module = module.eval().requires_grad_(False) if module is not None else None

    def to(self: M, device: str, dtype: str) -> M:
        """This model on ``device`` in ``dtype``; the original keeps its own precision.

        Raises:
            UsageError: no such device or dtype, or rounded weights would have to be widened.
        """
        target, kind = torch_device(device), torch_dtype(dtype)
        if (target, kind) == (self.device, self.dtype):
            return self
        moved = copy.copy(self)
        moved.device, moved.dtype = target, kind
        moved.fingerprint = fingerprint([self._digest, str(kind)])
        if self._module is None:
            return moved
        if kind.itemsize > self.dtype.itemsize and self.dtype.itemsize < 4:
            raise UsageError(
                f"model {self.spec!r} cannot go from {self.dtype} back to {kind}",
                got="weights that have been rounded",
                fix="load it again, then choose the precision",
            )
        moved._module = copy.deepcopy(self._module).to(target, kind)
        return moved

    def encode(self, audio: Sequence[Wave], layers: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        """Layer outputs of a batch; see :class:`~voxstrata.models.base.SpeechModel`.

        Raises:
            UnknownNameError: the model has no such layer (or it was cut off).
            AudioError: a recording is too short or not mono floating point.
        """
        for name in layers:
            layer(self, name)
        waves = check_audio(audio, self.minimum, self.spec)
        if not layers or not waves:
            return [{} for _ in waves]
        with torch.inference_mode():
            return self._run(waves, layers)

    def frames(self, layer: str, samples: int) -> int:
        """Frames of a layer for a number of samples; subclasses implement it."""
        raise NotImplementedError

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        raise NotImplementedError

    def _front_dtype(self) -> torch.dtype:
        """Features are computed in float32 at least, whatever the model's precision."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32


def cut_layers(
    layers: tuple[LayerInfo, ...], cut: str | None, spec: str, depth: Callable[[str], int]
) -> tuple[LayerInfo, ...]:
    """The layers that are left when a model is cut after ``cut`` (all for ``None``).

    Args:
        layers: all of them.
        cut: name of the last one to keep; one of the default layers, not a tap.
        spec: the model, for the message.
        depth: how deep a layer or tap lies; what is deeper than ``cut`` goes.

    Raises:
        UnknownNameError: there is no such layer.
    """
    if cut is None:
        return layers
    names = [info.name for info in layers if info.default]
    if cut not in names:
        raise unknown_name(f"layer to cut model {spec!r} at", cut, names)
    return tuple(info for info in layers if depth(info.name) <= depth(cut))


def refuse_revision(revision: str | None, base: str) -> None:
    """Local files and registered names have no revisions.

    Raises:
        ModelError: one was given.
    """
    if revision is not None:
        raise ModelError(
            f"{base!r} has no revisions",
            got=f"revision {revision!r}",
            expected="a layer name after '@', if anything",
            fix="drop it; revisions are for hub ids",
        )
