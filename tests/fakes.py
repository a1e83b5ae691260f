"""Small stand-ins: a model that is arithmetic, a corpus that is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo, Segment, Utterance


@dataclass
class FakeModel:
    """Frames of the waveform through fixed random maps; layer 1 mixes what layer 0 gives."""

    spec: str = "fake"
    stride: int = 320
    receptive: int = 400
    widths: tuple[int, ...] = (12, 8)
    seed: int = 0
    pooled: bool = False
    poison: tuple[int, float] | None = None  # (recording length in samples, value to plant)
    calls: list[int] = field(default_factory=list)
    family: str = "fake"
    details: dict[str, Any] = field(default_factory=dict)
    flops_per_second: float = 1e6

    def __post_init__(self) -> None:
        maker = torch.Generator().manual_seed(self.seed)
        self._first = torch.randn(self.receptive, self.widths[0], generator=maker) / 20
        self._second = torch.randn(self.widths[0], self.widths[1], generator=maker) / 3
        grid = FrameGrid(self.stride, self.receptive)
        self.layers = tuple(
            LayerInfo(str(i), width, "frame", grid) for i, width in enumerate(self.widths)
        )
        if self.pooled:
            self.layers += (LayerInfo("embedding", self.widths[1], "utterance", None),)
        self.fingerprint = f"fake-{self.seed}-{self.stride}-{self.widths}"

    def frames(self, layer: str, samples: int) -> int:
        if layer == "embedding":
            return 1
        return max(0, (samples - self.receptive) // self.stride + 1)

    def encode(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        out = []
        for samples in audio:
            self.calls.append(len(samples))
            x = samples.unfold(0, self.receptive, self.stride) @ self._first
            y = torch.tanh(x @ self._second)
            if self.poison and len(samples) == self.poison[0]:
                y = y.clone()
                y[0, 0] = self.poison[1]
            found = {"0": x, "1": y, "embedding": y.mean(0, keepdim=True)}
            out.append({name: found[name] for name in layers})
        return out

    def to(self, device: str, dtype: str) -> FakeModel:
        return self


def noise(samples: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def make_corpus(count: int = 12, seed: int = 0, *, speakers: int = 4) -> list[Utterance]:
    """Recordings of 0.3 to 1.3 s with two phones each."""
    rng = np.random.default_rng(seed)
    corpus = []
    for number in range(count):
        samples = int(rng.integers(4800, 20800))
        duration = samples / SAMPLE_RATE
        phones = (Segment(0.02, 0.15, "AA"), Segment(0.15, duration - 0.02, "B"))
        corpus.append(
            Utterance(
                f"u{number:03d}",
                duration,
                {"speaker": f"s{number % speakers}", "phones": phones},
                lambda samples=samples, number=number: noise(samples, seed * 1000 + number),
            )
        )
    return corpus
