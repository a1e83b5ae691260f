"""DET curves and score histograms of a verification run, for page and print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.files import read_json
from voxstrata.report.figure_lines import COLOURS, DASHES, settle
from voxstrata.report.reading import mappings
from voxstrata.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JOB, DRAWN = "verify", "verification.json"

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Rates marked on the axes of a DET plot."""

GREYS = ("#555555", "#999999")
"""Colours of baselines."""


def entries(view: View) -> list[Mapping[str, Any]]:
    """What the run wrote to be drawn, one entry a system and scoring; none of another job."""
    if view.record.get("job") != JOB or not (view.folder / DRAWN).exists():
        return []
    held = read_json(view.folder / DRAWN)
    return list(mappings(held.get("systems"))) if isinstance(held, Mapping) else []


def scorings(view: View) -> list[str]:
    """Ways of scoring, in the order of the run."""
    return list(dict.fromkeys(str(entry.get("scoring")) for entry in entries(view)))


def det_plot(view: View, scoring: str) -> Figure:
    """Miss against false-alarm rate on normal-deviate axes (Martin et al. 1997); a dot marks the
    equal error rate."""
    from matplotlib.figure import Figure

    mine = [entry for entry in entries(view) if entry.get("scoring") == scoring]
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    rates = [_inside(entry["miss"]) for entry in mine] + [
        _inside(entry["false_alarm"]) for entry in mine
    ]
    shown = np.concatenate([*rates, [0.02, 0.4]])
    low, high = max(5e-4, float(shown.min())), min(0.95, float(shown.max()))
    ends = _deviate([low, high]) + np.array([-0.1, 0.1])
    axes.plot(ends, ends, color="#bbbbbb", linewidth=0.6, linestyle=(0, (4, 3)))
    for entry in mine:
        colour, dash = _look(view, str(entry["model"]), str(entry.get("role")))
        miss, alarm = np.array(entry["miss"]), np.array(entry["false_alarm"])
        on_paper = (miss > 0) & (miss < 1) & (alarm > 0) & (alarm < 1)
        label = f"{_label(view, str(entry['model']))} ({100 * float(entry['eer']):.2f} %)"
        x, y = _deviate(alarm[on_paper]), _deviate(miss[on_paper])
        axes.plot(x, y, dash, color=colour, linewidth=1.2, label=label)
        if 0 < float(entry["eer"]) < 1:
            at = _deviate([entry["eer"]])
            axes.plot(at, at, "o", color=colour, ms=3.5)
    marks = [tick for tick in TICKS if low * 0.9 <= tick <= high * 1.1]
    names = [f"{100 * tick:g}" for tick in marks]
    axes.set_xticks(_deviate(marks), names)
    axes.set_yticks(_deviate(marks), names)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    axes.set_xlabel("false alarms (%)", fontsize=7)
    axes.set_ylabel("misses (%)", fontsize=7)
    _tidy(axes)
    axes.legend(fontsize=6, frameon=False, loc="upper right", title="EER", title_fontsize=6)
    settle(figure)
    return figure


def histograms(view: View, scoring: str) -> Figure:
    """Densities of target and non-target scores, one panel a system."""
    from matplotlib.figure import Figure

    mine = [entry for entry in entries(view) if entry.get("scoring") == scoring]
    figure = Figure(figsize=(7.0, 0.4 + 1.35 * -(-len(mine) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(mine) // 2), 2, squeeze=False)
    for axes, entry in zip(grid.flat, mine, strict=False):
        edges = np.array(entry["edges"])
        for kind, colour in (("nontarget", COLOURS[1]), ("target", COLOURS[0])):
            axes.stairs(entry[kind], edges, color=colour, fill=True, alpha=0.35)
            axes.stairs(entry[kind], edges, color=colour, linewidth=0.8, label=kind)
        rate = f"EER {100 * float(entry['eer']):.2f} %"
        axes.set_title(f"{_label(view, str(entry['model']))}, {rate}", fontsize=7, loc="left")
        axes.set_yticks([])
        _tidy(axes)
    for axes in grid.flat[len(mine) :]:
        axes.remove()
    grid[0, 0].legend(fontsize=6, frameon=False)
    settle(figure)
    return figure


def _label(view: View, spec: str) -> str:
    return next((model.label for model in view.models if model.spec == spec), spec)


def _look(view: View, spec: str, role: str) -> tuple[str, str]:
    """Colour and dash: a twin has its model's colour, dashed; baselines are grey."""
    told = list(mappings(view.record.get("models")))
    of_role = [str(m.get("spec")) for m in told if m.get("role") == role]
    at = of_role.index(spec) if spec in of_role else 0
    if role == "baseline":
        return GREYS[at % len(GREYS)], DASHES[3 if at % 2 else 2]
    twins = view.record.get("twins")
    asked = [str(m.get("spec")) for m in told if m.get("role") == "model"]
    if role == "twin" and isinstance(twins, Mapping):
        of = [model for model, twin in twins.items() if twin == spec and model in asked]
        at = asked.index(of[0]) if of else at
    return COLOURS[at % len(COLOURS)], DASHES[1 if role == "twin" else 0]


def _inside(rates: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(rates, dtype=np.float64)
    return values[(values > 0) & (values < 1)]


def _deviate(rates: ArrayLike) -> NDArray[np.float64]:
    from scipy.special import ndtri

    return np.asarray(ndtri(np.asarray(rates, dtype=np.float64)))


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=6, width=0.5, length=2)
    axes.grid(visible=True, linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
