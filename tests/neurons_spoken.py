"""Recordings of different lengths whose speakers and phones can be heard: made, small, labelled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from voxstrata.types import SAMPLE_RATE

PHONES = ("AA", "B", "IY", "S")


def write(
    folder: Path, recordings: int = 12, speakers: int = 4, *, phones: int = 5, seed: int = 0
) -> Path:
    """A phone is a chord, a speaker's pitch a buzz below it; odd speakers are women.

    Args:
        folder: of the corpus.
        recordings: how many; speakers take turns.
        speakers: how many.
        phones: fewest of a recording; some have up to five more.
        seed: of everything.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(recordings):
        speaker = number % speakers
        woman = speaker % 2 == 1
        at, spans, parts = 0.05, [], [np.zeros(800)]
        for _ in range(phones + int(rng.integers(0, 6))):
            phone = str(rng.choice(PHONES))
            length = round(float(rng.integers(60, 141)) / 1000, 3)
            time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
            base = 400 + 700 * PHONES.index(phone)
            chord = sum(np.sin(2 * np.pi * base * k * time) / k for k in (1, 1.5, 2.2))
            parts.append(0.1 * np.asarray(chord) + 0.02 * rng.standard_normal(len(time)))
            spans.append([round(at, 3), round(at + length, 3), phone])
            at += length
        wave = np.concatenate([*parts, np.zeros(800)])
        pitch = (210.0 if woman else 110.0) * (1 + 0.03 * speaker)
        turns = pitch * np.arange(len(wave)) / SAMPLE_RATE
        wave = wave + 0.15 * (2 * (turns % 1) - 1)
        soundfile.write(folder / f"r{number:02d}.wav", wave.astype(np.float32), SAMPLE_RATE)
        lines.append(
            {
                "id": f"r{number:02d}",
                "file": f"r{number:02d}.wav",
                "speaker": f"s{speaker:02d}",
                "gender": "F" if woman else "M",
                "duration": len(wave) / SAMPLE_RATE,
                "sampling_rate": SAMPLE_RATE,
                "phones": spans,
            }
        )
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder
