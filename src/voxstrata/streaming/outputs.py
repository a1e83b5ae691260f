"""From a batch of audio to checked layer outputs of all models of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from voxstrata.errors import AudioError, NumericsError, VoxstrataError
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance


@dataclass
class Clock:
    """Seconds spent, by what they were spent on."""

    spent: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, since: float) -> float:
        """Book the time since ``since``; returns now."""
        now = time.perf_counter()
        self.spent[what] = self.spent.get(what, 0.0) + now - since
        return now


@dataclass(frozen=True)
class Loaded:
    """A batch in memory: recordings that could be read, and those that could not."""

    utterances: list[Utterance]
    audio: list[torch.Tensor]
    failed: list[tuple[Utterance, VoxstrataError]]


def _load(utterances: Sequence[Utterance]) -> Loaded:
    good, audio, failed = [], [], []
    for utterance in utterances:
        try:
            # NumPy, not torch: a torch product or sum here would start a second team of OpenMP
            # threads, which spin between jobs and slow the forward passes by a tenth.
            read = utterance.read()
            if not np.isfinite(read.sum(dtype=np.float64)):
                raise AudioError(f"the audio of {utterance.id} is not finite")
        except VoxstrataError as error:
            failed.append((utterance, error))
        else:
            good.append(utterance)
            audio.append(torch.from_numpy(read))
    return Loaded(good, audio, failed)


def prefetch(batches: Sequence[Sequence[Utterance]], depth: int = 2) -> Iterator[Loaded]:
    """Read the next batches in the background while the current one is worked on.

    Args:
        batches: recordings, batch by batch.
        depth: batches read ahead.
    """
    with ThreadPoolExecutor(depth) as pool:
        waiting: list[Future[Loaded]] = []
        ahead = iter(batches)
        for batch in ahead:
            waiting.append(pool.submit(_load, batch))
            if len(waiting) > depth:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def encode_batch(
    models: Sequence[SpeechModel],
    stack: Sequence[StackLayer],
    loaded: Loaded,
    clock: Clock,
) -> tuple[list[tuple[Utterance, list[torch.Tensor]]], list[tuple[Utterance, VoxstrataError]]]:
    """Run every model over a batch.

    Args:
        models: the models of the run.
        stack: chosen layers of all models.
        loaded: the batch.
        clock: where time is booked.

    Returns:
        for each good recording its layer outputs in stack order ([T, D] each); and the
        recordings that failed with the reason (too short for a model, NaN activations).
    """
    failed: list[tuple[Utterance, VoxstrataError]] = []
    keep = []
    for position, samples in enumerate(loaded.audio):
        short = [
            model.spec
            for number, model in enumerate(models)
            if any(
                model.frames(layer.info.name, len(samples)) < 1
                for layer in stack
                if layer.model == number
            )
        ]
        if short:
            failed.append(
                (
                    loaded.utterances[position],
                    AudioError(
                        f"{loaded.utterances[position].id} is too short for {', '.join(short)}",
                        got=f"{len(samples)} samples",
                        expected="enough for one frame of every layer",
                    ),
                )
            )
        else:
            keep.append(position)
    outputs: list[list[torch.Tensor]] = [[] for _ in keep]
    audio = [loaded.audio[position] for position in keep]
    for number, model in enumerate(models):
        if not audio:
            break
        begun = time.perf_counter()
        names = [layer.info.name for layer in stack if layer.model == number]
        for found, held in zip(model.encode(audio, names), outputs, strict=True):
            held += [found[name] for name in names]
        clock.add(f"model {model.spec}", begun)
    begun = time.perf_counter()
    good = []
    for position, tensors in zip(keep, outputs, strict=True):
        utterance = loaded.utterances[position]
        bad = _first_not_finite(tensors)
        if bad is None:
            good.append((utterance, tensors))
        else:
            failed.append(
                (
                    utterance,
                    NumericsError(
                        f"layer {stack[bad].key} is not finite on {utterance.id}",
                        got="NaN or infinity in its activations",
                        fix="check the weights and the recording; half precision may overflow "
                        "(use --dtype float32)",
                    ),
                )
            )
    clock.add("checks", begun)
    return good, failed


def _first_not_finite(tensors: Sequence[torch.Tensor]) -> int | None:
    # A sum is NaN or infinite if any term is; float32 sums of float16 cannot overflow.
    sums = [
        tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)
        for tensor in tensors
    ]
    finite = torch.isfinite(torch.stack([value.double() for value in sums]))
    if bool(finite.all()):
        return None
    return int((~finite).nonzero()[0])
