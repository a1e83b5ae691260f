"""An i-vector extractor as a model of two layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.models.base import layer as find_layer
from voxstrata.models.ivector.features import SpeakerFeatures
from voxstrata.models.ivector.network import IvectorNetwork
from voxstrata.models.placement import PlacedModel, cut_layers, torch_device, torch_dtype
from voxstrata.models.weights import hash_tensors
from voxstrata.types import LayerInfo

FRAMES, VECTOR = "mfcc", "ivector"
"""Names of the layers."""


class IvectorModel(PlacedModel):
    """Normalised cepstra of every frame, and one i-vector a recording.

    Each recording is worked on alone, in float64 whatever the model's dtype, which is only that of
    the results. A recording without any speech frame has no i-vector: all NaN, which the pass over
    a corpus reports by recording.

    Args:
        spec: text the model was named by.
        network: the tensors.
        front: its front end; ``front.width`` is ``network.options.width``.
        details: facts for the run record.
        cut: name of the last layer to keep.
    """

    def __init__(
        self,
        spec: str,
        network: IvectorNetwork,
        front: FrontEnd,
        details: Mapping[str, Any],
        cut: str | None = None,
    ) -> None:
        options = network.options
        self.front, self.options = front, options
        self.features = SpeakerFeatures(front, options.window, options.variance, options.vad)
        layers = (
            LayerInfo(FRAMES, options.width, "frame", front.grid),
            LayerInfo(VECTOR, options.rank, "utterance"),
        )
        facts = {
            **details,
            "options": options.model_dump(mode="json"),
            "front_end": {"name": front.name, **front.config.model_dump(mode="json")},
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        settings = [options.model_dump(mode="json"), front.fingerprint]
        super().__init__(
            spec,
            "ivector",
            cut_layers(layers, cut, spec, [FRAMES, VECTOR].index),
            fingerprint([hash_tensors(network.state_dict()), *settings]),
            facts,
            _flops(network),
            front.minimum,
            network,
        )

    def to(self, device: str, dtype: str) -> IvectorModel:
        """This model on ``device`` with results in ``dtype``; weights are never rounded.

        Raises:
            UsageError, UnknownNameError: no such device or dtype.
        """
        target, kind = torch_device(device), torch_dtype(dtype)
        if (target, kind) == (self.device, self.dtype):
            return self
        moved = copy.copy(self)
        moved.device, moved.dtype = target, kind
        moved.fingerprint = fingerprint([self._digest, str(kind)])
        if target != self.device:
            network = cast(IvectorNetwork, self._module)
            fresh = IvectorNetwork(network.options)
            fresh.load_state_dict(network.state_dict())
            moved._module = fresh.eval().to(target)
        return moved

    def frames(self, layer: str, samples: int) -> int:
        """Frames of ``layer`` for ``samples`` samples; 0 where the recording is too short.

        Raises:
            UnknownNameError: there is no such layer.
        """
        info = find_layer(self, layer)
        found = self.front.frames(samples)
        return min(1, found) if info.kind == "utterance" else found

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        network = cast(IvectorNetwork, self._module)
        results = []
        for wave in audio:
            frames = self.features(wave)
            found = {}
            if FRAMES in layers:
                found[FRAMES] = frames
            if VECTOR in layers:
                speech = frames[self.features.speech(wave)].to(self.device)
                if len(speech):
                    found[VECTOR] = network(speech)[None]
                else:
                    found[VECTOR] = torch.full((1, self.options.rank), math.nan)
            results.append({name: found[name].to(self.device, self.dtype) for name in layers})
        return results


def _flops(network: IvectorNetwork) -> float:
    """Of a second of audio: densities and statistics a frame, the posterior once."""
    options = network.options
    C, D, R = options.gaussians, options.width, options.rank
    density = C * 4.0 * D
    if options.covariance == "full":
        density += 2.0 * D * D * (options.select or C)
    posterior = C * R * (R + 1.0) + 2.0 * C * D * R + R**3
    return 100.0 * (5 * 512 * 9 + density + 2.0 * C * D) + posterior / 5.0
