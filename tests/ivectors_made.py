"""A corpus of voices for i-vector training, small enough for tests, and a recipe of small sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def write_voices(folder: Path, speakers: int = 6, each: int = 5, seed: int = 0) -> Path:
    """Noise through a resonator a speaker, in bursts with pauses between them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lines = []
    for speaker in range(speakers):
        formants = np.sort(np.random.default_rng([7, speaker]).uniform(300, 3500, 3))
        for number in range(each):
            parts = []
            for _ in range(3):
                # Two sounds a burst, so that a mixture has something to tell apart.
                parts += [_sound(rng, formants, 0.35), _sound(rng, formants * 1.3, 0.25)]
                parts.append(1e-4 * rng.standard_normal(int(0.2 * RATE)))
            id = f"s{speaker}-{number}"
            soundfile.write(folder / f"{id}.flac", np.concatenate(parts), RATE)
            line = {"id": id, "file": f"{id}.flac", "speaker": f"s{speaker}", "gender": "F"}
            lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def _sound(rng: np.random.Generator, formants: np.ndarray, seconds: float) -> np.ndarray:
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    found = 0.2 * rng.standard_normal(count)
    for hertz in formants:
        phase = np.cumsum(rng.standard_normal(count)) * 0.05
        found += np.sin(2 * np.pi * hertz * time + phase)
    return 0.1 * found


def recipe(corpus: Path, **changes: object) -> list[str]:
    """Changes that make ivector-small small enough for a test."""
    small = {
        "data.corpus": str(corpus), "data.valid": None, "model.gaussians": 8, "model.rank": 4,
        "ubm.sample": 4000, "ubm.start": 6, "ubm.diagonal": 2, "ubm.full": 2,
        "variability.iterations": 3, "variability.least": 5, "run.part_s": 12, "run.device": "cpu",
    }  # fmt: skip
    return [f"{name}={json.dumps(value)}" for name, value in (small | changes).items()]
