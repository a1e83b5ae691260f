"""What is clustered: frames of a front end or of a layer of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.config import build
from voxstrata.errors import ConfigError
from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd, front_end
from voxstrata.frontend.features import normalise
from voxstrata.models.base import SpeechModel, layer
from voxstrata.training.objectives.masked.settings import TargetsConfig
from voxstrata.types import FrameGrid

_BATCH_S = 60.0
"""Seconds of speech, padding included, that a model is run on at a time."""


class Source(Protocol):
    """Turns recordings into frames."""

    @property
    def grid(self) -> FrameGrid:
        """Which samples a frame stands for."""
        ...

    @property
    def minimum(self) -> int:
        """Fewest samples that give one frame."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal digests give equal frames."""
        ...

    @property
    def summary(self) -> str:
        """What it is, in a few words."""
        ...

    def rows(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Frames [T, D] of each recording."""
        ...


@dataclass(frozen=True)
class FrontSource:
    """Frames of a front end, each with ``context`` neighbours on either side."""

    front: FrontEnd
    summary: str
    context: int = 0

    @property
    def grid(self) -> FrameGrid:
        """The front end's."""
        return self.front.grid

    @property
    def minimum(self) -> int:
        """The front end's."""
        return self.front.minimum

    @property
    def fingerprint(self) -> str:
        """Of the front end and the width of the context."""
        return fingerprint([self.front.fingerprint, self.context])

    def rows(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Features, each recording alone."""
        made = [self.front(torch.from_numpy(wave)[None])[0].numpy() for wave in waves]
        return [with_context(frames, self.context) for frames in made]


def with_context(frames: NDArray[np.float32], context: int) -> NDArray[np.float32]:
    """Each frame joined with its neighbours, [T, D] to [T, (2 context + 1) D].

    Beyond its ends the recording is continued with its first and last frame.
    """
    if not context:
        return frames
    around = np.arange(len(frames))[:, None] + np.arange(-context, context + 1)
    joined: NDArray[np.float32] = frames[np.clip(around, 0, len(frames) - 1)]
    return joined.reshape(len(frames), -1)


class ModelSource:
    """Frames of one layer of a model.

    Args:
        model: the model.
        name: the layer.
        normalise: over each recording: "none", "mean" or "instance".
        context: neighbours on either side that are joined to a frame, after that.

    Raises:
        UnknownNameError: the model has no such layer.
        ConfigError: the layer has no time axis.
    """

    def __init__(
        self, model: SpeechModel, name: str, normalise: str = "none", context: int = 0
    ) -> None:
        info = layer(model, name)
        if info.grid is None:
            raise ConfigError(
                f"the layer {name} of {model.spec} has no frames", expected="a layer over time"
            )
        self._model, self._layer, self.grid = model, name, info.grid
        self._normalise, self._context = normalise, context
        self.fingerprint = fingerprint([model.fingerprint, name, normalise, context])
        self.summary = f"layer {name} of {model.spec}"
        self.minimum = int(getattr(model, "minimum", 0)) or _least(model, name)

    def rows(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Outputs of the layer; recordings of like length run together."""
        found: list[NDArray[np.float32]] = [np.empty((0, 0), dtype=np.float32)] * len(waves)
        for group in _batches([len(wave) for wave in waves]):
            made = self._model.encode([waves[i] for i in group], [self._layer])
            for index, one in zip(group, made, strict=True):
                frames = normalise(one[self._layer].float().cpu()[None], self._normalise)[0]
                found[index] = with_context(frames.numpy(), self._context)
        return found


def open_source(config: TargetsConfig, front: FrontEnd) -> Source:
    """What a configuration clusters.

    Args:
        config: the settings.
        front: front end of the network, with its statistics; without other settings its frames
            before stacking are clustered.

    Raises:
        ConfigError, ModelError, UnknownNameError: a name or setting is wrong.
    """
    if config.model is not None:
        from voxstrata.models.load import load_model

        return ModelSource(
            load_model(config.model), str(config.layer), config.normalise, config.context
        )
    if config.front_end is not None:
        chosen = front_end(config.front_end, **config.front_end_options)
        return FrontSource(chosen, f"features {config.front_end}", config.context)
    values = {**front.config.model_dump(), "stack": 1, **config.front_end_options}
    own = build(type(front.config), values, source="targets.front_end_options")
    return FrontSource(FrontEnd(own, front.name), "log-mel frames", config.context)


def nearest_frames(
    source: FrameGrid, source_frames: int, target: FrameGrid, target_frames: int
) -> NDArray[np.int64]:
    """For each frame of one grid the frame of another whose centre is nearest.

    Of two equally near ones the earlier: frames of 20 ms made of two frames of 10 ms take the
    code of the first, as MelHuBERT's authors do (``[::2]``).

    Args:
        source: grid to choose from.
        source_frames: its length, at least 1; beyond, its first and last frame stand in.
        target: grid to choose for.
        target_frames: its length.
    """
    centres = 2 * (target.start + np.arange(target_frames) * target.stride) + target.receptive
    ahead = centres - source.centre2(0)
    step = 2 * source.stride
    return np.clip((2 * ahead + step - 1) // (2 * step), 0, source_frames - 1)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions in batches of like length and limited size."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        limit = max(1, int(_BATCH_S * 16_000 / max(1, lengths[index])))
        if not batches or len(batches[-1]) >= limit:
            batches.append([])
        batches[-1].append(index)
    return batches


def _least(model: Any, name: str) -> int:
    """Fewest samples with a frame, by bisection."""
    low, high = 0, 16_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if model.frames(name, middle) else (middle, high)
    return high
