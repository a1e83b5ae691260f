"""A made results folder of a verification run: normal scores, nothing is embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.files import write_json
from voxstrata.metrics.curve import error_curve
from voxstrata.results import Row, write_results
from voxstrata.verification.drawn import DRAWN, drawn

SYSTEMS = {"a": ("model", 2.0), "random:a": ("twin", 0.7), "b": ("model", 1.2)}
"""Role, and how far the means of target and non-target scores are apart."""


def write_verification(folder: Path, **record: Any) -> Path:
    """A folder of ``voxstrata verify``: plain cosine of three systems."""
    rng = np.random.default_rng(0)
    target = np.arange(4000) < 800
    rows, systems = [], []
    for model, (role, apart) in SYSTEMS.items():
        scores = rng.standard_normal(target.size) + apart * target
        curve = error_curve(scores[target], scores[~target])
        at = int(np.argmin(np.abs(curve.miss - curve.false_alarm)))
        eer = float(curve.miss[at])
        values = {
            "eer-interpolated": (eer, eer - 0.02, eer + 0.02),
            "eer-threshold": (0.5, None, None),
            "mindcf-0.01": (0.9, 0.85, 0.95),
        }
        for measure, (value, low, high) in values.items():
            rows.append(
                Row("made", model, "1", "", "", "verification", measure, "trial", value, low, high,
                    4000, 20, 192, 0, "cosine", 0)
            )  # fmt: skip
        systems.append(
            {"model": model, "role": role, "scoring": "cosine", "eer": eer,
             **drawn(scores, target, curve)}
        )  # fmt: skip
    told = {
        "job": "verify",
        "study": "made",
        "command": "voxstrata verify a b -c made -o out",
        "config": {"definition": "interpolated"},
        "models": [
            {"spec": spec, "role": role, "family": "ecapa", "layers": [], "fingerprint": "f"}
            for spec, (role, _) in SYSTEMS.items()
        ],
        "twins": {"a": "random:a"},
        "corpus": {"spec": "made", "name": "made", "utterances": 90, "speakers": 20},
        "trials": {"trials": 4000, "targets": 800, "recordings": 90, "speakers": 20},
        "mean_from": "trials",
        "notices": [],
        **record,
    }
    write_results(folder, rows, told)
    write_json(folder / DRAWN, {"systems": systems})
    return folder
