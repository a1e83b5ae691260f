"""A front end, and nothing above it, as a model of one layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.models.base import layer as find_layer
from voxstrata.models.batching import equal_length_groups
from voxstrata.models.placement import PlacedModel, cut_layers
from voxstrata.types import LayerInfo


class BaselineModel(PlacedModel):
    """Acoustic features as the only layer.

    Args:
        spec: text the model was named by.
        name: name of the layer.
        front: the front end.
        cut: name of the last layer to keep, which can only be ``name``.
    """

    def __init__(self, spec: str, name: str, front: FrontEnd, cut: str | None = None) -> None:
        self.front = front
        only = (LayerInfo(name, front.width, "frame", front.grid),)
        super().__init__(
            spec,
            "baseline",
            cut_layers(only, cut, spec, lambda _: 0),
            fingerprint(["baseline", front.fingerprint]),
            {
                "front_end": {"name": front.name, **front.config.model_dump(mode="json")},
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
            features = self.front(waves).to(self.dtype)
            for row, index in enumerate(group):
                results[index] = dict.fromkeys(layers, features[row])
        return results
