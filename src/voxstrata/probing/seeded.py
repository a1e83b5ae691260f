"""Random numbers of probes: one stream a purpose, and nothing of torch's global state is moved.

A stream is three integers (seed, step, draws since), so a copied or resumed probe goes on exactly
where it was, and how often something else drew numbers, an evaluation say, makes no difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch
from torch import nn

from voxstrata.errors import UsageError

_DRAWING = RLock()


def _mixed(*parts: int | str) -> int:
    numbers = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in parts]
    if min(numbers) < 0:
        raise UsageError("a seed is negative", got=numbers, expected="integers from 0")
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def initial_weights(seed: int, purpose: str) -> Iterator[None]:
    """Modules built inside get torch's usual initial weights, from ``seed`` and ``purpose`` alone.

    They come from torch's one global generator, so one thread at a time builds.

    Raises:
        UsageError: the seed is negative.
    """
    with _DRAWING, torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed accelerators, which fork_rng does not put back here.
        torch.default_generator.manual_seed(_mixed(seed, purpose))
        yield


class Stream:
    """Generators for one purpose.

    Args:
        seed: of the probe.
        purpose: what the numbers are for ("dropout").

    Attributes:
        step: step of training that the numbers belong to.
        count: generators handed out in this step.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        _mixed(seed, purpose)
        self.seed, self.purpose, self.step, self.count = seed, purpose, 0, 0

    def at(self, step: int) -> None:
        """Begin a step: what it draws depends on its number, not on the steps before."""
        self.step, self.count = step, 0

    def draw(self, device: torch.device | str = "cpu") -> torch.Generator:
        """The next generator, on a device."""
        seed = _mixed(self.seed, self.purpose, self.step, self.count)
        self.count += 1
        return torch.Generator(device).manual_seed(seed)


class Dropout(nn.Module):
    """Inverted dropout with its own random numbers.

    Args:
        rate: share of numbers set to 0 in training; the others are divided by ``1 - rate``.
        stream: where the random numbers come from.
    """

    def __init__(self, rate: float, stream: Stream) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise UsageError("a dropout rate is out of range", got=rate, expected="0 <= rate < 1")
        self.rate, self.stream = rate, stream

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape; the input itself when evaluating."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.stream.draw(x.device))
        return x * keep.div_(1 - self.rate)
