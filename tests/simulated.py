"""An upstream whose hidden states are known: recordings carry their number in their samples, and
every layer is what a test plants for that number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo

CLASSES = ("calm", "glad", "loud", "sad")
PHONES = ("AA", "IY", "S", "UW")
WIDTH = 8
PARTS = {"train": 40, "dev": 24, "test": 20}
CODE = 100
"""Samples of recording n are all n times this, in 16 bits."""


@dataclass(frozen=True)
class Recording:
    """What is planted in one recording.

    Attributes:
        number: which, from 1.
        part: "train", "dev" or "test".
        mood: its class, 0 to 3.
        phones: what is said in it, numbers of :data:`PHONES`, each for as long as the others.
        samples: its length.
    """

    number: int
    part: str
    mood: int
    phones: tuple[int, ...]
    samples: int

    @property
    def id(self) -> str:
        return f"{self.part}{self.number:03d}"

    @property
    def speaker(self) -> int:
        return self.number % 8

    @property
    def turns(self) -> list[tuple[float, float, int]]:
        """Two speakers, the second of whom begins before the first ends."""
        seconds, first = self.samples / SAMPLE_RATE, 0.4 + 0.05 * (self.number % 5)
        return [
            (0.0, round(first * seconds, 4), 0),
            (round((first - 0.15) * seconds, 4), round(seconds, 4), 1),
        ]


def recordings() -> list[Recording]:
    """Recordings of lengths that differ, moods in turn."""
    rng = np.random.default_rng(11)
    found: list[Recording] = []
    for part, count in PARTS.items():
        for i in range(count):
            phones = [int(rng.integers(4))]
            while len(phones) < 4:  # no phone twice in a row: CTC would need a pause
                phones.append((phones[-1] + int(rng.integers(1, 4))) % 4)
            samples = int(rng.integers(6400, 12800))
            found.append(Recording(len(found) + 1, part, i % 4, tuple(phones), samples))
    return found


def write(folder: Path) -> Path:
    """The corpus, with its own parts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for one in recordings():
        samples = np.full(one.samples, one.number * CODE, dtype=np.int16)
        soundfile.write(folder / f"{one.id}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
        edges = np.linspace(0, one.samples / SAMPLE_RATE, len(one.phones) + 1).round(4)
        spans = zip(edges[:-1], edges[1:], one.phones, strict=True)
        line = {
            "id": one.id,
            "file": f"{one.id}.wav",
            "split": one.part,
            "speaker": f"s{one.speaker}",
            "mood": CLASSES[one.mood],
            "text": " ".join("abcd"[phone] * 2 for phone in one.phones),
            "phones": [[float(a), float(b), PHONES[p]] for a, b, p in spans],
            "turns": [[a, b, f"t{who}"] for a, b, who in one.turns],
        }
        lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


States = Callable[[Recording, int, int], NDArray[np.float64]]
"""What a layer (its number) is for a recording: [T, D], T given."""


def frames_of(samples: int) -> int:
    """The upstream's own frame count."""
    return max(0, (samples - 400) // 320 + 1)


def noise(one: Recording, layer: int, frames: int, size: float = 1.0) -> NDArray[np.float64]:
    """The same every time, and nothing to do with any label."""
    return size * np.random.default_rng([one.number, layer]).standard_normal((frames, WIDTH))


def code(number: int, size: float = 1.0) -> NDArray[np.float64]:
    """A direction for a class, [D]."""
    found = np.zeros(WIDTH)
    found[number] = size
    return found


def phone_states(one: Recording, frames: int, size: float = 3.0) -> NDArray[np.float64]:
    """The code of the phone that is said in every frame."""
    at = np.minimum(np.arange(frames) * len(one.phones) // frames, len(one.phones) - 1)
    return np.stack([code(one.phones[i], size) for i in at])


def turn_states(one: Recording, frames: int, size: float = 3.0) -> NDArray[np.float64]:
    """Who speaks in every frame, a direction each."""
    centres = (np.arange(frames) * 320 + 200) / SAMPLE_RATE
    found = np.zeros((frames, WIDTH))
    for begin, end, who in one.turns:
        found[:, who] += size * ((begin <= centres) & (centres < end))
    return found


@dataclass
class Upstream:
    """Layers "0", "1", ... hold what :attr:`states` says.

    Attributes:
        states: the planted states.
        count: number of layers.
        heard: how often each recording was given, and with which samples and layers.
    """

    states: States
    count: int = 3
    spec: str = "simulated"
    family: str = "simulated"
    fingerprint: str = "simulated"
    details: dict[str, Any] = field(default_factory=dict)
    flops_per_second: float = 1e6
    heard: Counter[tuple[int, int, tuple[str, ...]]] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        grid = FrameGrid(320, 400)
        self.layers = tuple(LayerInfo(str(i), WIDTH, "frame", grid) for i in range(self.count))
        self._known = {one.number: one for one in recordings()}

    def frames(self, layer: str, samples: int) -> int:
        return frames_of(samples)

    def encode(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        self.batches.append(len(audio))
        out = []
        for samples in audio:
            numbers = np.unique(samples.numpy() * 32768 / CODE)
            assert len(numbers) == 1, "padded, or not the recording as it is"
            one = self._known[round(float(numbers[0]))]
            self.heard[one.number, len(samples), tuple(layers)] += 1
            frames = frames_of(len(samples))
            out.append(
                {
                    name: torch.from_numpy(self.states(one, int(name), frames)).float()
                    for name in layers
                }
            )
        return out

    def to(self, device: str, dtype: str) -> Upstream:
        return self
