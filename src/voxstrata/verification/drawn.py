"""What figures need of the scores: histograms and DET curves, small enough for a JSON file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.metrics.curve import ErrorCurve, Floats, thinned

DRAWN = "verification.json"
"""File of a results folder that figures are drawn from."""

BINS, POINTS = 60, 300


def drawn(scores: Floats, target: NDArray[np.bool_], curve: ErrorCurve) -> dict[str, Any]:
    """Histograms and DET curve of one system's scores, JSON-like.

    Args:
        scores: [N].
        target: [N], whether trials are of one speaker.
        curve: of these scores.

    Returns:
        ``edges`` [61], ``target`` and ``nontarget`` [60] (densities that integrate to 1),
        ``miss`` and ``false_alarm`` (up to 300 points), six digits each.
    """
    low, high = float(scores.min()), float(scores.max())
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):  # all alike: no room for 60 bins
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    _, miss, false_alarm = thinned(curve, POINTS)
    found = {"edges": edges, "miss": miss, "false_alarm": false_alarm}
    for name, kind in (("target", target), ("nontarget", ~target)):
        found[name] = np.histogram(scores[kind], edges, density=True)[0]
    return {
        name: [float(f"{value:.6g}") for value in values.tolist()] for name, values in found.items()
    }
