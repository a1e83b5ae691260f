"""Recordings whose phones, words and speakers are planted, and a model that knows them best in the
middle: what a property must find is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo

PHONES = ("AA", "B", "IY", "M", "S", "UW")
WORDS = {"one": ("AA", "B"), "two": ("IY", "M"), "three": ("S", "UW"), "four": ("B", "IY")}
PHONE_S = 0.12


def write_corpus(folder: Path, recordings: int = 24, speakers: int = 6, words: int = 5) -> Path:
    """Tones: a phone is a frequency, a speaker shifts all of them and adds a hum."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(recordings):
        speaker = number % speakers
        chosen = [str(w) for w in rng.choice(list(WORDS), words)]
        phones, spans, audio, at = [], [], [], 0.1
        audio.append(np.zeros(round(0.1 * SAMPLE_RATE)))
        for word in chosen:
            begun = at
            for phone in WORDS[word]:
                time = np.arange(round(PHONE_S * SAMPLE_RATE)) / SAMPLE_RATE
                hertz = 300 + 450 * PHONES.index(phone)
                audio.append(np.sin(2 * np.pi * hertz * (1 + 0.02 * speaker) * time))
                phones.append([round(at, 4), round(at + PHONE_S, 4), phone])
                at += PHONE_S
            spans.append([round(begun, 4), round(at, 4), word])
        audio.append(np.zeros(round(0.1 * SAMPLE_RATE)))
        wave = np.concatenate(audio)
        hum = np.sin(2 * np.pi * (90 + 20 * speaker) * np.arange(len(wave)) / SAMPLE_RATE)
        wave = 0.2 * wave + 0.05 * hum + 0.02 * rng.standard_normal(len(wave))
        soundfile.write(folder / f"r{number:02d}.wav", wave.astype(np.float32), SAMPLE_RATE)
        lines.append(
            {
                "id": f"r{number:02d}",
                "file": f"r{number:02d}.wav",
                "speaker": f"s{speaker}",
                "gender": "F" if speaker % 2 else "M",
                "text": " ".join(chosen),
                "duration": len(wave) / SAMPLE_RATE,
                "sampling_rate": SAMPLE_RATE,
                "phones": phones,
                "words": spans,
            }
        )
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


@dataclass
class PlantedModel:
    """Layers "0".."3": band energies drowned in noise, by :attr:`noise`; layer 2 is cleanest."""

    spec: str = "planted"
    noise: tuple[float, ...] = (6.0, 2.0, 0.2, 2.5)
    width: int = 12
    family: str = "planted"
    details: dict[str, Any] = field(default_factory=dict)
    flops_per_second: float = 1e6

    def __post_init__(self) -> None:
        grid = FrameGrid(320, 400)
        self.layers = tuple(
            LayerInfo(str(i), self.width, "frame", grid) for i in range(len(self.noise))
        )
        self.fingerprint = f"planted-{self.noise}"
        maker = torch.Generator().manual_seed(1)
        self._maps = [torch.randn(24, self.width, generator=maker) for _ in self.noise]
        self._wild = [torch.randn(400, self.width, generator=maker) * 50 for _ in self.noise]

    def frames(self, layer: str, samples: int) -> int:
        return max(0, (samples - 400) // 320 + 1)

    def encode(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        out = []
        for samples in audio:
            cut = samples.unfold(0, 400, 320)
            power = torch.fft.rfft(cut, 512)[:, :240].abs().square()
            bands = torch.log(power.reshape(len(cut), 24, 10).sum(dim=2) + 1e-4)
            out.append(
                {
                    # A function of the waveform, so the same every time, yet as good as random.
                    name: bands @ self._maps[i] / 5 + self.noise[i] * torch.sin(cut @ self._wild[i])
                    for i, name in enumerate(str(k) for k in range(len(self.noise)))
                    if name in layers
                }
            )
        return out

    def to(self, device: str, dtype: str) -> PlantedModel:
        return self


def load(spec: str, **_: Any) -> PlantedModel:
    """In place of ``load_model``; the untrained twin is noise in every layer."""
    if spec.startswith("random:"):
        return PlantedModel(spec=spec, noise=(8.0,) * 4, details={"random": True})
    return PlantedModel(spec=spec)
