"""A made results folder of a training run for the tests of the report: nothing is trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results


def log_entries(lines: int = 200, every: int = 20, per_epoch: int = 130) -> list[dict[str, Any]]:
    """A loss that falls with noise, evaluations that turn worse at the end."""
    rng = np.random.default_rng(0)
    entries: list[dict[str, Any]] = []
    last = lines * every
    for step in range(every, last + 1, every):
        part = step / last
        entries.append(
            {
                "kind": "step",
                "step": step,
                "loss": 0.4 + 9 * math.exp(-5 * part) + 0.4 * abs(rng.standard_normal()),
                "accuracy": 1 - math.exp(-4 * part) * (0.9 + 0.1 * rng.random()),
                "margin": min(0.2, part),
                "gradient_norm": float(np.exp(rng.standard_normal() + 1)),
                "lr": 2e-3 * 0.5 * (1 + math.cos(math.pi * part)) + 1e-5,
                "epochs": step / per_epoch,
                "audio_s_per_s": 150 + 5 * rng.standard_normal(),
                "waiting": 0.14,
            }
        )
        if step % (last // 8) == 0:
            rate = 4 + 30 * math.exp(-6 * part) + (2.0 if step == last else 0.0)
            entries.append(
                {"kind": "valid", "step": step, "made_eer": rate, "made_eer_plain": rate + 3}
            )
    entries.insert(3, {"kind": "bad", "step": 40, "recording": "r1", "why": "r1 is empty (0)"})
    return entries


def made_training(
    folder: Path, entries: list[dict[str, Any]] | None = None, **changes: Any
) -> View:
    """A results folder as ``voxstrata train`` leaves it."""
    entries = log_entries() if entries is None else entries
    valid = [e for e in entries if e["kind"] == "valid"]
    values = {k: v for k, v in valid[-1].items() if k not in ("kind", "step")} if valid else {}
    rows = [
        Row("toy", "toy", "", "", "", "training", name, "utterance", value, None, None, 0, 0, 0, 0,
            "", 0)
        for name, value in values.items()
    ]  # fmt: skip
    record = {
        "job": "train",
        "study": "toy",
        "command": "voxstrata train toy.yaml -o out",
        "config": {
            "name": "toy",
            "model": {"family": "ecapa", "preset": None, "options": {"channels": 16}},
            "run": {"steps": 4000, "tensorboard": False, "seed": 7},
        },
        "corpus": {
            "spec": "synthetic:demo", "name": "synthetic", "utterances": 800, "seconds": 2900.0,
            "speakers": 50, "skipped": [{"id": "r1", "what": "r1 is empty (0)"}],
        },
        "card": {"name": "toy", "metrics": {"made_eer": 6.0}},
        "bad": {"r1": "r1 is empty (0)", "r2": "r2 is empty (0)", "r3": "too quiet"},
        "wall_s": 754.0,
        "audio_s_per_s": 151.0,
        "waiting_share": 0.14,
        "processes": 1,
        **changes,
    }  # fmt: skip
    write_results(folder, rows, record)
    (folder / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    return read_view(load_results(folder))
