"""When a neuron counts as active in a frame: rules by name, each with the rate chance gives.

``top`` is the published rule (arXiv 2409.05910): in every frame the 1 % of neurons with the largest
absolute activation. It is a rule of ranks inside a frame: a neuron that varies with the speaker but
never gets among the largest is never active, and an always large one takes a place in all frames.
The others look at each neuron by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, UsageError
from voxstrata.neurons.largest import largest
from voxstrata.registry import Registry

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Rule(Protocol):
    """A rule.

    Attributes:
        name: as the user writes it ("top=0.01").
        sampled: whether it must see a sample of each layer's activations before the pass.
    """

    @property
    def name(self) -> str:
        """As the user writes it."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether it learns first."""
        ...

    def hits(self, layer: str, values: torch.Tensor) -> tuple[Ints, Ints]:
        """Active neurons of a recording; several layers may be asked at once, from threads.

        Args:
            layer: name of the layer.
            values: [T, D], any device.

        Returns:
            frames and neurons [M] of the M active pairs, frames in ascending order.

        Raises:
            NumericsError: an activation is not finite.
        """
        ...

    def top(self, width: int) -> int | None:
        """Active neurons of every frame, where that is one number."""
        ...

    def base(self, width: int, active: Ints, frames: int) -> float | Floats:
        """Activating probability expected by chance.

        Args:
            width: D.
            active: [D], frames of the pass in which each neuron was active.
            frames: of the pass.
        """
        ...

    def learn(self, layer: str, sample: NDArray[Any]) -> None:
        """See a sample of activations [N, D] (rules with ``sampled``)."""
        ...

    def learned(self) -> Mapping[str, torch.Tensor]:
        """What was learned, by layer."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what :meth:`learned` gave."""
        ...


RuleMaker = Callable[[float], Rule]

RULES: Registry[RuleMaker] = Registry("activation rule", "voxstrata.activation_rules")
RULES.add(
    "top",
    "voxstrata.neurons.rules:Top",
    "the share of neurons with the largest |a| in each frame (published: top=0.01)",
)
RULES.add(
    "threshold",
    "voxstrata.neurons.rules:Threshold",
    "|a| above a number; chance is the neuron's own rate over all frames",
)
RULES.add(
    "quantile",
    "voxstrata.neurons.rules:Quantile",
    "|a| above the neuron's own quantile over a sample of frames (quantile=0.99)",
)


def make_rule(text: str) -> Rule:
    """A rule from ``NAME=NUMBER``.

    Raises:
        UnknownNameError: no such rule.
        UsageError: the number is missing or out of range.
    """
    name, _, number = text.partition("=")
    maker = RULES.get(name)
    try:
        value = float(number)
    except ValueError:
        raise UsageError(
            f"the activation rule {text!r} has no number", expected="for example top=0.01"
        ) from None
    return maker(value)


def tau(width: int, share: float) -> int:
    """Active neurons of a frame, ``round(share * D)`` with halves to even, as published.

    Raises:
        UsageError: that is no neuron at all, or all of them.
    """
    found = round(share * width)
    if not 0 < found < width:
        raise UsageError(
            f"top={share:g} of {width} neurons leaves no choice",
            got=f"{found} active neurons a frame",
            expected=f"from 1 to {width - 1}",
            fix=f"use a larger share, such as --rule top={2 / width:.2g}",
        )
    return found


