"""A model whose neurons are noise, but for some that know the speaker's gender: which is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo

LAYERS = ("block.1.ffn.inner", "block.2.ffn.inner")
WIDTH = 120
WOMEN = {LAYERS[0]: (3, 40), LAYERS[1]: (9, 77)}
MEN = {LAYERS[0]: (5, 100), LAYERS[1]: (8, 119)}
"""As many of each in a layer: under a rule of ranks, the places that one group's neurons take are
lacking to all others in that group's frames."""


@dataclass
class PlantedNeurons:
    """Every neuron is a wild function of the waveform, as good as random and the same every time.

    Planted ones are large in half of the frames of one gender, told by the pitch of the buzz in
    recordings of ``neurons_spoken``, and nearly silent in those of the other.
    """

    spec: str = "planted-neurons"
    planted: bool = True
    family: str = "planted"
    details: dict[str, Any] = field(default_factory=dict)
    flops_per_second: float = 1e6

    def __post_init__(self) -> None:
        grid = FrameGrid(320, 400)
        self.layers = tuple(LayerInfo(name, WIDTH, "frame", grid) for name in LAYERS)
        self.fingerprint = f"planted-neurons-{self.planted}"
        maker = torch.Generator().manual_seed(1)
        self._wild = [torch.randn(400, WIDTH, generator=maker) * 50 for _ in LAYERS]

    def frames(self, layer: str, samples: int) -> int:
        return max(0, (samples - 400) // 320 + 1)

    def encode(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        return [self._one(samples, layers) for samples in audio]

    def _one(self, samples: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        cut = samples.unfold(0, 400, 320)
        time = torch.arange(len(samples)) / SAMPLE_RATE

        def strength(hertz: float) -> torch.Tensor:
            wave = torch.exp(-2j * torch.pi * hertz * time) * samples
            return wave.mean().abs()

        # Men buzz at 110 and 116.6 Hz, women at 216.3 and 228.9.
        low = torch.stack([strength(110.0 * (1 + 0.03 * s)) for s in range(0, 20, 2)]).max()
        high = torch.stack([strength(210.0 * (1 + 0.03 * s)) for s in range(1, 20, 2)]).max()
        woman = bool(high > low)
        found = {}
        for name, wild in zip(LAYERS, self._wild, strict=True):
            if name not in layers:
                continue
            noise = torch.sin(cut @ wild)
            values = noise.clone()
            if self.planted:
                for groups, mine in ((WOMEN, woman), (MEN, not woman)):
                    for neuron in groups[name]:
                        on = noise[:, neuron] > 0
                        values[:, neuron] = torch.where(on & mine, 2.0 + noise[:, neuron], 0.01)
            found[name] = values
        return found

    def to(self, device: str, dtype: str) -> PlantedNeurons:
        return self


def load(spec: str, **_: Any) -> PlantedNeurons:
    """In place of ``load_model``."""
    return PlantedNeurons(spec=spec, planted=spec == "planted-neurons")
