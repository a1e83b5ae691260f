"""What figures need of the scores: histograms and DET curves, small enough for a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.files import write_json
from voxstrata.metrics.curve import thinned
from voxstrata.verification.table import Scored
from voxstrata.verification.trials import Trials

DRAWN = "verification.json"
BINS, POINTS = 60, 300


def write_drawn(folder: Path, scored: list[Scored], trials: Trials) -> Path:
    """Write ``verification.json``: one entry a system and scoring.

    Each holds ``model``, ``scoring``, ``role``, ``edges`` [61], ``target`` and ``nontarget`` [60]
    (densities that integrate to 1), ``miss`` and ``false_alarm`` (up to 300 points of the DET
    curve) and ``eer``.

    Raises:
        StorageError: the file cannot be written.
    """
    entries: list[dict[str, Any]] = []
    for one in scored:
        edges = np.histogram_bin_edges(one.scores, BINS)
        _, miss, false_alarm = thinned(one.curve, POINTS)
        entry: dict[str, Any] = {
            "model": one.system.name,
            "layer": one.system.wanted.layer.name,
            "role": one.system.role,
            "scoring": one.scoring,
            "eer": one.eer.value,
            "edges": _short(edges),
            "miss": _short(miss),
            "false_alarm": _short(false_alarm),
        }
        for name, kind in (("target", trials.target), ("nontarget", ~trials.target)):
            entry[name] = _short(np.histogram(one.scores[kind], edges, density=True)[0])
        entries.append(entry)
    path = folder / DRAWN
    write_json(path, {"trials": len(trials), "targets": int(trials.target.sum()),
                      "systems": entries})  # fmt: skip
    return path


def _short(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
