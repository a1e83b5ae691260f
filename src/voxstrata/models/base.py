"""What every model is to the rest of voxstrata: a stack of named layers over audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from voxstrata.errors import UsageError
from voxstrata.registry import unknown_name
from voxstrata.types import LayerInfo

if TYPE_CHECKING:
    import numpy as np
    import torch

Wave: TypeAlias = "torch.Tensor | np.ndarray[Any, Any]"
"""One recording [S]: floating point, 16 kHz, on the CPU."""


@runtime_checkable
class SpeechModel(Protocol):
    """A frozen model, ready to turn audio into layer outputs.

    Attributes:
        spec: the text it was named by (unique within a run).
        family: registry name of its family ("huggingface", "ecapa", "baseline", ...).
        layers: every layer it can give, in order of depth, taps last.
        fingerprint: hex digest of weights and settings; equal digests give equal numbers.
        details: JSON-like facts for the run record (revision, parameters, options, ...).
        flops_per_second: rough floating-point operations of one second of audio, for plans.
    """

    spec: str
    family: str
    layers: tuple[LayerInfo, ...]
    fingerprint: str
    details: Mapping[str, Any]
    flops_per_second: float

    def encode(self, audio: Sequence[Wave], layers: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        """Layer outputs of a batch of recordings, exactly as if each were run alone.

        Args:
            audio: B tensors or numpy arrays [S], float32, 16 kHz, on the CPU.
            layers: names of wanted layers; blocks above the highest need not run.

        Returns:
            for each recording a mapping of layer name to [T, D] (``[1, D]`` for utterance
            layers), on the model's device, in the model's dtype, no padding frames.

        Raises:
            AudioError: a recording is no mono audio, or too short to give one frame.
        """
        ...

    def frames(self, layer: str, samples: int) -> int:
        """Number of frames T of ``layer`` for a recording of ``samples`` samples (1 for
        utterance layers, 0 where the recording is too short)."""
        ...

    def to(self, device: str, dtype: str) -> SpeechModel:
        """The model on ``device`` ("cpu", "cuda:0") in ``dtype`` ("float32", "bfloat16",
        "float16", "float64")."""
        ...


def layer(model: SpeechModel, name: str) -> LayerInfo:
    """The layer called ``name``.

    Raises:
        UnknownNameError: the model has no such layer; near names are offered.
    """
    for info in model.layers:
        if info.name == name:
            return info
    raise unknown_name(f"layer of model {model.spec!r}", name, [i.name for i in model.layers])


def choose_layers(model: SpeechModel, wanted: Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """The layers asked for, in order of depth.

    Args:
        model: where from.
        wanted: names, glob patterns (``"block.*.ffn.inner"``) or ranges of numbered layers
            (``"4-8"``); ``None`` for the model's default set.

    Raises:
        UnknownNameError: a name or pattern matches nothing.
        UsageError: the list is empty.
    """
    import fnmatch
    import re

    # More digits than a layer can have are no range: Python refuses to read thousands of them.
    numbers = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
    if wanted is None:
        return tuple(info for info in model.layers if info.default)
    if not wanted:
        raise UsageError(
            f"no layers chosen for model {model.spec!r}",
            got="an empty list",
            expected="names, ranges such as 4-8, or patterns such as conv*",
        )
    names = [info.name for info in model.layers]
    chosen: set[str] = set()
    for item in wanted:
        span = numbers.fullmatch(item)
        if item in names:
            hits = [item]
        elif span:
            hits = [n for n in names if n.isdecimal() and int(span[1]) <= int(n) <= int(span[2])]
        else:
            hits = fnmatch.filter(names, item)
        if not hits:
            raise unknown_name(f"layer of model {model.spec!r}", item, names)
        chosen.update(hits)
    return tuple(info for info in model.layers if info.name in chosen)
