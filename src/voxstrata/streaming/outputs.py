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
from voxstrata.streaming.fitting import Fitted, Room, model_key
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance


@dataclass
class Clock:
    """Seconds spent, by what they were spent on."""

    spent: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, since: float) -> float:
        """Book the time since ``since``; returns now."""
        now = time.perf_counter()
        self.book(what, now - since)
        return now

    def book(self, what: str, seconds: float) -> None:
        """Book some time."""
        self.spent[what] = self.spent.get(what, 0.0) + seconds


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


Encoded = tuple[list[tuple[Utterance, list[torch.Tensor]]], list[tuple[Utterance, VoxstrataError]]]
"""Each good recording with its layer outputs in stack order ([T, D] each), and the recordings that
failed with the reason (too short for a model, too long for its device, NaN activations)."""


@dataclass(frozen=True)
class Asking:
    """What one pass wants to know of a batch.

    Attributes:
        models: its models.
        stack: its layers of all these models.
        clock: where its share of the time is booked.
        room: what fits into memory.
    """

    models: Sequence[SpeechModel]
    stack: Sequence[StackLayer]
    clock: Clock
    room: Room = field(default_factory=Room)


@dataclass
class Forwards:
    """How often models were run, in recordings.

    Attributes:
        asked: what several passes would run alone.
        run: what was run.
    """

    asked: int = 0
    run: int = 0


def encode_batch(
    models: Sequence[SpeechModel],
    stack: Sequence[StackLayer],
    loaded: Loaded,
    clock: Clock,
    room: Room | None = None,
) -> Encoded:
    """Run every model over a batch.

    Args:
        models: the models of the run.
        stack: chosen layers of all models.
        loaded: the batch.
        clock: where time is booked.
        room: what fits into memory, from batch to batch.
    """
    return encode_shared([Asking(models, stack, clock, room or Room())], loaded)[0]


def encode_shared(
    askings: Sequence[Asking], loaded: Loaded, forwards: Forwards | None = None
) -> list[Encoded]:
    """Run every model over a batch once, for all who ask, and give each what it asks.

    Each gets the bits that it would get alone: those for whom other recordings of the batch are
    too short are served by a run of their own, since what else is in a batch may change the last
    bit.

    Args:
        askings: who asks for what.
        loaded: the batch.
        forwards: counts models run.
    """
    fitting = [_long_enough(asking, loaded) for asking in askings]
    outputs: dict[int, _Made] = {}
    for keep in dict.fromkeys(keep for keep, _ in fitting):
        alike = [i for i, (kept, _) in enumerate(fitting) if kept == keep]
        audio = [loaded.audio[position] for position in keep]
        together = _run([askings[i] for i in alike], audio, forwards or Forwards())
        outputs |= dict(zip(alike, together, strict=True))
    return [
        _checked(
            asking, [loaded.utterances[position] for position in keep], outputs[number], failed
        )
        for number, (asking, (keep, failed)) in enumerate(zip(askings, fitting, strict=True))
    ]


def _long_enough(
    asking: Asking, loaded: Loaded
) -> tuple[tuple[int, ...], list[tuple[Utterance, VoxstrataError]]]:
    """Places of the recordings that give a frame of every layer; the others, with the reason."""
    failed: list[tuple[Utterance, VoxstrataError]] = []
    keep = []
    for position, samples in enumerate(loaded.audio):
        short = [
            model.spec
            for number, model in enumerate(asking.models)
            if any(
                model.frames(layer.info.name, len(samples)) < 1
                for layer in asking.stack
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
    return tuple(keep), failed


_Made = list[list[torch.Tensor] | VoxstrataError]
"""Outputs in stack order of every recording, or why there are none."""


def _run(
    askings: Sequence[Asking], audio: Sequence[torch.Tensor], forwards: Forwards
) -> list[_Made]:
    """What models make of every recording, for each who asks."""
    found: list[_Made] = [[[] for _ in audio] for _ in askings]
    if not audio:
        return found
    asked: dict[tuple[str, str], list[tuple[int, int, list[str]]]] = {}
    for who, asking in enumerate(askings):
        for number, model in enumerate(asking.models):
            names = [layer.info.name for layer in asking.stack if layer.model == number]
            asked.setdefault(model_key(model), []).append((who, number, names))
    encoded: dict[tuple[int, int], Fitted] = {}
    for users in asked.values():
        begun = time.perf_counter()
        who, number, _ = users[0]
        every = dict.fromkeys(name for _, _, names in users for name in names)
        fitted = askings[who].room.encode(askings[who].models[number], audio, list(every))
        encoded |= {(who, number): fitted for who, number, _ in users}
        spent = time.perf_counter() - begun - sum(fitted.spent.values())
        for who, number, _ in users:
            clock, spec = askings[who].clock, askings[who].models[number].spec
            for what, seconds in {f"model {spec}": spent, **fitted.spent}.items():
                clock.book(what, seconds / len(users))
        forwards.asked += len(users) * len(audio)
        forwards.run += len(audio)
    for who, asking in enumerate(askings):
        for number in range(len(asking.models)):
            names = [layer.info.name for layer in asking.stack if layer.model == number]
            fitted = encoded[who, number]
            for position, outputs in enumerate(fitted.outputs):
                held = found[who][position]
                if outputs is None:
                    found[who][position] = fitted.failed[position]
                elif isinstance(held, list):
                    held += [outputs[name] for name in names]
    return found


def _checked(
    asking: Asking,
    utterances: Sequence[Utterance],
    made: _Made,
    failed: list[tuple[Utterance, VoxstrataError]],
) -> Encoded:
    begun = time.perf_counter()
    good = []
    for utterance, tensors in zip(utterances, made, strict=True):
        if isinstance(tensors, VoxstrataError):
            failed.append((utterance, tensors))
            continue
        bad = _first_not_finite(tensors)
        if bad is None:
            good.append((utterance, tensors))
        else:
            failed.append(
                (
                    utterance,
                    NumericsError(
                        f"layer {asking.stack[bad].key} is not finite on {utterance.id}",
                        got="NaN or infinity in its activations",
                        fix="check the weights and the recording; half precision may overflow "
                        "(use --dtype float32)",
                    ),
                )
            )
    asking.clock.add("checks", begun)
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