@dataclass(frozen=True)
class Top:
    """The published rule.

    Args:
        share: of the neurons.
    """

    share: float
    sampled = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError("top= is a share of neurons", got=self.share, expected="above 0, < 1")

    @property
    def name(self) -> str:
        """ "top=0.01"."""
        return f"top={self.share:g}"

    def hits(self, layer: str, values: torch.Tensor) -> tuple[Ints, Ints]:
        """The largest of each frame; of equal ones which is left open."""
        count = tau(values.shape[1], self.share)
        if values.device.type == "cpu":
            found = largest(on_host(values), count)
        else:
            sizes, places = values.abs().topk(count, dim=1, sorted=False)
            # Anything that is not finite is among the largest, NaN too.
            if not bool(torch.isfinite(sizes).all()):
                raise NumericsError("activations are not finite")
            found = places.cpu().numpy()
        return np.repeat(np.arange(len(found)), count), found.reshape(-1)

    def top(self, width: int) -> int | None:
        """tau."""
        return tau(width, self.share)

    def base(self, width: int, active: Ints, frames: int) -> float | Floats:
        """tau / D."""
        return tau(width, self.share) / width

    def learn(self, layer: str, sample: NDArray[Any]) -> None:
        """Nothing to learn."""

    def learned(self) -> Mapping[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing to take over."""


@dataclass(frozen=True)
class Threshold:
    """A fixed size.

    Args:
        least: |a| above it is active.
    """

    least: float
    sampled = False

    def __post_init__(self) -> None:
        if not self.least >= 0:
            raise UsageError("threshold= is a size", got=self.least, expected="0 or more")

    @property
    def name(self) -> str:
        """ "threshold=0.5"."""
        return f"threshold={self.least:g}"

    def hits(self, layer: str, values: torch.Tensor) -> tuple[Ints, Ints]:
        """Where |a| is larger."""
        return _pairs(values, self.least)

    def top(self, width: int) -> int | None:
        """Differs by frame."""
        return None

    def base(self, width: int, active: Ints, frames: int) -> float | Floats:
        """Each neuron's own rate."""
        return np.asarray(active / max(1, frames))

    def learn(self, layer: str, sample: NDArray[Any]) -> None:
        """Nothing to learn."""

    def learned(self) -> Mapping[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing to take over."""


class Quantile:
    """Each neuron's own quantile.

    Args:
        share: of frames in which it is not active.
    """

    sampled = True

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise UsageError(
                "quantile= is a share of frames", got=share, expected="above 0, below 1"
            )
        self.share = share
        self._least: dict[str, torch.Tensor] = {}

    @property
    def name(self) -> str:
        """ "quantile=0.99"."""
        return f"quantile={self.share:g}"

    def learn(self, layer: str, sample: NDArray[Any]) -> None:
        """Take the quantile of |a| of each neuron of the sample."""
        least = np.quantile(np.abs(sample), self.share, axis=0)
        self._least[layer] = torch.from_numpy(least)

    def hits(self, layer: str, values: torch.Tensor) -> tuple[Ints, Ints]:
        """Where |a| is larger than the neuron's quantile."""
        return _pairs(values, self._least[layer])

    def top(self, width: int) -> int | None:
        """Differs by frame."""
        return None

    def base(self, width: int, active: Ints, frames: int) -> float | Floats:
        """Each neuron's own rate: near 1 - share, but for ties and the size of the sample."""
        return np.asarray(active / max(1, frames))

    def learned(self) -> Mapping[str, torch.Tensor]:
        """Thresholds [D] by layer."""
        return self._least

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what :meth:`learned` gave."""
        self._least = dict(tensors)


def on_host(values: torch.Tensor) -> NDArray[Any]:
    """Activations as an array, without a copy where that can be.

    The arithmetic of rules is numpy's: torch's would start a second team of threads in every
    thread that counts.
    """
    half = values.dtype in (torch.float16, torch.bfloat16)
    return np.asarray((values.float() if half else values).detach().cpu().numpy())


def _pairs(values: torch.Tensor, least: float | torch.Tensor) -> tuple[Ints, Ints]:
    """Where |a| is above ``least``, one number or one a neuron."""
    if values.device.type != "cpu":
        if not bool(torch.isfinite(values).all()):
            raise NumericsError("activations are not finite")
        bound = least.to(values.device) if isinstance(least, torch.Tensor) else least
        frames, neurons = (values.abs() > bound).nonzero(as_tuple=True)
        return frames.cpu().numpy(), neurons.cpu().numpy()
    size = np.abs(on_host(values))
    if not np.isfinite(size.max(initial=0)):
        raise NumericsError("activations are not finite")
    bounds = least.numpy() if isinstance(least, torch.Tensor) else least
    places = np.flatnonzero(size > bounds)
    frames_of = places // size.shape[1]
    return frames_of, places - frames_of * size.shape[1]
