"""A front end, and nothing above it, as a model of one layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.models.base import layer as find_layer
from voxstrata.models.batching import equal_length_groups
from voxstrata.models.placement import PlacedModel, cut_layers
from voxstrata.types import FrameGrid, LayerInfo


class BaselineModel(PlacedModel):
    """Acoustic features as the only layer.

    Args:
        spec: text the model was named by.
        name: name of the layer.
        front: the front end.
        cut: name of the last layer to keep, which can only be ``name``.
        context: neighbouring frames joined on each side.
    """

    def __init__(
        self, spec: str, name: str, front: FrontEnd, cut: str | None = None, context: int = 0
    ) -> None:
        self.front, self.context = front, context
        grid, side = front.grid, context * front.grid.stride
        seen = FrameGrid(grid.stride, grid.receptive + 2 * side, grid.start - side)
        only = (LayerInfo(name, front.width * (2 * context + 1), "frame", seen),)
        super().__init__(
            spec,
            "baseline",
            cut_layers(only, cut, spec, lambda _: 0),
            fingerprint(["baseline", front.fingerprint, *([context] if context else [])]),
            {
                "front_end": {"name": front.name, **front.config.model_dump(mode="json")},
                "context": context,
                "parameters": 0,
            },
            # A 512-point transform (5 n log2 n) and the filters, a hundred times a second.
            100.0 * (5 * 512 * 9 + 2 * 257 * front.config.mels),
            front.minimum,
            None,
        )

    def frames(self, layer: str, samples: int) -> int:
        """Frames for ``samples`` samples; 0 where the recording is too short.

        Raises:
            UnknownNameError: there is no such layer.
        """
        find_layer(self, layer)
        return self.front.frames(samples)

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        results: list[dict[str, torch.Tensor]] = [{} for _ in audio]
        for group in equal_length_groups([len(wave) for wave in audio]):
            waves = torch.stack([audio[i] for i in group]).to(self.device, self._front_dtype())
            features = join_neighbours(self.front(waves), self.context).to(self.dtype)
            for row, index in enumerate(group):
                results[index] = dict.fromkeys(layers, features[row])
        return results


def join_neighbours(frames: torch.Tensor, context: int) -> torch.Tensor:
    """[B, T, D] to [B, T, (2 context + 1) D]: frames t - context to t + context, ends repeated.

    Example:
        >>> join_neighbours(torch.arange(3.0).reshape(1, 3, 1), 1)[0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 2.0]]
    """
    if not context:
        return frames
    time = torch.arange(frames.shape[1], device=frames.device)
    shifts = range(-context, context + 1)
    last = frames.shape[1] - 1
    return torch.cat([frames[:, (time + s).clamp(0, last)] for s in shifts], dim=2)
