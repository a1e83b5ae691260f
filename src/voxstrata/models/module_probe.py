"""Measuring an unknown module: which axis is time, how often frames come, what each one sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.errors import ModelError
from voxstrata.models.torch_module import Output, _run
from voxstrata.types import FrameGrid

Counter = Callable[[int], int]


def measure(
    module: nn.Module,
    layers: Mapping[str, str],
    prepare: Callable[[Tensor], Any],
    grids: Mapping[str, FrameGrid],
    axes: Mapping[str, int],
    samples: int,
) -> list[Output]:
    """Describe the outputs of ``layers`` (layer name to module name), using what is stated.

    Raises:
        ModelError: a stated grid contradicts what the module does, or something can neither be
            measured nor was stated.
    """
    probe = _Probe(module, prepare)
    short = probe.outputs(list(layers.values()), samples)
    long = probe.outputs(list(layers.values()), 2 * samples)
    found = []
    for name, target in layers.items():
        axis = axes.get(name)
        if axis is None:
            axis = _time_axis(name, short[target], long[target])
        if axis == 0:
            width = int(short[target].numel())
            found.append(Output(name, target, "utterance", 0, width, None, 1))
            continue
        value = short[target]
        if value.ndim != 3 or axis not in (1, 2):
            raise ModelError(
                f"layer {name!r} is not a sequence of one recording",
                got=f"shape {tuple(value.shape)}, time axis {axis}",
                expected="[1, T, D] with time_axis=1, or [1, D, T] with time_axis=2",
            )
        stride, first = _count_rule(probe, name, target, axis, samples)
        grid = grids.get(name) or _see(probe, name, target, axis, samples, stride)
        if grid.stride != stride:
            raise ModelError(
                f"the stated grid of layer {name!r} is not what the module does",
                got=f"stride {grid.stride}",
                expected=f"a frame every {stride} samples",
            )
        found.append(Output(name, target, "frame", axis, int(value.shape[3 - axis]), grid, first))
    return found


class _Probe:
    """Runs the module on seeded noise of any length, and remembers the shapes."""

    def __init__(self, module: nn.Module, prepare: Callable[[Tensor], Any]) -> None:
        self.module, self.prepare = module, prepare
        first = next(module.parameters(), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self.dtype = first.dtype if first is not None else torch.float32

    def noise(self, samples: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        wave = torch.randn(samples, generator=generator) * 0.1
        return wave.to(self.device, self.dtype)

    def outputs(self, targets: list[str], samples: int) -> dict[str, Tensor]:
        return _run(self.module, targets, self.prepare(self.noise(samples)))

    def count(self, target: str, axis: int, samples: int) -> int:
        """Frames for ``samples`` samples; 0 where the module cannot run on so little."""
        try:
            return int(self.outputs([target], samples)[target].shape[axis])
        except ModelError:
            return 0


def _time_axis(name: str, short: Tensor, long: Tensor) -> int:
    if short.ndim != long.ndim or short.ndim not in (2, 3) or short.shape[0] != 1:
        raise ModelError(
            f"the output of layer {name!r} is of no known form",
            got=f"shapes {tuple(short.shape)} and {tuple(long.shape)} for two lengths",
            expected="[1, T, D], [1, D, T] or [1, D]",
            fix="hook another module, or wrap this one",
        )
    grown = [axis for axis in range(1, short.ndim) if short.shape[axis] != long.shape[axis]]
    if not grown:
        return 0
    if len(grown) > 1 or short.ndim != 3:
        raise ModelError(
            f"cannot tell which axis of layer {name!r} is time",
            got=f"shapes {tuple(short.shape)} and {tuple(long.shape)} for two lengths",
            fix="state it with time_axis=",
        )
    return grown[0]


def _count_rule(probe: _Probe, name: str, target: str, axis: int, samples: int) -> tuple[int, int]:
    """Stride and fewest samples: ``T = floor((S - first) / stride) + 1``.

    The lengths at which two neighbouring frames appear are found by bisection; the rule that
    follows from them is then held against other lengths.
    """

    def appears(frames: int, low: int, high: int) -> int:
        """Fewest samples that give ``frames`` frames; low gives fewer, high gives enough."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if counted(middle) >= frames else (middle, high)
        return high

    counts: dict[int, int] = {}

    def counted(length: int) -> int:
        if length not in counts:
            counts[length] = probe.count(target, axis, length)
        return counts[length]

    base = counted(samples)
    here = appears(base, 0, samples)
    ceiling = 2 * samples
    after = appears(base + 1, samples, ceiling) if counted(ceiling) > base else 0
    stride = after - here
    first = here - (base - 1) * stride
    while first < 1:  # frames that padding gives even to nothing
        first += stride
    checks = [samples + 7 * stride // 3, samples + 1 + 11 * stride // 2, (3 * samples) // 2]
    for length in checks if after else []:
        if counted(length) != (length - here) // stride + base:
            break
    else:
        if after and first == here - (base - 1) * stride:
            return stride, first
    raise ModelError(
        f"the frames of layer {name!r} do not come at even steps",
        got=f"{base} frames for {samples} samples, {counted(ceiling)} for {ceiling}",
        expected="floor((samples - first) / stride) + 1 frames",
        fix="let prepare=... pad or cut the audio so that they do, or hook a lower module",
    )


def _see(probe: _Probe, name: str, target: str, axis: int, samples: int, stride: int) -> FrameGrid:
    """Receptive field and start from gradients of two frames in the middle."""
    wave = probe.noise(samples).requires_grad_(True)
    spans = []
    try:
        value = _run(probe.module, [target], probe.prepare(wave), gradients=True)[target]
        sequence = value[0] if axis == 1 else value[0].T
        middle = sequence.shape[0] // 2
        for index in (middle, middle + 1):
            (slope,) = torch.autograd.grad(sequence[index].sum(), wave, retain_graph=True)
            touched = slope.nonzero()
            if not len(touched):
                raise ModelError("the frame does not depend on the audio")
            spans.append((int(touched[0]), int(touched[-1]) + 1))
    except (RuntimeError, IndexError, ModelError) as error:
        raise _must_state(name, f"{type(error).__name__}: {error}") from error
    (low, high), (next_low, next_high) = spans
    inside = low > 0 and next_high < samples
    if not inside or next_low - low != stride or next_high - high != stride:
        raise _must_state(name, f"frame {middle} sees samples {low} to {high} of {samples}")
    return FrameGrid(stride, high - low, low - middle * stride)


def _must_state(name: str, got: str) -> ModelError:
    return ModelError(
        f"cannot measure which samples a frame of layer {name!r} sees",
        got=got,
        expected="a fixed span for every frame, as convolutions without normalisation over time "
        "give",
        fix="state it: grid=FrameGrid(stride, receptive, start); a longer probe_s may also help",
    )
