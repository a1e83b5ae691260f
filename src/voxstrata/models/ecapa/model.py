"""ECAPA-TDNN as a stack of named layers over audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import HOP
from voxstrata.models.base import layer as find_layer
from voxstrata.models.batching import equal_length_groups
from voxstrata.models.ecapa.network import DEPTH, Ecapa, minimum_frames
from voxstrata.models.ecapa.options import EcapaOptions
from voxstrata.models.placement import PlacedModel, cut_layers
from voxstrata.models.weights import hash_tensors
from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo

SIDE = {"conv": 2, "block1": 16, "block2": 37, "block3": 65, "mfa.linear": 65, "mfa": 65}
"""Frames on each side that the convolutions below an output read: kernel 5; then seven chained
convolutions of kernel 3 and dilation 2, 3, 4. From ``block1`` on, squeeze-excitation adds the
mean of the whole recording, and so does the mean normalisation of the features below ``conv``."""


class EcapaModel(PlacedModel):
    """An ECAPA-TDNN with its front end.

    Recordings are run unpadded, those of equal length together: mean normalisation,
    squeeze-excitation, attention context and mirrored borders all depend on the whole recording.

    Args:
        spec: text the model was named by.
        network: the network, float32.
        front: its front end; ``front.width`` is ``network.options.inputs``.
        details: facts for the run record, besides options and front end.
        cut: name of the last layer to keep.

    Attributes:
        training_mean: mean embedding of the training recordings [D], where it is known.
    """

    training_mean: NDArray[np.float32] | None = None

    def __init__(
        self,
        spec: str,
        network: Ecapa,
        front: FrontEnd,
        details: Mapping[str, Any],
        cut: str | None = None,
    ) -> None:
        self.front = front
        self.options = network.options
        self._least = minimum_frames(network.options)
        layers = cut_layers(_layers(network.options, front.grid), cut, spec, DEPTH.index)
        facts = {
            **details,
            "options": network.options.model_dump(),
            "front_end": {"name": front.name, **front.config.model_dump(mode="json")},
            "parameters": sum(p.numel() for p in network.parameters()),
            "whole_recording": "every layer (mean normalisation, squeeze-excitation)",
        }
        digest = fingerprint(
            [
                hash_tensors(network.state_dict()),
                network.options.model_dump(),
                front.fingerprint,
            ]
        )
        super().__init__(
            spec,
            "ecapa",
            layers,
            digest,
            facts,
            _flops(network, layers),
            _samples_for(front, self._least),
            network,
        )

    def frames(self, layer: str, samples: int) -> int:
        """Frames of ``layer`` for ``samples`` samples: 1 for pool and embedding, 0 if too short.

        Raises:
            UnknownNameError: there is no such layer.
        """
        kind = find_layer(self, layer).kind
        if samples < self.minimum:
            return 0
        return 1 if kind == "utterance" else self.front.frames(samples)

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        network = cast(Ecapa, self._module)
        last = max(layers, key=DEPTH.index)
        results: list[dict[str, torch.Tensor]] = [{} for _ in audio]
        for group in equal_length_groups([len(wave) for wave in audio]):
            waves = torch.stack([audio[i] for i in group]).to(self.device, self._front_dtype())
            features = self.front(waves).to(self.dtype)
            found = network.stack(features, last)
            for row, index in enumerate(group):
                for name in layers:
                    value = found[name][row]
                    results[index][name] = value if value.ndim == 2 else value.unsqueeze(0)
        return results


def _layers(options: EcapaOptions, grid: FrameGrid) -> tuple[LayerInfo, ...]:
    C, M = options.channels, options.mfa
    widths = {"conv": C, "block1": C, "block2": C, "block3": C, "mfa": M, "mfa.linear": M}
    *frames, tap = (
        LayerInfo(
            name,
            width,
            "frame",
            FrameGrid(
                grid.stride,
                grid.receptive + 2 * SIDE[name] * HOP,
                grid.start - SIDE[name] * HOP,
            ),
            default=name != "mfa.linear",
        )
        for name, width in widths.items()
    )
    return (
        *frames,
        LayerInfo("pool", 2 * M, "utterance"),
        LayerInfo("embedding", options.embed, "utterance"),
        tap,
    )


def _samples_for(front: FrontEnd, frames: int) -> int:
    """Fewest samples that give ``frames`` frames."""
    samples = front.minimum
    while front.frames(samples) < frames:
        samples += 1
    return samples


def _flops(network: Ecapa, layers: tuple[LayerInfo, ...]) -> float:
    """Two operations a weight and frame of the convolutions up to the last layer kept."""
    last = max(DEPTH.index(info.name) for info in layers)
    parts: list[tuple[int, torch.nn.Module]] = [(0, network.stem)]
    parts += [(number, block) for number, block in enumerate(network.blocks, start=1)]
    parts += [(DEPTH.index("mfa.linear"), network.mfa), (DEPTH.index("pool"), network.attention)]
    weights = sum(p.numel() for depth, part in parts if depth <= last for p in part.parameters())
    return 2.0 * weights * SAMPLE_RATE / HOP
