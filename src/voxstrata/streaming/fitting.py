"""How much audio a model is given at once: what fits into the memory of its device.

A batch of a pass is an upper bound. On a GPU a first forward pass over the longest recording says
what a sample of audio takes, and batches are cut to what is free; where that was wrong, the part
that ran out of memory is halved and the pass goes on. On a CPU nothing is measured: the system
has no say in what fits there until it is too late.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from voxstrata.errors import AudioError, VoxstrataError
from voxstrata.models.base import SpeechModel
from voxstrata.types import SAMPLE_RATE

SHARE = 0.8
"""Share of the free memory that a batch is planned to fill: outputs wait there to be written, and
what a sample takes is an estimate."""

LONGER = 1.25
"""How much longer than any measured recording one must be to be measured itself: attention takes
more memory a sample the longer a recording is."""

Outputs = dict[str, torch.Tensor]


def model_key(model: SpeechModel) -> tuple[str, str]:
    """What models of equal numbers share: fingerprint (precision is in it) and device."""
    return model.fingerprint, str(getattr(model, "device", ""))


class Meter(Protocol):
    """What is known of a device's memory."""

    def free(self, device: torch.device) -> float:
        """Bytes that could be had."""
        ...

    def begin(self, device: torch.device) -> None:
        """Begin to watch."""
        ...

    def taken(self, device: torch.device) -> float:
        """Most bytes held at once since, beyond what was held at its begin."""
        ...


class GpuMeter:
    """The caching allocator of torch, which keeps what it was given."""

    def __init__(self) -> None:
        self._before = 0.0

    def free(self, device: torch.device) -> float:
        """Bytes that the driver has, and that torch holds without using them."""
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + cached)

    def begin(self, device: torch.device) -> None:
        """Begin to watch."""
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        self._before = float(torch.cuda.memory_allocated(device))

    def taken(self, device: torch.device) -> float:
        """Most bytes held at once since, beyond what was held at its begin."""
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device)) - self._before


@dataclass
class _Known:
    """Of one model: samples (padding counted) that fit, and the longest recording measured."""

    most: float = float("inf")
    measured: int = 0


@dataclass
class Fitted:
    """Outputs of a batch.

    Attributes:
        outputs: of each recording; ``None`` where not even it alone fits.
        failed: the reason, by position.
        spent: seconds that made no outputs, by what they were spent on: measuring, and parts that
            ran out of memory.
    """

    outputs: list[Outputs | None]
    failed: dict[int, VoxstrataError] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)

    def book(self, what: str, since: float) -> None:
        """Book the time since ``since``."""
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - since


class Room:
    """What is known of the models of a run, from batch to batch.

    Args:
        meter: of memory; ``None`` for that of CUDA devices, and none for others.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter
        self._known: dict[tuple[str, str], _Known] = {}

    def seconds(self, model: SpeechModel) -> float:
        """Seconds of audio, padding counted, that a model is given at most (infinite: all)."""
        return self._of(model).most / SAMPLE_RATE

    def encode(
        self, model: SpeechModel, audio: Sequence[torch.Tensor], names: Sequence[str]
    ) -> Fitted:
        """Layer outputs of a batch, in as many parts as memory asks for.

        Args:
            model: what encodes.
            audio: recordings [S].
            names: of the layers.

        Raises:
            VoxstrataError: what the model raises, except that memory is short.
        """
        known, found = self._of(model), Fitted([None] * len(audio))
        lengths = [len(one) for one in audio]
        self._measure(model, audio, names, known, found)
        waiting = parts(range(len(audio)), lengths, known.most)
        while waiting:
            members = waiting.pop(0)
            begun = time.perf_counter()
            made = _attempt(model, [audio[i] for i in members], names)
            if made is not None:
                for i, outputs in zip(members, made, strict=True):
                    found.outputs[i] = outputs
                continue
            found.book(f"batches of {model.spec} halved: out of memory", begun)
            if len(members) == 1:
                found.failed[members[0]] = _too_long(model, lengths[members[0]])
                continue
            known.most = min(known.most, size(members, lengths) / 2)
            half = (len(members) + 1) // 2
            rest = [members[:half], members[half:], *waiting]
            waiting = [part for one in rest for part in parts(one, lengths, known.most)]
        return found

    def _of(self, model: SpeechModel) -> _Known:
        return self._known.setdefault(model_key(model), _Known())

    def _measure(
        self,
        model: SpeechModel,
        audio: Sequence[torch.Tensor],
        names: Sequence[str],
        known: _Known,
        found: Fitted,
    ) -> None:
        """Ask what the longest recording takes, if it is longer than those asked about before."""
        device = getattr(model, "device", None)
        if not audio or not isinstance(device, torch.device):
            return
        if self._meter is None and device.type != "cuda":
            return
        longest = max(audio, key=len)
        if known.measured and len(longest) <= LONGER * known.measured:
            return
        begun = time.perf_counter()
        meter = self._meter or GpuMeter()
        if not known.measured:
            # The first forward pass on a device also loads kernels and workspaces.
            _attempt(model, [min(audio, key=len)], names)
        meter.begin(device)
        if _attempt(model, [longest], names) is not None:
            each = max(1.0, meter.taken(device)) / len(longest)
            known.most = min(known.most, SHARE * meter.free(device) / each)
        known.measured = len(longest)
        found.book(f"memory of {model.spec} measured", begun)


def size(members: Sequence[int], lengths: Sequence[int]) -> int:
    """Samples of a part, padding counted."""
    return len(members) * max(lengths[i] for i in members)


def parts(members: Sequence[int], lengths: Sequence[int], most: float) -> list[list[int]]:
    """Recordings in parts that follow each other, of at most so many samples (one recording at
    least).

    Args:
        members: positions.
        lengths: samples of every recording.
        most: samples of a part, padding counted.
    """
    found: list[list[int]] = []
    for i in members:
        if found and size([*found[-1], i], lengths) <= most:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of a device was short; its libraries say so in their own ways."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "_ALLOC_FAILED" in str(error)
    )


def _attempt(
    model: SpeechModel, audio: Sequence[torch.Tensor], names: Sequence[str]
) -> list[Outputs] | None:
    try:
        return model.encode(audio, list(names))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    # Outside of the handler: the error's traceback holds the tensors that filled the memory.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _too_long(model: SpeechModel, samples: int) -> AudioError:
    return AudioError(
        f"a recording does not fit into the memory of {getattr(model, 'device', 'the device')}",
        got=f"{samples / SAMPLE_RATE:.1f} s for {model.spec}",
        expected="a recording whose layers fit at once",
        fix="cut it, use --dtype bfloat16, or --device cpu",
    )
