"""What a training run logged, arranged as panels of curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.view import View

JOB, LOG = "train", "train.jsonl"

MOST = 500
"""Points a curve is drawn with; where there are more, neighbours are averaged."""

FEW = 12
"""Curves of fewer points are drawn as they are, with dots; longer ones are smoothed."""

QUIET = 0.002
"""Noise, as a share of a curve's range, below which it is not smoothed."""

WIDE = 25.0
"""Positive values get a logarithmic axis where nine tenths of them span more than this factor (a
straight rise from nothing spans 19)."""

NAMES: dict[str, tuple[str, str]] = {
    "loss": ("Loss", ""),
    "ubm_start_log_likelihood": ("Log-likelihood of the mixture's start", "a frame in memory"),
    "ubm_log_likelihood": ("Log-likelihood of the mixture", "a frame, before each pass"),
    "log_likelihood": ("Log-likelihood of total variability", "a frame, after each sub-step"),
    "accuracy": ("Accuracy", "share of the batch"),
    "lr": ("Learning rate", ""),
    "gradient_norm": ("Gradient norm, before clipping", ""),
    "audio_s_per_s": ("Speed", "seconds of audio a second"),
    "waiting": ("Waiting for data", "% of the time"),
}
"""Titles and units of what every run logs."""

GROUPS = ("What is learned", "Evaluation while training", "Optimisation", "Speed")
_OPTIMISATION, _SPEED = ("lr", "gradient_norm"), ("audio_s_per_s", "waiting")
_SPIKY = ("gradient_norm",)
_POSITION = ("kind", "step", "epochs", "iteration")


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: what it is, beside others of its panel.
        steps, values: [N]; values as logged.
        smooth: [N]; the same smoothed, or the values where they are few.
    """

    label: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    smooth: NDArray[np.float64]

    @property
    def few(self) -> bool:
        """Whether there are so few points that each is shown."""
        return len(self.steps) <= FEW


@dataclass(frozen=True)
class Panel:
    """One small figure.

    Attributes:
        key: for file names and scripts.
        title, unit: what is drawn.
        group: one of :data:`GROUPS`.
        lines: its curves.
        log: whether its vertical axis is logarithmic.
    """

    key: str
    title: str
    unit: str
    group: str
    lines: tuple[Line, ...]
    log: bool


@dataclass(frozen=True)
class Log:
    """A run's log.

    Attributes:
        panels: in order of :data:`GROUPS`.
        steps: entries of training steps.
        valid: entries of evaluations.
        end: what was found of the averaged weights; empty where none were averaged.
        per_epoch: steps of a pass over the recordings; 0 where it is not known.
    """

    panels: tuple[Panel, ...]
    steps: tuple[Mapping[str, Any], ...]
    valid: tuple[Mapping[str, Any], ...]
    end: Mapping[str, Any]
    per_epoch: float


def is_training(view: View) -> bool:
    """Whether these are results of ``voxstrata train``."""
    return view.record.get("job") == JOB


def read_training(view: View) -> Log:
    """The log beside the results; empty where it is missing or the results are of another job."""
    entries = _entries(view) if is_training(view) else []
    steps = tuple(entry for entry in entries if entry["kind"] == "step")
    valid = tuple(entry for entry in entries if entry["kind"] == "valid")
    end: Mapping[str, Any] = next((e for e in reversed(entries) if e["kind"] == "end"), {})
    last = steps[-1] if steps else {}
    passed = last.get("epochs")
    per_epoch = float(last["step"]) / passed if isinstance(passed, int | float) and passed else 0.0
    panels = [*_logged(steps), *_evaluated(valid)]
    panels.sort(key=lambda panel: GROUPS.index(panel.group))
    return Log(tuple(panels), steps, valid, end, per_epoch)


def finite(entries: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of all entries that have a number of this name."""
    return [
        (int(entry["step"]), float(entry[name]))
        for entry in entries
        if isinstance(entry.get(name), int | float) and np.isfinite(entry[name])
    ]


def smoothed(values: NDArray[np.float64], log: bool) -> NDArray[np.float64]:
    """A Gaussian mean over about a thirtieth of the curve; of logarithms on a log axis.

    A curve without noise (a schedule) stays as it is.
    """
    from scipy.ndimage import gaussian_filter1d

    if len(values) <= FEW:
        return values
    wide = max(1.0, len(values) / 60)
    kept = np.log(values) if log else values
    found = np.asarray(gaussian_filter1d(kept, wide, mode="nearest"), dtype=np.float64)
    if np.median(np.abs(kept - found)) <= QUIET * np.ptp(kept):
        return values
    return np.exp(found) if log else found


def _entries(view: View) -> list[dict[str, Any]]:
    path = view.folder / LOG
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue  # cut off by a crash
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and "kind" in entry:
            found.append(entry)
    return found


def _logged(steps: Sequence[Mapping[str, Any]]) -> list[Panel]:
    names = dict.fromkeys(name for entry in steps for name in entry if name not in _POSITION)
    panels = []
    for name in names:
        points = finite(steps, name)
        if not points:
            continue
        if name == "waiting":
            points = [(step, 100 * share) for step, share in points]
        group = GROUPS[2] if name in _OPTIMISATION else GROUPS[3] if name in _SPEED else GROUPS[0]
        title, unit = NAMES.get(name, (_plain(name), ""))
        panels.append(_panel(name, title, unit, group, {title: points}, smooth=name != "lr"))
    return panels


def _evaluated(valid: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A panel for each evaluated corpus, and for each other number."""
    names = dict.fromkeys(name for entry in valid for name in entry if name not in _POSITION)
    rates: dict[str, dict[str, list[tuple[int, float]]]] = {}
    panels = []
    for name in names:
        points = finite(valid, name)
        corpus, eer, way = name.rpartition("_eer")
        if not points:
            continue
        if eer and way in ("", "_plain"):
            label = "plain cosine" if way else "mean subtracted"
            rates.setdefault(corpus, {})[label] = points
        else:
            title = _plain(name)
            panels.append(_panel(name, title, "", GROUPS[1], {title: points}, smooth=False))
    for corpus, lines in reversed(rates.items()):
        title = f"Equal error rate on {corpus}"
        panels.insert(0, _panel(f"{corpus}-eer", title, "%", GROUPS[1], lines, smooth=False))
    return panels


def _panel(
    key: str,
    title: str,
    unit: str,
    group: str,
    lines: Mapping[str, list[tuple[int, float]]],
    *,
    smooth: bool = True,
) -> Panel:
    every = np.array([value for points in lines.values() for _, value in points])
    ends = [0.0, 1.0] if key in _SPIKY else [0.05, 0.95]
    low, high = np.quantile(every, ends)
    log = bool(every.min() > 0 and high / low > WIDE)
    made = []
    for label, points in lines.items():
        steps, values = _thinned(np.array(points, dtype=np.float64))
        soft = smoothed(values, log) if smooth else values
        made.append(Line(label, steps, values, soft))
    return Panel(key, title, unit, group, tuple(made), log)


def _plain(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _thinned(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values, neighbours averaged where there are more than :data:`MOST`."""
    parts = np.array_split(points, min(len(points), MOST))
    means = np.stack([part.mean(0) for part in parts])
    return means[:, 0], means[:, 1]
