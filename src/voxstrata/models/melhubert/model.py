"""MelHuBERT as a stack of named layers over audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch.nn.utils.rnn import pad_sequence

from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd
from voxstrata.models.base import layer as find_layer
from voxstrata.models.batching import equal_length_groups
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.models.placement import PlacedModel, cut_layers
from voxstrata.models.weights import hash_tensors
from voxstrata.types import FrameGrid, LayerInfo

_TAPS = ("attn.out", "ffn.inner", "ffn.out")
_TYPICAL_S = 10.0  # attention's cost a second grows with length; plans assume this one


class MelHubertModel(PlacedModel):
    """A MelHuBERT with its front end.

    Features are computed for each recording alone; the Transformer then runs padded with a mask,
    under which valid frames cannot see padding.

    Args:
        spec: text the model was named by.
        network: the network, float32.
        front: its front end; ``front.width`` is ``network.options.inputs``.
        details: facts for the run record, besides options and front end.
        cut: name of the last layer to keep.
        final_norm: give layer N of a pre-norm network after its last LayerNorm, as its authors'
            ``last_hidden`` has it. A post-norm network has no such LayerNorm: no change.
    """

    def __init__(
        self,
        spec: str,
        network: MelHubert,
        front: FrontEnd,
        details: Mapping[str, Any],
        cut: str | None = None,
        final_norm: bool = False,
    ) -> None:
        self.front = front
        self.options = network.options
        self.final_norm = final_norm and network.options.norm_first
        layers = cut_layers(_layers(network.options, front.grid), cut, spec, depth_of)
        facts = {
            **details,
            "options": network.options.identity(),
            "final_norm": self.final_norm,
            "front_end": {"name": front.name, **front.config.model_dump(mode="json")},
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        digest = fingerprint(
            [
                hash_tensors(network.state_dict()),
                network.options.identity(),
                front.fingerprint,
                self.final_norm,
            ]
        )
        super().__init__(
            spec,
            "melhubert",
            layers,
            digest,
            facts,
            _flops(network, max(depth_of(info.name) for info in layers), front.grid.rate_hz),
            front.minimum,
            network,
        )

    def frames(self, layer: str, samples: int) -> int:
        """Frames of ``layer`` for ``samples`` samples; 0 where the recording is too short.

        Raises:
            UnknownNameError: there is no such layer.
        """
        find_layer(self, layer)
        return self.front.frames(samples)

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        network = cast(MelHubert, self._module)
        features: list[torch.Tensor] = [torch.empty(0)] * len(audio)
        for group in equal_length_groups([len(wave) for wave in audio]):
            waves = torch.stack([audio[i] for i in group]).to(self.device, self._front_dtype())
            for index, value in zip(group, self.front(waves).to(self.dtype), strict=True):
                features[index] = value
        counts = [len(value) for value in features]
        lengths = None
        if len(set(counts)) > 1:
            lengths = torch.tensor(counts, device=self.device)
        found = network.stack(
            pad_sequence(features, batch_first=True),
            lengths,
            last=max(depth_of(name) for name in layers),
            taps=frozenset(name for name in layers if name.startswith("block.")),
        )
        top = str(self.options.layers)
        if self.final_norm and top in layers:
            found[top] = network.encoder.layer_norm(found[top])
        return [
            {name: found[name][row, :count] for name in layers} for row, count in enumerate(counts)
        ]


def depth_of(name: str) -> int:
    """The last block that a layer or tap needs: -1 for ``proj``, 0 for ``"0"``."""
    if name == "proj":
        return -1
    return int(name.split(".")[1] if name.startswith("block.") else name)


def _layers(options: MelHubertOptions, grid: FrameGrid) -> tuple[LayerInfo, ...]:
    D, N = options.width, options.layers
    stack = [LayerInfo("proj", D, "frame", grid, default=False)]
    stack += [LayerInfo(str(number), D, "frame", grid) for number in range(N + 1)]
    for number in range(1, N + 1):
        for tap in _TAPS:
            width = options.ffn_of(number - 1) if tap == "ffn.inner" else D
            stack.append(LayerInfo(f"block.{number}.{tap}", width, "frame", grid, default=False))
    return tuple(stack)


def _flops(network: MelHubert, last: int, rate_hz: float) -> float:
    """Two operations a weight and frame, and attention for recordings of ten seconds."""
    options = network.options
    weights = options.inputs * options.width
    if last >= 0:
        weights += sum(p.numel() for p in network.encoder.pos_conv.parameters())
    blocks = list(network.encoder.layers)[: max(last, 0)]
    weights += sum(p.numel() for block in blocks for p in block.parameters())
    attention = sum(options.heads_of(i) * options.width_of_head for i in range(len(blocks)))
    return 2.0 * rate_hz * (weights + 2 * attention * rate_hz * _TYPICAL_S)
