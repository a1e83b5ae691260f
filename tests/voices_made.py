"""Recordings in which a speaker is a tone: what a mixture must hold is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from voxstrata.types import SAMPLE_RATE

HOP = 160


def hertz(speaker: int) -> float:
    return 400.0 + 300.0 * speaker


def tones(
    spans: list[list[float]], seconds: float, speaker: int, loud: float
) -> NDArray[np.float32]:
    """A speaker is a tone, on in ``spans``."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    on = np.zeros(len(time))
    for begin, end in spans:
        on[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = 1
    return (loud * on * np.sin(2 * np.pi * hertz(speaker) * time)).astype(np.float32)


def write(folder: Path, *, speakers: int = 8, each: int = 3, words: bool = True) -> Path:
    """Recordings of tones with pauses, at every loudness; with word times or without."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    lines = []
    for speaker in range(speakers):
        for number in range(each):
            at, spans = float(rng.uniform(0.1, 0.6)), []
            for _ in range(3):
                length = float(rng.uniform(0.3, 0.9))
                spans.append([round(at, 3), round(at + length, 3)])
                at += length + float(rng.uniform(0.3, 0.6))
            audio = tones(spans, at, speaker, float(rng.uniform(0.02, 0.5)))
            id = f"r{speaker}-{number}"
            soundfile.write(folder / f"{id}.wav", audio, SAMPLE_RATE)
            line = {"id": id, "file": f"{id}.wav", "speaker": f"s{speaker}", "gender": "F"}
            if words:
                named = [[0.0, spans[0][0], "SIL"], *([a, b, "<unk>"] for a, b in spans)]
                line["words"] = named  # type: ignore[assignment]
            lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("voices") / "v")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
