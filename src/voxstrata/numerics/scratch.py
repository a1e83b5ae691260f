"""Memory that is used again, step after step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


class Scratch:
    """Arrays by name, made once and grown when more is asked for.

    An array of megabytes made afresh at every step is memory that the system hands out page by
    page, which takes as long as filling it several times.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.dtype, torch.device], torch.Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """An array of some shape, contiguous, with anything in it.

        Args:
            name: the next array of this name is the same memory.
            shape: of the array.
            like: gives type and device.
        """
        size, key = math.prod(shape), (name, like.dtype, like.device)
        held = self._held.get(key)
        if held is None or len(held) < size:
            held = self._held[key] = torch.empty(size, dtype=like.dtype, device=like.device)
        return held[:size].view(*shape)
